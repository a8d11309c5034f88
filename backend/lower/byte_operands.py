"""Narrow integers as bytes of a warp's matrix product, almost without arithmetic: bits are put where they are bytes.

A word of four bytes takes the same bits of four codes, by masks and a few shifts.  A field that lies p places above a
byte's end is the code times 2^p there, and products with it are exact: p is put right on the sums.  So a mask is all
that most codes need.  The field with the sign of a signed code goes to the top of a signed byte, which is what a byte's
sign is.

As fp8, too, fields are put where they already are numbers: those of a float, or an integer as a number of the least
exponents, which are equally far apart.

Sums of bytes that are below 2^22 begin with the word of the f32 number 1.5 * 2^23: then the sum's word is that of an
f32 number too, the sum plus 1.5 * 2^23, and is never converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from ...vm.dtypes import DType, Float, Int
from ...vm.layout.packing import Packing, default_planes
from ..lane.build import Builder
from ..lane.ir import Reg
from ..target import Target
from .fragments import Part
from .operand_fields import arranged
from .swar import grouped, move
from .tile import Later, Packed, Scaled

__all__ = ["Sums", "as_bytes", "as_fp8", "byte_packing", "fits_fp8", "sums_of", "widens"]

_BYTE = 8
_MAGIC, _MAGIC_VALUE = 0x4B400000, 1.5 * 2.0**23
_NUMBERS = 1 << 22  # sums below it are the fraction of the number they begin with
_WORDS = 1 << 31
_PLANES = 3  # of a code, at most, that are looked at by themselves
_CHAIN = 3  # instructions that a product of 8 columns is worth, for each operand word: itself, and what its sums take

Rows = Sequence[Sequence[Sequence[int]]]
"""For each row, whose products are summed, its operand words as the registers that share them."""


def widens(source: Int, to: Int) -> bool:
    """Whether `to`, of 8 bits, has every value of the source."""
    return to.bits == _BYTE and source.bits <= _BYTE and to.min <= source.min and source.max <= to.max


def as_bytes(
    b: Builder, source: Int, to: Int, form: Packed, rows: Rows, columns: int = 1
) -> tuple[Part, ...] | None:  # fmt: skip
    """How codes of `source` are bytes of the type `to`, whose sum each value is; None if bytes as they are do as well.

    `columns`: how many times 8 columns they are multiplied with.
    """
    if source.bits == _BYTE or not widens(source, to):
        return None
    ways = [_way(form, groups, source, to, rows, columns) for groups in _cuts(form, source.bits)]
    found = [w for w in ways if w is not None]
    best = min(found, key=lambda w: w.cost)
    return tuple(
        Part(_taker(b, form, bits, places), tuple(bits[0] - p for p in places), (0,) * len(rows))
        for bits, places in zip(best.groups, best.places, strict=True)
    )


def byte_packing(source: DType, to: DType, rows: int) -> Packing:
    """How a lane's codes are best packed for `as_bytes` and `as_fp8`, whose operands are of the type `to`.

    Registers 4 i to 4 i + 3 share an operand's word, and word i belongs to row i % rows.
    """
    bits, room = source.bits, _BYTE
    if isinstance(to, Float) and bits < _BYTE and fits_fp8(source, to):
        if isinstance(source, Float):
            return Packing(bits, _BYTE, (), 0, arranged(((_fields(source, to),),), _BYTE))
        room = to.mantissa + 1
    elif not isinstance(source, Int) or _BYTE % bits == 0:
        return Packing(bits, _BYTE, default_planes(bits))
    first = _BYTE - bits if isinstance(source, Int) and source.signed else 0
    places = tuple(tuple(range(p, p + bits)) for p in range(first, room - bits + 1))
    return Packing(bits, _BYTE, (), 0, arranged((places,) * rows, _BYTE))


@dataclass(frozen=True)
class _Way:
    """groups: the bits of a code that are a part; places: of each part in a byte, for each row."""

    groups: tuple[range, ...]
    places: tuple[tuple[int, ...], ...]
    cost: int


def _cuts(form: Packed, bits: int) -> Iterator[tuple[range, ...]]:
    """All of a code together, and cut where its bits do not follow each other."""
    cuts = [0]
    for bit in range(1, bits):
        if any(int(row[bit]) != int(row[bit - 1]) + 1 for row in form.positions):
            cuts.append(bit)
    yield (range(bits),)
    if len(cuts) > _PLANES:  # bits lie anywhere, where they serve all of a code
        return
    for chosen in product((False, True), repeat=len(cuts) - 1):
        if any(chosen):
            edges = [0, *(cut for cut, yes in zip(cuts[1:], chosen, strict=True) if yes), bits]
            yield tuple(range(low, high) for low, high in pairwise(edges))


def _way(form: Packed, groups: tuple[range, ...], source: Int, to: Int, rows: Rows, columns: int) -> _Way:
    room = []
    for bits in groups:
        top = source.signed and bits[-1] == source.bits - 1
        last = _BYTE - len(bits) - (1 if to.signed and not top else 0)
        room.append(range(last if top else 0, last + 1))
    return _placed(form, groups, room, rows, columns)


def _placed(form: Packed, groups: tuple[range, ...], room: Sequence[range], rows: Rows, columns: int = 1) -> _Way:
    """The places, in `room` for each part, to which the fewest instructions bring the bits, row by row."""
    shifts: set[tuple[int, int]] = set()
    places, cost = [], 0
    for bits, able in zip(groups, room, strict=True):
        chosen = []
        for row in rows:
            keys = {p: [k for word in row for k in grouped(_moves(form, word, bits, p))] for p in able}
            here = {p: len(found) + len({k for k in found if k[1]} - shifts) for p, found in keys.items()}
            place = min(here, key=lambda p: (here[p], p))
            shifts |= {k for k in keys[place] if k[1]}
            cost += here[place]
            chosen.append(place)
        places.append(tuple(chosen))
    words = sum(len(row) for row in rows)
    return _Way(groups, tuple(places), 4 * cost + _CHAIN * columns * words * (len(groups) - 1))


def _moves(form: Packed, registers: Sequence[int], bits: range, place: int) -> list[tuple[int, int]]:
    """From where each bit of the four codes comes, and where it goes."""
    return [
        (int(form.positions[r][bit]), _BYTE * slot + place + i)
        for slot, r in enumerate(registers) for i, bit in enumerate(bits)
    ]  # fmt: skip


def _taker(b: Builder, form: Packed, bits: range, places: Sequence[int]) -> Callable[[int, Sequence[int]], Reg]:
    return lambda row, registers: move(b, form.words, _moves(form, registers, bits, places[row]))


def fits_fp8(source: DType, to: Float) -> bool:
    """Whether the fields of a code, put at some of an fp8's, are its value times a power of two.

    Unsigned integers of one bit more than the fraction are: with the lowest exponent or the next, numbers are equally
    far apart.
    """
    if isinstance(source, Int):
        return not source.signed and source.bits <= to.mantissa + 1
    if not isinstance(source, Float) or source.mantissa > to.mantissa or not (source.subnormal and source.zero):
        return False
    return source.exponent < to.exponent and source.specials == "finite"


def as_fp8(b: Builder, target: Target, source: DType, to: DType, form: Packed, rows: Rows) -> Part | None:
    """How codes of `source` are numbers of `to`, an fp8; None where they are not, but bytes of it lie there already."""
    if not isinstance(to, Float) or not fits_fp8(source, to):
        return None
    if isinstance(source, Int):
        last = to.mantissa + 1 - source.bits
        way = _placed(form, (range(source.bits),), [range(last + 1)], rows)
        unit = 1 - to.bias - to.mantissa
        power = tuple(-p - unit for p in way.places[0])
        return Part(_taker(b, form, range(source.bits), way.places[0]), power, (0,) * len(rows))
    assert isinstance(source, Float)
    places = _fields(source, to)

    def word(row: int, registers: Sequence[int]) -> Reg:
        fields = [zip(form.positions[r], places, strict=True) for r in registers]
        moves = [(int(p), _BYTE * slot + place) for slot, field in enumerate(fields) for p, place in field]
        return move(b, form.words, moves)

    return Part(word, (to.bias - source.bias,) * len(rows), (0,) * len(rows))


def _fields(source: Float, to: Float) -> tuple[int, ...]:
    """The places of a code's bits in the fields of an fp8."""
    low, magnitude = to.mantissa - source.mantissa, source.exponent + source.mantissa
    return (*range(low, low + magnitude), *([_BYTE - 1] if source.signed else []))


# Sums


@dataclass(frozen=True)
class Sums:
    """Integer sums: as words, and if they are small enough as f32 numbers of which factors are not taken out."""

    values: Sequence[Reg]
    scaled: Scaled | None


def sums_of(
    b: Builder,
    parts: Sequence[Part],
    rows: Sequence[Sequence[int]],
    largest: int,
    before: Sequence[Reg],
    fresh: Callable[[Part, Reg], list[Reg]],
    begins: bool,
) -> Sums | None:
    """The sums of products plus those of `before`; None where shifted sums may not fit a word.

    parts     of which the values of the left factor are sums
    rows      the registers of the sums of each row
    largest   that a sum of so many products of bytes may be
    fresh     the sums of a part's products, from the word that they begin with
    begins    whether it takes no instructions to begin with another word than 0
    """
    if largest >= _WORDS:
        return None
    nothing = all((known := b.known(r)) is not None and not known.any() for r in before)
    small = nothing and largest < _NUMBERS
    start = _MAGIC if small and begins else 0
    chains = [fresh(part, b.i32(start)) for part in parts]
    of_row = {register: row for row, registers in enumerate(rows) for register in registers}

    def value(register: int) -> Reg:
        total = before[register]
        for part, chain in zip(parts, chains, strict=True):
            power = part.exponent[of_row[register]]
            found = b.apply("sub", chain[register], b.i32(start)) if start else chain[register]
            if power:
                found = b.apply("shl" if power > 0 else "ashr", found, b.i32(abs(power)))
            total = b.apply("add", found, total)
        return total

    def above(chain: Sequence[Reg], register: int) -> Reg:
        word = chain[register]
        return b.apply("float", word if start else b.apply("add", word, b.i32(_MAGIC)))

    def number(register: int) -> Reg:
        first, *more = (b.apply("fsub", above(chain, register), b.f32(_MAGIC_VALUE)) for chain in chains)
        row = of_row[register]
        for part, chain in zip(parts[1:], more, strict=True):
            power = 2.0 ** (part.exponent[row] - parts[0].exponent[row])
            first = b.apply("fma", chain, b.f32(power), first)
        return first

    count = len(before)
    factors = [2.0 ** parts[0].exponent[of_row[r]] for r in range(count)]
    if not small:
        return Sums(Later(count, value), None)
    first = Later(count, lambda r: above(chains[0], r))
    alone = (first, _MAGIC_VALUE) if len(parts) == 1 else None
    return Sums(Later(count, value), Scaled(Later(count, number), factors, alone))

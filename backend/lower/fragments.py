"""Narrow codes as operands of a warp's matrix product, almost without arithmetic: bits are put where they are numbers.

A word of two halves takes the same bits of two codes, by masks and a few shifts, and is a pair of

* numbers of the least exponents, each the code times a power of two that depends on where in the half it lies
  (subnormal or with the next exponent, they are equally far apart, and a tensor core multiplies them exactly); or
* numbers whose sign, exponent and fraction are those of the code: the value times a power of two; or
* what the conversion of a pair of fp8 gives.

The powers of two are put right on the sums: once for 64 weights of a lane or so.  As bf16 these numbers are so small
that their products are not numbers of f32 unless one factor is made larger (`Part.small`).  `storage_of` says how codes
are stored so that this takes the least; whatever the storage, the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...vm.dtypes import Codebook, DType, Float, Int
from ...vm.layout.packing import Packing, default_planes
from ..lane.build import Builder
from ..lane.ir import Reg
from ..target import Target
from .operand_fields import arranged
from .progression import Progression, progression
from .swar import grouped, move, repack
from .tile import Packed

__all__ = ["Part", "numbers_of", "storage_of"]

_ROOM = {"f16": 11, "bf16": 8}  # bits of a code that lie side by side in numbers equally far apart
_UNIT = {"f16": -24, "bf16": -133}  # the power of two that the lowest of these bits stands for
_FRACTION = {"f16": 10, "bf16": 7}
_BIAS = {"f16": 15, "bf16": 127}
_REACH = 100  # biases up to which no power of two leaves the numbers of an f32
_PAIRED = 4  # bits of codes of which pairs that lie together are looked up
_TURNS = 3
_BOTH = 0x10001
_EVERY_BYTE = 0x01010101
_HALF, _BYTE = 16, 8
_TOP_FRACTION = 2  # bits of an f16's fraction in its upper byte


@dataclass(frozen=True)
class Part:
    """Numbers of which a value is made: value = number * 2**exponent[row] - bias[row].

    word    row, and the registers that share an operand's word: that word
    small   whether the numbers are below 2^-100: their products with others of that type may be too small for an f32
    """

    word: Callable[[int, Sequence[int]], Reg]
    exponent: tuple[int, ...]
    bias: tuple[float, ...]
    small: bool = False


_Shift = tuple[int, int]
"""A word's number, and how far left it is shifted."""


@dataclass(frozen=True)
class _Codes:
    """Codes in a lane's words, and which of them share an operand's word: [row][word][half], of registers."""

    b: Builder
    form: Packed
    rows: Sequence[Sequence[Sequence[int]]]

    def moves(self, registers: Sequence[int], bits: range, places: Sequence[int]) -> list[tuple[int, int]]:
        """From where each bit of the codes comes, and its place: places[i] of a half is that of bit bits[i]."""
        return [
            (int(self.form.positions[r][bit]), _HALF * half + to)
            for half, r in enumerate(registers) for bit, to in zip(bits, places, strict=True)
        ]  # fmt: skip

    def shifts(self, row: int, bits: range, places: Sequence[int]) -> tuple[int, frozenset[_Shift]]:
        """How many pieces of words bring these bits of a row's codes to their places, and which shifts of words."""
        pieces = [key for word in self.rows[row] for key in grouped(self.moves(word, bits, places))]
        return len(pieces), frozenset(key for key in pieces if key[1])


def numbers_of(
    b: Builder, target: Target, source: DType, to: DType, form: Packed, rows: Sequence[Sequence[Sequence[int]]]
) -> Part | None:
    """How codes of `source` are numbers of the type `to` (f16 or bf16).

    `rows`: for each row, whose products are summed, its operand words as the registers that share them.  None where
    there is no such way: then values are decoded one by one.
    """
    codes = _Codes(b, form, rows)
    if to.name not in _ROOM:
        return None
    if isinstance(source, Int) and source.bits <= _ROOM[to.name]:
        return _integers(codes, source, to.name)
    if (rule := progression(source)) is not None:
        return _risen(_integers(codes, Int(source.bits, signed=False), to.name), rule)
    way = _way(target, source, to.name) if isinstance(source, Float) else None
    if way is None:
        return None
    assert isinstance(source, Float)
    word, exponent = way(codes, source, to.name)
    small = way is _placed and to.name == "bf16"
    return Part(lambda row, registers: word(registers), (exponent,) * len(rows), (0,) * len(rows), small)


def storage_of(target: Target, source: DType, to: DType, rows: int) -> Packing:
    """How a lane's codes are best packed for `numbers_of`.

    Registers 2 i and 2 i + 1 share an operand's word, and word i belongs to row i % rows.
    """
    if progression(source) is not None:
        source = Int(source.bits, signed=False)
    bits = source.bits
    places: tuple[tuple[tuple[int, ...], ...], ...] | None = None
    if isinstance(source, Int) and bits <= _ROOM[to.name] and bits < 8:
        last = _ROOM[to.name] - bits
        places = (tuple(tuple(range(p, p + bits)) for p in range(last + 1)),) * rows
    elif isinstance(source, Float) and bits <= 8:
        if _converts(target, source):
            return Packing(8, 8, (8,))
        way = _way(target, source, to.name)
        if way is _placed and _in_upper_byte(source, to.name):
            places = ((tuple(p - _BYTE for p in _float_places(source, to.name)),),)
            return Packing(bits, _BYTE, (), 0, arranged(places, _BYTE))
        if way is not None:
            places = ((_float_places(source, to.name if way is _placed else "f16"),),)
    elif isinstance(source, Codebook) and bits <= _PAIRED:
        return Packing.dense(bits)
    if places is None:
        return Packing(bits, _HALF, default_planes(bits))
    return Packing(bits, _HALF, (), 0, arranged(places))


# Integers


def _integers(codes: _Codes, source: Int, to: str) -> Part:
    """A signed code has its sign turned, which adds as much as the sign bit is worth."""
    sign = 1 << (source.bits - 1) if source.signed else 0
    places = _places(codes, range(source.bits), to)

    def word(row: int, registers: Sequence[int]) -> Reg:
        place = places[row]
        moves = codes.moves(registers, range(source.bits), range(place, place + source.bits))
        return _moved(codes, moves, (sign << place) * _BOTH)

    return Part(word, tuple(-_UNIT[to] - p for p in places), (sign,) * len(places), to == "bf16")


def _risen(codes: Part, rule: Progression) -> Part:
    """The values of which these are the codes."""
    exponent = tuple(e + rule.exponent for e in codes.exponent)
    return replace(codes, exponent=exponent, bias=(-rule.first,) * len(exponent))


def _places(codes: _Codes, bits: range, to: str) -> tuple[int, ...]:
    """Where in a half the bits of each row are put: where that takes the least, since rows share shifts."""
    last = _ROOM[to] - len(bits)
    rows = range(len(codes.rows))
    ways = [[codes.shifts(row, bits, range(p, p + len(bits))) for p in range(last + 1)] for row in rows]
    chosen = [0] * len(rows)
    for turn in range(_TURNS):
        for row in rows:
            others = rows if turn else range(row)
            shared = frozenset[_Shift]().union(*(ways[o][chosen[o]][1] for o in others if o != row))
            chosen[row] = min(range(last + 1), key=lambda p: ways[row][p][0] + len(ways[row][p][1] - shared))
    return tuple(chosen)


def _moved(codes: _Codes, moves: list[tuple[int, int]], turned: int = 0) -> Reg:
    """The moved bits, of which those that `turned` has are turned; whole bytes move by one permute."""
    b, groups = codes.b, grouped(moves)
    (first, distance), mask = next(iter(groups.items()))
    whole = all(mask >> k & 0xFF in (0, 0xFF) for k in range(0, 32, 8))
    if len(groups) == 1 and whole and distance and distance % 8 == 0:
        order = [k - distance // 8 if mask >> 8 * k & 0xFF else -1 for k in range(4)]
        turns = {turned >> 8 * k & 0xFF for k in range(4) if mask >> 8 * k & 0xFF}
        assert len(turns) == 1
        source = b.apply("xor", codes.form.words[first], b.i32(turns.pop() * _EVERY_BYTE))  # for other bytes of it too
        return b.pick_bytes(source, b.i32(0), (order[0], order[1], order[2], order[3]))
    if not turned:
        return move(b, codes.form.words, moves)
    found = b.i32(turned)
    for (word_number, distance), mask in groups.items():
        shifted = b.apply("shl" if distance > 0 else "lshr", codes.form.words[word_number], b.i32(abs(distance)))
        found = b.atom("and_xor", "i32", shifted, b.i32(mask), found)
    return found


# Floats

_Word = Callable[[Sequence[int]], Reg]
_Way = Callable[[_Codes, Float, str], tuple[_Word, int]]
"""From codes to the words of their numbers, and the power of two that one unit of these is."""


def _way(target: Target, source: Float, to: str) -> _Way | None:
    if source.bits > 8:
        return None
    if _fits(source, to):
        return _placed
    f16 = _fits(source, "f16") or _nan_at_top(source)
    if to == "bf16" and (_converts(target, source) or f16) and source.mantissa <= _FRACTION[to]:
        return _by_f16(_converted if _converts(target, source) else _placed if _fits(source, "f16") else _with_nan)
    if _converts(target, source):
        return _converted
    return _with_nan if f16 else None


def _float_places(source: Float, to: str) -> tuple[int, ...]:
    low = _FRACTION[to] - source.mantissa
    return (*range(low, low + source.exponent + source.mantissa), *([15] if source.signed else []))


def _in_upper_byte(source: Float, to: str) -> bool:
    """Whether a half's upper byte holds all of a code that is put where it is a number."""
    return to == "f16" and source.mantissa <= _TOP_FRACTION


def _fits(source: Float, to: str) -> bool:
    """Whether the fields of a code, put at those of `to`, are its value times a power of two: infinity, NaN too."""
    exponent = 5 if to == "f16" else 8
    if source.mantissa > _FRACTION[to] or source.exponent > exponent or not (source.subnormal and source.zero):
        return False
    if not 0 <= source.bias <= _REACH:
        return False
    return source.specials == "ieee" if source.exponent == exponent else source.specials == "finite"


def _nan_at_top(source: Float) -> bool:
    """Four bits of exponent, and NaN, and only that, where all bits but the sign are ones: e4m3fn."""
    return source.exponent == 4 and source.specials == "fn" and source.subnormal and source.mantissa > 0


def _converts(target: Target, source: DType) -> bool:
    """Whether the target makes f16 of pairs of such codes in one instruction."""
    return source.name == "f8e4m3fn" and target.has("fp8")


def _put(codes: _Codes, source: Float, to: str) -> _Word:
    places = _float_places(source, to)
    return lambda registers: _moved(codes, codes.moves(registers, range(source.bits), places))


def _placed(codes: _Codes, source: Float, to: str) -> tuple[_Word, int]:
    """Where the upper byte of an f16 holds all, codes may be put into bytes first, four at once."""
    b, put, places = codes.b, _put(codes, source, to), _float_places(source, to)
    bits = range(source.bits)

    def word(registers: Sequence[int]) -> Reg:
        first, second = registers
        four = range(first - first % 4, first - first % 4 + 4)
        late = four[-1] >= len(codes.form.positions)
        if not _in_upper_byte(source, to) or second != first + 1 or first % 2 or late:
            return put(registers)
        moves = [
            (int(codes.form.positions[r][bit]), _BYTE * k + place - _BYTE)
            for k, r in enumerate(four) for bit, place in zip(bits, places, strict=True)
        ]  # fmt: skip
        if _count(moves) / 2 + 1 >= _count(codes.moves(registers, bits, places)):
            return put(registers)
        low = first % 4
        return b.pick_bytes(_moved(codes, moves), b.i32(0), (-1, low, -1, low + 1))

    return word, _BIAS[to] - source.bias


def _count(moves: list[tuple[int, int]]) -> int:
    """Instructions that bring bits to their places."""
    return sum(1 + (distance != 0) for _, distance in grouped(moves))


def _with_nan(codes: _Codes, source: Float, to: str) -> tuple[_Word, int]:
    """In an f16 the exponent of NaN is that of the code and one bit more, into which only NaN carries."""
    b, put = codes.b, _put(codes, source, "f16")

    def word(registers: Sequence[int]) -> Reg:
        placed = put(registers)
        carried = b.apply("add", placed, b.i32(_BOTH << (_FRACTION["f16"] - source.mantissa)))
        return b.apply("choose", b.i32(_BOTH << 14), carried, placed)

    return word, _BIAS["f16"] - source.bias


def _converted(codes: _Codes, source: Float, to: str) -> tuple[_Word, int]:
    b, form = codes.b, codes.form

    def word(registers: Sequence[int]) -> Reg:
        first, *_ = places = [int(p) for r in registers for p in form.positions[r]]
        if first % _HALF == 0 and places == list(range(first, first + _HALF)):
            half = "" if first % 32 == 0 else "_high"
            return b.atom(f"cvt_f16x2_e4m3x2{half}", "i32", form.words[first // 32])
        return b.atom("cvt_f16x2_e4m3x2", "i32", repack(b, form.words, form.positions[list(registers)], 8))

    return word, 0


def _by_f16(way: _Way) -> _Way:
    """A bf16 is the upper half of an f32, in which an f16 of so few digits has no other."""

    def by(codes: _Codes, source: Float, to: str) -> tuple[_Word, int]:
        b = codes.b
        f16, exponent = way(codes, source, "f16")

        def word(registers: Sequence[int]) -> Reg:
            pair = f16(registers)
            low, high = (b.apply("bits", x) for x in (b.apply("f16tof32", pair), b.atom("f16tof32_high", "f32", pair)))
            return b.pick_bytes(low, high, (2, 3, 6, 7))

        return word, exponent

    return by

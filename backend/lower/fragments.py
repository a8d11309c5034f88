"""Narrow codes as operands of a warp's matrix product, without arithmetic: bits are put where they already are numbers.

A word of two halves takes the same bits of two codes, by one shift and one mask, and is a pair of

* f16 subnormals, each the code times a power of two that depends on where in the half it lies (a tensor core multiplies
  subnormals exactly, and sums in f32); or
* bf16 numbers 128 + code * 2^p, where the bits lie in the fraction of 128; or
* f16 numbers whose sign, exponent and fraction are those of the code: the value times a power of two.

The powers of two, and what was added, are put right on the sums: once for 64 weights of a lane or so.  A code of
several planes may be several such numbers, whose sums are added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...vm.dtypes import DType, Float, Int
from ..lane.build import Builder
from ..lane.ir import Reg
from .swar import move
from .tile import Packed

__all__ = ["Parts", "parts_of"]

_SUBNORMAL_BITS = 10  # of f16: its fraction
_SUBNORMAL_UNIT = -24  # the power of two that the lowest of them stands for
_MAGIC_BITS = 7  # of bf16: its fraction
_MAGIC, _MAGIC_VALUE = 0x4300, 128
_MERGED = 4  # bits of a code that are put together before they are taken out
_BOTH = 0x10001


@dataclass(frozen=True)
class Part:
    """Numbers of which each value is a sum.

    word       row, and the registers that share an operand's word: that word
    exponent   of the power of two that one unit of the numbers is, for each row
    """

    word: Callable[[int, Sequence[int]], Reg]
    exponent: tuple[int, ...]


@dataclass(frozen=True)
class Parts:
    """value = sum over parts of number * 2**exponent[row], minus bias[row]."""

    parts: tuple[Part, ...]
    bias: tuple[float, ...]


def parts_of(b: Builder, source: DType, to: DType, form: Packed, rows: Sequence[Sequence[int]]) -> Parts | None:
    """How codes of `source` are numbers of the type `to` (f16 or bf16); `rows`: the registers that are summed together.

    None where there is no such way: then values are decoded one by one.
    """
    if isinstance(source, Int) and source.bits <= 8 and to.name in ("f16", "bf16"):
        return _integers(b, source, to.name, form, rows)
    if isinstance(source, Float) and to.name == "f16" and _fits_f16(source):
        return _placed(b, source, form, rows)
    return None


def _integers(b: Builder, source: Int, to: str, form: Packed, rows: Sequence[Sequence[int]]) -> Parts:
    sign = 1 << (source.bits - 1) if source.signed else 0
    room = _SUBNORMAL_BITS if to == "f16" else _MAGIC_BITS
    parts = []
    for bits in _groups(form, source.bits, room):
        flip = sign >> bits[0] if bits[-1] == source.bits - 1 else 0
        places = tuple(_place(form, row, bits, room) for row in rows)
        unit = _SUBNORMAL_UNIT if to == "f16" else 0
        parts.append(Part(_taker(b, form, bits, places, flip, 0 if to == "f16" else _MAGIC), tuple(
            bits[0] - unit - p for p in places
        )))  # fmt: skip
    added = 0 if to == "f16" else _MAGIC_VALUE
    bias = tuple(sign + sum(added * 2.0 ** part.exponent[row] for part in parts) for row in range(len(rows)))
    return Parts(tuple(parts), bias)


def _groups(form: Packed, bits: int, room: int) -> list[range]:
    """The bits of a code, lowest first, in groups that are numbers of their own."""
    cuts = [0]
    for bit in range(1, bits):
        apart = any(int(row[bit]) != int(row[bit - 1]) + 1 for row in form.positions)
        if (apart and bit - cuts[-1] >= _MERGED) or bit - cuts[-1] >= room:
            cuts.append(bit)
    return [range(low, high) for low, high in zip(cuts, [*cuts[1:], bits], strict=True)]


def _place(form: Packed, row: Sequence[int], bits: range, room: int) -> int:
    """Where in a half the bits of a row are put: where most of them are, if the number's fraction has room there."""
    least = min(int(form.positions[r][bits[0]]) % 16 for r in row) % 8
    return least if least + len(bits) <= room else 0


def _taker(
    b: Builder, form: Packed, bits: range, places: Sequence[int], flip: int, above: int
) -> Callable[[int, Sequence[int]], Reg]:
    """Takes the bits out of their words to their places; turns the bits `flip`, and puts `above` there."""

    def word(row: int, registers: Sequence[int]) -> Reg:
        place = places[row]
        words, fields = _merged(b, form, bits, registers)
        moves = [(field[i], 16 * half + place + i) for half, field in enumerate(fields) for i in range(len(bits))]
        found = move(b, words, moves)
        turned = (above ^ flip << place) * _BOTH
        return b.apply("xor", found, b.i32(turned)) if turned else found

    return word


def _merged(b: Builder, form: Packed, bits: range, registers: Sequence[int]) -> tuple[Sequence[Reg], list[list[int]]]:
    """Words and the fields in them that hold the bits of these registers.

    Bits of several planes are put together once for a whole word of such codes, if they are few enough.
    """
    fields = [[int(form.positions[r][i]) for i in bits] for r in registers]
    apart = any(y != x + 1 for field in fields for x, y in pairwise(field))
    if not apart or len(bits) > _MERGED:
        return form.words, fields
    first = fields[0][0] // 32
    shift = fields[0][0] % _MERGED
    word: Reg | None = None
    kept = 0
    low = 0
    while low < len(bits):
        high = low + 1
        while high < len(bits) and fields[0][high] == fields[0][high - 1] + 1:
            high += 1
        distance = fields[0][low] % 32 - (fields[0][0] % 32 - shift + low)
        source = form.words[fields[0][low] // 32]
        moved = b.apply("shl" if distance < 0 else "lshr", source, b.i32(abs(distance)))
        mask = sum(((1 << (high - low)) - 1) << (unit + low) for unit in range(0, 32, _MERGED))
        word = moved if word is None else b.apply("choose", b.i32(kept), word, moved)
        kept |= mask
        low = high
    assert word is not None
    merged = [[field[0] % 32 - shift + i for i in range(len(bits))] for field in fields]
    _check(form, bits, registers, first)
    return (word,), merged


def _check(form: Packed, bits: range, registers: Sequence[int], word: int) -> None:
    """The planes of all these registers lie as those of the first do."""
    rows = [[int(form.positions[r][i]) for i in bits] for r in registers]
    steps = [[x - row[0] for x in row] for row in rows]
    assert all(row[0] // 32 == word for row in rows)
    assert all(s == steps[0] for s in steps), "units do not meet"


def _fits_f16(source: Float) -> bool:
    """Whether the fields of a code, put at those of an f16, are its value times a power of two: infinity, NaN too."""
    if source.mantissa > _SUBNORMAL_BITS or source.exponent > 5 or not (source.subnormal and source.zero):
        return False
    return source.specials == "ieee" if source.exponent == 5 else source.specials == "finite"


def _placed(b: Builder, source: Float, form: Packed, rows: Sequence[Sequence[int]]) -> Parts:
    low = _SUBNORMAL_BITS - source.mantissa
    magnitude = source.exponent + source.mantissa
    targets = [*range(low, low + magnitude), *([15] if source.signed else [])]

    def word(row: int, registers: Sequence[int]) -> Reg:
        fields = [[int(p) for p in form.positions[r]] for r in registers]
        moves = [(field[i], 16 * half + to) for half, field in enumerate(fields) for i, to in enumerate(targets)]
        return move(b, form.words, moves)

    return Parts((Part(word, (15 - source.bias,) * len(rows)),), (0.0,) * len(rows))

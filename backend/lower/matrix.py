"""A matrix product by instructions that multiply small matrices which the lanes of a warp hold together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...vm.dtypes import DType, Int
from ...vm.ir import Value
from ...vm.layout.spread import same_lanes
from ...vm.ops import Dot
from ..lane.build import Builder
from ..lane.ir import Reg, Type
from .byte_operands import as_bytes, as_fp8, sums_of
from .context import Context
from .fragments import Part, numbers_of
from .group_product import GroupProduct, steps_of
from .group_tile import GroupTile
from .matrix_layouts import COLUMNS, matrix_layouts, terms_of
from .swar import repack
from .tile import Packed, Scaled, Tile, coordinates

__all__ = ["lower_matrix"]

_ONES = {"f16": 0x3C003C00, "bf16": 0x3F803F80}
_FP8 = {"f8e4m3fn": "e4m3", "f8e5m2": "e5m2"}
_MANY = 64  # columns from which on arithmetic of words costs less than that of sums
_MANY_SMALL = 8  # for each row of a lane, where either factor needs it: a pair of rows has four words, a column two
_GROWTH = 10  # the power of two by which f16 codes are multiplied, lest halves of their units be lost
_LIFT = 64
_LIFTED = 0x5F805F80  # 2^64, twice, as bf16
_PACK = {"f16": "pack_f16x2", "bf16": "pack_bf16x2"}


@dataclass(frozen=True)
class _Places:
    """The registers of lane 0; other lanes hold other rows, columns and terms in the same ones.

    a     [row][word]: the registers whose elements are the terms of one operand word
    b     [column][word]
    sums  [row][column]: the two registers of neighbouring columns
    """

    a: list[list[list[int]]]
    b: list[list[list[int]]]
    sums: list[list[list[int]]]

    def with_rows(self, order: Sequence[int]) -> _Places:
        return _Places([self.a[row] for row in order], self.b, [self.sums[row] for row in order])


def lower_matrix(c: Context, result: Value, op: Dot) -> bool:
    """The product, if the operands lie as the instruction wants them; whether they do."""
    a, b, acc = (c.tile(v) for v in op.operands)
    terms = terms_of(c.target, op.a.type.dtype, op.b.type.dtype)
    (m, k), n = op.a.type.shape, op.b.type.shape[1]
    found = matrix_layouts((m, n, k), terms, c.lanes, a.layout) if terms else None
    if found is None or not same_lanes(found.b, b.layout) or not same_lanes(found.sums, acc.layout):
        return False
    assert result.type.layout == acc.layout
    at = _places(c, a, b, acc, terms // 8)
    kind: Type = "i32" if isinstance(op.a.type.dtype, Int) else "f32"
    alone = _Product(c, f"mma_{_kind(op)}", kind, at, _Words(c, b, at.b))
    sums = list(acc.values(c.b))
    product = _group(c, op, at, kind, terms) or alone
    if isinstance(op.a.type.dtype, Int):
        _integers(c, result, product, at, a, k * _peak(op.a) * _peak(op.b), sums)
        return True
    way = as_fp8 if op.a.type.dtype.bits == 8 else numbers_of
    part = None if a.origin is None else way(c.b, c.target, *_told(a), at.a)
    new = _nothing(c, sums)
    if part is None:
        plain = _Words(c, a, at.a)
        if isinstance(product, GroupProduct) and product.many and new:
            c.define(result, product.apart(plain))
            return True
        product.add(lambda row, word: plain(row, word), sums)
        c.define(result, tuple(sums))
        return True
    scaled = _coded(product, at, op.a.type.dtype, part, new)
    if new:
        c.tiles[result] = Tile(result.type, scaled.values(c.b), scaled=scaled)
        return True
    pairs = zip(scaled.numbers, scaled.factors, sums, strict=True)
    c.define(result, tuple(c.b.apply("fma", number, c.b.f32(factor), held) for number, factor, held in pairs))
    return True


def _integers(
    c: Context, result: Value, product: _Product | GroupProduct, at: _Places, a: Tile, largest: int, sums: list[Reg]
) -> None:
    """`largest`: what a sum of products may be."""
    plain = _Words(c, a, at.a)
    source, to = None if a.origin is None else a.origin[0], a.type.dtype
    parts = None
    if isinstance(source, Int) and isinstance(to, Int) and a.origin is not None:
        parts = as_bytes(c.b, source, to, a.origin[1], at.a, len(at.sums[0]))
    rows = [[r for pair in row for r in pair] for row in at.sums]
    none = (0,) * len(rows)
    one = Part(lambda row, registers: plain.of(registers), none, none)

    def fresh(part: Part, start: Reg) -> list[Reg]:
        return product.fresh(_of(part, at), [start] * len(sums))

    found = sums_of(c.b, parts or (one,), rows, largest, sums, fresh, isinstance(product, _Product))
    if found is None:
        product.add(lambda row, word: plain(row, word), sums)
        c.define(result, tuple(sums))
        return
    c.tiles[result] = Tile(result.type, found.values, scaled=found.scaled)


def _group(c: Context, op: Dot, at: _Places, total: Type, terms: int) -> GroupProduct | None:
    """The product by four warps together, if b lies in memory for that; `total`: of the sums."""
    layout = op.a.type.layout
    if op.b not in c.grouped or layout is None:
        return None
    steps = steps_of(layout, c.lanes, terms)
    assert steps is not None
    return GroupProduct(c, _kind(op), total, GroupTile(c.grouped[op.b]), steps, at.sums)


def _peak(value: Value) -> int:
    """The largest that an integer of this type may be, whatever its sign."""
    kind = value.type.dtype
    assert isinstance(kind, Int)
    return max(kind.max, -kind.min)


def _told(a: Tile) -> tuple[DType, DType, Packed]:
    assert a.origin is not None
    return a.origin[0], a.type.dtype, a.origin[1]


def _kind(op: Dot) -> str:
    """The factors' types, as instructions are named by them."""
    a, b = op.a.type.dtype, op.b.type.dtype
    if isinstance(a, Int) and isinstance(b, Int):
        return {(1, 1): "s8", (0, 0): "u8", (0, 1): "us8", (1, 0): "su8"}[a.signed, b.signed]
    return _FP8.get(a.name, a.name)


def _places(c: Context, a: Tile, b: Tile, acc: Tile, word: int) -> _Places:
    """`word`: how many terms share an operand's register."""
    rows = {r: x for x, r in enumerate(dict.fromkeys(sorted(m for m, _ in _first(c, acc))))}
    starts = sorted({n for _, n in _first(c, acc)})[::2]
    columns = {n: x for x, n in enumerate(starts)}
    of_a = {tuple(x): r for r, x in enumerate(_first(c, a))}
    of_b = {tuple(x): r for r, x in enumerate(_first(c, b))}
    of_sums = {tuple(x): r for r, x in enumerate(_first(c, acc))}
    top = next(iter(rows))
    held = sorted((r, k) for (m, k), r in of_a.items() if m == top)
    terms = [[k for _, k in held[i : i + word]] for i in range(0, len(held), word)]
    return _Places(
        [[[of_a[m, k] for k in ks] for ks in terms] for m in rows],
        [[[of_b[k, n] for k in ks] for ks in terms] for n in columns],
        [[[of_sums[m, n], of_sums[m, n + 1]] for n in columns] for m in rows],
    )


def _first(c: Context, tile: Tile) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in coordinates(tile.layout, 2, c.lanes)[0]]


class _Words:
    """An operand's words, of elements that are what they are."""

    def __init__(self, c: Context, tile: Tile, at: list[list[list[int]]]) -> None:
        self.c, self.tile, self.at = c, tile, at

    def __call__(self, side: int, word: int) -> Reg:
        return self.of(self.at[side][word])

    def of(self, registers: Sequence[int]) -> Reg:
        b, tile = self.c.b, self.tile
        name = tile.type.dtype.name
        if isinstance(tile.form, Packed):
            return repack(b, tile.form.words, tile.form.positions[list(registers)], 32 // len(registers))
        values = [tile.value(b, r) for r in registers]
        known = [b.known(v) for v in values]
        if name in _PACK and all(k is not None and k.size == 1 for k in known):
            whole = tile.type.dtype.encode(np.array([k[0] for k in known if k is not None], np.float64))
            return b.i32(int(whole[0]) | int(whole[1]) << 16)
        if name in _PACK:
            low, high = values
            return b.atom(_PACK[name], "i32", low, high)
        joined, *more = (tile.code(b, r) for r in registers)
        for i, code in enumerate(more, 1):
            joined = b.apply("or", joined, b.apply("shl", code, b.i32(i * 32 // len(registers))))
        return joined


class _Lifted(_Words):
    """Of bf16 numbers, times 2^64: exact, unless that is above the largest."""

    def of(self, registers: Sequence[int]) -> Reg:
        return self.c.b.atom("mul_bf16x2", "i32", super().of(registers), self.c.b.i32(_LIFTED))


@dataclass(frozen=True)
class _Product:
    """Chains of one instruction over the terms, for all pairs of rows and all columns."""

    c: Context
    name: str
    type: Type
    at: _Places
    b: _Words

    def add(self, a: Callable[[int, int], Reg], sums: list[Reg]) -> None:
        """Adds the product with the operand words a(row, word) to `sums`, in place."""
        pairs = list(pairwise(range(len(self.at.a))))[::2]
        for word in range(0, len(self.at.a[0]), 2):  # outermost, so that few operands are alive at a time
            for top, bottom in pairs:
                operands = [a(row, w) for w in (word, word + 1) for row in (top, bottom)]
                for column, pair in enumerate(self.at.sums[top]):
                    four = [*pair, *self.at.sums[bottom][column]]
                    terms = [self.b(column, w) for w in (word, word + 1)]
                    held = (sums[r] for r in four)
                    found = self.c.b.collective(self.name, self.type, 4, *operands, *terms, *held)
                    for register, value in zip(four, found, strict=True):
                        sums[register] = value

    def fresh(self, a: Callable[[int, int], Reg], start: Sequence[Reg] | None = None) -> list[Reg]:
        """The product alone, or from where it is to start."""
        count = sum(len(pair) for row in self.at.sums for pair in row)
        sums = [self.c.b.constant(self.type, 0)] * count if start is None else list(start)
        self.add(a, sums)
        return sums

    def lifted(self) -> _Product:
        """With a right factor that is 2^64 times as large."""
        return replace(self, b=_Lifted(self.c, self.b.tile, self.b.at))


def _coded(product: _Product | GroupProduct, at: _Places, to: DType, part: Part, new: bool) -> Scaled:
    """The product alone, where a's numbers are known up to a factor and a difference for each row.

    `new`: whether it is not added to others.
    """
    lift, columns = 0, COLUMNS * len(at.sums[0])
    numbers: Sequence[Reg]
    many = columns >= (_MANY_SMALL * len(at.a) if part.small else _MANY)
    if to.name in _ONES and (many or isinstance(product, GroupProduct)):
        part = _finished(product.c.b, part, to)
    if part.small:
        assert isinstance(product, _Product)
        product, lift = product.lifted(), _LIFT
    if any(part.bias):
        assert isinstance(product, _Product)
        numbers = _biased(product, part, to)
    elif isinstance(product, GroupProduct) and product.many and new:
        numbers = product.apart(_of(part, at))
    else:
        numbers = product.fresh(_of(part, at))
    factors = [1.0] * len(numbers)
    for exponent, row in zip(part.exponent, at.sums, strict=True):
        for register in (r for pair in row for r in pair):
            factors[register] = 2.0 ** (exponent - lift)
    return Scaled(numbers, factors)


def _nothing(c: Context, sums: Sequence[Reg]) -> bool:
    """Whether the sums are 0 before anything is added."""
    return all((known := c.b.known(r)) is not None and not known.any() for r in sums)


def _biased(product: _Product, part: Part, to: DType) -> list[Reg]:
    """The product less the biases, which are multiples of the sums of b: it starts from these."""
    order = _order(part.exponent)
    at, part = product.at.with_rows(order), _with_rows(part, order)
    product = replace(product, at=at)
    return product.fresh(_of(part, at), _taken_off(product, part, to))


def _order(exponents: Sequence[int]) -> list[int]:
    """Rows in pairs that have the same two exponents, if that can be."""
    rows = sorted(range(len(exponents)), key=lambda row: exponents[row])
    half = len(rows) // 2
    return [row for pair in zip(rows[:half], rows[half:], strict=True) for row in pair]


def _with_rows(part: Part, order: Sequence[int]) -> Part:
    exponent, bias = tuple(part.exponent[row] for row in order), tuple(part.bias[row] for row in order)
    return replace(part, word=lambda row, registers: part.word(order[row], registers), exponent=exponent, bias=bias)


def _taken_off(product: _Product, part: Part, to: DType) -> list[Reg]:
    """What the biases amount to: multiples of the sums of b, which are a product with ones.

    Where all pairs of rows take off the same, that product with what they take off does for all of them.
    """
    b = product.c.b
    off = (0.0 - np.array(part.bias)) / 2.0 ** np.array(part.exponent, np.float64)
    if all(off[row] == off[row % 2] for row in range(len(off))) and (to.decode(to.encode(off)) == off).all():
        words = [b.i32(_twice(to, number)) for number in off]
        return product.fresh(lambda row, word: words[row])
    ones = b.i32(_ONES[to.name])
    total = product.fresh(lambda row, word: ones)
    for factor, pairs in zip(off, product.at.sums, strict=True):
        for register in (r for pair in pairs for r in pair):
            total[register] = b.apply("fmul", total[register], b.f32(float(factor)))
    return total


def _finished(b: Builder, part: Part, to: DType) -> Part:
    """The same by numbers that are not small, of which nothing is taken off: by arithmetic of pairs of halves."""
    growth = 127 if part.small else _GROWTH if any(part.bias) else 0
    if not growth:
        return part
    exponent = tuple(e - growth for e in part.exponent)
    off = (0.0 - np.array(part.bias)) / 2.0 ** np.array(exponent, np.float64)
    factor = b.i32(_twice(to, 2.0**growth))

    def word(row: int, registers: Sequence[int]) -> Reg:
        code = part.word(row, registers)
        if off[row]:
            return b.atom(f"fma_{to.name}x2", "i32", code, factor, b.i32(_twice(to, off[row])))
        return b.atom(f"mul_{to.name}x2", "i32", code, factor)

    return Part(word, exponent, (0,) * len(exponent))


def _twice(to: DType, number: float) -> int:
    """The word of twice a number that the type has."""
    code = to.encode(np.array([number]))
    assert to.decode(code)[0] == number
    return int(code[0]) * 0x10001


def _of(part: Part, at: _Places) -> Callable[[int, int], Reg]:
    return lambda row, word: part.word(row, at.a[row][word])

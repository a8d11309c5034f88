"""Instructions that make tiles, and that change how a tile is seen without arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm, prod
from typing import cast

import numpy as np

from ..bits import pack, unpack
from ..dtypes import Bool, DType, Float, Int
from ..expr import Expr
from ..ir import Carrier, LayoutRule, Machine, Op, TileType, TypeRuleError, Value
from ..layout.relation import Layout, LayoutError
from ..layout.spread import cover, distribute
from ..layout.views import local, reshape, transpose


@dataclass(frozen=True)
class Full(Op):
    """Every element is `value`, rounded to the dtype."""

    value: float
    dtype: DType
    shape: tuple[int, ...]
    layout: Layout | None = None

    def infer(self) -> TileType:
        return TileType(self.dtype, self.shape, self.layout)

    def run(self, machine: Machine) -> Carrier:
        value = self.value if isinstance(self.dtype, Bool) else self.dtype.round(np.asarray(self.value))
        return np.full(self.shape, value, self.dtype.carrier)

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        return LayoutRule(self.layout or result, ())


@dataclass(frozen=True)
class Scalar(Op):
    """A scalar expression as a tile of no dimensions; it wraps to the dtype."""

    value: Expr
    dtype: DType

    def infer(self) -> TileType:
        if not isinstance(self.dtype, Int | Bool):
            raise TypeRuleError(f"an index expression is an integer, not {self.dtype}", "cast it")
        return TileType(self.dtype, ())

    def run(self, machine: Machine) -> Carrier:
        number = machine.index(self.value)
        if isinstance(self.dtype, Bool):
            return np.asarray(number != 0)
        return self.dtype.decode(np.asarray(number & ((1 << self.dtype.bits) - 1), self.dtype.code_dtype))


@dataclass(frozen=True)
class Iota(Op):
    """Each element is its own position along `dim`."""

    dtype: DType
    shape: tuple[int, ...]
    dim: int = 0
    layout: Layout | None = None

    def infer(self) -> TileType:
        if not 0 <= self.dim < len(self.shape):
            raise TypeRuleError(f"a tile of shape {list(self.shape)} has no dimension {self.dim}", "count from 0")
        if not isinstance(self.dtype, Int) or self.dtype.bits < 16:
            raise TypeRuleError(f"positions need integers of 16 bits or more, not {self.dtype}", "use i32")
        return TileType(self.dtype, self.shape, self.layout)

    def run(self, machine: Machine) -> Carrier:
        line = np.arange(self.shape[self.dim], dtype=np.int64)
        ones = [1] * len(self.shape)
        ones[self.dim] = -1
        return cast(Carrier, np.broadcast_to(line.reshape(ones), self.shape).astype(self.dtype.carrier))

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        return LayoutRule(self.layout or result, ())


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in row-major order under another shape."""

    x: Value
    shape: tuple[int, ...]

    def infer(self) -> TileType:
        if prod(self.shape) != self.x.type.elements:
            raise TypeRuleError(
                f"{self.x.type} has {self.x.type.elements} elements, shape {list(self.shape)} has {prod(self.shape)}",
                "reshape keeps the number of elements",
            )
        return TileType(self.x.type.dtype, self.shape)

    def run(self, machine: Machine) -> Carrier:
        return cast(Carrier, machine.tile(self.x).reshape(self.shape))

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        """The elements stay where they are if digits of the new shape can say where; else the operand moves."""
        old, known = self.x.type.shape, operands[0]
        if known is None and result is None:
            return LayoutRule(None, (None,))
        for candidate in (known, distribute(old, lanes)) if known is not None else ():
            seen = _reshaped(candidate, old, self.shape)
            if seen is not None:
                return LayoutRule(seen, (candidate,))
        target = result or distribute(self.shape, lanes)
        source = _reshaped(target, self.shape, old)
        if source is not None:
            return LayoutRule(target, (source,))
        return LayoutRule(cover(local(*self.shape), lanes), (cover(local(*old), lanes),))


def _reshaped(layout: Layout, old: tuple[int, ...], new: tuple[int, ...]) -> Layout | None:
    """The same elements by the new shape; None where the two shapes cut the layout's digits differently."""
    try:
        return reshape(layout, old, new)
    except LayoutError:
        return None


@dataclass(frozen=True)
class Transpose(Op):
    """Dimension i of the result is dimension `order[i]` of the operand."""

    x: Value
    order: tuple[int, ...]

    def infer(self) -> TileType:
        rank = len(self.x.type.shape)
        if sorted(self.order) != list(range(rank)):
            raise TypeRuleError(
                f"{list(self.order)} is no order of {rank} dimensions", f"name each of 0..{rank - 1} once"
            )
        return TileType(self.x.type.dtype, tuple(self.x.type.shape[i] for i in self.order))

    def run(self, machine: Machine) -> Carrier:
        return cast(Carrier, np.transpose(machine.tile(self.x), self.order))

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        if operands[0] is not None:
            return LayoutRule(transpose(operands[0], self.order), operands)
        back = tuple(self.order.index(i) for i in range(len(self.order)))
        return LayoutRule(result, (None if result is None else transpose(result, back),))


@dataclass(frozen=True)
class Expand(Op):
    """Repeats the operand along its dimensions of size 1 up to `shape`."""

    x: Value
    shape: tuple[int, ...]

    def infer(self) -> TileType:
        old = self.x.type.shape
        if old and (len(old) != len(self.shape) or any(n not in (1, m) for n, m in zip(old, self.shape, strict=True))):
            raise TypeRuleError(
                f"{self.x.type} does not expand to {list(self.shape)}", "only sizes of 1 can be repeated"
            )
        return TileType(self.x.type.dtype, self.shape)

    def run(self, machine: Machine) -> Carrier:
        return cast(Carrier, np.broadcast_to(machine.tile(self.x), self.shape))


@dataclass(frozen=True)
class View(Op):
    """The bits of each row (last dimension), little-endian, as another dtype: n of b bits become n·b/b' of b' bits."""

    x: Value
    dtype: DType
    layout: Layout | None = None

    def infer(self) -> TileType:
        kind = self.x.type
        if isinstance(kind.dtype, Bool) or isinstance(self.dtype, Bool):
            raise TypeRuleError("bool tiles have no bits to view", "where(…, 1, 0) makes integers of them")
        if not kind.shape:
            if kind.dtype.bits != self.dtype.bits:
                raise TypeRuleError(f"a scalar of {kind.dtype} cannot be viewed as {self.dtype}", "the widths differ")
            return TileType(self.dtype, ())
        total = kind.shape[-1] * kind.dtype.bits
        if total % self.dtype.bits:
            raise TypeRuleError(
                f"rows of {kind.shape[-1]} × {kind.dtype.bits} bits are no whole number of {self.dtype}",
                f"{total} is not divisible by {self.dtype.bits}",
            )
        return TileType(self.dtype, (*kind.shape[:-1], total // self.dtype.bits), self.layout)

    def run(self, machine: Machine) -> Carrier:
        x, old, new = machine.tile(self.x), self.x.type.dtype, self.infer()
        codes = old.encode(x)  # exact: a tile holds values of its dtype
        if old.bits == self.dtype.bits:
            return self.dtype.decode(codes.astype(self.dtype.code_dtype))
        rows = codes.reshape(-1, x.shape[-1])
        count = new.shape[-1]
        seen = [unpack(pack(row, old.bits), self.dtype.bits, count) for row in rows]
        return self.dtype.decode(np.stack(seen).reshape(new.shape).astype(self.dtype.code_dtype))

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        if self.x.type.dtype.bits == self.dtype.bits:
            return LayoutRule(self.layout or operands[0] or result, (operands[0] or self.layout or result,))
        old, new = self.x.type.dtype.bits, self.dtype.bits
        bits = lcm(old, new)  # a lane holds whole runs of this many bits of a row
        there = distribute(self.x.type.shape, lanes, bits // old)
        return LayoutRule(self.layout or distribute(self.infer().shape, lanes, bits // new), (there,))


@dataclass(frozen=True)
class Convert(Op):
    """The same tile in another layout: registers move between lanes."""

    x: Value
    layout: Layout

    def infer(self) -> TileType:
        kind = self.x.type
        for dim, size in enumerate(kind.shape):
            if self.layout.size(f"d{dim}") != size:
                raise TypeRuleError(
                    f"layout {self.layout} covers {self.layout.size(f'd{dim}')} along dimension {dim}, "
                    f"the tile has {size}",
                    "give a layout of the tile's shape",
                )
        return TileType(kind.dtype, kind.shape, self.layout)

    def run(self, machine: Machine) -> Carrier:
        return machine.tile(self.x)

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        return LayoutRule(self.layout, operands)


@dataclass(frozen=True)
class Item(Op):
    """The value of an integer tile of one element, as a scalar (it binds a `Var`)."""

    x: Value

    def infer(self) -> None:
        if (
            self.x.type.elements != 1
            or isinstance(self.x.type.dtype, Float)
            or not isinstance(self.x.type.dtype, Int | Bool)
        ):
            raise TypeRuleError(
                f"item takes one integer or bool, not {self.x.type}", "reduce the tile, or cast it to i32"
            )

    def run(self, machine: Machine) -> Carrier:
        return machine.tile(self.x).reshape(())


TileOp = Full | Scalar | Iota | Reshape | Transpose | Expand | View | Convert | Item

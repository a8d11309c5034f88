"""Reductions: first over the registers of a lane, then over the lanes that differ in the reduced dimension."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...vm.dtypes import DType, Float, Int
from ...vm.ir import Value
from ...vm.layout.relation import Layout
from ...vm.ops import Reduce
from ..lane.build import Builder
from ..lane.ir import Reg
from .arithmetic import rounded
from .context import Context
from .tile import coordinates

Fold = Callable[[Reg, Reg], Reg]


def _fold(b: Builder, kind: str, dtype: DType) -> Fold:
    if kind in ("any", "all"):
        return lambda x, y: b.apply("or" if kind == "any" else "and", x, y)
    if isinstance(dtype, Float):
        name = {"sum": "fadd", "max": "fmax", "min": "fmin"}[kind]
    else:
        signed = isinstance(dtype, Int) and dtype.signed
        name = "add" if kind == "sum" else ("s" if signed else "u") + kind
    return lambda x, y: b.apply(name, x, y)


def tree(values: list[Reg], fold: Fold) -> Reg:
    """A balanced fold: short chains, and smaller rounding errors than one after the other."""
    while len(values) > 1:
        values = [fold(*values[i : i + 2]) if i + 1 < len(values) else values[i] for i in range(0, len(values), 2)]
    return values[0]


def lower_reduce(c: Context, result: Value, op: Reduce) -> None:
    tile, dtype = c.tile(op.x), op.x.type.dtype
    fold = _fold(c.b, op.kind, dtype)
    rank = len(op.x.type.shape)
    full = coordinates(tile.layout, rank, c.lanes)
    coords = np.delete(full, op.dim, axis=2)
    groups: dict[bytes, dict[bytes, Reg]] = {}
    for register, value in enumerate(tile.values(c.b)):  # copies of an element count once
        groups.setdefault(coords[:, register].tobytes(), {})[full[:, register].tobytes()] = value
    partial = {key: tree(list(values.values()), fold) for key, values in groups.items()}
    for extent, stride in _lane_digits(tile.layout, op.dim):
        partial = {key: _across(c, x, extent, stride, fold) for key, x in partial.items()}
    kind = result.type
    assert kind.layout is not None
    out = coordinates(kind.layout, len(kind.shape), c.lanes)
    if op.keepdim:
        out = np.delete(out, op.dim, axis=2)
    c.define(result, tuple(rounded(c, dtype, partial[out[:, r].tobytes()]) for r in range(out.shape[1])))


def _lane_digits(layout: Layout, dim: int) -> list[tuple[int, int]]:
    """(extent, stride on lane) of every digit by which lanes differ in the dimension."""
    axis = f"d{dim}"
    return [(d.extent, d.on("lane")) for d in layout.digits if d.on("lane") and d.on(axis)]


def _across(c: Context, x: Reg, extent: int, stride: int, fold: Fold) -> Reg:
    """Folds over one digit of the lane number; every lane of the digit ends with the whole, the same to the last bit.

    A power of two takes log2 steps, each with the lane half a turn away; for other extents each lane gathers all terms.
    """
    lane = np.arange(c.lanes)
    digit = lane // stride % extent

    def of(place: NDArray[np.int64]) -> Reg:
        """What the lane with that value of the digit holds."""
        return c.b.shuffle([x], [0] * c.lanes, (lane + (place - digit) * stride).tolist())

    if extent & (extent - 1):
        return tree([of(np.full(c.lanes, k)) for k in range(extent)], fold)
    step = extent // 2
    while step:
        x = fold(x, of((digit + step) % extent))
        step //= 2
    return x

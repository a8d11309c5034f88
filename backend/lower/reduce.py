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
from .exchange import Taken, crosses, shuffled
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
        partial = dict(zip(partial, _across(c, list(partial.values()), extent, stride, fold), strict=True))
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


def _across(c: Context, xs: list[Reg], extent: int, stride: int, fold: Fold) -> list[Reg]:
    """Folds each over one digit of the lane number; every lane of the digit ends with the whole, the same to the last
    bit.

    A power of two takes log2 steps, each with the lane half a turn away; for other extents each lane gathers all terms.
    """
    lane = np.arange(c.lanes)
    digit = lane // stride % extent

    def at(place: NDArray[np.int64]) -> tuple[int, ...]:
        """For each lane, the one with that value of the digit."""
        return tuple((lane + (place - digit) * stride).tolist())

    if extent & (extent - 1):
        return _gathered(c, xs, [at(np.full(c.lanes, k)) for k in range(extent)], fold)
    steps = [1 << k for k in reversed(range(extent.bit_length() - 1))]
    if c.target.warp is None:
        return [_turned(c, x, [at((digit + s) % extent) for s in steps], fold) for x in xs]
    partners = [at(digit ^ s) for s in steps]
    far = max((k + 1 for k, lanes in enumerate(partners) if crosses(c, lanes)), default=0)
    xs = [_turned(c, x, partners[far:][::-1], fold) for x in xs]
    near = extent >> far  # so many neighbours have met
    return _gathered(c, xs, [at(digit % near + k) for k in range(0, extent, near)], fold) if far else xs


def _turned(c: Context, x: Reg, partners: list[tuple[int, ...]], fold: Fold) -> Reg:
    """Folded with one partner after the other."""
    for lanes in partners:
        x = fold(x, c.b.shuffle([x], [0] * c.lanes, lanes))
    return x


def _gathered(c: Context, xs: list[Reg], partners: list[tuple[int, ...]], fold: Fold) -> list[Reg]:
    """Each folded over what all its partners hold, in their order."""
    found = iter(shuffled(c, [Taken((x,), (0,) * c.lanes, lanes) for x in xs for lanes in partners]))
    return [tree([next(found) for _ in partners], fold) for _ in xs]

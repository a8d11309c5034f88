"""Runs one instruction on given tiles, without an interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from numpy.typing import ArrayLike

from bitwright.vm.dtypes import DType, dtype
from bitwright.vm.expr import Expr, Var, evaluate
from bitwright.vm.ir import Array, Carrier, Memory, Op, Shared, TileType, TypeRuleError, Value
from bitwright.vm.layout.relation import Layout

LANES = 16


class Desk:
    """A `Machine` for one instruction: `calls` notes what the instruction asks of memory and of the other blocks."""

    def __init__(self, tiles: Mapping[Value, Carrier], scalars: Mapping[Var, int], answer: Carrier | None) -> None:
        self.tiles, self.scalars, self.answer = tiles, scalars, answer
        self.calls: list[tuple[object, ...]] = []

    def tile(self, value: Value) -> Carrier:
        return self.tiles[value]

    def index(self, expr: Expr) -> int:
        return evaluate(expr, self.scalars)

    def read(self, memory: Memory, at: tuple[int, ...], shape: tuple[int, ...], other: float) -> Carrier:
        self.calls.append(("read", memory, at, shape, other))
        assert self.answer is not None
        return self.answer

    def write(self, memory: Memory, at: tuple[int, ...], values: Carrier, dtype: DType) -> None:
        self.calls.append(("write", memory, at, values.tolist(), dtype))

    def copy(
        self, source: Array, at: tuple[int, ...], target: Shared, to: tuple[int, ...], shape: tuple[int, ...]
    ) -> None:
        self.calls.append(("copy", source, at, target, to, shape))

    def commit(self) -> None:
        self.calls.append(("commit",))

    def wait(self, pending: int) -> None:
        self.calls.append(("wait", pending))

    def barrier(self) -> None:
        self.calls.append(("barrier",))

    def lock(self, array: Array, at: tuple[int, ...]) -> None:
        self.calls.append(("lock", array, at))

    def release(self, array: Array, at: tuple[int, ...]) -> None:
        self.calls.append(("release", array, at))

    def show(self, text: str) -> None:
        self.calls.append(("show", text))

    def fail(self, message: str) -> None:
        self.calls.append(("fail", message))


def value(kind: str, *shape: int, name: str = "x") -> Value:
    return Value(name, TileType(dtype(kind), shape))


def carrier(x: Value, values: ArrayLike) -> Carrier:
    """The values as the tile holds them; each must be a value of its dtype."""
    given = np.asarray(values)
    held = given.astype(x.type.dtype.carrier)
    again = x.type.dtype.decode(x.type.dtype.encode(held))
    np.testing.assert_array_equal(held, again)
    return np.broadcast_to(held, x.type.shape)


def run(op: Op, *operands: ArrayLike, scalars: Mapping[Var, int] | None = None) -> Carrier:
    """The result for these operand values; its shape and carrier are those that `infer` says."""
    distinct = list(dict.fromkeys(op.operands))
    tiles = {v: carrier(v, values) for v, values in zip(distinct, operands, strict=True)}
    result = op.run(Desk(tiles, scalars or {}, None))
    kind = op.infer()
    assert result is not None
    if kind is not None:
        assert result.shape == kind.shape
        assert result.dtype == kind.dtype.carrier
        np.testing.assert_array_equal(result, kind.dtype.decode(kind.dtype.encode(result)))
    return result


def effects(
    op: Op, *operands: ArrayLike, scalars: Mapping[Var, int] | None = None, answer: Carrier | None = None
) -> list[tuple[object, ...]]:
    """What an instruction without a result asks of the machine."""
    tiles = {v: carrier(v, values) for v, values in zip(op.operands, operands, strict=True)}
    desk = Desk(tiles, scalars or {}, answer)
    op.run(desk)
    return desk.calls


def refused(op: Op, *texts: str) -> None:
    """The type rule refuses the operands, says these texts, and says what to do."""
    with pytest.raises(TypeRuleError) as caught:
        op.infer()
    for text in texts:
        assert text in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint


def covers(layout: Layout | None, shape: tuple[int, ...], lanes: int = LANES) -> Layout:
    """The layout gives every element of the shape a place, on lanes of the block."""
    assert layout is not None
    for dim, size in enumerate(shape):
        assert layout.size(f"d{dim}") == size
    assert lanes % layout.size("lane") == 0
    dims = tuple(f"d{d}" for d in range(len(shape)))
    assert set(layout.points(*dims)) == set(product(*map(range, shape)))
    return layout


def lanes_of(layout: Layout, *dims: str) -> set[tuple[int, ...]]:
    """Which elements are on which lanes: pairs (coordinates.., lane)."""
    return set(layout.points(*dims, "lane"))

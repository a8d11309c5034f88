"""Random: Philox4x32-10 in 32-bit words."""

from __future__ import annotations

import numpy as np

from ...vm.ir import Value
from ...vm.ops import Random
from ...vm.ops.random import MULTIPLIERS, ROUNDS, WEYL
from ..lane.ir import Reg
from .context import Context
from .tile import coordinates


def lower_random(c: Context, result: Value, op: Random) -> None:
    b, layout = c.b, result.type.layout
    assert layout is not None
    where = coordinates(layout, len(op.shape), c.lanes)
    pitch = np.array([int(np.prod(op.shape[k + 1 :])) for k in range(len(op.shape))], np.int64)
    seed, first = c.index(op.seed), c.index(op.offset)
    keys = _halves(c, seed)
    out = []
    for register in range(where.shape[1]):
        counter = b.apply("add", first, b.i64(where[:, register] @ pitch))
        out.append(_philox(c, _halves(c, counter), keys))
    c.define(result, tuple(out))


def _halves(c: Context, x: Reg) -> tuple[Reg, Reg]:
    return c.b.apply("trunc", x), c.b.apply("trunc", c.b.apply("lshr", x, c.b.i64(32)))


def _philox(c: Context, counter: tuple[Reg, Reg], key: tuple[Reg, Reg]) -> Reg:
    b = c.b
    c0, c1, c2, c3 = *counter, b.i32(0), b.i32(0)
    k0, k1 = key
    m0, m1 = (b.i32(m) for m in MULTIPLIERS)
    for _ in range(ROUNDS):
        high0, low0 = b.apply("mulhi", c0, m0), b.apply("mul", c0, m0)
        high1, low1 = b.apply("mulhi", c2, m1), b.apply("mul", c2, m1)
        c0, c1 = b.apply("xor", b.apply("xor", high1, c1), k0), low1
        c2, c3 = b.apply("xor", b.apply("xor", high0, c3), k1), low0
        k0, k1 = b.apply("add", k0, b.i32(WEYL[0])), b.apply("add", k1, b.i32(WEYL[1]))
    return c0

"""Random bits that depend on a seed and a position only, so every target draws the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from ..dtypes import Int
from ..expr import Expr
from ..ir import Carrier, LayoutRule, Machine, Op, TileType
from ..layout.relation import Layout

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def philox(counter: np.ndarray[tuple[int, ...], np.dtype[np.uint64]], seed: int) -> Carrier:
    """The first word of Philox4x32-10 (Salmon et al., SC'11) at 64-bit counters, for a 64-bit key."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c = [counter & mask, counter >> half, np.zeros_like(counter), np.zeros_like(counter)]
    k = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
    for _ in range(ROUNDS):
        p0, p1 = c[0] * np.uint64(MULTIPLIERS[0]), c[2] * np.uint64(MULTIPLIERS[1])
        c = [(p1 >> half) ^ c[1] ^ np.uint64(k[0]), p1 & mask, (p0 >> half) ^ c[3] ^ np.uint64(k[1]), p0 & mask]
        k = [(k[0] + WEYL[0]) & 0xFFFFFFFF, (k[1] + WEYL[1]) & 0xFFFFFFFF]
    return cast(Carrier, c[0].astype(np.int64))


@dataclass(frozen=True)
class Random(Op):
    """32 random bits per element: Philox at counter `offset` + the element's row-major position, under key `seed`."""

    seed: Expr
    offset: Expr
    shape: tuple[int, ...]
    layout: Layout | None = None

    def infer(self) -> TileType:
        return TileType(Int(32, signed=False), self.shape, self.layout)

    def run(self, machine: Machine) -> Carrier:
        first = machine.index(self.offset) & (2**64 - 1)
        position = np.arange(int(np.prod(self.shape)), dtype=np.uint64).reshape(self.shape)
        return philox(position + np.uint64(first), machine.index(self.seed))

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        return LayoutRule(self.layout or result, ())


RandomOp = Random

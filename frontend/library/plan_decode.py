"""How to cut the product of few rows of x with a weight on a GPU: by a model of its blocks.

BK terms of a tile of columns are a step.  The steps of all tiles, one tile after the other, are cut into equal shares,
one for each block.  Where a share divides the steps of a tile, a block has one tile; else blocks go on from one tile to
the next, and whatever the sizes, as many blocks can be made as the GPU holds at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ...backend.cuda.architectures import Architecture

__all__ = ["LEAST_STEPS", "DecodeCut", "DecodeWork", "sharers", "x_bytes"]

LEAST_STEPS = 4
"""Of a block: else its beginning and end are most of it."""

_X_BYTES = 32 << 10  # of x in shared memory
_STAGES = 4
_WAVES = (1, 2, 3)  # that the GPU is to be full in, of blocks that cross tiles
_MOST = 5  # shares worth a measurement, of those that do not
_BETTER = 0.9  # shares that cross tiles must take this much of the time of those that do not

# In bytes that a multiprocessor could read meanwhile.
_EDGE = 16 << 10  # while a block begins, or ends a tile
_UNDER_WAY = 32 << 10  # while memory answers: fewer that are under way do not keep it busy

_REGISTERS = {(8, 1): 96, (16, 1): 112, (32, 1): 208, (8, 2): 120, (16, 2): 192}
"""Of a lane, about, by rows and `at_once`."""


@dataclass(frozen=True)
class DecodeCut:
    """share: steps that a block takes; chunk: those of them whose x is in shared memory at a time."""

    share: int
    chunk: int


@dataclass(frozen=True)
class DecodeWork:
    """One product.

    rows        of x in a block
    tiles       of columns
    steps       of each tile
    terms       of K in a step
    packed      bytes of weights in a step
    lanes       of a block
    at_once     storage tiles that a warp works on
    more        bytes of a block's shared memory beside x and weights
    gpu         that it is for
    processors  that this has
    """

    rows: int
    tiles: int
    steps: int
    terms: int
    packed: int
    lanes: int
    at_once: int
    more: int
    gpu: Architecture
    processors: int

    def best(self) -> list[DecodeCut]:
        """What is worth a measurement, the likeliest first."""
        even = [self.steps // n for n in range(1, self.steps + 1) if self.steps % n == 0]
        even = sorted((s for s in even if s >= LEAST_STEPS or s == self.steps), key=lambda s: (self.time(s), s))[:_MOST]
        full = {self._filling(waves) for waves in _WAVES}
        crossing = sorted((s for s in full if self.steps % s), key=self.time)
        if crossing and self.time(crossing[0]) < _BETTER * self.time(even[0]):
            order = crossing[:1] + even + crossing[1:]
        else:
            order = even[:1] + crossing + even[1:]
        return [self._cut(share) for share in order]

    @property
    def least(self) -> float:
        """The time of the likeliest."""
        return self.time(self.best()[0].share)

    def time(self, share: int) -> float:
        """In bytes that a multiprocessor could read meanwhile.

        Blocks come in waves.  Those of one multiprocessor share what it reads, if they have enough under way.
        """
        held = self._held(share)
        edges = _EDGE * (1 + sharers(share, self.steps))

        def wave(blocks: int) -> float:
            most = -(-blocks // self.processors)
            return share * max(most * self.packed, _UNDER_WAY / (_STAGES - 1)) + edges if blocks else 0.0

        full, rest = divmod(-(-self.steps * self.tiles // share), held)
        return full * wave(held) + wave(rest)

    def _cut(self, share: int) -> DecodeCut:
        """With x of as many steps in shared memory as fit, if as many are to be taken each time, or nearly so."""
        most = max(1, _X_BYTES // (2 * self.rows * self.terms))
        return DecodeCut(share, -(-share // -(-share // most)))

    def _held(self, share: int) -> int:
        """Blocks that the GPU has at once."""
        shared = x_bytes(self.rows, self._cut(share).chunk * self.terms) + _STAGES * self.packed + self.more
        return self.processors * self.gpu.blocks_on_one(self.lanes, shared, _REGISTERS[self.rows, self.at_once])

    def _filling(self, waves: int) -> int:
        """The share with which so many waves of blocks do all; how many are in one depends on x's memory, so on it."""
        share = LEAST_STEPS
        for _ in range(3):
            share = max(LEAST_STEPS, -(-self.steps * self.tiles // (waves * self._held(share))))
        return share


def x_bytes(rows: int, terms: int) -> int:
    """Of shared memory, for so many terms of rows of x: with a little room after each row."""
    return rows * (2 * terms + 16)


def sharers(steps: int, share: int) -> int:
    """The most blocks that share a tile of so many steps, if each takes `share` of them, of tile after tile."""
    return (share - gcd(steps, share) + steps - 1) // share + 1

"""Which accesses of different blocks are ordered: those between which a lock went from one block to the other.

The blocks of a grid may run in any order and at once.  The interpreter runs them one after the other, so an access that
is not ordered by a lock would be seen only in this order; it is told from an ordered one by vector clocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EPOCH_BITS = 24
_LAST_EPOCH = (1 << _EPOCH_BITS) - 1

Stamps = NDArray[np.int64]
"""Who touched each element last: 0 nobody, else block number (from 1) times 2^24 plus the block's epoch."""

Lock = tuple[object, tuple[int, ...]]


class BlockOrder:
    """The running block's clock.  A block's epoch grows at each release; `seen` is what it learned by taking locks."""

    def __init__(self) -> None:
        self._block, self._epoch = 0, 0
        self._seen: dict[int, int] = {}
        self._handed: dict[Lock, dict[int, int]] = {}

    def begin(self, number: int) -> None:
        """Block `number` (from 0) starts: it knows of no other."""
        self._block, self._epoch, self._seen = number + 1, 0, {}

    @property
    def stamp(self) -> int:
        return self._block << _EPOCH_BITS | self._epoch

    def acquire(self, lock: Lock) -> None:
        """All that was done before the lock's releases happened before what follows."""
        _learn(self._seen, self._handed.get(lock, {}))

    def release(self, lock: Lock) -> None:
        """What was done until now happens before whatever follows the lock's next acquisition."""
        handed = self._handed.setdefault(lock, {})
        _learn(handed, self._seen)
        _learn(handed, {self._block: self._epoch})
        self._epoch = min(self._epoch + 1, _LAST_EPOCH)

    def foreign(self, stamps: Stamps) -> NDArray[np.bool_]:
        """Where the last access is another block's and is not ordered before now."""
        found: NDArray[np.bool_] = (stamps != 0) & (stamps >> _EPOCH_BITS != self._block)
        for stamp in np.unique(stamps[found]).tolist():
            if self._seen.get(stamp >> _EPOCH_BITS, -1) >= stamp & _LAST_EPOCH:
                found &= stamps != stamp
        return found


def block_of(stamp: int) -> int:
    """The number (from 0) of the block that a stamp names."""
    return (stamp >> _EPOCH_BITS) - 1


def _learn(clock: dict[int, int], other: dict[int, int]) -> None:
    for block, epoch in other.items():
        clock[block] = max(clock.get(block, -1), epoch)

"""Which lanes touched each byte of a buffer since the last barrier: accesses that nothing orders are errors.

All lanes of a block count as unordered, those of one warp too: nothing but a barrier orders what they do to memory.
What a lane does itself is ordered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["MANY", "AccessError", "Touched"]

Ints = NDArray[np.int64]

MANY = 2047
"""In place of a lane's number: several lanes, or all of them."""

_LANES = 2048


class AccessError(ValueError):
    """A memory access that no correct program makes."""


@dataclass(frozen=True)
class _Reads:
    """Bytes first .. first + size of each lane in `who`."""

    first: Ints
    size: int
    who: Ints

    @property
    def places(self) -> Ints:
        return self.first[:, None] + np.arange(self.size)


@dataclass
class Touched:
    """What was done to one buffer.

    A stamp is the number of the barrier before (from 1) times 2048 plus the lane; a byte's last writer and its reader
    have one each.  Reads are only listed until somebody writes, so that buffers that are only read cost little.
    """

    name: str
    size: int
    _epoch: int = 0
    _reads: list[_Reads] = field(default_factory=list)
    _writer: Ints | None = None
    _reader: Ints | None = None

    def read(self, epoch: int, first: Ints, size: int, who: Ints) -> None:
        """Lanes `who` read `size` bytes from `first` on."""
        self._enter(epoch)
        reads = _Reads(first, size, who)
        if self._writer is not None:
            self._refuse("reads", "wrote", self._writer, reads.places, epoch, who)
        self._reads.append(reads)

    def write(self, epoch: int, first: Ints, size: int, who: Ints) -> None:
        """Lanes `who` write `size` bytes from `first` on, all at once."""
        self._enter(epoch)
        places = _Reads(first, size, who).places
        if self._writer is None:
            self._writer = np.zeros(self.size, np.int64)
        self._refuse("writes", "wrote", self._writer, places, epoch, who)
        if self._reads:
            if self._reader is None:
                self._reader = np.zeros(self.size, np.int64)
            for reads in self._reads:
                _stamp(self._reader, reads.places, epoch, reads.who)
            self._reads.clear()
        if self._reader is not None:
            self._refuse("writes", "read", self._reader, places, epoch, who)
        _stamp(self._writer, places, epoch, who)

    def _enter(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            self._reads.clear()

    def _refuse(self, does: str, did: str, stamps: Ints, places: Ints, epoch: int, who: Ints) -> None:
        """An error if another lane than `who` left its stamp since the last barrier."""
        found = stamps[places]
        base = epoch * _LANES
        clash = (found >= base) & ((found != base + who[:, None]) | (who[:, None] == MANY))
        if clash.any():
            lane, byte = np.argwhere(clash)[0]
            one, other = _lane(int(who[lane])), _lane(int(found[lane, byte]) - base)
            raise AccessError(
                f"a race: {one} {does} byte {places[lane, byte]} of {self.name}, "
                f"which {other} {did} since the last barrier"
            )


def _stamp(stamps: Ints, places: Ints, epoch: int, who: Ints) -> None:
    """Leaves the stamp of lanes `who`, or of several where there is or comes another."""
    base = epoch * _LANES
    mine = np.broadcast_to(base + who[:, None], places.shape)
    old = stamps[places]
    stamps[places] = np.where((old < base) | (old == mine), mine, base + MANY)
    stamps[places[(stamps[places] != mine)]] = base + MANY


def _lane(number: int) -> str:
    return "another lane" if number == MANY else f"lane {number}"

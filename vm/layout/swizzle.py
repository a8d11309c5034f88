"""XOR swizzles: bijections on one axis of addresses, outside the algebra of digits; and bank conflicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

BANKS = 32
BANK_BYTES = 4


@dataclass(frozen=True)
class Swizzle:
    """Address bits [base, base + bits) are XORed with the bits `shift` places above them.

    The unit of addresses is the caller's. Since shift >= bits, the source bits stay as they are, so that a second
    application undoes the first; a block of `period` addresses that begins at a multiple of it is mapped onto itself.
    """

    bits: int
    base: int
    shift: int

    def __post_init__(self) -> None:
        if self.bits < 0 or self.base < 0 or self.shift < self.bits:
            raise ValueError(f"{self}: bits and base are at least 0, and shift at least bits, or nothing could undo it")
        if self.base + self.shift + self.bits > 62:
            raise ValueError(f"{self} reaches past bit 62 of an address")

    @property
    def period(self) -> int:
        """The number of addresses after which the pattern repeats."""
        return 1 << (self.base + self.shift + self.bits) if self.bits else 1

    @overload
    def apply(self, address: int) -> int: ...

    @overload
    def apply(self, address: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]: ...

    def apply(self, address: int | npt.NDArray[np.int64]) -> int | npt.NDArray[np.int64]:
        """Where the datum at `address` goes, which is also what lies there: the map is its own inverse."""
        return address ^ (address >> self.shift & ((1 << self.bits) - 1) << self.base)

    @property
    def inverse(self) -> Swizzle:
        """Itself."""
        return self


def bank_conflicts(addresses: npt.NDArray[np.int64] | Iterable[int], width: int) -> int:
    """How many extra passes shared memory takes for one access of a warp: 0 means free of conflicts.

    `addresses` are the lanes' byte addresses, `width` the bytes (1, 2, 4, 8 or 16) that each lane accesses, aligned.
    There are 32 banks of 4 bytes. Lanes go in phases of 128 bytes (all 32 lanes at up to 4 bytes, 16 at 8, 8 at 16); in
    a phase a bank delivers one 4-byte word per pass, to every lane that wants a part of it.
    """
    if width not in (1, 2, 4, 8, 16):
        raise ValueError(f"an access is 1, 2, 4, 8 or 16 bytes wide, not {width}")
    lanes = np.asarray(addresses if isinstance(addresses, np.ndarray) else list(addresses), np.int64)
    if (lanes % width).any() or (lanes < 0).any():
        raise ValueError(f"an access of {width} bytes needs addresses that are multiples of {width} and not negative")
    parts = np.arange(max(width // BANK_BYTES, 1))
    together = BANKS // len(parts)
    extra = 0
    for first in range(0, len(lanes), together):
        words = np.unique(lanes[first : first + together, None] // BANK_BYTES + parts)
        extra += int(np.bincount(words % BANKS).max()) - 1
    return extra

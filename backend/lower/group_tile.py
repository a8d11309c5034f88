"""Tiles in shared memory as products of four warps read them by themselves: rows of x, so to say, for all their lanes.

The tile's columns go in spans of 128 bytes (64 or 32 where there are no more); a span of all rows stands after the
other.  In a span, rows follow each other without a gap, and the pieces of 16 bytes of a row are exchanged by the row's
number, so that neither the product nor the lanes that write the tile meet one bank several times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...vm.ir import Shared
from ...vm.layout.swizzle import Swizzle
from ..cuda.atoms_group import descriptor_fields
from ..lane.ir import Reg
from .context import Context

__all__ = ["GROUP_ALIGN", "GroupTile", "GroupWindow"]

GROUP_ALIGN = 1024
"""What the first byte is a multiple of: the exchange goes by the bits of addresses."""

_ROWS = 8  # which the descriptor takes together
_SPANS = {128: 3, 64: 2, 32: 1}  # bytes: bits of the row's number that count
_UNIT = 16  # bytes that a descriptor counts in


@dataclass(frozen=True)
class GroupTile:
    """A tile [rows, terms] of elements of 8 or 16 bits; `terms` are a multiple of 32 bytes, and `rows` of 8."""

    tile: Shared

    @property
    def element(self) -> int:
        """Bytes of an element."""
        return self.tile.dtype.bits // 8

    @property
    def span(self) -> int:
        return next(s for s in _SPANS if self.tile.shape[1] * self.element % s == 0)

    @property
    def size(self) -> int:
        """In bytes."""
        rows, terms = self.tile.shape
        return rows * terms * self.element

    def places(self, elements: NDArray[np.int64]) -> NDArray[np.int64]:
        """At which byte each of the elements, [..., 2] with their row and term, begins."""
        rows, span = self.tile.shape[0], self.span
        number, inside = np.divmod(elements[..., 1] * self.element, span)
        return Swizzle(_SPANS[span], 4, 3).apply((number * rows + elements[..., 0]) * span + inside)

    def descriptor(self, c: Context, term: int) -> Reg:
        """For the product with 32 bytes of terms, from `term` on."""
        number, inside = divmod(term * self.element, self.span)
        first = number * self.tile.shape[0] * self.span + inside
        fields = descriptor_fields(0, _ROWS * self.span, self.span)
        start = c.b.apply("and", c.b.apply("lshr", c.address(self.tile), c.b.i64(4)), c.b.i64(0x3FFF))
        return c.b.apply("add", start, c.b.constant("i64", _signed(fields + first // _UNIT)))


def _signed(word: int) -> int:
    return word - (word >> 63 << 64)


@dataclass(frozen=True)
class GroupWindow:
    """Such a tile, whole, as the lanes see it that write it: `coords` is [lanes, registers, 2]."""

    context: Context
    group: GroupTile
    coords: NDArray[np.int64]

    def address(self, register: int, bits: int) -> tuple[Reg, Reg, int]:
        """(base, offset, align): where the element in `register` begins, in bytes."""
        c, at = self.context, self.group.places(self.coords[:, register])
        base = c.b.apply("add", c.address(self.group.tile), c.b.i64(int(at[0])))
        return base, c.b.i32(at - at[0]), int(np.gcd.reduce(at, initial=GROUP_ALIGN))

"""Where the bits of one lane's elements lie in its 32-bit words.

An element of n bits is cut into planes, whose widths are powers of two, so that one mask (and one shift) finds the same
plane of several elements at once. A dense packing has no planes: n bits follow n bits and may cross words. Where a
decode wants bits elsewhere, a packing says of each bit where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .relation import Digit, Layout

WORD = 32


class StorageError(ValueError):
    """A description of storage that means nothing, or data that does not fit it."""


def default_planes(bits: int) -> tuple[int, ...]:
    """The powers of two in `bits`, the largest (with the lowest bits of the value) first: 7 = 4 + 2 + 1."""
    return tuple(1 << k for k in reversed(range(bits.bit_length())) if bits >> k & 1)


@dataclass(frozen=True)
class Piece:
    """A run of bits of one element inside one word: `width` bits from `low` in the element lie at `shift` in `word`."""

    reg: int
    low: int
    width: int
    word: int
    shift: int


@dataclass(frozen=True)
class Packing:
    """How the elements in a lane's registers (`bits` wide, 1 to 32) fill that lane's words.

    `planes` are widths from the lowest bits of the element upwards; each plane has its own words, one plane's after the
    other's. `container` is the width (8, 16 or 32) of the slots that neighbouring registers go to, and `unit` that of
    the parts of a slot that the registers after these go to (0: there is one, the slot). A plane of width p puts
    register r into slot r % S of a word (S = 32 / container), into unit (r / S) % U of the slot (U = container / unit),
    into field (r / S / U) % (unit / p) of the unit. With no planes the elements follow each other without gaps, and the
    container is 32.

    `fields`, in place of planes, is where each bit of G elements lies in W slots, element by element, lowest bit first:
    at p, bit p % container of slot p / container. Register r is element r / S % G, and its slots are slot r % S of the
    words from r / S / G * W on.
    """

    bits: int
    container: int
    planes: tuple[int, ...]
    unit: int = 0
    fields: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= WORD:
            raise StorageError(f"an element has 1 to {WORD} bits, not {self.bits}")
        if self.container not in (8, 16, 32):
            raise StorageError(f"a container is 8, 16 or 32 bits wide, not {self.container}")
        if self.fields:
            self._check_fields()
        elif not self.planes and self.container != WORD:
            raise StorageError(f"dense storage (no planes) has the container {WORD}, not {self.container}")
        if any(p not in (1, 2, 4, 8, 16, 32) for p in self.planes):
            raise StorageError(f"the width of a plane is a power of two up to {WORD}; {self.planes} has another")
        if self.planes and sum(self.planes) != self.bits:
            raise StorageError(f"the planes {self.planes} hold {sum(self.planes)} bits, the element has {self.bits}")
        if self.unit not in (0, 1, 2, 4, 8, 16) or self.unit > self.container or (self.unit and not self.planes):
            raise StorageError(
                f"a unit of planes is a power of two up to the container of {self.container} bits, not {self.unit}"
            )
        if any(p > (self.unit or self.container) for p in self.planes):
            what = f"unit of {self.unit}" if self.unit else f"container of {self.container}"
            raise StorageError(f"a plane of {self.planes} is wider than the {what} bits")

    def _check_fields(self) -> None:
        count = len(self.fields)
        if self.planes or self.unit:
            raise StorageError("storage has fields or planes, and only planes have units")
        if count % self.bits or count % self.container or set(self.fields) != set(range(count)):
            raise StorageError(
                f"fields say of each bit of some elements of {self.bits} bits where it lies in slots of"
                f" {self.container} bits: each place from 0 on once, and both divide their number, {count}"
            )

    @staticmethod
    def dense(bits: int) -> Packing:
        """n bits after n bits."""
        return Packing(bits, WORD, ())

    def words(self, plane: int, regs: int) -> int:
        """How many words plane `plane` of `regs` registers takes."""
        return -(-regs * self.planes[plane] // WORD)

    def total_words(self, regs: int) -> int:
        """How many words `regs` registers take in all."""
        if self.fields:
            return -(-regs // self._block) * (len(self.fields) // self.container)
        if not self.planes:
            return -(-regs * self.bits // WORD)
        return sum(self.words(k, regs) for k in range(len(self.planes)))

    @property
    def _block(self) -> int:
        """How many registers share words, where there are fields."""
        return WORD // self.container * (len(self.fields) // self.bits)

    def _scattered(self, regs: int) -> npt.NDArray[np.int64]:
        """`place` where there are fields."""
        fields = np.array(self.fields, np.int64).reshape(-1, self.bits)
        slots, reg = WORD // self.container, np.arange(regs)[:, None]
        at = fields[reg[:, 0] // slots % len(fields)]
        words = reg // self._block * (len(self.fields) // self.container) + at // self.container
        found: npt.NDArray[np.int64] = words * WORD + reg % slots * self.container + at % self.container
        return found

    def relation(self, plane: int, regs: int) -> Layout:
        """The relation (reg, bit) - mem of one plane: mem counts bits from the plane's first word.

        It covers whole words, so it may reach past `regs`. A dense packing is one plane, of all bits; where there are
        fields, there is no such relation.
        """
        if self.fields:
            raise StorageError("fields that lie anywhere are no planes")
        if not self.planes:
            return Layout((Digit.make(regs, {"reg": 1, "mem": self.bits}), Digit.make(self.bits, {"bit": 1, "mem": 1})))
        width, slots, unit = self.planes[plane], WORD // self.container, self.unit or self.container
        units, fields = self.container // unit, unit // width
        return Layout(
            (
                Digit.make(slots, {"reg": 1, "mem": self.container}),
                Digit.make(units, {"reg": slots, "mem": unit}),
                Digit.make(fields, {"reg": slots * units, "mem": width}),
                Digit.make(self.words(plane, regs), {"reg": slots * units * fields, "mem": WORD}),
                Digit.make(width, {"bit": 1, "mem": 1}),
            )
        )

    def place(self, regs: int) -> npt.NDArray[np.int64]:
        """An array [regs, bits]: the position of each register's bits in the lane's word string, in bits."""
        if self.fields:
            return self._scattered(regs)
        columns, first = [], 0
        for plane in range(max(len(self.planes), 1)):
            columns.append(first * WORD + self.relation(plane, regs).places(("reg", "bit"), ("mem",))[:regs, :, 0])
            first += self.words(plane, regs) if self.planes else 0
        return np.concatenate(columns, axis=1)

    def pieces(self, regs: int) -> tuple[Piece, ...]:
        """The same as runs: what one shift and one mask move between an element and a word, sorted by word."""
        return _pieces(self, regs)


@lru_cache(maxsize=64)
def _pieces(packing: Packing, regs: int) -> tuple[Piece, ...]:
    rows = packing.place(regs).tolist()
    found = (piece for reg, row in enumerate(rows) for piece in _runs(reg, row))
    return tuple(sorted(found, key=lambda p: (p.word, p.shift)))


def _runs(reg: int, row: list[int]) -> Iterator[Piece]:
    low = 0
    for bit in range(1, len(row) + 1):
        if bit == len(row) or row[bit] != row[bit - 1] + 1 or row[bit] % WORD == 0:
            yield Piece(reg, low, bit - low, row[low] // WORD, row[low] % WORD)
            low = bit

"""How to cut the product of many rows of x with a weight on a GPU: by a model of its blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["PrefillCut", "PrefillWork"]

_SUM = 4  # bytes
_GROUP = 64  # rows from which on four warps multiply together where they can

# Of a large GPU; clocks are those of one of its multiprocessors.
_PROCESSORS = 132
_PRODUCTS = {2: (1024, 2048), 1: (2048, 2800)}
"""By bytes of an element of x, what is done in a clock, by single warps and by four together.

Halves: what tensor cores do.  Bytes: they could do 4096, but each sum of a group is scaled twice, which takes longer.
"""

_BYTES = 32  # that come from the L2 cache in a clock, when all processors read
_EXPOSED = 0.1  # of what takes less time of the two
_EDGE = 2000  # clocks that a block takes to begin, until tiles have come, and to end
_MEETING = 2000  # clocks until the last of those that share sums knows that it is


@dataclass(frozen=True)
class PrefillCut:
    """rows: of x in a block; tiles: times as many columns as a block needs; splits: blocks that share a sum."""

    rows: int
    tiles: int = 1
    splits: int = 1


@dataclass(frozen=True)
class PrefillWork:
    """One product.

    rows     of x
    columns  of the weight, in blocks of the least width
    width    of such a block
    steps    of K
    terms    of a step
    packed   bytes of weights of one such block in one step
    groups   whether four warps multiply together
    element  bytes of one of x
    """

    rows: int
    columns: int
    width: int
    steps: int
    terms: int
    packed: int
    groups: bool
    element: int = 2

    def best(self, cuts: Iterable[PrefillCut], count: int) -> list[PrefillCut]:
        """The `count` likeliest, in order: sums are shared only where there are fewer of them than processors."""
        useful = (cut for cut in cuts if cut.splits == 1 or self._sums(cut) < _PROCESSORS)
        return sorted(useful, key=self.clocks)[:count]

    def clocks(self, cut: PrefillCut) -> float:
        """How long it takes, about: processors do their blocks one after the other.

        A step's products are done while the next bytes come, but for a little; what is wider reads x less often for
        each product.
        """
        area = cut.rows * cut.tiles * self.width
        rate = _PRODUCTS[self.element][self.groups and cut.rows >= _GROUP]
        read = cut.rows * self.terms * self.element + cut.tiles * self.packed
        both = area * self.terms / rate, read / _BYTES
        step = max(both) + min(both) * _EXPOSED
        rounds = -(-self._sums(cut) * cut.splits // _PROCESSORS)
        shared = _MEETING + (cut.splits + 1) * area * _SUM / _BYTES if cut.splits > 1 else 0
        return rounds * (self.steps / cut.splits * step + _EDGE) + shared

    def _sums(self, cut: PrefillCut) -> int:
        """Blocks, if none shared sums."""
        return -(-self.columns // cut.tiles) * -(-self.rows // cut.rows)

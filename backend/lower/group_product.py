"""Matrix products by groups of four warps, which read their right factor in shared memory by themselves.

The left factor and the sums lie as they do for the products of single warps, 16 rows for each of the four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...vm.dtypes import DType, Float
from ...vm.ir import For, If, Let, Statement, Value, While, walk
from ...vm.layout.relation import Layout
from ...vm.layout.spread import same_lanes
from ...vm.ops import Dot, Transpose
from ..cuda.atoms_group import GROUP, WIDTHS
from ..lane.ir import Reg, Type
from ..target import Target
from .context import Context
from .group_tile import GroupTile
from .matrix_layouts import WARP, matrix_layouts, terms_of
from .tile import Later, coordinates

__all__ = ["GroupProduct", "only_products", "steps_of"]

_ROW = 8  # columns of which a product's registers are
_QUAD = 4  # lanes that share a row: a word of each is a part of the same terms
_TURN = 2  # steps whose left operands are in registers while those of the next are made
_MANY = 128  # columns from which on rows are multiplied one after the other
_LEAST = 64  # columns from which on these products keep the tensor cores busy


@dataclass(frozen=True)
class GroupProduct:
    """Chains of one instruction over the terms, for all pairs of rows.

    kind   of the elements, as the instruction is named
    type   of the sums
    steps  for each 32 bytes of terms, where they begin, and which of a row's words hold their halves
    sums   [row][column]: the two registers of neighbouring columns
    """

    c: Context
    kind: str
    type: Type
    right: GroupTile
    steps: Sequence[tuple[int, int, int]]
    sums: Sequence[Sequence[Sequence[int]]]

    def add(self, a: Callable[[int, int], Reg], sums: list[Reg]) -> None:
        """Adds the product with the operand words a(row, word) to `sums`, in place."""
        self._chains(a, sums, range(0, len(self.sums), 2))

    @property
    def many(self) -> bool:
        """Whether a lane has no registers for the sums of all rows beside those that they are added to."""
        return _ROW * len(self.sums[0]) >= _MANY

    def apart(self, a: Callable[[int, int], Reg]) -> Later:
        """The product alone, two rows after the other: they are multiplied when a sum of theirs is asked for.

        Each two take the registers of those before, whose sums have been used by then if they are asked for in order.
        """
        sums = [self.c.b.constant(self.type, 0)] * self._count
        tops = {r: top for top in range(0, len(self.sums), 2) for r in self._chain(top)}
        done: list[int] = []

        def make(register: int) -> Reg:
            top = tops[register]
            if top not in done:
                over = [sums[r] for r in self._chain(done[-1])] if done else []
                self._chains(a, sums, (top,), over)
                done.append(top)
            return sums[register]

        return Later(self._count, make)

    def _chains(
        self, a: Callable[[int, int], Reg], sums: list[Reg], tops: Sequence[int], over: Sequence[Reg] = ()
    ) -> None:
        """`over`: sums whose registers a chain that begins may take."""
        b, n = self.c.b, _ROW * len(self.sums[0])
        chains = [(top, self._chain(top)) for top in tops]
        for number, (term, *words) in enumerate(self.steps):
            if number and number % _TURN == 0:
                b.issue("wgmma_turn", "i32", 0)
            descriptor = self.right.descriptor(self.c, term)
            for top, chain in chains:
                operands = [a(row, w) for w in words for row in (top, top + 1)]
                held = [sums[r] for r in chain]
                way, taken = "", held
                if not number and self._nothing(held):
                    way, taken = "_over" if over else "_new", list(over)
                name = f"wgmma_{self.kind}_n{n}{way}"
                self._set(sums, chain, b.issue(name, self.type, len(chain), *operands, descriptor, *taken))
        every = [r for _, chain in chains for r in chain]
        together = every if 2 * len(every) in WIDTHS else chains[0][1]
        wait = f"wgmma_wait_{'whole_' if self.type == 'i32' else ''}n{2 * len(together)}"
        for first in range(0, len(every), len(together)):
            some = every[first : first + len(together)]
            self._set(sums, some, b.issue(wait, self.type, len(some), *(sums[r] for r in some)))

    def fresh(self, a: Callable[[int, int], Reg], start: Sequence[Reg] | None = None) -> list[Reg]:
        """The product alone, or from where it is to start."""
        sums = [self.c.b.constant(self.type, 0)] * self._count if start is None else list(start)
        self.add(a, sums)
        return sums

    @property
    def _count(self) -> int:
        return sum(len(pair) for row in self.sums for pair in row)

    def _chain(self, top: int) -> list[int]:
        """The registers of two rows' sums, as the instruction has them."""
        return [r for pairs in zip(self.sums[top], self.sums[top + 1], strict=True) for pair in pairs for r in pair]

    def _nothing(self, sums: Sequence[Reg]) -> bool:
        return all((known := self.c.b.known(r)) is not None and not known.view(np.int32).any() for r in sums)

    def _set(self, sums: list[Reg], chain: Sequence[int], found: Sequence[Reg]) -> None:
        for register, value in zip(chain, found, strict=True):
            sums[register] = value


# Where they serve


def only_products(target: Target, lanes: int, loop: For, loaded: Value) -> tuple[Value, ...]:
    """What the loop sees of a loaded tile, if all it does with it is to take products that find it in memory.

    Those are the tile itself and what it is turned round to; nothing where there are other uses.
    """
    turned = list(_users(loop, loaded))
    found = [loaded]
    for s in turned:
        if s is None or not isinstance(s.op, Transpose) or not isinstance(s.result, Value):
            return ()
        found.append(s.result)
        for user in _users(loop, s.result):
            if user is None or not isinstance(user.op, Dot) or not _serves(target, lanes, user.op):
                return ()
            if s.result in (user.op.a, user.op.acc):
                return ()
    return tuple(found) if len(found) > 1 else ()


def _users(loop: For, value: Value) -> Iterator[Let | None]:
    """The instructions of the loop itself that take the value; None for other uses."""
    if any(x.next is value for x in loop.carried):
        yield None
    for s in loop.body:
        if isinstance(s, Let):
            if value in s.op.operands:
                yield s
        elif any(value in _taken(inner) for inner in walk((s,))):
            yield None


def _taken(s: Statement) -> list[object]:
    match s:
        case Let():
            return list(s.op.operands)
        case For() | While():
            return [y for x in s.carried for y in (x.before, x.next)]
        case If():
            return [y for m in s.merged for y in (m.then, m.orelse)]


def _serves(target: Target, lanes: int, op: Dot) -> bool:
    """Whether the product may be done so: by its types, its shape, and how its operands lie."""
    a, b, acc = op.a.type, op.b.type, op.acc.type
    (m, k), n = a.shape, b.shape[1]
    terms = terms_of(target, a.dtype, b.dtype)
    if not target.has("wgmma") or lanes % GROUP or not terms:
        return False
    if n < _least(target, a.dtype) or n not in WIDTHS or a.layout is None or b.layout is None or acc.layout is None:
        return False
    found = matrix_layouts((m, n, k), terms, lanes, a.layout)
    if found is None or not same_lanes(found.b, b.layout) or not same_lanes(found.sums, acc.layout):
        return False
    columns = coordinates(acc.layout, 2, lanes)[..., 1].reshape(lanes // WARP, -1)
    return bool((columns == columns[0]).all()) and steps_of(a.layout, lanes, terms) is not None


def _least(target: Target, left: DType) -> int:
    """Columns from which on these products take less than those of single warps.

    Where warps have none of fp8, those are made of f16.
    """
    missing = isinstance(left, Float) and left.bits == 8 and not target.has("mma_fp8")
    return _ROW if missing else _LEAST


def steps_of(a: Layout, lanes: int, terms: int) -> list[tuple[int, int, int]] | None:
    """For each `terms`, where they begin, and which of a row's words hold their halves (`GroupProduct.steps`).

    None unless a lane's words are neighbouring terms, and those of four lanes follow each other: then they lie in
    memory as in the words.
    """
    piece = terms // 2
    word = piece // _QUAD
    at = coordinates(a, 2, lanes)
    row = np.flatnonzero(at[0, :, 0] == at[0, 0, 0])
    words = at[:, row, 1].reshape(lanes, -1, word)
    first = words[0, :, 0]
    wanted = first[:, None] + word * (np.arange(lanes) % _QUAD)[:, None, None] + np.arange(word)
    number = {int(term): number for number, term in enumerate(first)}
    starts = range(0, len(first) * piece, terms)
    if not (words == wanted).all() or sorted(number) != list(range(0, len(first) * piece, piece)):
        return None
    return [(start, number[start], number[start + piece]) for start in starts]

"""Tiles on their way while others are used: what `stages` of a loop means on a GPU.

A loop with `stages=s` copies what its loads will read in iteration i + s - 1 to shared memory, asynchronously, while
iteration i reads from there.  The ring has s places; the one that iteration i - 1 has read is filled in iteration i.
Of an array in tiles every lane copies just what it reads itself, so that lanes never wait for each other; a row-major
tile is copied by all lanes together, and a barrier in each iteration keeps them in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

from ...vm import ops as tile_ops
from ...vm.expr import Expr, Var, const, lt, substitute, variables
from ...vm.ir import Array, For, Let, Shared, Value, walk
from ...vm.layout.relation import Layout
from ...vm.ops import Load
from ..lane.ir import Barrier, Commit, CopyAsync, Reg, WaitCopies
from .access import element_bits
from .context import Context, Staged
from .copies import Copy, copy_of, may_be_ahead
from .group_product import only_products
from .group_tile import GROUP_ALIGN, GroupTile
from .prefetch import bound
from .stored import places, reads_inside, shared_piece

__all__ = ["Ring", "ring_of"]

_COPIES = (16, 8, 4)  # bytes that a copy may have
_ALIGN = 64


@dataclass(frozen=True)
class _Own:
    """A load of an array in tiles: its words are at byte `first` of a place, in pieces of `vector` words."""

    op: Load
    layout: Layout
    first: int
    vector: int


@dataclass(frozen=True)
class _Common:
    """A load of a row-major array: the tile that it is copied to is at byte `first` of a place.

    `seen`: what the loop sees of it, if all of that are products of four warps, which find it in memory.
    """

    op: Load
    tile: Shared
    first: int
    seen: tuple[Value, ...] = ()

    def size(self, c: Context) -> int:
        """In bytes."""
        return GroupTile(self.tile).size if self.seen else prod(c.allocated(self.tile)) * element_bits(self.tile) // 8

    def copy(self, c: Context, at: tuple[Expr, ...]) -> Copy | None:
        assert isinstance(self.op.source, Array)
        zeros = tuple(const(0) for _ in at)
        group = GroupTile(self.tile) if self.seen else None
        return copy_of(c, tile_ops.CopyAsync(self.op.source, at, self.tile, zeros, self.op.shape), group)


@dataclass(frozen=True)
class Ring:
    """The loads that are staged, and the shared memory for them: `stages` places of `size` bytes from `base` on."""

    loop: For
    own: tuple[_Own, ...]
    common: tuple[_Common, ...]
    base: int
    size: int

    @property
    def total(self) -> int:
        return self.size * self.loop.stages

    def begin(self, c: Context) -> tuple[Reg, Reg]:
        """Starts the copies for the first iterations; the places of the first iteration and of the one before."""
        for i in range(self.loop.stages - 1):
            self._fill(c, self.loop.start + i * self.loop.step, c.b.i32(i * self.size))
            c.b.effect(Commit())
        return self.places(c, 0)

    def end(self, c: Context) -> None:
        """Nothing is under way any more, and the places may be used again."""
        c.b.effect(WaitCopies(0))
        if self.common:
            c.b.effect(Barrier())

    def places(self, c: Context, turn: int) -> tuple[Reg, Reg]:
        """The place of iteration `turn`, and that of the one before."""
        stages = self.loop.stages
        return c.b.i32(turn % stages * self.size), c.b.i32((turn - 1) % stages * self.size)

    def turn(self, c: Context, once: Turn) -> Turn:
        """`once` with the two places before the carried registers: fills one, and reads from the other."""
        b, loop = c.b, self.loop

        def staged(var: Reg, registers: list[Reg]) -> list[Reg]:
            place, last, *rest = registers
            c.variables[loop.var] = var
            if self.common:  # all lanes have read what is to be overwritten, and see what has arrived
                b.effect(WaitCopies(loop.stages - 2))
                if any(common.seen for common in self.common):
                    b.issue("fence_async", "i32", 0)
                b.effect(Barrier())
            self._fill(c, loop.var + (loop.stages - 1) * loop.step, last)
            b.effect(Commit())
            if not self.common:
                b.effect(WaitCopies(loop.stages - 1))
            for own in self.own:
                c.staged[own.op] = Staged(self.base, place, own.first, own.vector)
            for common in self.common:
                if common.seen:  # an equal load that lanes read has a tile of its own
                    c.grouped.update(dict.fromkeys(common.seen, common.tile))
                else:
                    c.copied[common.op] = common.tile
                c.moved[common.tile] = place
            after = once(var, rest)
            step = b.apply("add", place, b.i32(self.size))
            turned = b.apply("select", b.apply("eq", step, b.i32(self.total)), b.i32(0), step)
            return [turned, place, *after]

        return staged

    def _fill(self, c: Context, counter: Expr, place: Reg) -> None:
        """Starts the copies for the iteration in which the counter is that, if there is one."""
        loop = self.loop
        inside = c.condition(lt(counter, loop.stop))
        ahead = Var(f"{loop.var.name}_ahead", loop.var.low, None, loop.var.multiple)
        c.variables[ahead] = c.index(counter)
        c.last[ahead] = c.last[loop.var]  # others are not inside
        c.steps[ahead] = loop.step

        def moved(op: Load) -> tuple[Expr, ...]:
            return tuple(substitute(a, {loop.var: ahead}) for a in op.at)

        for own in self.own:
            self._fill_own(c, own, moved(own.op), place, inside)
        for common in self.common:
            c.moved[common.tile] = place
            copy = common.copy(c, moved(common.op))
            assert copy is not None, "alignment does not depend on the iteration"
            copy.start(c, inside)

    def _fill_own(self, c: Context, own: _Own, at: tuple[Expr, ...], place: Reg, inside: Reg) -> None:
        array = own.op.source
        assert isinstance(array, Array)
        assert array.storage is not None
        storage, first = array.storage, own.first
        for found in places(c, array, at, own.layout, len(own.op.shape)):
            mask = inside if found.inside is None else c.b.apply("and", inside, found.inside)
            for word in range(0, storage.words_per_lane, own.vector):
                start = c.b.apply("add", found.base, c.b.i64(word * storage.lanes * 4))
                to, at_lane = shared_piece(c, self.base + first, place, own.vector)
                c.b.effect(CopyAsync(start, found.offset, to, at_lane, 4 * own.vector, mask))
                first += 4 * own.vector * c.lanes


Turn = Callable[[Reg, list[Reg]], list[Reg]]
"""Lowers one iteration: from the counter and the carried registers to their next values."""


def ring_of(c: Context, loop: For) -> Ring | None:
    """The ring for a loop, if there is something to stage; a loop that starts copies of its own manages them itself."""
    ops = [s.op for s in walk(loop.body) if isinstance(s, Let)]
    if any(isinstance(op, tile_ops.CopyAsync | tile_ops.Commit | tile_ops.Wait) for op in ops):
        return None
    own: list[_Own] = []
    common: list[_Common] = []
    size, align = 0, _ALIGN
    for op, result in _loads(loop):
        array, layout = op.source, result.type.layout
        assert isinstance(array, Array)
        assert layout is not None
        if array.storage is None:
            tile = Shared(f"{array.name}_staged", array.dtype, op.shape)
            seen = only_products(c.target, c.lanes, loop, result)
            align = max(align, GROUP_ALIGN if seen else 0)
            found = _Common(op, tile, -(-size // align) * align, seen)
            if found.copy(c, op.at) is not None:
                common.append(found)
                size = found.first + -(-found.size(c) // _ALIGN) * _ALIGN
        elif 4 * array.storage.vector in _COPIES and may_be_ahead(c, array, reads_inside(c, op)):
            own.append(_Own(op, layout, size, array.storage.vector))
            size += layout.size("reg") // array.storage.regs * array.storage.words_per_lane * 4 * c.lanes
    if not own and not common:
        return None
    size = -(-size // align) * align
    if loop not in c.rings:  # a loop in one that is unrolled is written out several times
        c.rings[loop] = c.reserve(size * loop.stages, align)
    base = c.rings[loop]
    c.shared.update((found.tile, base + found.first) for found in common)
    return Ring(loop, tuple(own), tuple(common), base, size)


def _loads(loop: For) -> Iterator[tuple[Load, Value]]:
    """The loads of arrays that stand in the loop itself, and of which it is known before where they will read."""
    unknown = set(bound(loop))
    for s in loop.body:
        op = s.op if isinstance(s, Let) else None
        if not isinstance(op, Load) or not isinstance(op.source, Array) or op.other:
            continue
        names = {v for a in op.at for v in variables(a)}
        if loop.var in names and not unknown.intersection(names):
            assert isinstance(s, Let)
            assert isinstance(s.result, Value)
            yield op, s.result

"""Weights on their way while others are used: what `stages` of a loop means on a GPU.

A loop with `stages=s` over an array in tiles copies the words of iteration i + s - 1 to shared memory, asynchronously,
while those of iteration i are read from there.  Every lane copies just what it reads itself, so that lanes never wait
for each other.  The ring has s places; the one that iteration i - 1 has read is filled in iteration i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...vm import ops as tile_ops
from ...vm.expr import Expr, Var, lt, substitute, variables
from ...vm.ir import Array, For, Let, Value, walk
from ...vm.layout.relation import Layout
from ...vm.ops import Load
from ..lane.ir import Commit, CopyAsync, Reg, WaitCopies
from .context import Context, Staged
from .prefetch import bound
from .stored import places, shared_piece

__all__ = ["Ring", "ring_of"]

_COPIES = (16, 8, 4)  # bytes that a copy may have


@dataclass(frozen=True)
class _Stream:
    """A load of the loop: where its words are in a place of the ring, and in pieces of how many words they come."""

    op: Load
    layout: Layout
    first: int
    vector: int


@dataclass(frozen=True)
class Ring:
    """The loads that are staged, and the shared memory for them: `stages` places of `size` bytes from `base` on."""

    loop: For
    streams: tuple[_Stream, ...]
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
            self._fill(c, loop.var + (loop.stages - 1) * loop.step, last)
            b.effect(Commit())
            b.effect(WaitCopies(loop.stages - 1))
            for stream in self.streams:
                c.staged[stream.op] = Staged(self.base, place, stream.first, stream.vector)
            after = once(var, rest)
            step = b.apply("add", place, b.i32(self.size))
            turned = b.apply("select", b.apply("eq", step, b.i32(self.total)), b.i32(0), step)
            return [turned, place, *after]

        return staged

    def _fill(self, c: Context, counter: Expr, place: Reg) -> None:
        """Starts the copies for the iteration in which the counter is that, if there is one."""
        loop = self.loop
        inside = c.condition(lt(counter, loop.stop))
        ahead = Var(f"{loop.var.name}_ahead")
        c.variables[ahead] = c.index(counter)
        c.last[ahead] = c.last[loop.var]  # others are not inside
        c.steps[ahead] = loop.step
        for stream in self.streams:
            at = tuple(substitute(a, {loop.var: ahead}) for a in stream.op.at)
            array = stream.op.source
            assert isinstance(array, Array)
            assert array.storage is not None
            storage, words = array.storage, stream.first
            for found in places(c, array, at, stream.layout, len(stream.op.shape)):
                mask = inside if found.inside is None else c.b.apply("and", inside, found.inside)
                for word in range(0, storage.words_per_lane, stream.vector):
                    start = c.b.apply("add", found.base, c.b.i64(word * storage.lanes * 4))
                    to, at_lane = shared_piece(c, self.base, place, words + word, stream.vector)
                    c.b.effect(CopyAsync(start, found.offset, to, at_lane, 4 * stream.vector, mask))
                words += storage.words_per_lane


Turn = Callable[[Reg, list[Reg]], list[Reg]]
"""Lowers one iteration: from the counter and the carried registers to their next values."""


def ring_of(c: Context, loop: For) -> Ring | None:
    """The ring for a loop, if there is something to stage; a loop that starts copies of its own manages them itself."""
    ops = [s.op for s in walk(loop.body) if isinstance(s, Let)]
    if any(isinstance(op, tile_ops.CopyAsync | tile_ops.Commit | tile_ops.Wait) for op in ops):
        return None
    streams: list[_Stream] = []
    words = 0
    unknown = set(bound(loop))
    for op, result in _loads(loop):
        assert isinstance(op.source, Array)
        assert op.source.storage is not None
        moves = any(loop.var in variables(a) for a in op.at)
        if not moves or unknown.intersection(v for a in op.at for v in variables(a)) or op.other:
            continue
        layout, vector = result.type.layout, op.source.storage.vector
        assert layout is not None
        if 4 * vector not in _COPIES:
            continue
        streams.append(_Stream(op, layout, words, vector))
        words += layout.size("reg") // op.source.storage.regs * op.source.storage.words_per_lane
    if not streams:
        return None
    size = words * 4 * c.lanes
    return Ring(loop, tuple(streams), c.reserve(size * loop.stages), size)


def _loads(loop: For) -> Iterator[tuple[Load, Value]]:
    """The loads of arrays in tiles that stand in the loop itself."""
    for s in loop.body:
        op = s.op if isinstance(s, Let) else None
        if isinstance(op, Load) and isinstance(op.source, Array) and op.source.storage is not None:
            assert isinstance(s, Let)
            assert isinstance(s.result, Value)
            yield op, s.result

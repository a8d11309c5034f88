"""Where the warps of a block must wait for each other, so that what a block reads and writes of an array is in order.

Lanes that hold copies of an element all read it, and one of them writes it.  In a program a store follows the loads
before it and precedes those after it; between lanes in different warps only a barrier says so.  Shared memory is the
program's own affair: there it says `barrier()`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...vm.expr import Expr, Var, modular, substitute, variables
from ...vm.ir import Array, For, If, Let, Memory, Program, Statement, While
from ...vm.ops import Barrier, CopyAsync, Load, Lock, Release, Store, Wait

__all__ = ["barriers_before"]

_Done = frozenset[tuple[Array, int]]
"""What was done since the last barrier: arrays, each with the number of the instruction that stored to it, 0: loads."""


def barriers_before(program: Program) -> frozenset[int]:
    """The `id` of every Let that a barrier must stand before; few programs load what they store."""
    order = _Order(frozenset(v for v in (*program.sizes, *program.blocks, *program.parameters) if isinstance(v, Var)))
    order.visit(program.body, frozenset())
    return frozenset(order.found)


class _Order:
    """`fixed` are the variables that are the same in every iteration of every loop."""

    def __init__(self, fixed: frozenset[Var]) -> None:
        self.fixed = fixed
        self.counters: dict[Var, Expr] = {}  # of the loops around: start + step * how many iterations went before
        self.found: set[int] = set()

    def visit(self, body: Sequence[Statement], done: _Done) -> _Done:
        for s in body:
            match s:
                case Let():
                    done = self.let(s, done)
                case For():
                    self.counters[s.var] = s.start + Var("turn") * s.step
                    done |= self.twice(s.body, done)
                    del self.counters[s.var]
                case While():
                    done = self.visit(s.head, done)
                    done |= self.twice((*s.body, *s.head), done)
                case If():
                    done = self.visit(s.then, done) | self.visit(s.orelse, done)
        return done

    def twice(self, body: Sequence[Statement], done: _Done) -> _Done:
        """An iteration may follow another."""
        return self.visit(body, done | self.visit(body, done))

    def let(self, s: Let, done: _Done) -> _Done:
        match s.op:
            case Load(source):
                return self.access(s, source, 0, done)
            case CopyAsync():
                return self.access(s, s.op.source, 0, done)
            case Store(target):
                return self.access(s, target, id(s), done, self.apart(s.op))
            case Barrier() | Wait() | Lock() | Release():
                return frozenset()
        return done

    def apart(self, op: Store) -> bool:
        """Whether tiles that are stored in several iterations are the same tile, by the same lanes, or do not meet.

        They are where their starts differ by whole tiles, along each dimension.
        """
        return all(self._whole_steps(at, size) for at, size in zip(op.at, op.value.type.shape, strict=True))

    def _whole_steps(self, at: Expr, size: int) -> bool:
        for var, counted in reversed(self.counters.items()):  # an inner loop may start where an outer one is
            at = substitute(at, {var: counted})
        again = {v: Var(v.name, v.low, v.high, v.multiple) for v in variables(at) if v not in self.fixed}
        return all(part % size == 0 for part in modular(at - substitute(at, again)))

    def access(self, s: Let, memory: Memory, store: int, done: _Done, apart: bool = True) -> _Done:
        if not isinstance(memory, Array):
            return done
        disturbs = any(array is memory and (before != store or not apart) for array, before in done)
        if disturbs or id(s) in self.found:
            self.found.add(id(s))
            done = frozenset()
        return done | {(memory, store)}

"""Which arguments a kernel writes, found from its text: what it only reads may go through the read-only cache.

Arrays of one call must not overlap where one of them is written: what is written through one is not seen by the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..lane.ir import (
    Apply,
    Exchange,
    For,
    Function,
    If,
    Let,
    Operation,
    Reg,
    Shuffle,
    Slot,
    Statement,
    While,
    Write,
)

__all__ = ["Reach"]


class Reach:
    """From which argument slots each register is computed."""

    def __init__(self, function: Function) -> None:
        self._made: dict[Reg, Operation] = {}
        self._joins: dict[Reg, tuple[Reg, ...]] = {}
        written: list[Reg] = []
        for op in self._walk(function.body):
            if isinstance(op, Write | Exchange):
                written.append(op.base)
        self._written = frozenset(s for r in written for s in self._slots(r, sums=False))

    def read_only(self, base: Reg) -> bool:
        """Whether the memory at an address is of an argument that the kernel writes nothing to.

        The address must be a sum with slots for terms; anything in a written address, added or not, may be its slot.
        """
        found = self._slots(base, sums=True)
        return bool(found) and not found & self._written

    def _walk(self, body: Iterable[Statement]) -> Iterator[Operation]:
        for s in body:
            match s:
                case Let():
                    self._made.update(dict.fromkeys(s.results, s.op))
                    yield s.op
                case For():
                    self._joins |= {r: (c.before, c.next) for c in s.carried for r in (c.inside, c.after)}
                    self._joins[s.var] = (s.start, s.step)
                    yield from self._walk(s.body)
                case While():
                    self._joins |= {r: (c.before, c.next) for c in s.carried for r in (c.inside, c.after)}
                    yield from self._walk((*s.head, *s.body))
                case If():
                    self._joins |= {m.after: (m.then, m.orelse) for m in s.merged}
                    yield from self._walk((*s.then, *s.orelse))

    def _slots(self, reg: Reg, sums: bool) -> frozenset[int]:
        """The slots among the terms of a sum; without `sums`, those among all that the register is computed from."""
        found: set[int] = set()
        rest, seen = [reg], {reg}
        while rest:
            here = rest.pop()
            more = self._joins.get(here, ())
            op = self._made.get(here)
            if isinstance(op, Slot):
                found.add(op.index)
            elif isinstance(op, Apply) and (not sums or op.kind == "add"):
                more = op.operands
            elif isinstance(op, Shuffle) and not sums:
                more = op.sources
            elif op is not None and not sums:
                more = tuple(x for x in vars(op).values() if isinstance(x, Reg))
            rest += [x for x in more if x not in seen]
            seen.update(more)
        return frozenset(found)

"""Where reads stand: each right before the first operation that uses what it reads.

A tile's reads are lowered together, ahead of everything that is done with them.  A processor then meets a burst of
misses and, after it, a stretch without any, and fetches less in the same time (docs/performance.md has figures).  LLVM
moves loads up or down a little, never that far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from ..lane.ir import CopyAsync, Exchange, Fail, Fence, Let, Operation, Read, Reg, Show, Statement, Write

__all__ = ["reads_at_use"]

_ORDERED = (Write, CopyAsync, Exchange, Fence, Fail, Show)  # what no read may pass, or what ends a stretch of code


def reads_at_use(body: Sequence[Statement]) -> Iterator[Statement]:
    """The same statements; a read passes neither what may change memory nor the edge of a loop or branch."""
    waiting: dict[Reg, Let] = {}
    for statement in body:
        if isinstance(statement, Let) and not isinstance(statement.op, _ORDERED):
            for used in _operands(statement.op):
                if used in waiting:
                    yield from _taken(waiting, waiting[used])
            if isinstance(statement.op, Read):
                waiting |= dict.fromkeys(statement.results, statement)
                continue
        else:
            yield from dict.fromkeys(waiting.values())
            waiting.clear()
        yield statement
    yield from dict.fromkeys(waiting.values())


def _taken(waiting: dict[Reg, Let], read: Let) -> Iterator[Let]:
    for result in read.results:
        del waiting[result]
    yield read


def _operands(op: Operation) -> Iterator[Reg]:
    for field in fields(op):
        value = getattr(op, field.name)
        for x in value if isinstance(value, tuple) else (value,):
            if isinstance(x, Reg):
                yield x

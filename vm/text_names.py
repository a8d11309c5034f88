"""Distinct, readable names for everything in a program that the text must call something."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields

from .dtypes import Codebook, DType
from .expr import Var, variables
from .ir import Array, Binding, Bound, For, If, Let, Op, Program, Shared, Statement, Value, While, walk
from .ops import Dot, Item, Load
from .vocabulary import is_dtype, reserved

Named = Value | Var | Array | Shared


class Names:
    """The name of each value, variable and memory in the text; values that follow each other may share one."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.variables: dict[Var, Var] = {}
        self.markers: dict[str, str] = {}
        self.codebooks: dict[Codebook, str] = {}
        self._names: dict[Named, str] = {}

    def __contains__(self, thing: object) -> bool:
        return thing in self._names

    def of(self, thing: Named) -> str:
        return self._names[thing]

    def give(self, thing: Named, op: Op | None = None) -> str:
        """A name for something new, if it has none yet; `op` made it."""
        if thing not in self._names:
            self._assign(thing, self._unique(_wish(thing, op)))
        return self._names[thing]

    def share(self, thing: Binding, other: Bound) -> None:
        """Both go by the name of `other`."""
        assert isinstance(other, Value | Var)
        self._assign(thing, self._names[other])

    def mark(self, var: Var, text: str) -> None:
        """The variable is written in place as `text`; until then a marker stands for it, which keeps terms in order."""
        marker = f"%{len(self.markers):06}%"
        self.markers[marker] = text
        self.variables[var] = Var(marker, var.low, var.high, var.multiple)

    def dtype(self, kind: DType) -> str:
        """How the text calls an element type; a codebook of the user's own becomes a parameter."""
        if not isinstance(kind, Codebook) or is_dtype(kind.name):
            return kind.name
        if kind not in self.codebooks:
            self.codebooks[kind] = self._unique(_identifier(kind.name))
        return self.codebooks[kind]

    def _assign(self, thing: Named, name: str) -> None:
        self._names[thing] = name
        if isinstance(thing, Var):
            self.variables[thing] = Var(name, thing.low, thing.high, thing.multiple)

    def _unique(self, wish: str) -> str:
        name, count = wish, 0
        while name in self.taken or reserved(name):
            count += 1
            name = f"{wish}_{count}"
        self.taken.add(name)
        return name


def _wish(thing: Named, op: Op | None) -> str:
    if not thing.name.startswith("%"):
        return _identifier(thing.name)
    match op:
        case Load(source):
            return f"{_identifier(source.name)}_tile"
        case Item():
            return "n"
        case Dot():
            return "acc"
    return "t"


def _identifier(name: str) -> str:
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if plain and not plain[0].isdigit() else f"_{plain}"


def use_counts(program: Program) -> Counter[Value]:
    """How often each tile is read: by instructions, by loops that it enters or leaves, and by merges."""
    return Counter(v for s in walk(program.body) for v in _reads(s) if isinstance(v, Value))


def later_use(thing: Binding, rest: Sequence[Statement]) -> bool:
    """Whether one of these statements, or one inside them, reads the value or variable."""
    return any(v is thing for s in walk(tuple(rest)) for v in _reads(s))


def _reads(statement: Statement) -> Iterator[Value | Var]:
    """What a statement itself reads, without the blocks inside it."""
    match statement:
        case Let(_, op):
            for each in fields(op):
                part = getattr(op, each.name)
                for item in part if isinstance(part, tuple) else (part,):
                    if isinstance(item, Value):
                        yield item
            for e in op.indices:
                yield from variables(e)
        case For():
            yield from variables(statement.start)
            yield from variables(statement.stop)
            for c in statement.carried:
                yield from _of(c.before, c.next)
        case While():
            yield from variables(statement.condition)
            for c in statement.carried:
                yield from _of(c.before, c.next)
        case If():
            yield from variables(statement.condition)
            for m in statement.merged:
                yield from _of(m.then, m.orelse)


def _of(*bounds: Bound) -> Iterator[Value | Var]:
    for bound in bounds:
        if isinstance(bound, Value):
            yield bound
        else:
            yield from variables(bound)

"""Whether a program is well formed: what every stage may rely on, and every stage must keep.

* each value, variable and memory is defined once, and its definition comes before its uses on every way to them;
* the type of each result is what its instruction infers;
* what a loop or a branch carries has one type all the way;
* a tile's layout, once it has one, gives each element a register, and no register two elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

import numpy as np

from .expr import Expr, Var, variables
from .ir import (
    Array,
    Binding,
    Bound,
    For,
    If,
    Let,
    Op,
    Program,
    Statement,
    TileType,
    TypeRuleError,
    Value,
    While,
)
from .layout.relation import LayoutError
from .ops import Item
from .same import same
from .text_op import pieces

__all__ = ["VerifyError", "same", "verify"]


class VerifyError(AssertionError):
    """A program that no correct stage makes; the message names the statement."""


def verify(program: Program) -> None:
    """Raise VerifyError unless the program is well formed."""
    _Verifier(program).run()


class _Verifier:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.visible: set[object] = set()
        self.ever: set[object] = set()
        self.where = "the parameters"

    def run(self) -> None:
        program = self.program
        for size in program.sizes:
            self.define(size)
        for parameter in program.parameters:
            if isinstance(parameter, Var) and parameter in self.visible:
                continue  # a scalar that is also a size
            self.define(parameter)
        for array in program.arrays:
            for extent in array.shape:
                self.read(extent)
            storage = array.storage
            self.check(
                storage is None or storage.packing.bits == array.dtype.bits, f"{array}: its storage has another width"
            )
        self.where = "the grid"
        self.check(len(program.grid) == len(program.blocks), "the grid and the block indices differ in number")
        for count in program.grid:
            self.read(count)
        for block in program.blocks:
            self.define(block)
        for requirement, _ in program.requirements:
            self.read(requirement)
        self.statements(program.body, "statement")

    def check(self, holds: bool, message: str) -> None:
        if not holds:
            raise VerifyError(f"{self.program.name}, {self.where}: {message}")

    # Definitions and uses

    def define(self, thing: Binding | Array) -> None:
        self.check(thing not in self.ever, f"{thing} is defined twice")
        self.ever.add(thing)
        self.visible.add(thing)
        if isinstance(thing, Value):
            self.layout(thing)

    def read(self, thing: Bound) -> None:
        if isinstance(thing, Value):
            self.check(thing in self.visible, f"{thing} is used where it has no value")
            return
        for var in variables(thing):
            self.check(var in self.visible, f"{var} is used where it has no value")

    def layout(self, value: Value) -> None:
        """Each element is in some register of some lane, and no register holds two."""
        kind = value.type
        if kind.layout is None:
            return
        dims = tuple(f"d{k}" for k in range(len(kind.shape)))
        extra = sorted(kind.layout.axes - {*dims, "lane", "reg"})
        self.check(not extra, f"the layout of {value} has the axes {extra}")
        covered = tuple(kind.layout.size(d) for d in dims)
        self.check(covered == kind.shape, f"the layout of {value} covers {covered}, the tile is {kind}")
        try:
            table = kind.layout.table("lane", "reg", *dims)
        except LayoutError as error:
            raise VerifyError(f"{self.program.name}, {self.where}: {value}: {error}") from error
        flat = np.ravel_multi_index(tuple(table[:, 2:].T), kind.shape) if dims else np.zeros(len(table), np.int64)
        there = np.zeros(kind.elements, bool)
        there[flat] = True
        self.check(bool(there.all()), f"the layout of {value} leaves elements out")
        registers = kind.layout.size("reg")
        place = table[:, 0] * registers + table[:, 1]
        held = np.zeros(kind.layout.size("lane") * registers, np.int64)
        held[place] = flat
        self.check(bool((held[place] == flat).all()), f"the layout of {value} puts two elements into one register")

    # Statements

    def statements(self, body: Sequence[Statement], path: str) -> None:
        for index, statement in enumerate(body):
            self.where = f"{path} {index}{_shown(statement)}"
            match statement:
                case Let(result, op):
                    self.let(result, op)
                case For():
                    self.for_(statement, f"{path} {index}, its body")
                case While():
                    self.while_(statement, f"{path} {index}")
                case If():
                    self.if_(statement, f"{path} {index}")
                case _:
                    assert_never(statement)

    def let(self, result: Binding | None, op: Op) -> None:
        for piece in pieces(op):
            if isinstance(piece, Array):
                self.check(piece in self.visible, f"{piece} is no parameter")
            elif isinstance(piece, Value | Expr):
                self.read(piece)
        try:
            kind = op.infer()
        except TypeRuleError as error:
            raise VerifyError(f"{self.program.name}, {self.where}: {error}") from error
        if isinstance(result, Value):
            self.check(kind is not None, f"{result} is the result of an instruction that has none")
            assert kind is not None
            self.check(_alike(result.type, kind), f"{result} is {result.type}, its instruction gives {kind}")
        elif isinstance(result, Var):
            self.check(isinstance(op, Item), f"{type(op).__name__} gives no scalar")
        else:
            self.check(kind is None and not isinstance(op, Item), f"the result of {type(op).__name__} has no name")
        if result is not None:
            self.define(result)

    def for_(self, loop: For, path: str) -> None:
        for e in (loop.start, loop.stop):
            self.read(e)
        self.check(loop.step >= 1, f"the step is {loop.step}")
        self.check(loop.unroll >= 1 and loop.stages >= 1, "unroll and stages are at least 1")
        outside = self.enter(c.before for c in loop.carried)
        self.define(loop.var)
        self.one_type((c.before, c.inside) for c in loop.carried)
        for c in loop.carried:
            self.define(c.inside)
        self.statements(loop.body, path)
        self.leave([(c.next, c.inside, c.after) for c in loop.carried], outside)

    def while_(self, loop: While, path: str) -> None:
        outside = self.enter(c.before for c in loop.carried)
        self.one_type((c.before, c.inside) for c in loop.carried)
        for c in loop.carried:
            self.define(c.inside)
        self.statements(loop.head, f"{path}, its head")
        self.read(loop.condition)
        self.statements(loop.body, f"{path}, its body")
        self.leave([(c.next, c.inside, c.after) for c in loop.carried], outside)

    def enter(self, before: Iterable[Bound]) -> set[object]:
        for value in before:
            self.read(value)
        return set(self.visible)

    def leave(self, carried: list[tuple[Bound, Binding, Binding]], outside: set[object]) -> None:
        for after_body, inside, _ in carried:
            self.read(after_body)
            self.one_type([(after_body, inside)])
        self.visible = outside
        for _, inside, after in carried:
            self.one_type([(inside, after)])
            self.define(after)

    def if_(self, branch: If, path: str) -> None:
        self.read(branch.condition)
        outside = set(self.visible)
        ways = (
            ("then", branch.then, [m.then for m in branch.merged]),
            ("else", branch.orelse, [m.orelse for m in branch.merged]),
        )
        for name, body, values in ways:
            self.visible = set(outside)
            self.statements(body, f"{path}, its {name}")
            for value in values:
                self.read(value)
        self.visible = outside
        for m in branch.merged:
            self.one_type([(m.then, m.after), (m.orelse, m.after)])
            self.define(m.after)

    def one_type(self, pairs: Iterable[tuple[Bound, Bound]]) -> None:
        for x, y in pairs:
            if isinstance(x, Value) and isinstance(y, Value):
                self.check(_alike(x.type, y.type), f"{x} is {x.type}, and {y}, which follows it, is {y.type}")
            else:
                scalars = not isinstance(x, Value) and not isinstance(y, Value)
                self.check(scalars, f"a tile and a scalar follow each other: {x} and {y}")


def _alike(x: TileType, y: TileType) -> bool:
    return (x.dtype, x.shape) == (y.dtype, y.shape)


def _shown(statement: Statement) -> str:
    """What a statement defines and where it comes from, for messages."""
    where = f" ({statement.span})" if statement.span is not None else ""
    if isinstance(statement, Let):
        name = f"{statement.result} = " if statement.result is not None else ""
        return f" `{name}{type(statement.op).__name__}`{where}"
    return f" `{type(statement).__name__}`{where}"

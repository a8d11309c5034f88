"""Where instructions go: the blocks that are being filled, with the limits that keep a program buildable.

`Builder` is the state of one build. What reads syntax is in the other `build_*` files, as functions over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

from ...vm.diagnostic import NOWHERE, Problems, Span
from ...vm.dtypes import DTypeError
from ...vm.expr import Expr, ExprError, Var
from ...vm.ir import Let, Op, Statement, TileType, TypeRuleError, Value
from ...vm.layout.relation import LayoutError
from ...vm.layout.storage import StorageError
from .scope import Mistake, Scope

MAX_STATEMENTS = 20_000
MAX_ELEMENTS = 1 << 20
MAX_RANK = 4

RULES = (TypeRuleError, LayoutError, StorageError, DTypeError, ExprError)
"""What the machine raises about things that a user wrote."""


class TooLarge(Exception):
    """The program outgrew its limit: the build ends at once."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake


@dataclass(frozen=True)
class Grid:
    """What the kernel's call of `grid` said."""

    counts: tuple[Expr, ...]
    blocks: tuple[Var, ...]
    lanes: int | None
    span: Span


@dataclass
class Builder:
    """One kernel being built.

    `targets` are the names that the statement at hand binds; `touched` is the first place that uses memory.
    """

    problems: Problems = field(default_factory=Problems)
    scope: Scope = field(default_factory=Scope)
    blocks: list[list[Statement]] = field(default_factory=lambda: [[]])
    targets: tuple[str, ...] = ()
    grid: Grid | None = None
    touched: Span | None = None
    _texts: dict[str, str] = field(default_factory=dict)
    _instructions: int = 0
    _visits: int = 0

    @property
    def nested(self) -> bool:
        """Inside a loop or a branch."""
        return len(self.blocks) > 1

    @contextmanager
    def block(self) -> Iterator[list[Statement]]:
        """A nested block: what is emitted inside goes there, and the names bound inside end with it."""
        outside, inside = self.scope, self.scope.copy()
        statements: list[Statement] = []
        self.scope = inside
        self.blocks.append(statements)
        try:
            yield statements
        finally:
            self.blocks.pop()
            self.scope = outside

    @contextmanager
    def checked(self, span: Span) -> Iterator[None]:
        """Turns what the machine says about a user's mistake into a Mistake at `span`."""
        try:
            yield
        except RULES as error:
            raise Mistake(str(error), _hint(error), span) from error

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Reports a mistake in the statement inside and goes on after it."""
        try:
            yield
        except Mistake as mistake:
            self.report(mistake)

    def report(self, mistake: Mistake) -> None:
        if not mistake.silent:
            self.problems.add(self.readable(mistake.message), self.readable(mistake.hint), mistake.span, mistake.notes)

    def readable(self, message: str) -> str:
        """The message with the tiles that have no name shown as they are written."""
        return re.sub(r"%\d+", lambda found: self._texts.get(found[0], "…"), message)

    # Emission

    def append(self, statement: Statement) -> None:
        self.count(statement.span or NOWHERE)
        self.blocks[-1].append(statement)

    def count(self, span: Span) -> None:
        """One more instruction; there is a limit to them."""
        self._instructions += 1
        if self._instructions > MAX_STATEMENTS:
            hint = "split the kernel, or write the repetition as a loop"
            raise TooLarge(Mistake(f"a kernel has at most {MAX_STATEMENTS:,} instructions", hint, span))

    def visit(self, span: Span) -> None:
        """One more statement is read. What follows a branch that may return is read for each way, hence a limit."""
        self._visits += 1
        if self._visits > 2 * MAX_STATEMENTS:
            hint = "replace some of the `return` by `else`"
            raise TooLarge(Mistake("the branches that return make this kernel too large", hint, span))

    def temporary(self, span: Span) -> str:
        """A name for a value that the text gives none; in messages it is shown as the text at `span`."""
        name = f"%{len(self._texts):06}"
        self._texts[name] = _snippet(span)
        return name

    def emit(self, op: Op, span: Span) -> Value:
        """Append an instruction that yields a tile."""
        with self.checked(span):
            kind = op.infer()
        assert kind is not None, f"{type(op).__name__} yields no tile"
        check_tile(kind, span)
        value = Value(self.temporary(span), kind)
        self.append(Let(value, op, span))
        return value

    def effect(self, op: Op, span: Span) -> None:
        """Append an instruction that is there for its effect."""
        with self.checked(span):
            op.infer()
        self.append(Let(None, op, span))

    def scalar(self, op: Op, low: int | None, high: int | None, span: Span) -> Var:
        """Append an instruction that yields a scalar in [low, high]."""
        with self.checked(span):
            op.infer()
        var = Var(self.temporary(span), low, high)
        self.append(Let(var, op, span))
        return var

    def christen(self, value: Value, name: str, since: int) -> Value:
        """Name a tile that has no name yet and was made after position `since` of the block."""
        if not value.name.startswith("%"):
            return value
        block = self.blocks[-1]
        for index in range(len(block) - 1, since - 1, -1):
            found = block[index]
            if isinstance(found, Let) and found.result is value:
                named = Value(name, value.type)
                block[index] = Let(named, found.op, found.span)
                return named
        return value


def _hint(error: Exception) -> str:
    """What to do about something that the machine does not take."""
    match error:
        case TypeRuleError() if error.hint:
            return error.hint
        case StorageError():
            return 'storage is written like tiled("local(32, 1) * spatial(1, 16)", container=8, planes=[2, 1])'
        case LayoutError():
            return 'layouts are products such as "spatial(8, 4) * local(1, 2)"'
        case DTypeError():
            return "element types are named like u3, i8, f6e3m2, bf16 and nf4"
        case ExprError():
            return "use numbers for which this has a value of 64 bits"
    return "look at the types of the operands"


def check_tile(kind: TileType, span: Span) -> None:
    """Mistake if the tile is too large, or has too many dimensions."""
    if len(kind.shape) > MAX_RANK:
        hint = "fold or reshape dimensions"
        raise Mistake(f"a tile has at most {MAX_RANK} dimensions, not {len(kind.shape)}", hint, span)
    if prod(kind.shape) > MAX_ELEMENTS:
        message = f"a tile of shape {list(kind.shape)} has {prod(kind.shape):,} elements; the limit is {MAX_ELEMENTS:,}"
        raise Mistake(message, "use smaller tiles in a loop or a larger grid", span)


def _snippet(span: Span) -> str:
    line = span.source.line(span.line) if span.line == span.end_line else None
    text = line[span.column - 1 : span.end_column - 1] if line is not None else ""
    return text if 0 < len(text) <= 40 else "…"

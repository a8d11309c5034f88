"""Statements, one after the other. What a refused statement binds is not asked about again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from ...vm import ops
from ...vm.expr import Const, Expr, Var
from ...vm.ir import Let, Value
from ...vm.vocabulary import reserved
from .. import syntax
from .block import Builder
from .branch import build_if
from .control import build_for, build_while
from .expression import evaluate
from .operators import binary
from .scope import Entity, Mistake, Nothing, describe
from .values import BOOL, as_expr


def build_body(body: tuple[syntax.Statement, ...], b: Builder, tail: bool) -> None:
    """The statements of a block. `tail`: nothing of the kernel follows the block, so that `return` may end it."""
    for index, statement in enumerate(body):
        rest = body[index + 1 :]
        b.visit(statement.span)
        if isinstance(statement, syntax.Return):
            _check_return(statement, rest, b, tail)
            return
        if isinstance(statement, syntax.If):
            if tail and rest and returns(statement):
                with b.statement():
                    build_if(_with_rest(statement, rest), b, tail, build_body)
                return
            last = tail and not rest
            with b.statement():
                build_if(statement, b, last, build_body)
            continue
        try:
            build_statement(statement, b)
        except Mistake as mistake:
            b.report(mistake)
            b.scope.poison(bound(statement))


def _check_return(statement: syntax.Return, rest: tuple[syntax.Statement, ...], b: Builder, tail: bool) -> None:
    if not tail:
        hint = "put what follows under an `if`"
        b.problems.add("`return` can end the kernel only, not a loop", hint, statement.span)
    if rest:
        b.problems.add("nothing after `return` runs", "remove it, or the `return`", rest[0].span)


def returns(statement: syntax.If) -> bool:
    """Whether some branch ends the kernel."""
    branches = (statement.then, statement.orelse)
    return any(
        isinstance(last, syntax.Return) or (isinstance(last, syntax.If) and returns(last))
        for branch in branches
        if branch
        for last in (branch[-1],)
    )


def _with_rest(statement: syntax.If, rest: tuple[syntax.Statement, ...]) -> syntax.If:
    """The branch with what follows it moved to the ways that do not return."""

    def extend(branch: tuple[syntax.Statement, ...]) -> tuple[syntax.Statement, ...]:
        if branch and isinstance(branch[-1], syntax.Return):
            return branch
        return (*branch, *rest)

    orelse = extend(statement.orelse)
    return syntax.If(statement.test, extend(statement.then), orelse, statement.else_span, span=statement.span)


def bound(statement: syntax.Statement) -> Iterator[str]:
    """The names that a statement binds, those of its blocks included, in the order of the text."""
    match statement:
        case syntax.Assign(targets):
            yield from (t.name for t in targets)
        case syntax.AugAssign(target):
            yield target.name
        case syntax.For(_, _, body) | syntax.While(_, body):
            for each in body:
                yield from bound(each)
        case syntax.If(_, then, orelse):
            for each in (*then, *orelse):
                yield from bound(each)


def build_statement(statement: syntax.Statement, b: Builder) -> None:
    match statement:
        case syntax.Assign():
            _assign(statement, b)
        case syntax.AugAssign(target, op, value):
            before = b.scope.find(target.name, target.span)
            since, b.targets = len(b.blocks[-1]), (target.name,)
            after = binary(op, before, evaluate(value, b), b, statement.span)
            bind(target, after, b, since)
        case syntax.ExprStatement(value):
            _expression(value, b)
        case syntax.Assert():
            _assert(statement, b)
        case syntax.For():
            build_for(statement, b, build_body)
        case syntax.While():
            build_while(statement, b, build_body)
        case syntax.Pass():
            pass
        case syntax.If() | syntax.Return():
            raise AssertionError("build_body takes these")
        case _:
            assert_never(statement)


def _assign(statement: syntax.Assign, b: Builder) -> None:
    for target in statement.targets:
        check_name(target)
    since, b.targets = len(b.blocks[-1]), tuple(t.name for t in statement.targets)
    value = evaluate(statement.value, b)
    if len(statement.targets) == 1:
        bind(statement.targets[0], value, b, since)
        return
    if not isinstance(value, tuple) or len(value) != len(statement.targets):
        message = f"{len(statement.targets)} names are set to {describe(value)}"
        raise Mistake(message, "give as many values as names", statement.span)
    for target, part in zip(statement.targets, value, strict=True):
        bind(target, part, b, since)


def check_name(name: syntax.Name | syntax.Param) -> None:
    if reserved(name.name):
        hint = "choose another name, for example with `_` behind it"
        raise Mistake(f"`{name.name}` is a word of the language", hint, name.span)


def bind(target: syntax.Name, value: Entity, b: Builder, since: int) -> None:
    """Give a value its name; `since` is where in the block the statement began."""
    if isinstance(value, Nothing):
        raise Mistake(f"`{value.function}` gives no value", "write it as a statement of its own", target.span)
    if isinstance(value, Value):
        value = b.christen(value, target.name, since)
    elif isinstance(value, Var):
        value = _christen_scalar(value, target.name, b, since)
    b.scope.bind(target.name, value)


def _christen_scalar(var: Var, name: str, b: Builder, since: int) -> Var:
    """The same for `n = item(x)`: the variable is used nowhere yet."""
    if not var.name.startswith("%"):
        return var
    block = b.blocks[-1]
    last = block[-1] if len(block) > since else None
    if not (isinstance(last, Let) and last.result is var):
        return var
    named = Var(name, var.low, var.high, var.multiple)
    block[-1] = Let(named, last.op, last.span)
    return named


def _expression(value: syntax.Expression, b: Builder) -> None:
    b.targets = ()
    found = evaluate(value, b)
    is_grid = b.grid is not None and b.grid.span == value.span
    if not isinstance(found, Nothing) and not is_grid:
        hint = "give the result a name, or `store` it"
        raise Mistake("this computes something that nothing uses", hint, value.span)


def _assert(statement: syntax.Assert, b: Builder) -> None:
    message = "assertion failed"
    if statement.message is not None:
        text = evaluate(statement.message, b)
        if not isinstance(text, str):
            raise Mistake("the message of an assert is a text", 'write it in quotes: "…"', statement.message.span)
        message = text
    condition = evaluate(statement.test, b)
    if isinstance(condition, Value):
        b.effect(ops.Assert(condition, message), statement.span)
        return
    test: Expr = as_expr(condition, statement.test.span, "the condition")
    if isinstance(test, Const) and test.value:
        return
    if isinstance(test, Const):
        raise Mistake(
            f"this never holds: {message}", "the condition is decided when the kernel is compiled", statement.span
        )
    tile = b.emit(ops.Scalar(test, BOOL), statement.test.span)
    b.effect(ops.Assert(tile, message), statement.span)

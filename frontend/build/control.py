"""Loops: what they count, what they carry, and what is known after them."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

from ...vm.diagnostic import Span
from ...vm.expr import Const, Expr, Var, bounds, lift, modular
from ...vm.ir import Binding, Bound, Carried, For, While
from ...vm.text_inline import inline_order
from ...vm.vocabulary import reserved
from .. import syntax
from .block import Builder
from .carried import binding, bound_value, follow
from .expression import evaluate
from .operators import truth
from .scope import Mistake, Scope
from .values import as_constant, as_expr

MAX_UNROLL = 64
MAX_STAGES = 8

BuildBody = Callable[[tuple[syntax.Statement, ...], Builder, bool], None]


def assigned(body: tuple[syntax.Statement, ...], b: Builder) -> dict[str, Span]:
    """The names that a block binds, and where first. Branches that are decided already count only if they are taken."""
    found: dict[str, Span] = {}
    pending = list(reversed(body))
    while pending:
        statement = pending.pop()
        match statement:
            case syntax.Assign(targets):
                for target in targets:
                    found.setdefault(target.name, target.span)
            case syntax.AugAssign(target):
                found.setdefault(target.name, target.span)
            case syntax.For(_, _, inner) | syntax.While(_, inner):
                pending.extend(reversed(inner))
            case syntax.If(test, then, orelse):
                known = _decided(test, found, b)
                taken = (*then, *orelse) if known is None else then if known else orelse
                pending.extend(reversed(taken))
    return found


def _decided(test: syntax.Expression, changed: dict[str, Span], b: Builder) -> bool | None:
    """What a condition is, if that is known when the kernel is compiled."""
    names = {node.name for node in syntax.walk(test) if isinstance(node, syntax.Name)}
    if names & set(changed) or any(isinstance(node, syntax.Call) for node in syntax.walk(test)):
        return None
    try:
        with b.block():
            value = evaluate(test, b)
    except Mistake:
        return None
    return bool(value.value) if isinstance(value, Const) else value if isinstance(value, bool) else None


class Carrying:
    """The names that a loop carries: those that it binds and that exist before it."""

    def __init__(self, changed: dict[str, Span], b: Builder) -> None:
        self.b = b
        self.changed = changed
        self.before: dict[str, Bound] = {}
        self.inside: dict[str, Binding] = {}
        self.next: dict[str, Bound] = {}
        for name in [n for n in b.scope.names if n in changed]:
            with b.statement():
                self.before[name] = bound_value(b.scope.names[name], b, name, changed[name])

    def enter(self) -> None:
        """In the body: each name means what it is in this turn."""
        for name in [n for n in self.b.scope.names if n in self.changed and n not in self.before]:
            self.b.scope.poison([name])
        for name, before in self.before.items():
            self.inside[name] = binding(name, before)
            self.b.scope.bind(name, self.inside[name])

    def leave(self) -> None:
        """At the end of the body: what each name has become."""
        for name, before in self.before.items():
            entity = self.b.scope.names.get(name)
            if entity is not None:
                with self.b.statement():
                    self.next[name] = follow(entity, before, self.b, name, self.changed[name])

    def finish(self, outer: Scope, span: Span, counter: str | None) -> tuple[Carried, ...]:
        """After the loop: carried names mean their last value, names of the body mean nothing."""
        result = []
        for name in self.changed:
            if name not in self.before and name not in outer.poisoned:
                outer.lose(name, "it is set inside a loop, which may not run at all", self.changed[name])
        if counter is not None and counter not in self.before:
            outer.lose(counter, "the counter of a loop ends with it", span)
        for name, before in self.before.items():
            if name not in self.next:
                outer.poison([name])
                continue
            after = binding(name, before)
            outer.bind(name, after)
            result.append(Carried(before, self.inside[name], self.next[name], after))
        return tuple(result)


def build_for(node: syntax.For, b: Builder, build_body: BuildBody) -> None:
    """`for i in range(start, stop, step, unroll=.., stages=..):`"""
    refused: Mistake | None = None
    start: Expr = Const(0)
    stop: Expr = Const(0)
    step = unroll = stages = 1
    try:
        if reserved(node.target.name):
            raise Mistake(f"`{node.target.name}` is a word of the language", "choose another name", node.target.span)
        start, stop, step, unroll, stages = _range(node.iterable, b)
    except Mistake as mistake:
        b.report(mistake)
        refused = mistake
    var = _counter(node.target.name, start, stop, step)
    changed = assigned(node.body, b)
    changed.pop(node.target.name, None)
    carrying = Carrying(changed, b)
    with b.block() as body:
        carrying.enter()
        if refused is None:
            b.scope.bind(node.target.name, var)
        else:
            b.scope.poison([node.target.name])
        build_body(node.body, b, False)
        carrying.leave()
    carried = carrying.finish(b.scope, node.target.span, node.target.name)
    if refused is None:
        b.append(For(var, start, stop, step, carried, tuple(body), unroll, stages, _head(node)))


def _head(node: syntax.For | syntax.While) -> Span:
    """The place of the loop's first line."""
    last = node.iterable if isinstance(node, syntax.For) else node.test
    return node.span.to(last.span)


def _counter(name: str, start: Expr, stop: Expr, step: int) -> Var:
    """The counter, with what its range says of it."""
    multiple, residue = modular(start)
    low, high = bounds(start)[0], bounds(stop)[1]
    divisor = gcd(step, multiple, residue)
    if low is not None and high is not None and -(-low // divisor) > (high - 1) // divisor:
        high = None  # the loop never runs; no number is in its range
    return Var(name, low, None if high is None else high - 1, divisor)


_RANGE = "write range(stop), range(start, stop) or range(start, stop, step), and unroll=, stages= if you like"


def _range(node: syntax.Expression, b: Builder) -> tuple[Expr, Expr, int, int, int]:
    if not (isinstance(node, syntax.Call) and node.function == syntax.Name("range")):
        raise Mistake("a `for` counts over a range", "write `for i in range(stop):`", node.span)
    if not 1 <= len(node.arguments) <= 3:
        raise Mistake(f"range takes 1 to 3 arguments, not {len(node.arguments)}", _RANGE, node.span)
    options = {"unroll": 1, "stages": 1}
    for keyword in node.keywords:
        if keyword.name not in options:
            raise Mistake(f"range has no argument `{keyword.name}`", _RANGE, keyword.span)
        options[keyword.name] = _option(keyword, b)
    bare = [as_expr(evaluate(e, b), e.span, "the bound of a range") for e in node.arguments]
    start, stop = (lift(0), bare[0]) if len(bare) == 1 else (bare[0], bare[1])
    step = 1
    if len(bare) == 3:
        where = node.arguments[2].span
        step = as_constant(bare[2], where, "the step of a range")
        if step < 1:
            hint = "count upwards, and use `last - i` inside"
            raise Mistake(f"the step of a range is at least 1, not {step}", hint, where)
    return start, stop, step, options["unroll"], options["stages"]


def _option(keyword: syntax.Keyword, b: Builder) -> int:
    limit = MAX_UNROLL if keyword.name == "unroll" else MAX_STAGES
    value = as_constant(evaluate(keyword.value, b), keyword.value.span, f"`{keyword.name}` of a loop")
    if not 1 <= value <= limit:
        raise Mistake(f"`{keyword.name}` of a loop is 1 to {limit}, not {value}", "choose a smaller one", keyword.span)
    return value


def build_while(node: syntax.While, b: Builder, build_body: BuildBody) -> None:
    """`while condition:`; the condition is computed before each turn."""
    carrying = Carrying(assigned(node.body, b), b)
    condition: Expr | None = None
    with b.block() as head:
        carrying.enter()
        with b.statement():
            condition = truth(evaluate(node.test, b), b, node.test.span, "the condition of a while")
            if isinstance(condition, Const) and condition.value:
                raise Mistake("this loop never ends", "the condition must change in the body", node.test.span)
    with b.block() as body:
        for name, inside in carrying.inside.items():
            b.scope.bind(name, inside)
        build_body(node.body, b, False)
        carrying.leave()
    carried = carrying.finish(b.scope, node.test.span, None)
    if condition is None:
        return
    order = inline_order(tuple(head), condition)
    if order is None:
        hint = "give what it uses a name before the loop, and again at the end of its body"
        raise Mistake("the condition of a while uses a number of a tile twice", hint, node.test.span)
    b.append(While(order, condition, carried, tuple(body), _head(node)))

"""Branches: one is taken when the kernel is compiled, or both are kept and what they change is merged after them."""

from __future__ import annotations

from collections.abc import Callable

from ...vm.diagnostic import Span
from ...vm.expr import Const
from ...vm.ir import If, Merge, Statement
from .. import syntax
from .block import Builder
from .carried import binding, bound_value, follow, same
from .control import assigned
from .expression import evaluate
from .operators import truth
from .scope import Mistake, Scope

BuildBody = Callable[[tuple[syntax.Statement, ...], Builder, bool], None]


def build_if(node: syntax.If, b: Builder, tail: bool, build_body: BuildBody) -> None:
    """`if test:`; with `tail`, nothing of the kernel follows it."""
    try:
        test = truth(evaluate(node.test, b), b, node.test.span, "the condition of an if")
    except Mistake as mistake:
        b.report(mistake)
        for branch in (node.then, node.orelse):
            with b.block():
                build_body(branch, b, tail)
        b.scope.poison(assigned((*node.then, *node.orelse), b))
        return
    if isinstance(test, Const):
        build_body(node.then if test.value else node.orelse, b, tail)
        return
    ways: list[tuple[Scope, list[Statement]]] = []
    for branch in (node.then, node.orelse):
        with b.block() as statements:
            build_body(branch, b, tail)
            ways.append((b.scope, statements))
    changed = assigned((*node.then, *node.orelse), b)
    merged = () if tail else _merge(ways, changed, b)
    (_, then), (_, orelse) = ways
    b.append(If(test, tuple(then), tuple(orelse), merged, node.span.to(node.test.span)))


def _merge(ways: list[tuple[Scope, list[Statement]]], changed: dict[str, Span], b: Builder) -> tuple[Merge, ...]:
    """What the names that a branch binds mean after it; old names first, new ones in the order of the first branch."""
    (then, _), (orelse, _) = ways
    old = [name for name in b.scope.names if name in changed]
    new = [name for name in then.names if name in changed and name not in old]
    b.scope.poison(name for name in changed if name in then.poisoned or name in orelse.poisoned)
    merged = []
    for name in (*old, *new):
        if name in b.scope.poisoned:
            continue
        try:
            found = _merge_name(name, ways, changed[name], b)
            merged += [found] if found is not None else []
        except Mistake as mistake:
            if name in old:
                b.report(mistake)
                b.scope.poison([name])
            else:
                b.scope.lose(name, "it is of another kind in each branch", changed[name])
    for name in changed:
        if name not in b.scope.names and name not in b.scope.poisoned and name not in b.scope.gone:
            b.scope.lose(name, "it is set in one branch only", changed[name])
    return tuple(merged)


def _merge_name(name: str, ways: list[tuple[Scope, list[Statement]]], span: Span, b: Builder) -> Merge | None:
    (then, then_block), (orelse, orelse_block) = ways
    if name not in then.names or name not in orelse.names:
        old = name in b.scope.names
        b.scope.lose(name, "a loop or a branch before took it" if old else "it is set in one branch only", span)
        return None
    x, y = then.names[name], orelse.names[name]
    if same(x, y):
        b.scope.bind(name, x)
        return None
    unchanged = name in b.scope.names and same(y, b.scope.names[name])
    if unchanged or (isinstance(x, float) and not isinstance(y, float)):  # the other one says of what type it is
        with _into(b, orelse_block):
            y_bound = bound_value(y, b, name, span)
        with _into(b, then_block):
            x_bound = follow(x, y_bound, b, name, span)
    else:
        with _into(b, then_block):
            x_bound = bound_value(x, b, name, span)
        with _into(b, orelse_block):
            y_bound = follow(y, x_bound, b, name, span)
    after = binding(name, x_bound)
    b.scope.bind(name, after)
    return Merge(x_bound, y_bound, after)


class _into:
    """Instructions go to the end of a block that was left already."""

    def __init__(self, b: Builder, block: list[Statement]) -> None:
        self.b, self.block = b, block

    def __enter__(self) -> None:
        self.b.blocks.append(self.block)

    def __exit__(self, *_: object) -> None:
        self.b.blocks.pop()

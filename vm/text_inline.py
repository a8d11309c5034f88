"""The condition of a `while`, which the language writes as one expression: its instructions, nested in it.

That is possible where each result of the head is used exactly once, in the head or in the condition.
"""

from __future__ import annotations

from .expr import Expr, Var
from .ir import Let, Statement, Value


def inline_order(head: tuple[Statement, ...], condition: Expr) -> tuple[Let, ...] | None:
    """The head in the order in which the condition, read as text, needs it; None if it cannot be written in place."""
    makers: dict[Value | Var, Let] = {}
    for statement in head:
        if not isinstance(statement, Let) or statement.result is None:
            return None
        makers[statement.result] = statement
    ordered: list[Let] = []
    if not _visit(condition, makers, ordered):
        return None
    return tuple(ordered) if len(ordered) == len(head) else None


def _visit(e: Expr, makers: dict[Value | Var, Let], ordered: list[Let]) -> bool:
    """Put the makers of what an expression reads in order; False if one is needed twice."""
    return all(var not in makers or _make(makers[var], makers, ordered) for var in _occurrences(e))


def _make(let: Let, makers: dict[Value | Var, Let], ordered: list[Let]) -> bool:
    if let in ordered:
        return False
    for part in parts(let):
        if isinstance(part, Value):
            if part in makers and not _make(makers[part], makers, ordered):
                return False
        elif not _visit(part, makers, ordered):
            return False
    if let in ordered:
        return False
    ordered.append(let)
    return True


def parts(let: Let) -> tuple[Value | Expr, ...]:
    """What an instruction reads, in the order of its text."""
    from .text_op import reads  # late: the text of an instruction says in which order it reads

    return reads(let.op)


def _occurrences(e: Expr) -> list[Var]:
    """The variables of an expression, each as often as its text names it, in the order of the text."""
    from .expr import Binary, Select

    match e:
        case Var():
            return [e]
        case Binary("floordiv", Binary("add", x, _), y) if str(e).startswith("ceildiv("):
            return [*_occurrences(x), *_occurrences(y)]
        case Binary(_, x, y):
            return [*_occurrences(x), *_occurrences(y)]
        case Select(condition, yes, no):
            return [*_occurrences(condition), *_occurrences(yes), *_occurrences(no)]
        case _:
            return []

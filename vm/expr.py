"""Scalar index expressions: immutable trees over 64-bit integers, folded while they are built.

    n0 = Var("n0", 0, 1 << 20, multiple=16)
    e = (n0 + 16) - n0                      # Const(16)
    bounds(n0 // 16), modular(n0 + 3)       # (0, 65536), (16, 3)
    can_prove(lt(n0, n0 + 1))               # True

An integer stands wherever an expression may. `==` on expressions compares trees; the comparison of values is `eq`.
Meaning is exact: `//` and `%` round down, and what is known of a variable is taken to hold. Folding never changes a
value; it may give a value to an expression that has none (`x // y - x // y` is 0 even where y is 0).
"""

from collections.abc import Mapping
from typing import assert_never

from . import expr_logic as logic
from .bounds import Facts, Kind
from .expr_arith import collect, difference_facts, merged
from .expr_fold import binary as _binary
from .expr_nodes import Binary, Const, Expr, ExprError, ExprLike, Select, Var, lift

__all__ = [
    "Binary",
    "Const",
    "Expr",
    "ExprError",
    "ExprLike",
    "Kind",
    "Select",
    "Var",
    "and_",
    "binary",
    "bounds",
    "can_prove",
    "ceildiv",
    "const",
    "eq",
    "evaluate",
    "ge",
    "gt",
    "le",
    "lift",
    "lt",
    "max_",
    "min_",
    "modular",
    "ne",
    "not_",
    "or_",
    "select",
    "substitute",
    "variables",
]


def const(value: int) -> Const:
    """The constant; ExprError when it does not fit in 64 bits."""
    e = lift(value)
    assert isinstance(e, Const)
    return e


def binary(kind: Kind, x: ExprLike, y: ExprLike) -> Expr:
    """The operation named `kind` on x and y, folded: what the operators and functions here build."""
    return _binary(kind, lift(x), lift(y))


def lt(x: ExprLike, y: ExprLike) -> Expr:
    """1 where x < y, else 0."""
    return binary("lt", x, y)


def le(x: ExprLike, y: ExprLike) -> Expr:
    """1 where x <= y, else 0."""
    return binary("le", x, y)


def gt(x: ExprLike, y: ExprLike) -> Expr:
    """1 where x > y, else 0."""
    return binary("lt", y, x)


def ge(x: ExprLike, y: ExprLike) -> Expr:
    """1 where x >= y, else 0."""
    return binary("le", y, x)


def eq(x: ExprLike, y: ExprLike) -> Expr:
    """1 where x == y, else 0."""
    return binary("eq", x, y)


def ne(x: ExprLike, y: ExprLike) -> Expr:
    """1 where x != y, else 0."""
    return binary("ne", x, y)


def min_(x: ExprLike, y: ExprLike) -> Expr:
    """The smaller of x and y."""
    return binary("min", x, y)


def max_(x: ExprLike, y: ExprLike) -> Expr:
    """The larger of x and y."""
    return binary("max", x, y)


def ceildiv(x: ExprLike, y: ExprLike) -> Expr:
    """x / y rounded up."""
    x, y = lift(x), lift(y)
    if y.facts.low is not None and y.facts.low > 0:
        return (x + (y - 1)) // y
    return -((-x) // y)


def and_(x: ExprLike, y: ExprLike) -> Expr:
    """1 where neither x nor y is 0, else 0. Both are evaluated."""
    return binary("and", logic.truth(lift(x)), logic.truth(lift(y)))


def or_(x: ExprLike, y: ExprLike) -> Expr:
    """1 where x or y is not 0, else 0. Both are evaluated."""
    return binary("or", logic.truth(lift(x)), logic.truth(lift(y)))


def not_(x: ExprLike) -> Expr:
    """1 where x is 0, else 0."""
    return logic.not_(lift(x))


def select(condition: ExprLike, yes: ExprLike, no: ExprLike) -> Expr:
    """`yes` where the condition is not 0, else `no`; the other one need not have a value."""
    return logic.select(lift(condition), lift(yes), lift(no))


def bounds(e: ExprLike) -> tuple[int | None, int | None]:
    """(low, high), both inclusive, between which the value always lies; None where no bound is known."""
    facts = _facts(lift(e))
    return facts.low, facts.high


def modular(e: ExprLike) -> tuple[int, int]:
    """(multiple, residue): the value is congruent to residue modulo multiple; multiple 0: it *is* residue."""
    facts = _facts(lift(e))
    return facts.multiple, facts.residue


def _facts(e: Expr) -> Facts:
    """What is known of the value, also where the terms of a sum depend on each other."""
    return difference_facts(*merged(*collect(e))) if isinstance(e, Binary) and e.kind in ("add", "sub") else e.facts


def can_prove(e: ExprLike) -> bool:
    """True when the value is never 0. False says only that no proof was found."""
    return _facts(lift(e)).excludes(0)


def evaluate(e: ExprLike, env: Mapping[Var, int]) -> int:
    """The exact value for these values of the variables; ExprError when there is none."""
    match lift(e):
        case Const(value):
            return value
        case Var() as var:
            if var not in env:
                raise ExprError(f"variable {var.name} has no value; give one in the environment")
            return env[var]
        case Select(condition, yes, no):
            return evaluate(yes if evaluate(condition, env) else no, env)
        case Binary(kind, x, y):
            return _apply(kind, evaluate(x, env), evaluate(y, env))
        case unreachable:
            assert_never(unreachable)


def _apply(kind: Kind, a: int, b: int) -> int:
    if kind in ("floordiv", "mod") and b == 0:
        raise ExprError(f"division by zero: {a} {'//' if kind == 'floordiv' else '%'} 0")
    if kind in ("shl", "shr") and not 0 <= b <= 63:
        raise ExprError(f"a shift is by 0..63 bits, not by {b}")
    match kind:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case "floordiv":
            return a // b
        case "mod":
            return a % b
        case "min" | "max" | "and" | "or" | "xor":
            return logic.apply(kind, a, b)
        case "shl":
            return a << b
        case "shr":
            return a >> b
        case "lt":
            return int(a < b)
        case "le":
            return int(a <= b)
        case "eq":
            return int(a == b)
        case "ne":
            return int(a != b)
        case _:
            assert_never(kind)


def variables(e: ExprLike) -> tuple[Var, ...]:
    """The variables that occur, each once, in the order of the text."""
    found: dict[Var, None] = {}
    pending = [lift(e)]
    while pending:
        match pending.pop():
            case Var() as var:
                found[var] = None
            case Binary(_, x, y):
                pending += [y, x]
            case Select(condition, yes, no):
                pending += [no, condition, yes]
            case Const():
                pass
    return tuple(found)


def substitute(e: ExprLike, replacements: Mapping[Var, ExprLike]) -> Expr:
    """The expression with variables replaced, all at once, and folded again."""
    match lift(e):
        case Var() as var:
            return lift(replacements.get(var, var))
        case Const() as constant:
            return constant
        case Binary(kind, x, y):
            return binary(kind, substitute(x, replacements), substitute(y, replacements))
        case Select(condition, yes, no):
            parts = [substitute(part, replacements) for part in (condition, yes, no)]
            return select(*parts)
        case unreachable:
            assert_never(unreachable)

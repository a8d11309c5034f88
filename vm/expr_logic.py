"""Folding of comparisons, min and max, the bitwise operations, and select.

A comparison is decided by the range and residue of the difference of its sides. One that stays open is written with
common terms cancelled and no negative coefficient on either side, so that equal comparisons become equal trees.
"""

import math
from typing import Literal, TypeAlias

from . import bounds
from .expr_arith import Terms, add, collect, difference_facts, floordiv, merged, mod, plus, scaled, total
from .expr_nodes import Binary, Const, Expr, ExprError, Select, order

Comparison: TypeAlias = Literal["lt", "le", "eq", "ne"]
Lattice: TypeAlias = Literal["min", "max", "and", "or", "xor"]

FALSE, TRUE = Const(0), Const(1)
_NEUTRAL: dict[Lattice, int] = {"and": -1, "or": 0, "xor": 0}
_ABSORBING: dict[Lattice, int] = {"and": 0, "or": -1}


def is_truth(e: Expr) -> bool:
    """True when the value is always 0 or 1."""
    return e.facts.within(0, 1)


def compare(kind: Comparison, x: Expr, y: Expr) -> Expr:
    """x < y, x <= y, x == y or x != y, as 0 or 1."""
    (xt, xc), (yt, yc) = collect(x), collect(y)
    terms, constant = merged(plus(xt, yt, -1), xc - yc)
    known = _decide(kind, difference_facts(terms, constant))
    if known is not None:
        return TRUE if known else FALSE
    asked = _two_valued(kind, terms, constant)
    if asked is not None:
        return asked
    try:
        return _order_sides(kind, terms, constant)
    except ExprError:  # the tidy form leaves 64 bits; the plain one does not
        return Binary(kind, x, y)


def _decide(kind: Comparison, difference: bounds.Facts) -> bool | None:
    """The comparison of a difference with 0, when all its values agree."""
    low, high = difference.low, difference.high
    match kind:
        case "lt" | "le":
            limit = 0 if kind == "lt" else 1
            if high is not None and high < limit:
                return True
            return False if low is not None and low >= limit else None
        case _:
            if difference.excludes(0):
                return kind == "ne"
            return kind == "eq" if difference.exact == 0 else None


def _two_valued(kind: Comparison, terms: Terms, constant: int) -> Expr | None:
    """A comparison that asks about one 0-or-1 term alone is that term or its negation."""
    if len(terms) != 1:
        return None
    ((t, k),) = terms.items()
    if not is_truth(t):
        return None
    return t if _decide(kind, bounds.exactly(k + constant)) else not_(t)


def _order_sides(kind: Comparison, terms: Terms, constant: int) -> Expr:
    """terms + constant compared with 0, divided by the common factor, as left < right or left == right."""
    common = math.gcd(*terms.values())
    terms = {t: k // common for t, k in terms.items()}
    if kind in ("eq", "ne"):  # the common factor divides the constant, or the comparison was decided
        constant //= common
        if terms[min(terms, key=order)] < 0:  # either side could come first: the first term chooses
            terms, constant = {t: -k for t, k in terms.items()}, -constant
    else:  # g * t + c < 0 is t + floor(c / g) < 0, and d <= 0 is d - 1 < 0
        constant = (constant - (kind == "le")) // common
        kind = "lt"
        if constant == -1:
            kind, constant = "le", 0
    left = {t: k for t, k in terms.items() if k > 0}
    right = {t: -k for t, k in terms.items() if k < 0}
    return Binary(kind, total(left, max(constant, 0)), total(right, max(-constant, 0)))


def not_(x: Expr) -> Expr:
    """1 where x is 0, else 0."""
    match x:
        case Binary("lt", a, b):
            return compare("le", b, a)
        case Binary("le", a, b):
            return compare("lt", b, a)
        case Binary("eq", a, b):
            return Binary("ne", a, b)
        case Binary("ne", a, b):
            return Binary("eq", a, b)
        case _ if x.facts.excludes(0):
            return FALSE
        case _ if x.facts.exact == 0:
            return TRUE
        case _:
            return Binary("eq", x, FALSE)


def truth(x: Expr) -> Expr:
    """1 where x is not 0, else 0."""
    return x if is_truth(x) else compare("ne", x, FALSE)


def lattice(kind: Lattice, x: Expr, y: Expr) -> Expr:
    """min, max, &, | and ^: operands are gathered, sorted, and dropped where another one makes them idle."""
    operands: list[Expr] = []
    constant: int | None = None
    for e in _operands(kind, x) + _operands(kind, y):
        if isinstance(e, Const):
            constant = e.value if constant is None else apply(kind, constant, e.value)
        elif e not in operands:
            operands.append(e)
        elif kind == "xor":
            operands.remove(e)
    if constant is not None and constant == _ABSORBING.get(kind):
        return Const(constant)
    if constant is not None and (constant != _NEUTRAL.get(kind) or not operands):
        operands.append(Const(constant))
    if kind in ("min", "max"):
        operands = _without_idle(kind, operands)
    result = None
    for e in sorted(operands, key=order):
        result = e if result is None else _pair(kind, result, e)
    return Const(_NEUTRAL[kind]) if result is None else result


def apply(kind: Lattice, a: int, b: int) -> int:
    """min, max, &, | or ^ of two integers."""
    match kind:
        case "min":
            return min(a, b)
        case "max":
            return max(a, b)
        case "and":
            return a & b
        case "or":
            return a | b
        case "xor":
            return a ^ b


def _operands(kind: Lattice, e: Expr) -> list[Expr]:
    found: list[Expr] = []
    pending = [e]
    while pending:
        node = pending.pop()
        if isinstance(node, Binary) and node.kind == kind:
            pending += [node.y, node.x]
        else:
            found.append(node)
    return found


def _without_idle(kind: Lattice, operands: list[Expr]) -> list[Expr]:
    """Leave out of min (max) what is never below (above) another operand."""
    kept: list[Expr] = []
    for e in operands:
        if any(_never_beyond(kind, e, other) for other in kept):
            continue
        kept = [other for other in kept if not _never_beyond(kind, other, e)] + [e]
    return kept


def _never_beyond(kind: Lattice, e: Expr, other: Expr) -> bool:
    (et, ec), (ot, oc) = collect(e), collect(other)
    difference = difference_facts(*merged(plus(et, ot, -1), ec - oc))
    return _decide("le", bounds.scale(difference, -1 if kind == "min" else 1)) is True


def _pair(kind: Lattice, x: Expr, y: Expr) -> Expr:
    """One operation on two operands that neither cancel nor decide each other as constants do."""
    if kind == "and" and isinstance(y, Const) and y.value > 0 and y.value & (y.value + 1) == 0:
        return mod(x, Const(y.value + 1)) if y.value < (1 << 63) - 1 else Binary(kind, x, y)
    if kind in ("or", "xor") and (_below_low_bit(x, y) or _below_low_bit(y, x)):
        return add(x, y)  # no bit is set in both
    node = Binary(kind, x, y)
    return node if node.facts.exact is None else Const(node.facts.exact)


def _below_low_bit(x: Expr, y: Expr) -> bool:
    """True when y is a multiple of a power of two that is above every bit of x."""
    return x.facts.within(0, (1 << bounds.low_zeros(y.facts)) - 1)


def select(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """`yes` where the condition is not 0, else `no`."""
    condition = truth(condition)
    if isinstance(condition, Const):
        return yes if condition.value else no
    if yes == no:
        return yes
    if isinstance(condition, Binary) and condition.kind == "eq" and condition.y == FALSE and is_truth(condition.x):
        return select(condition.x, no, yes)
    if (yes, no) == (TRUE, FALSE):
        return condition
    return not_(condition) if (yes, no) == (FALSE, TRUE) else Select(condition, yes, no)


def shift(kind: Literal["shl", "shr"], x: Expr, y: Expr) -> Expr:
    """x * 2**y or x // 2**y, for y in 0..63."""
    low, high = y.facts.low, y.facts.high
    if (high is not None and high < 0) or (low is not None and low > 63):
        raise ExprError(f"a shift is by 0..63 bits, not by {y}")
    amount = y.facts.exact
    if amount is not None and amount < 63:
        return scaled(x, 1 << amount) if kind == "shl" else floordiv(x, Const(1 << amount))
    node = Binary(kind, x, y)
    return node if node.facts.exact is None else Const(node.facts.exact)

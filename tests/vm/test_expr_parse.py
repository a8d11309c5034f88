"""Index expressions read back from their text: the same value for all values of the variables, and the same text."""

from __future__ import annotations

from itertools import product

import pytest

from bitwright.vm.expr import Expr, ExprError, Var, and_, ceildiv, const, eq, evaluate, le, lt, max_, min_, ne, select
from bitwright.vm.expr_parse import parse_expr

a, b = Var("a", -3, 5), Var("b", 1, 4)
NAMES = {"a": a, "b": b}

EXPRESSIONS: list[Expr] = [
    const(0),
    const(-(1 << 63)),
    const((1 << 63) - 1),
    a,
    -a,
    -(a + b) - 1,
    a * 3 + b * -2,
    ceildiv(a, 4) * ceildiv(a + 7, b),
    a // b % 3,
    a % b - (a - b) // 2,
    (a & 6) | (b ^ 3),
    (a + 3 << 2) >> b,
    min_(a, b) + max_(a * 2, 3),
    lt(a, b),
    le(a * 2, b + 1),
    and_(eq(a, 2), ne(b, 3)),
    select(lt(a, 0), a * b, select(eq(b, 2), -a, b)),
    select(and_(lt(a, b), le(b, 3)), min_(a, 0), 5) * 2,
]


@pytest.mark.parametrize("e", EXPRESSIONS, ids=str)
def test_text_is_read_back(e: Expr) -> None:
    again = parse_expr(str(e), NAMES)
    assert str(again) == str(e)
    for x, y in product(range(-3, 6), range(1, 5)):
        assert evaluate(again, {a: x, b: y}) == evaluate(e, {a: x, b: y})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no index expression"),
        ("a +", "no index expression"),
        ("c + 1", "there is no variable c"),
        ("a.real", "is not part of"),
        ("__import__('os')", "is not part of"),
        ("min(a)", "is not part of"),
        ("a < b < 3", "is not part of"),
        ("1.5", "is not part of"),
        ("True", "is not part of"),
        ("a / b", "is not part of"),
        ("9223372036854775808", "does not fit"),
        ("(" * 300 + "a" + ")" * 300, "no index expression"),
        ("\0", "no index expression"),
    ],
)
def test_other_text_is_refused(text: str, why: str) -> None:
    with pytest.raises(ExprError, match=why):
        parse_expr(text, NAMES)

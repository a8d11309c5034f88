"""Index expressions: what folds, what is known, how it prints, and what is refused, worked by hand."""

import copy
import pickle

import numpy as np
import pytest

from bitwright.vm.expr import (
    Binary,
    Const,
    Expr,
    ExprError,
    Select,
    Var,
    and_,
    bounds,
    can_prove,
    ceildiv,
    const,
    eq,
    evaluate,
    ge,
    gt,
    le,
    lt,
    max_,
    min_,
    modular,
    ne,
    not_,
    or_,
    select,
    substitute,
    variables,
)

n0 = Var("n0", 0, 1 << 20, multiple=16)
i = Var("i", 0, 63)
j = Var("j", 0, 7)
x, y, z = Var("x"), Var("y"), Var("z")
p = Var("p", 1, None)  # positive

TEXTS = [
    ((n0 + 16) - n0, "16"),
    (x + 0, "x"),
    (x * 1, "x"),
    (x * 0, "0"),
    (x + 3 + 4, "x + 7"),
    (x + 3 - 4, "x - 1"),
    (x - x, "0"),
    (y + x, "x + y"),
    (x - y - (x - y * 3), "y * 2"),
    (3 - x, "3 - x"),
    (-x, "-x"),
    (-(x + y), "-x - y"),
    (x * -3, "x * -3"),
    ((x + y) * 4, "x * 4 + y * 4"),
    (x * 6 // 3, "x * 2"),
    (x * 6 % 3, "0"),
    (x * 6 // 4, "x + x // 2"),
    (x // 1, "x"),
    (x % 1, "0"),
    (x // -4, "-x // 4"),
    (x % -4, "-(-x % 4)"),
    (n0 // 16 * 16, "n0"),
    ((n0 + j) // 16, "n0 // 16"),
    ((n0 + j) % 16, "j"),
    ((n0 + 5) // 16 * 16, "n0"),
    (i // 8 * 8 + i % 8, "i"),
    (i - i // 8 * 8, "i % 8"),
    (i - i % 8, "i // 8 * 8"),
    (x // 4 // 8, "x // 32"),
    (x % 64 % 8, "x % 8"),
    (x % 64 // 8, "x // 8 % 8"),
    ((x + 9) % 8, "(x + 1) % 8"),
    (ceildiv(x, 8) * 8, "ceildiv(x, 8) * 8"),
    (ceildiv(x * 4, 8), "ceildiv(x, 2)"),
    (ceildiv(n0, 16), "n0 // 16"),
    (x * y // y, "x"),
    ((x * y + z) % y, "z % y"),
    (j // (p + 7), "0"),
    (x << 3, "x * 8"),
    (x >> 3, "x // 8"),
    (x << y, "x << y"),
    ((x + 1) << (y & 3), "x + 1 << y % 4"),
    (x & 7, "x % 8"),
    (x & -1, "x"),
    (x & 0, "0"),
    (x | x, "x"),
    (x ^ x, "0"),
    ((x ^ y) ^ x, "y"),
    ((i * 8) | j, "i * 8 + j"),
    ((i * 8) ^ j, "i * 8 + j"),
    (x | y ^ z & p, "x | y ^ p & z"),
    (min_(i, 100), "i"),
    (min_(min_(x, 9), 5), "min(x, 5)"),
    (min_(x + 1, x + 3), "x + 1"),
    (max_(x, min_(x, y)), "x"),
    (max_(y, x), "max(x, y)"),
    (lt(i, 64), "1"),
    (lt(x, x + 1), "1"),
    (lt(x + 5, y + 5), "x < y"),
    (le(x, y), "x <= y"),
    (lt(x, y + 1), "x <= y"),
    (gt(x, 3), "3 < x"),
    (ge(x, 0), "0 <= x"),
    (ge(x, 5), "4 < x"),
    (lt(x * 4, 9), "x < 3"),
    (eq(x * 4, 8), "x == 2"),
    (eq(x * 4, 9), "0"),
    (ne(y, x), "x != y"),
    (not_(lt(x, y)), "y <= x"),
    (not_(not_(lt(x, y))), "x < y"),
    (not_(x), "x == 0"),
    (eq(lt(x, y), 1), "x < y"),
    (eq(lt(x, y), 0), "y <= x"),
    (and_(lt(x, y), lt(y, z)), "(x < y) & (y < z)"),
    (and_(x, 1), "x != 0"),
    (or_(lt(x, y), 1), "1"),
    (select(lt(x, y), x, y), "x if x < y else y"),
    (select(lt(x, y), x, y) + 1, "(x if x < y else y) + 1"),
    (select(x, 1, 0), "x != 0"),
    (select(lt(x, y), z, z), "z"),
    (select(1, x, y), "x"),
    (select(select(x, y, z), x, y), "x if (y if x != 0 else z) != 0 else y"),
]


@pytest.mark.parametrize(("e", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_folds_to(e: Expr, text: str) -> None:
    assert str(e) == text


def test_equal_sums_are_equal_trees() -> None:
    assert (x + y) * 2 - z == y * 2 - (z - x * 2)
    assert hash((x + y) * 2) == hash(x * 2 + y * 2)
    assert x * y * z == z * (y * x)
    assert lt(x * 2, y * 2 + 1) == le(x, y)
    assert x + 1 != x + 2


def test_variables_are_equal_only_to_themselves() -> None:
    twin = Var("x")
    assert twin != x
    assert twin - x != Const(0)
    assert str(twin - x) in ("x - x", "-x + x")
    assert evaluate(twin - x, {twin: 5, x: 3}) == 2


@pytest.mark.parametrize(
    ("e", "low", "high", "multiple", "residue"),
    [
        (const(-5), -5, -5, 0, -5),
        (x, None, None, 1, 0),
        (n0, 0, 1 << 20, 16, 0),
        (n0 + 3, 3, (1 << 20) + 3, 16, 3),
        (n0 * -2, -(1 << 21), 0, 32, 0),
        (x * 12 + n0 * 2 + 1, None, None, 4, 1),
        (x % 10, 0, 9, 1, 0),
        ((x * 4 + 2) % 12, 2, 10, 4, 2),
        (n0 // 4, 0, 1 << 18, 4, 0),
        (x % p, 0, None, 1, 0),
        (i % p, 0, 63, 1, 0),
        (Var("k", 3, 30, multiple=8), 8, 24, 8, 0),
        (i * j, 0, 441, 1, 0),
        (i // (j + 1), 0, 63, 1, 0),
        ((i - 40) // (j - 10), -8, 13, 1, 0),
        (n0 & i, 0, 48, 16, 0),
        (i ^ 64, 64, 127, 1, 0),
        (i | 128, 128, 191, 1, 0),
        (x & i, 0, 63, 1, 0),
        (x | -8, -8, -1, 1, 0),
        (n0 ^ (x * 32 + 8), None, None, 16, 8),
        (1 << j, 1, 128, 1, 0),
        (4 << j, 4, 512, 4, 0),
        (i >> j, 0, 63, 1, 0),
        (min_(x, 9), None, 9, 1, 0),
        (max_(n0, 40), 40, 1 << 20, 8, 0),
        (lt(x, y), 0, 1, 1, 0),
        (select(x, 6, 18), 6, 18, 12, 6),
        (select(x, n0 + 2, 10), 2, (1 << 20) + 2, 8, 2),
    ],
)
def test_range_and_residue(e: Expr, low: int | None, high: int | None, multiple: int, residue: int) -> None:
    assert bounds(e) == (low, high)
    assert modular(e) == (multiple, residue)


def test_proofs() -> None:
    assert can_prove(5)
    assert not can_prove(0)
    assert can_prove(p)
    assert can_prove(x * 2 + 1)
    assert not can_prove(x)
    assert can_prove(le(min_(i, x), x))
    assert can_prove(le(x, max_(i, x)))
    assert can_prove(le(x // 8 * 8, x))
    assert can_prove(lt(x, x // 8 * 8 + 8))
    assert can_prove(lt((x + i) // 4 * 4, x + i + 1))
    assert can_prove(le(ceildiv(x, 8) * 8, x + 7))
    assert can_prove(lt(x % p, p))
    assert not can_prove(lt(x % y, y))  # y may be negative
    assert bounds(min_(x + 64, y) - x) == (None, 64)
    assert bounds(x - max_(x - 3, y)) == (None, 3)
    assert can_prove(65 - min_(x + 64, y) + x)


def test_evaluate() -> None:
    e = select(lt(x, 0), x // y, (x ^ y) % 5) - max_(x, y)
    assert evaluate(e, {x: -7, y: 2}) == -4 - 2
    assert evaluate(e, {x: 7, y: 2}) == 5 % 5 - 7
    assert evaluate(select(y, x // y, 9), {x: 1, y: 0}) == 9
    assert evaluate(x * y, {x: 1 << 62, y: 1 << 62}) == 1 << 124
    assert evaluate(7, {}) == 7
    with pytest.raises(ExprError, match="variable y has no value"):
        evaluate(e, {x: -7})
    with pytest.raises(ExprError, match="division by zero: 1 // 0"):
        evaluate(x // y, {x: 1, y: 0})
    with pytest.raises(ExprError, match=r"by 0\.\.63 bits, not by 64"):
        evaluate(x >> y, {x: 1, y: 64})


def test_variables_come_in_the_order_of_the_text() -> None:
    assert variables(z * y) == (y, z)
    assert variables(select(lt(i, x), y, j) + z) == (z, y, i, x, j)  # z + (y if i < x else j)
    assert variables(x - x) == ()
    assert variables(z + x + y) == (x, y, z)


def test_substitute_replaces_all_at_once() -> None:
    assert substitute(x - y, {x: y, y: x}) == y - x
    assert substitute(x // 16, {x: n0 + j}) == n0 // 16
    assert substitute(select(lt(x, y), x, y), {x: 1, y: 2}) == Const(1)
    assert substitute(x, {y: 1}) is x
    with pytest.raises(ExprError, match="division by zero"):
        substitute(x // y, {y: 0})


def test_integers_of_numpy_are_integers() -> None:
    assert x + np.int64(3) == x + 3
    with pytest.raises(TypeError, match="not float"):
        x + 1.5  # type: ignore[operator]  # the mistake under test


def test_the_ends_of_64_bits() -> None:
    low, high = -(1 << 63), (1 << 63) - 1
    assert evaluate(x + low, {x: 3}) == 3 + low
    assert evaluate(x - y + low, {x: 3, y: 1}) == 2 + low
    assert evaluate(x * low - z, {x: 1, z: 0}) == low
    assert evaluate(x // low, {x: low}) == 1
    assert evaluate(x % low, {x: -1}) == -1
    assert evaluate(x & high, {x: -1}) == high
    assert evaluate(x << 63, {x: -1}) == low
    assert evaluate(x >> 63, {x: -1}) == -1
    assert evaluate(lt(x + low, y + high), {x: 0, y: 0}) == 1
    assert bounds(x >> 63) == (None, None)
    for make in (
        lambda: const(high + 1),
        lambda: const(high) + 1,
        lambda: (x + high) + 1,
        lambda: (x * (1 << 62)) * 2,
        lambda: -const(low),
        lambda: z - x * low,
        lambda: const(3) << 62,
        lambda: Var("v", 0, high + 1),
    ):
        with pytest.raises(ExprError, match="does not fit in a 64-bit signed integer"):
            make()


def test_mistakes_are_named() -> None:
    with pytest.raises(ExprError, match=r"division by zero: \(x \+ 1\) // \(0\)"):
        (x + 1) // 0
    with pytest.raises(ExprError, match="division by zero"):
        x % (y - y)
    with pytest.raises(ExprError, match="multiple must be at least 1"):
        Var("v", multiple=0)
    with pytest.raises(ExprError, match=r"no multiple of 8 in \[1, 7\]"):
        Var("v", 1, 7, multiple=8)
    with pytest.raises(ExprError, match=r"by 0\.\.63 bits, not by -1"):
        x << -1
    with pytest.raises(ExprError, match="no truth value"):
        bool(lt(x, y))


def test_long_sums_of_one_variable_stay_small() -> None:
    e: Expr = x
    for _ in range(10_000):
        e = e + x
    assert e == x * 10_001


def test_deep_trees_are_refused_before_they_exhaust_the_stack() -> None:
    deepest: Expr = x
    with pytest.raises(ExprError, match="too deep"):  # noqa: PT012 - the loop builds up to the error
        for _ in range(10_000):
            deepest = (deepest ^ y) * 3 + z
    assert evaluate(deepest, {x: 0, y: 0, z: 0}) == 0
    assert substitute(deepest, {}) == deepest
    assert set(variables(deepest)) == {x, y, z}
    assert str(deepest).count("z") == repr(deepest).count("name='z'")
    assert can_prove(eq(deepest, deepest))


def test_shared_trees_are_refused_before_they_explode() -> None:
    e: Expr = x
    with pytest.raises(ExprError, match="too large"):  # noqa: PT012 - the loop builds up to the error
        for _ in range(100):
            e = e ^ (e * 2 + y)


def test_trees_survive_pickling_and_copying() -> None:
    e = select(lt(x, y), x // 3, y % 5)
    there = pickle.loads(pickle.dumps(e))
    assert str(there) == str(e)
    assert there != e  # its variables are other symbols
    a, b = variables(there)[0], variables(there)[1]
    assert evaluate(there, {a: 7, b: 9}) == evaluate(e, {x: 7, y: 9}) == 2
    assert copy.copy(e) == e
    kept, again = pickle.loads(pickle.dumps((x, x + 1)))
    assert again - kept == Const(1)


def test_nodes_can_be_matched() -> None:
    match (x + 1) // 4:
        case Binary("floordiv", Binary("add", Var(name="x"), Const(1)), Const(4)):
            pass
        case other:
            pytest.fail(str(other))
    assert isinstance(select(x, y, z), Select)

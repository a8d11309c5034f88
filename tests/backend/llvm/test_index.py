"""Index expressions as machine code against their exact values, the awkward ones included."""

import ctypes
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.backend.llvm.build import assemble, load
from bitwright.backend.llvm.index import IndexCode, IndexError64, emit_expr
from bitwright.backend.target import target
from bitwright.vm.expr import Binary, Const, Select, Var, binary, ceildiv, lt, select

KINDS = ["add", "sub", "mul", "floordiv", "mod", "min", "max", "and", "or", "xor", "shl", "shr", "lt", "le", "eq", "ne"]
X, Y = Var("x"), Var("y")
SMALLEST = -(1 << 63)
NUMBERS = [0, 1, -1, 2, -2, 3, -3, 5, 7, -8, 16, 63, 64, 1 << 31, -(1 << 31), (1 << 62) + 5, SMALLEST, (1 << 63) - 1]

REFERENCE = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // (b or 1),
    "mod": lambda a, b: a % (b or 1),
    "min": min,
    "max": max,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << (b % 64),
    "shr": lambda a, b: a >> (b % 64),
    "lt": lambda a, b: int(a < b),
    "le": lambda a, b: int(a <= b),
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
}


def compiled(e, *parameters):
    names = {var: f"%a{i}" for i, var in enumerate(parameters)}
    lines, value = emit_expr(e, names)
    listed = ", ".join(f"i64 {name}" for name in names.values())
    text = "\n".join([f"define i64 @f({listed}) {{", *lines, f"  ret i64 {value}", "}"])
    library = load(assemble(text, target("cpu:baseline")))
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(parameters))(library.address("f"))
    return library, function


def wrapped(value):
    return (value - SMALLEST) % (1 << 64) + SMALLEST


@pytest.mark.parametrize("kind", KINDS)
def test_two_unknown_operands(kind):
    library, run = compiled(Binary(kind, X, Y), X, Y)
    for a in NUMBERS:
        for b in NUMBERS:
            assert run(a, b) == wrapped(REFERENCE[kind](a, b)), (a, kind, b)
    assert library


@pytest.mark.parametrize("kind", ["floordiv", "mod"])
@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 8, 1 << 40, -1, -4, -7])
@pytest.mark.parametrize("natural", [False, True])
def test_division_by_constants(kind, divisor, natural):
    x = Var("x", 0) if natural else X
    library, run = compiled(Binary(kind, x, Const(divisor)), x)
    for a in NUMBERS:
        if a >= 0 or not natural:
            assert run(a) == wrapped(REFERENCE[kind](a, divisor)), a
    assert library


@pytest.mark.parametrize("kind", ["floordiv", "mod"])
@pytest.mark.parametrize("natural", [False, True])
def test_division_by_positive_sizes(kind, natural):
    x, y = Var("x", 0) if natural else X, Var("y", 1)
    library, run = compiled(Binary(kind, x, y), x, y)
    for a in NUMBERS:
        for b in NUMBERS:
            if b > 0 and (a >= 0 or not natural):
                assert run(a, b) == REFERENCE[kind](a, b), (a, b)
    assert library


def test_powers_of_two_need_no_division():
    for e in (Binary("floordiv", X, Const(32)), Binary("mod", X, Const(32))):
        lines, _ = emit_expr(e, {X: "%x"})
        assert len(lines) == 1
        assert "div" not in lines[0]
        assert "rem" not in lines[0]


def test_the_side_that_is_not_chosen_may_have_no_value():
    library, run = compiled(select(lt(0, Y), X // Y, -1), X, Y)
    assert [run(17, 5), run(17, 0), run(-17, 5), run(17, -1)] == [3, -1, -4, -1]
    assert library


def test_common_parts_are_computed_once():
    code = IndexCode({X: "%x", Y: "%y"}, "q")
    first = code.value(ceildiv(X, 48))
    count = len(code.lines)
    assert code.value(ceildiv(X, 48)) == first
    assert len(code.lines) == count
    code.value(ceildiv(X, 48) * Y)
    assert len(code.lines) == count + 1
    assert all(re.match(r"  %q\d+ = ", line) for line in code.lines)


def test_unknown_variables_are_named():
    with pytest.raises(IndexError64, match="variable y has no value"):
        emit_expr(X + Y, {X: "%x"})


def trees(leaves):
    kinds = st.sampled_from(KINDS)
    return st.recursive(
        leaves,
        lambda t: st.builds(Binary, kinds, t, t) | st.builds(Select, t, t, t),
        max_leaves=12,
    )


# What is known of an expression (its sign, say) holds only while nothing leaves 64 bits, so only such values are asked.
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_tree(data):
    small = st.sampled_from([X, Y]) | st.integers(-9, 9).map(Const)
    e = data.draw(trees(small))
    library, run = compiled(e, X, Y)
    for a, b in data.draw(st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=3, max_size=6)):
        try:
            expected = exact(e, {X: a, Y: b})
        except ValueError:
            continue  # the expression has no value there
        assert run(a, b) == expected
    assert library


def exact(e, env):
    """The value, or ValueError where a part divides by 0, shifts too far, or leaves 64 bits."""
    match e:
        case Select(condition, yes, no):
            exact(yes, env)
            exact(no, env)
            return exact(yes if exact(condition, env) else no, env)
        case Binary(kind, x, y):
            a, b = exact(x, env), exact(y, env)
            if (kind in ("floordiv", "mod") and b == 0) or (kind in ("shl", "shr") and not 0 <= b < 64):
                raise ValueError
            result = REFERENCE[kind](a, b)
            if result != wrapped(result):
                raise ValueError
            return result
        case Const(number):
            return number
        case _:
            return env[e]


def test_folded_expressions_too():
    e = binary("mod", ceildiv(X * 3 + 5, 8) * 4 - Y, 7)
    library, run = compiled(e, X, Y)
    for a in range(-20, 20):
        for b in range(-3, 4):
            assert run(a, b) == (-((-(a * 3 + 5)) // 8) * 4 - b) % 7
    assert library

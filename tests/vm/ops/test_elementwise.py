"""Arithmetic on elements, against Python's integers, exact fractions and the mathematics of float64."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from bitwright.tests.one_op import covers, refused, run, value
from bitwright.vm.dtypes import Int, dtype
from bitwright.vm.layout.spread import distribute
from bitwright.vm.ops import Binary, Reduce, Unary, Where
from bitwright.vm.ops.elementwise import BinaryKind, UnaryKind

INTS = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]
# (precision in bits, exponent of the smallest normal number, largest finite number)
FORMATS = {
    "f16": (11, -14, Fraction(65504)),
    "bf16": (8, -126, Fraction((2**8 - 1) * 2**120)),
    "f32": (24, -126, Fraction((2**24 - 1) * 2**104)),
}


def rounded(x: Fraction, kind: str) -> float:
    """The number of the format that is nearest to x, to even; infinity beyond the middle of the last gap."""
    precision, lowest, largest = FORMATS[kind]
    if x == 0:
        return 0.0
    exponent = lowest
    while abs(x) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - precision + 1)
    nearest = round(x / step) * step  # Python rounds fractions to even
    return math.copysign(math.inf, x) if abs(nearest) > largest else float(nearest)


def wrapped(n: int, kind: Int) -> int:
    n %= 1 << kind.bits
    return n - (1 << kind.bits) if kind.signed and n >> (kind.bits - 1) else n


def integers(kind: Int) -> list[int]:
    low, high = int(kind.min), int(kind.max)
    some = [0, 1, 2, 3, 7, 10, 100, high, high - 1, high // 2, high // 3, low, low + 1, low // 2, -1, -2, -3, -7, -100]
    return sorted({n for n in some if low <= n <= high})


def shifted_left(x: int, y: int, bits: int) -> int:
    return x << y if 0 <= y < bits else 0


def shifted_right(x: int, y: int, bits: int) -> int:
    return x >> y if 0 <= y < bits else -1 if x < 0 else 0


WHOLE: dict[BinaryKind, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": lambda x, y: x // y if y else 0,
    "mod": lambda x, y: x % y if y else 0,
    "min": min,
    "max": max,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}


class TestIntegers:
    @pytest.mark.parametrize("kind", INTS)
    @pytest.mark.parametrize("op", list(WHOLE))
    def test_binary(self, op: BinaryKind, kind: str) -> None:
        d = dtype(kind)
        assert isinstance(d, Int)
        pairs = [(x, y) for x in integers(d) for y in integers(d)]
        x, y = (np.array(column, d.carrier) for column in zip(*pairs, strict=True))
        found = run(Binary(op, value(kind, len(x)), value(kind, len(x), name="y")), x, y)
        logical = op in ("lt", "le", "eq", "ne")
        expected = [WHOLE[op](a, b) if logical else wrapped(WHOLE[op](a, b), d) for a, b in pairs]
        assert found.tolist() == expected

    @pytest.mark.parametrize("kind", INTS)
    @pytest.mark.parametrize("op", ["shl", "shr"])
    def test_shifts(self, op: BinaryKind, kind: str) -> None:
        d = dtype(kind)
        assert isinstance(d, Int)
        shift = shifted_left if op == "shl" else shifted_right
        pairs = [(x, y) for x in integers(d) for y in (0, 1, 2, 7, 8, 31, 32, 63, 64, 100, -1) if d.min <= y <= d.max]
        x, y = (np.array(column, d.carrier) for column in zip(*pairs, strict=True))
        found = run(Binary(op, value(kind, len(x)), value(kind, len(x), name="y")), x, y)
        assert found.tolist() == [wrapped(shift(a, b, d.bits), d) for a, b in pairs]

    @pytest.mark.parametrize("kind", INTS)
    def test_unary(self, kind: str) -> None:
        d = dtype(kind)
        assert isinstance(d, Int)
        numbers = integers(d)
        x = np.array(numbers, d.carrier)
        meanings: dict[UnaryKind, Callable[[int], int]] = {"neg": lambda n: -n, "abs": abs, "not": lambda n: ~n}
        for op, meaning in meanings.items():
            found = run(Unary(op, value(kind, len(x))), x)
            assert found.tolist() == [wrapped(meaning(n), d) for n in numbers]

    def test_bool(self) -> None:
        x, y = value("bool", 4), value("bool", 4, name="y")
        a, b = [False, False, True, True], [False, True, False, True]
        assert run(Binary("and", x, y), a, b).tolist() == [False, False, False, True]
        assert run(Binary("or", x, y), a, b).tolist() == [False, True, True, True]
        assert run(Binary("xor", x, y), a, b).tolist() == [False, True, True, False]
        assert run(Binary("eq", x, y), a, b).tolist() == [True, False, False, True]
        assert run(Binary("ne", x, y), a, b).tolist() == [False, True, True, False]
        assert run(Unary("not", x), a).tolist() == [True, True, False, False]
        assert run(Unary("not", value("i4", 3)), [0, -8, 5]).tolist() == [-1, 7, -6]


def numbers(kind: str, count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    rng = np.random.default_rng(3)
    wide = rng.standard_normal(count) * 2.0 ** rng.integers(-20, 20, count)
    edges = [1.0, -1.0, 3.0, 65504.0, 2.0**-14, 2.0**-24, -(2.0**-16), 1.5 * 2.0**-126, 2.0**-149, 3.0e38, 1 / 3]
    return dtype(kind).round(np.concatenate([wide, edges]).astype(np.float32), overflow="sat")  # type: ignore[return-value]  # f32 is the carrier of floats


class TestFloats:
    @pytest.mark.parametrize("kind", list(FORMATS))
    @pytest.mark.parametrize("op", ["add", "sub", "mul", "div"])
    def test_rounded_once(self, op: BinaryKind, kind: str) -> None:
        exact = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}[op]
        x = numbers(kind, 150)
        y = np.roll(x, 37)
        x, y = x[y != 0], y[y != 0]
        found = run(Binary(op, value(kind, len(x)), value(kind, len(x), name="y")), x, y)
        expected = [rounded(exact(Fraction(a), Fraction(b)), kind) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        assert found.tolist() == expected

    @pytest.mark.parametrize("kind", list(FORMATS))
    def test_sqrt_is_rounded_once(self, kind: str) -> None:
        x = np.abs(numbers(kind, 100))
        found = run(Unary("sqrt", value(kind, len(x))), x)
        for a, root in zip(x.tolist(), found.tolist(), strict=True):
            exact = Fraction(a)
            scale = 1 << 400  # isqrt of the scaled number has 100 digits more than any format
            near = Fraction(math.isqrt(exact.numerator * scale * scale // exact.denominator), scale)
            assert root == rounded(near, kind)

    @pytest.mark.parametrize("kind", list(FORMATS))
    def test_special_values(self, kind: str) -> None:
        inf, nan = math.inf, math.nan
        x, y = value(kind, 6), value(kind, 6, name="y")
        a, b = [0.0, 1.0, -1.0, inf, inf, nan], [0.0, 0.0, 0.0, -inf, inf, 1.0]

        def check(op: BinaryKind, expected: list[float]) -> None:
            np.testing.assert_array_equal(run(Binary(op, x, y), a, b), np.array(expected, np.float32))

        check("add", [0.0, 1.0, -1.0, nan, inf, nan])
        check("div", [nan, inf, -inf, nan, nan, nan])
        check("mul", [0.0, 0.0, -0.0, -inf, inf, nan])
        check("min", [0.0, 0.0, -1.0, -inf, inf, nan])
        check("max", [0.0, 1.0, 0.0, inf, inf, nan])
        assert run(Binary("lt", x, y), a, b).tolist() == [False, False, True, False, False, False]
        assert run(Binary("le", x, y), a, b).tolist() == [True, False, True, False, True, False]
        assert run(Binary("eq", x, y), a, b).tolist() == [True, False, False, False, True, False]
        assert run(Binary("ne", x, y), a, b).tolist() == [False, True, True, True, False, True]

    @pytest.mark.parametrize("kind", list(FORMATS))
    def test_zeros_have_an_order(self, kind: str) -> None:
        x, y = value(kind, 64), value(kind, 64, name="y")
        a, b = np.tile([0.0, -0.0, 0.0, -0.0], 16), np.tile([0.0, -0.0, -0.0, 0.0], 16)
        assert np.signbit(run(Binary("max", x, y), a, b)).tolist() == [False, True, False, False] * 16
        assert np.signbit(run(Binary("min", x, y), a, b)).tolist() == [False, True, True, True] * 16
        for dim in (0, 1):
            zeros = value(kind, 4, 4)
            mixed = np.array([[0.0] * 4, [-0.0] * 4, [0.0, -0.0, 0.0, -0.0], [-0.0, -0.0, 0.0, 0.0]])
            mixed = mixed if dim == 1 else mixed.T
            assert np.signbit(run(Reduce("max", zeros, dim), mixed)).tolist() == [False, True, False, False]
            assert np.signbit(run(Reduce("min", zeros, dim), mixed)).tolist() == [False, True, True, True]

    @pytest.mark.parametrize("kind", list(FORMATS))
    def test_mathematics(self, kind: str) -> None:
        x = np.concatenate([np.linspace(-8, 8, 101), [1e-3, 0.7, 20.0, -15.0]])
        x = dtype(kind).round(x).astype(np.float64)
        positive = np.abs(x) + 0.125
        positive = dtype(kind).round(positive).astype(np.float64)
        cases: list[tuple[UnaryKind, Callable[[float], float], np.ndarray[tuple[int], np.dtype[np.float64]]]] = [
            ("exp", math.exp, x[x < 11]), ("exp2", lambda v: 2.0**v, x[x < 15]), ("log", math.log, positive),
            ("log2", math.log2, positive), ("sin", math.sin, x), ("cos", math.cos, x), ("tanh", math.tanh, x),
            ("rsqrt", lambda v: 1 / math.sqrt(v), positive), ("sigmoid", lambda v: 1 / (1 + math.exp(-v)), x),
        ]  # fmt: skip
        precision = FORMATS[kind][0]
        for op, meaning, given in cases:
            found = run(Unary(op, value(kind, len(given))), given)
            expected = np.array([meaning(v) for v in given.tolist()])
            np.testing.assert_allclose(found, expected, rtol=2.5 * 2.0**-precision, atol=2.0**-precision / 64)

    @pytest.mark.parametrize("kind", list(FORMATS))
    def test_whole_numbers(self, kind: str) -> None:
        given = [-2.5, -1.5, -0.5, -0.25, 0.0, 0.5, 1.5, 2.5, 3.75, math.inf]
        x = value(kind, len(given))
        assert run(Unary("floor", x), given).tolist() == [-3, -2, -1, -1, 0, 0, 1, 2, 3, math.inf]
        assert run(Unary("ceil", x), given).tolist() == [-2, -1, 0, 0, 0, 1, 2, 3, 4, math.inf]
        assert run(Unary("round", x), given).tolist() == [-2, -2, 0, 0, 0, 0, 2, 2, 4, math.inf]
        assert run(Unary("abs", x), given).tolist() == [abs(v) for v in given]
        assert np.signbit(run(Unary("neg", x), given)).tolist() == [v >= 0 for v in given]


class TestWhere:
    def test_choice(self) -> None:
        c, x, y = value("bool", 2, 3, name="c"), value("u4", 2, 1), value("u4", 1, 3, name="y")
        found = run(Where(c, x, y), [[1, 0, 1], [0, 0, 1]], [[7], [8]], [[1, 2, 3]])
        assert found.tolist() == [[7, 2, 7], [1, 2, 8]]

    def test_scalar(self) -> None:
        c, x, y = value("bool", 3, name="c"), value("f32"), value("f32", 3, name="y")
        assert run(Where(c, x, y), [1, 0, 0], 0.5, [1, 2, 3]).tolist() == [0.5, 2, 3]

    def test_rules(self) -> None:
        b, f = value("bool", 4, name="c"), value("f32", 4)
        refused(Where(f, f, f), "bool tile as its condition")
        refused(Where(b, f, value("f16", 4)), "f32", "f16")
        refused(Where(b, f, value("f32", 5)), "[4]", "[5]")


class TestShapes:
    @pytest.mark.parametrize(
        ("a", "b", "both"), [((3, 1), (1, 4), (3, 4)), ((), (5,), (5,)), ((2, 3), (), (2, 3)), ((), (), ())]
    )
    def test_repeated(self, a: tuple[int, ...], b: tuple[int, ...], both: tuple[int, ...]) -> None:
        x, y = np.arange(math.prod(a)).reshape(a), 10 * np.arange(math.prod(b)).reshape(b)
        found = run(Binary("add", value("i32", *a), value("i32", *b, name="y")), x, y)
        assert found.shape == both
        for at in np.ndindex(*both):
            here, there = (tuple(i if n > 1 else 0 for i, n in zip(at, s, strict=True)) if s else () for s in (a, b))
            assert found[at] == x[here] + y[there]

    def test_rules(self) -> None:
        refused(Binary("add", value("i32", 4), value("i32", 5)), "[4] and [5]")
        refused(Binary("add", value("i32", 4), value("i32", 1, 4)), "numbers of dimensions")
        refused(Binary("add", value("i32", 2, 3), value("i32", 3, 3)), "do not match")


class TestDtypes:
    @pytest.mark.parametrize("kind", ["u4", "i5", "f8e4m3fn", "nf4", "f4e2m1", "i1"])
    def test_narrow_types_are_for_storage(self, kind: str) -> None:
        x = value(kind, 4)
        refused(Binary("add", x, x), f"add is not defined on {kind}", "cast")
        refused(Unary("neg", x), f"neg is not defined on {kind}", "cast")

    def test_rules(self) -> None:
        i, f, b = value("i32", 4), value("f32", 4), value("bool", 4)
        refused(Binary("add", i, f), "dtypes differ")
        refused(Binary("add", i, value("u32", 4)), "i32", "u32")
        refused(Binary("div", i, i), "//")
        refused(Binary("and", f, f), "integers")
        refused(Binary("mod", f, f), "integers")
        refused(Binary("shl", f, f), "integers")
        refused(Binary("add", b, b), "bool")
        refused(Binary("lt", b, b), "bool")
        refused(Unary("exp", i), "floats", "cast")
        refused(Unary("not", f), "bool and integers")
        refused(Unary("neg", b), "neg is not defined on bool")
        refused(Unary("abs", b), "abs")


class TestLayouts:
    def test_all_share_the_result_s(self) -> None:
        x, row, one = value("f32", 8, 32), value("f32", 1, 32, name="row"), value("f32", name="one")
        layout = distribute((8, 32), 16)
        for op, known in [(Binary("add", x, row), (None, None)), (Binary("add", row, x), (None, None))]:
            rule = op.layouts(16, layout, known)
            assert rule.result == layout
            for v, found in zip(op.operands, rule.operands, strict=True):
                covers(found, v.type.shape)
        rule = Binary("add", x, one).layouts(16, None, (layout, None))
        assert rule.result == rule.operands[0] == layout
        assert rule.operands[1] is not None
        assert rule.operands[1].shape == ()

    def test_a_repeated_operand_is_where_its_elements_are_used(self) -> None:
        x, row = value("f32", 8, 32), value("f32", 1, 32, name="row")
        layout = distribute((8, 32), 16)
        rule = Binary("mul", x, row).layouts(16, layout, (None, None))
        assert rule.operands[1] is not None
        used = {(j, lane) for _, j, lane in layout.points("d0", "d1", "lane")}
        held = set(rule.operands[1].points("d1", "lane"))
        assert used <= held

    def test_nothing_known(self) -> None:
        x = value("f32", 8)
        rule = Unary("exp", x).layouts(16, None, (None,))
        assert (rule.result, rule.operands) == (None, (None,))

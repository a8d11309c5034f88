"""Casts, against ml_dtypes, Python's integers and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from bitwright.tests.one_op import LANES, refused, run, value
from bitwright.vm.dtypes import Overflow, Rounding, dtype
from bitwright.vm.layout.spread import distribute
from bitwright.vm.ops import Cast

ML = {"f8e4m3fn": "float8_e4m3fn", "f8e5m2": "float8_e5m2", "bf16": "bfloat16", "f4e2m1": "float4_e2m1fn", "f16": None}


@pytest.mark.parametrize("kind", list(ML))
def test_floats_to_nearest(kind: str) -> None:
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(4000) * 2.0 ** rng.integers(-12, 4, 4000)).astype(np.float32)
    x = x[np.abs(x) <= float(dtype(kind).max)]
    other = np.float16 if ML[kind] is None else getattr(ml_dtypes, str(ML[kind]))
    found = run(Cast(value("f32", len(x)), dtype(kind)), x)
    np.testing.assert_array_equal(found, x.astype(other).astype(np.float32))


@pytest.mark.parametrize("source", ["u3", "i5", "u8", "i16", "u32", "i64", "u64"])
@pytest.mark.parametrize("target", ["u1", "i1", "u4", "i6", "u8", "i8", "i16", "u32", "i64", "u64"])
@pytest.mark.parametrize("overflow", ["sat", "ieee"])
def test_between_integers(source: str, target: str, overflow: Overflow) -> None:
    a, b = dtype(source), dtype(target)
    low, high = int(a.min), int(a.max)
    given = sorted({n for n in (low, low + 1, -1, 0, 1, 5, 7, 8, 100, high // 2, high - 1, high) if low <= n <= high})
    found = run(Cast(value(source, len(given)), b, overflow=overflow), np.array(given, a.carrier))
    for n, result in zip(given, found.tolist(), strict=True):
        if overflow == "sat":
            assert result == min(max(n, int(b.min)), int(b.max))
        else:
            assert (result - n) % (1 << b.bits) == 0
            assert b.min <= result <= b.max


@pytest.mark.parametrize("target", ["f16", "bf16", "f32"])
def test_integers_to_floats_round_once(target: str) -> None:
    """Through f32 these would be rounded twice: they lie just above a middle between two neighbours."""
    bits = {"f16": 11, "bf16": 8, "f32": 24}[target]
    middle = (1 << 40) + (1 << (40 - bits))
    top = {"f16": 12, "bf16": 40, "f32": 40}[target]
    middle >>= 40 - top
    given = [middle, middle + 1, -middle - 1, middle - 1] if top > bits else [middle]
    found = run(Cast(value("i64", len(given)), dtype(target)), given)
    step = Fraction(1 << (top + 1), 1 << bits)
    assert found.tolist() == [float(round(Fraction(n) / step) * step) for n in given]


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("rne", [0, 2, 2, -2, 3, -3]),
        ("rna", [1, 2, 3, -3, 3, -3]),
        ("rtz", [0, 1, 2, -2, 2, -2]),
        ("rup", [1, 2, 3, -2, 3, -2]),
        ("rdn", [0, 1, 2, -3, 2, -3]),
    ],
)
def test_roundings(rounding: Rounding, expected: list[int]) -> None:
    given = [0.5, 1.5, 2.5, -2.5, 2.75, -2.75]
    assert run(Cast(value("f32", 6), dtype("i4"), rounding), given).tolist() == expected
    # f8e4m3fn has steps of 1 between 8 and 16
    assert run(Cast(value("f32", 6), dtype("f8e4m3fn"), rounding), [v + np.sign(v) * 8 for v in given]).tolist() == [
        {8: 8, -8: -8}.get(e, e) for e in _beside(rounding, given)
    ]


def _beside(rounding: str, given: list[float]) -> list[int]:
    """The same rule, on magnitudes of 8 more."""
    out = []
    for v in given:
        x = Fraction(v) + (8 if v > 0 else -8)
        low = x.numerator // x.denominator
        rest = x - low
        toward = {"rtz": low if x > 0 else low + 1, "rup": low + 1, "rdn": low}
        away = low + 1 if x > 0 else low
        nearest = low if rest < Fraction(1, 2) else low + 1
        even = low if low % 2 == 0 else low + 1
        tie = even if rounding == "rne" else away
        out.append(toward.get(rounding, tie if rest == Fraction(1, 2) else nearest))
    return out


def test_overflow() -> None:
    given = [1e6, -1e6, np.inf, -np.inf, np.nan, 300.0]
    x = value("f32", 6)

    def check(kind: str, overflow: Overflow, expected: list[float]) -> None:
        np.testing.assert_array_equal(run(Cast(x, dtype(kind), overflow=overflow), given), np.array(expected))

    inf, nan = np.inf, np.nan
    check("f16", "ieee", [inf, -inf, inf, -inf, nan, 300])
    check("f16", "sat", [65504, -65504, inf, -inf, nan, 300])
    check("f8e4m3fn", "sat", [448, -448, 448, -448, nan, 288])
    check("f8e4m3fn", "ieee", [nan, nan, nan, nan, nan, 288])
    check("f4e2m1", "sat", [6, -6, 6, -6, 0, 6])
    check("u8", "sat", [255, 0, 255, 0, 0, 255])
    check("i8", "ieee", [1000000 % 256, -1000000 % 256 - 256 * (-1000000 % 256 > 127), 127, -128, 0, 44])
    check("ternary", "sat", [1, -1, 1, -1, 0, 1])


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f8e4m3fn", "f8e5m2"])
def test_every_nan_stays_one(kind: str) -> None:
    bits = [0x7FFFFFFF, 0x7FFFE000, 0x7F800001, 0x7FC00000, 0xFFFFFFFF, 0xFF800001]
    for overflow in ("sat", "ieee"):
        codes = dtype(kind).encode(np.array(bits, np.uint32).view(np.float32), overflow=overflow)
        assert np.isnan(dtype(kind).decode(codes)).all()


def test_stochastic_rounding_moves_as_its_bits_say() -> None:
    x, bits = value("f32", 4), value("u32", 4, name="bits")
    op = Cast(x, dtype("u4"), "stochastic", random=bits)
    # 2.25 goes up for a quarter of all bits
    assert run(op, [2.25] * 4, [0, (3 << 30) - 1, 3 << 30, (1 << 32) - 1]).tolist() == [2, 2, 3, 3]
    assert run(op, [3.0] * 4, [0, 1, 1 << 31, (1 << 32) - 1]).tolist() == [3] * 4


def test_bool() -> None:
    assert run(Cast(value("bool", 2), dtype("f16")), [False, True]).tolist() == [0, 1]
    assert run(Cast(value("bool", 2), dtype("u3")), [False, True]).tolist() == [0, 1]
    assert run(Cast(value("bool", 2), dtype("bool")), [False, True]).tolist() == [False, True]


def test_rules() -> None:
    x, bits = value("f32", 4), value("u32", 4, name="bits")
    refused(Cast(x, dtype("bool")), "ambiguous", "!= 0")
    refused(Cast(x, dtype("u4"), "stochastic"), "random")
    refused(Cast(x, dtype("u4"), "rne", random=bits), "random")
    refused(Cast(x, dtype("u4"), "stochastic", random=value("u32", 5)), "u32[5]", "f32[4]")
    refused(Cast(x, dtype("nf4"), "stochastic", random=bits), "codebook nf4")


def test_layout_stays() -> None:
    layout = distribute((4, 32), LANES)
    rule = Cast(value("u4", 4, 32), dtype("f32")).layouts(LANES, None, (layout,))
    assert (rule.result, rule.operands) == (layout, (layout,))

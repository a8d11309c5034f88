"""Every float of 1 to 8 bits, at every rounding boundary, against values built from exact fractions.

The oracle knows the answers by construction: it lists the values of a type with rational arithmetic, takes each gap
between neighbours a < b, and probes a, just above a, just below the middle, the middle, just above it, just below b.
"""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
import pytest

from bitwright.vm.dtypes import DTypeError, Float, Specials, float_dtype

MODES = ("rne", "rna", "rtz", "rup", "rdn")


def all_floats(exponents: range) -> list[Float]:
    found = []
    specials: tuple[Specials, ...] = ("finite", "fn", "ieee", "fnuz")
    for exponent, mantissa, signed, special in product(exponents, range(9), (True, False), specials):
        if 2 <= exponent + mantissa + signed <= 8:
            try:
                found.append(float_dtype(exponent, mantissa, specials=special, signed=signed))
            except DTypeError:
                continue
    return found


def value(d: Float, code: int) -> Fraction:
    """The magnitude of a magnitude code, were nothing reserved and the exponent field without end."""
    field, fraction = divmod(code, 2**d.mantissa)
    if field == 0 and d.subnormal:
        return Fraction(fraction) * Fraction(2) ** (1 - d.bias - d.mantissa)
    if code == 0 and d.zero:
        return Fraction(0)
    if d.exponent == 0:  # fixed point: the step never grows
        return Fraction(code) * Fraction(2) ** (1 - d.bias - d.mantissa)
    return Fraction(2**d.mantissa + fraction) * Fraction(2) ** (field - d.bias - d.mantissa)


def top_code(d: Float) -> int:
    codes = 2 ** (d.exponent + d.mantissa)
    return codes - 1 - {"finite": 0, "fnuz": 0, "fn": 1, "ieee": 2**d.mantissa}[d.specials]


def final(d: Float, code: int, negative: bool, overflow: str, toward_zero: bool) -> int:
    """The code of a rounded magnitude, after overflow and sign."""
    top = top_code(d)
    has_nan = d.specials in ("fn", "fnuz") or (d.specials == "ieee" and d.mantissa > 0)
    sign = 2 ** (d.exponent + d.mantissa) if negative and d.signed else 0
    nan = {
        "finite": 0,
        "fn": sign + top + 1,
        "ieee": sign + top + 1 + 2**d.mantissa // 2,
        "fnuz": 2 ** (d.exponent + d.mantissa),
    }[d.specials]
    if negative and not d.signed and (code or not d.zero):
        return nan if overflow == "ieee" and has_nan else 0
    if code > top:
        if overflow == "sat" or toward_zero or d.specials == "finite":
            code = top
        elif d.specials == "ieee":
            code = top + 1
        else:
            return nan
    if d.specials == "fnuz" and code == 0:
        return 0
    return code + sign


def probes(d: Float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Magnitudes, the lower neighbour's code of each, and its place: 0 on it, 1 below, 2 on, 3 above the middle."""
    codes = np.arange(top_code(d) + 2)
    exact = [value(d, int(code)) for code in range(codes.size + 1)]
    assert all(Fraction(float(v)) == v for v in exact)
    low = np.array([float(v) for v in exact[:-1]])
    high = np.array([float(v) for v in exact[1:]])
    middle = np.array([float((a + b) / 2) for a, b in pairwise(exact)])
    columns = [
        (low, 0),
        (np.nextafter(low, np.inf), 1),
        (np.nextafter(middle, 0), 1),
        (middle, 2),
        (np.nextafter(middle, np.inf), 3),
        (np.nextafter(high, 0), 3),
    ]
    places = np.repeat(np.array([place for _, place in columns]), codes.size)
    return np.concatenate([c for c, _ in columns]), np.tile(codes, len(columns)), places


def expected(d: Float, negative: bool, rounding: str, overflow: str) -> npt.NDArray[np.int64]:
    _, low, place = probes(d)
    up = {
        "rne": (place == 3) | ((place == 2) & (low % 2 == 1)),
        "rna": place >= 2,
        "rtz": place < 0,
        "rup": (place > 0) & (not negative),
        "rdn": (place > 0) & negative,
    }[rounding]
    toward_zero = rounding == "rtz" or rounding == ("rup" if negative else "rdn")
    answers = np.array([final(d, c, negative, overflow, toward_zero) for c in range(top_code(d) + 3)])
    return answers[low + up]


def check(d: Float) -> None:
    magnitudes, _, _ = probes(d)
    for negative, overflow, rounding in product((False, True), ("sat", "ieee"), MODES):
        x = -magnitudes if negative else magnitudes
        got = d.encode(x, rounding, overflow)
        wrong = got != expected(d, negative, rounding, overflow)
        assert not wrong.any(), (d.name, rounding, overflow, x[wrong][:4], got[wrong][:4])


@pytest.mark.parametrize("exponent", range(8))
def test_every_boundary_of_every_float(exponent: int) -> None:
    types = all_floats(range(exponent, exponent + 1))
    assert types
    for d in types:
        check(d)


@pytest.mark.parametrize(("exponent", "mantissa"), [(8, 0), (6, 2), (4, 3), (3, 0), (1, 3)])
@pytest.mark.parametrize("zero", [False, True])
def test_floats_without_subnormals(exponent: int, mantissa: int, zero: bool) -> None:
    bias = 2 ** (exponent - 1) - 1
    d = Float(exponent, mantissa, bias, "fn", signed=False, subnormal=False, zero=zero)
    if zero:
        check(d)
        check(Float(3, 2, 3, "finite", subnormal=False))
        return
    magnitudes, low, place = probes(d)
    up = (place == 3) | ((place == 2) & (low % 2 == 1))
    for overflow in ("sat", "ieee"):
        answers = np.array([final(d, c, False, overflow, False) for c in range(top_code(d) + 3)])
        assert np.array_equal(d.encode(magnitudes, overflow=overflow), answers[low + up])
    tiny = float(value(d, 0)) / 1024
    assert d.encode([tiny, 0.0, -1.0, -np.inf]).tolist() == [0, 0, 0, 0]
    nan = 2**d.bits - 1
    assert d.encode([tiny, 0.0, -0.0, -1.0, -np.inf, np.inf], overflow="ieee").tolist() == [0, nan, nan, nan, nan, nan]


@pytest.mark.parametrize("exponent", range(8))
def test_decode_follows_the_definition(exponent: int) -> None:
    for d in all_floats(range(exponent, exponent + 1)):
        top, sign = top_code(d), 2 ** (d.exponent + d.mantissa)
        decoded = d.decode(np.arange(2**d.bits)).astype(np.float64)
        exact = np.array([float(value(d, code)) for code in range(top + 1)])
        assert np.array_equal(decoded[: top + 1], exact)
        if d.signed:
            first = 1 if d.specials == "fnuz" else 0
            assert np.array_equal(decoded[sign + first : sign + top + 1], -exact[first:])
            assert np.signbit(decoded[sign + first : sign + top + 1]).all()
        assert d.max == exact[-1]
        assert d.min == (-exact[-1] if d.signed else 0.0)
        numbers = (top + 1) * (1 + d.signed) - (d.specials == "fnuz")
        infinities = (1 + d.signed) * (d.specials == "ieee")
        assert np.isfinite(decoded).sum() == numbers
        assert np.isinf(decoded).sum() == infinities
        assert np.isnan(decoded).any() == d.has_nan


@pytest.mark.parametrize("exponent", range(8))
def test_every_number_encodes_to_its_own_code(exponent: int) -> None:
    for d in all_floats(range(exponent, exponent + 1)):
        codes = np.arange(2**d.bits)
        values = d.decode(codes)
        for rounding in MODES:
            again = d.encode(values, rounding)
            keep = ~np.isnan(values)
            assert np.array_equal(again[keep], codes[keep]), (d.name, rounding)
            assert np.isnan(d.decode(again[~keep])).all()


@pytest.mark.parametrize(
    "name", ["f4e2m1", "f6e3m2", "f8e4m3fn", "f8e5m2", "f8e4m3fnuz", "f8e2m5", "ue5m3", "e8m0", "f5e3m1"]
)
def test_the_path_for_large_arrays_has_the_same_boundaries(name: str) -> None:
    from bitwright.vm.dtypes import dtype

    d = dtype(name)
    assert isinstance(d, Float)
    magnitudes, _, _ = probes(d)
    with np.errstate(over="ignore"):
        near = magnitudes.astype(np.float32)
    near = near[np.isfinite(near)]
    x = np.concatenate([near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))])
    x = np.concatenate([x, -x, np.array([np.inf, -np.inf, np.nan], np.float32)])
    large = np.resize(x, 20_000)
    for rounding, overflow in product(MODES, ("sat", "ieee")):
        small = d.encode(x.astype(np.float64), rounding, overflow)
        assert np.array_equal(d.encode(large, rounding, overflow), np.resize(small, 20_000)), (rounding, overflow)

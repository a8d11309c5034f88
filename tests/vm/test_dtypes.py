"""Names, integers, what wide integers become in floats, special values, and what is refused."""

from fractions import Fraction
from itertools import product
from math import ceil, floor, trunc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.vm.dtypes import (
    NAMED,
    Bool,
    DType,
    DTypeError,
    Float,
    Int,
    RoundingError,
    dtype,
    float_dtype,
)

MODES = ("rne", "rna", "rtz", "rup", "rdn")


def whole(x: Fraction, rounding: str) -> int:
    """A rational rounded to an integer."""
    away = floor(abs(x) + Fraction(1, 2)) * (1 if x >= 0 else -1)
    return {"rne": round(x), "rna": away, "rtz": trunc(x), "rup": ceil(x), "rdn": floor(x)}[rounding]


# Names


@pytest.mark.parametrize("name", list(NAMED))
def test_named_types_are_found_under_their_own_name(name: str) -> None:
    d = NAMED[name]
    assert d.name == name == str(d)
    assert dtype(name) == d
    assert dtype(d) is d
    assert hash(dtype(name)) == hash(d)


def test_every_float_has_a_name_that_means_it() -> None:
    seen: dict[str, Float] = {}
    for exponent, mantissa, signed in product(range(9), range(8), (True, False)):
        for specials, offset, low in product(("finite", "fn", "ieee", "fnuz"), (0, 1, -9), ("", "subnormal", "zero")):
            try:
                base = float_dtype(exponent, mantissa, specials=specials, signed=signed)  # type: ignore[arg-type]
                d = Float(
                    exponent, mantissa, base.bias + offset, base.specials, signed, subnormal=not low, zero=low != "zero"
                )
            except DTypeError:
                continue
            assert dtype(d.name) == d
            assert d.name.isidentifier()
            assert seen.setdefault(d.name, d) == d
    assert len(seen) > 1000


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("f5e2m2", Float(2, 2, 1, "finite")),
        ("f8e4m3", Float(4, 3, 7, "ieee")),
        ("f8e4m3fn", Float(4, 3, 7, "fn")),
        ("f8e4m3b11fnuz", Float(4, 3, 11, "fnuz")),
        ("f4e1m2b1", Float(1, 2, 1, "finite")),
        ("f6e2m3bn1", Float(2, 3, -1, "finite")),
        ("uf4e2m2", Float(2, 2, 1, "finite", signed=False)),
        ("f16", Float(5, 10, 15, "ieee")),
        ("f16e5m10", Float(5, 10, 15, "ieee")),
        ("i5", Int(5, signed=True)),
        ("u64", Int(64, signed=False)),
        ("bool", Bool()),
    ],
)
def test_names_mean_their_parameters(name: str, want: DType) -> None:
    assert dtype(name) == want


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        # The largest finite values of the standards and papers.
        *[("f4e2m1", 6.0), ("f6e2m3", 7.5), ("f6e3m2", 28.0), ("f8e4m3fn", 448.0), ("f8e5m2", 57344.0)],
        *[("f8e4m3", 240.0), ("f8e3m4", 15.5), ("f8e4m3fnuz", 240.0), ("f8e5m2fnuz", 57344.0)],
        *[("f8e4m3b11fnuz", 30.0), ("f4e3m0", 16.0), ("f4e1m2", 3.5), ("f4e1m2b1", 1.75), ("f3e1m1", 3.0)],
        *[("f7e5m1", 98304.0), ("f7e4m2", 448.0), ("f7e3m3", 30.0), ("f7e2m4", 7.75), ("f6e4m1", 384.0)],
        *[("f5e3m1", 24.0), ("f5e2m2", 7.0), ("f5e1m3", 3.75), ("ue4m3", 448.0), ("ue5m3", 114688.0)],
        *[("ue6m2", 49152.0), ("e8m0", 2.0**127), ("bf16", 2.0**127 * (2 - 2**-7)), ("f16", 65504.0)],
        *[("nf4", 1.0), ("hif8", 32768.0), ("i5", 15), ("u8", 255), ("i1", 0), ("i64", 2**63 - 1), ("u64", 2**64 - 1)],
    ],
)
def test_largest_values(name: str, largest: float) -> None:
    assert dtype(name).max == largest


def test_smallest_values() -> None:
    assert dtype("e8m0").min == 2.0**-127
    assert dtype("ue6m2").min == 2.0**-48
    assert (dtype("i1").min, dtype("i8").min, dtype("u3").min, dtype("iq4nl").min) == (-1, -128, 0, -127.0)
    assert dtype("f32").min == -dtype("f32").max == float(np.finfo(np.float32).min)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("f8e4m3fm", "f8e4m3fn"),
        ("int4", "unknown dtype 'int4'"),
        ("zzzzzz", "names look like"),
        ("f9e4m4", "9 bits; floats have 1 to 8 bits"),
        ("f7e4m3", "7 bits, but 1 sign \\+ 4 \\+ 3 is 8"),
        ("i65", "1 to 64 bits, not 65"),
        ("u0", "1 to 64 bits, not 0"),
        ("u03", "did you mean u3"),
        ("f8e4m3b900", "outside float32"),
        ("uf8e8m0finite", "outside float32"),
        ("uf4e2m2fnuz", "unsigned"),
        ("f4e0m3ieee", "without exponent bits"),
        ("f2e1m0ieee", "no finite value but zero"),
    ],
)
def test_names_that_mean_nothing_say_why(name: str, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        dtype(name)


def test_a_type_that_is_no_name_is_refused() -> None:
    with pytest.raises(DTypeError, match="got int"):
        dtype(4)  # type: ignore[arg-type]


def test_repr_shows_the_name() -> None:
    assert repr(dtype("u3")) == "dtype('u3')"
    assert repr(dtype("ternary")) == "Codebook('ternary', 3 values: -1, 0, 1)"


@pytest.mark.parametrize(("bits", "want"), [(1, "u1"), (8, "u1"), (9, "u2"), (16, "u2"), (17, "u4"), (33, "u8")])
def test_code_arrays_use_the_smallest_type(bits: int, want: str) -> None:
    d = Int(bits, signed=False)
    assert d.code_dtype == np.dtype(want)
    assert d.encode([1]).dtype == np.dtype(want)


@pytest.mark.parametrize("name", list(NAMED))
def test_shapes_and_carriers(name: str) -> None:
    d = dtype(name)
    x = np.linspace(-3, 3, 24).reshape(2, 3, 4)
    codes = d.encode(x.transpose())
    assert codes.shape == (4, 3, 2)
    assert codes.dtype == d.code_dtype
    assert np.array_equal(codes, d.encode(np.ascontiguousarray(x.transpose())))
    assert d.decode(codes).dtype == d.carrier
    assert np.array_equal(d.round(x), d.decode(d.encode(x)))
    for scalar in (d.encode(1.0), d.decode(1), d.round(1.0)):
        assert isinstance(scalar, np.ndarray)
        assert scalar.shape == ()
    assert d.encode(np.empty((0, 3))).shape == (0, 3)
    assert d.decode(np.empty((0, 3), np.uint8)).shape == (0, 3)


# Integers


@pytest.mark.parametrize(("bits", "signed"), list(product(range(1, 10), (True, False))))
def test_every_code_of_small_integers(bits: int, signed: bool) -> None:
    d = Int(bits, signed)
    codes = np.arange(2**bits)
    want = [c - 2**bits if signed and c >= 2 ** (bits - 1) else c for c in range(2**bits)]
    assert d.decode(codes).tolist() == want
    assert d.encode(want).tolist() == codes.tolist()
    assert (d.min, d.max) == (min(want), max(want))


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize(("bits", "signed"), [(1, True), (2, False), (3, True), (5, False), (8, True), (9, True)])
def test_integers_round_like_rationals(bits: int, signed: bool, kind: type) -> None:
    d = Int(bits, signed)
    quarters = np.arange(-(2 ** (bits + 3)), 2 ** (bits + 3) + 1) / 4
    x = np.concatenate([quarters, np.nextafter(quarters.astype(kind), kind(9e9)), [1e30, -1e30]]).astype(kind)
    for rounding in MODES:
        exact = [whole(Fraction(float(v)), rounding) for v in x]
        clamped = [min(max(v, d.min), d.max) for v in exact]
        assert d.round(x, rounding).tolist() == clamped
        assert d.encode(x, rounding, "ieee").tolist() == [v % 2**bits for v in exact]


@given(
    st.lists(st.one_of(st.integers(-(2**70), 2**70), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20),
    st.integers(1, 64),
    st.booleans(),
)
def test_integers_take_integers_of_any_size(values: list[int], bits: int, signed: bool) -> None:
    d = Int(bits, signed)
    assert d.round(np.array(values, object)).tolist() == [min(max(v, d.min), d.max) for v in values]
    assert d.encode(np.array(values, object), overflow="ieee").tolist() == [v % 2**bits for v in values]
    short = [v for v in values if -(2**63) <= v < 2**63]
    assert d.round(np.array(short, np.int64)).tolist() == [min(max(v, d.min), d.max) for v in short]
    positive = [abs(v) % 2**64 for v in values]
    assert d.round(np.array(positive, np.uint64)).tolist() == [min(v, d.max) for v in positive]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.integers(1, 64))
def test_integers_take_floats_of_any_size(values: list[float], bits: int) -> None:
    for signed in (True, False):
        d = Int(bits, signed)
        exact = [round(Fraction(v)) for v in values]
        assert d.round(values).tolist() == [min(max(v, d.min), d.max) for v in exact]
        assert d.encode(values, overflow="ieee").tolist() == [v % 2**bits for v in exact]


def test_integers_and_specials() -> None:
    x = [np.nan, np.inf, -np.inf]
    for overflow in ("sat", "ieee"):
        assert dtype("i4").round(x, overflow=overflow).tolist() == [0, 7, -8]  # type: ignore[arg-type]
        assert dtype("u64").round(x, overflow=overflow).tolist() == [0, 2**64 - 1, 0]  # type: ignore[arg-type]


# Floats from integers: one rounding


@given(
    st.lists(st.one_of(st.integers(-(2**70), 2**70), st.integers(-(2**40), 2**40)), min_size=1, max_size=10),
    st.sampled_from(["bf16", "f16", "f32", "f8e5m2", "ue5m3"]),
    st.sampled_from(MODES),
)
def test_floats_round_integers_once(values: list[int], name: str, rounding: str) -> None:
    d = dtype(name)
    assert isinstance(d, Float)

    def one(v: int) -> float:
        """Scaled so that neighbours differ by one, an integer rounds like any rational."""
        v = max(v, 0) if not d.signed else v
        quantum = max(abs(v).bit_length() - 1 - d.mantissa, d.grid_exponent)
        rounded = whole(Fraction(v) / Fraction(2) ** quantum, rounding) * Fraction(2) ** quantum
        return float(min(max(rounded, Fraction(d.min)), Fraction(d.max)))

    want = [one(v) for v in values]
    assert d.round(np.array(values, object), rounding).tolist() == want  # type: ignore[arg-type]
    fits = [i for i, v in enumerate(values) if -(2**63) <= v < 2**63]
    got = d.round(np.array([values[i] for i in fits], np.int64), rounding)  # type: ignore[arg-type]
    assert got.tolist() == [want[i] for i in fits]


def test_double_rounding_does_not_happen() -> None:
    just_above_a_tie = 1 + 2.0**-4 + 2.0**-40  # float32 would lose the last bit and make it a tie
    assert dtype("f8e4m3fn").round(just_above_a_tie) == 1.125
    assert dtype("bf16").round(1 + 2.0**-8 + 2.0**-40) == 1 + 2.0**-7
    assert dtype("f16").round(1 + 2.0**-11 + 2.0**-40) == 1 + 2.0**-10


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, np.float16, np.int8])
def test_values_may_be_of_any_short_type(kind: type) -> None:
    x = np.array([-3, 0, 1, 7]).astype(kind)
    assert dtype("f8e5m2").round(x).tolist() == [-3, 0, 1, 7]
    assert dtype("i4").round(x).tolist() == [-3, 0, 1, 7]
    assert dtype("iq4nl").round(x).tolist() == [1, 1, 1, 1]


# What is refused, and the rest


def test_wrong_modes_and_random_bits_are_refused() -> None:
    random = np.zeros(2, np.uint32)
    for d in (dtype("u3"), dtype("f4e2m1"), dtype("nf4"), dtype("bool")):
        with pytest.raises(RoundingError, match="unknown rounding 'up'"):
            d.encode([1.0, 2.0], "up")  # type: ignore[arg-type]
        with pytest.raises(RoundingError, match="unknown overflow"):
            d.encode([1.0, 2.0], "rne", "wrap")  # type: ignore[arg-type]
        with pytest.raises(RoundingError, match="needs `random`"):
            d.encode([1.0, 2.0], "stochastic")
        with pytest.raises(RoundingError, match="uint32"):
            d.encode([1.0, 2.0, 3.0], "stochastic", random=random)
        with pytest.raises(RoundingError, match="only by"):
            d.encode([1.0, 2.0], "rtz", random=random)


@pytest.mark.parametrize("values", [["a"], [1j], [None], np.zeros(2, np.longdouble)])
def test_values_that_are_no_numbers_are_refused(values: object) -> None:
    with pytest.raises(RoundingError, match="cannot encode"):
        dtype("f4e2m1").encode(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["u3", "i3", "f4e2m1", "bf16", "ternary", "bool"])
def test_codes_out_of_range_are_refused(name: str) -> None:
    d = dtype(name)
    count = 3 if name == "ternary" else 2**d.bits
    with pytest.raises(DTypeError, match=f"code {count} is out of range; codes of {name} are 0..{count - 1}"):
        d.decode([0, count])
    with pytest.raises(DTypeError, match="negative"):
        d.decode([0, -1])
    with pytest.raises(DTypeError, match="integers"):
        d.decode([0.5])


def test_bool_is_the_truth_of_a_number() -> None:
    assert dtype("bool").encode([0.0, -0.0, 0.5, np.nan]).tolist() == [0, 0, 1, 1]
    assert dtype("bool").decode([0, 1]).tolist() == [False, True]
    assert dtype("u3").encode(np.array([True, False])).tolist() == [1, 0]


def test_signed_zero_is_kept_where_there_are_two() -> None:
    x = np.array([-0.0, 0.0, -1e-30])
    assert dtype("f4e2m1").encode(x).tolist() == [8, 0, 8]
    assert dtype("f8e4m3fnuz").encode(x).tolist() == [0, 0, 0]
    assert dtype("ue4m3").encode(x, overflow="ieee").tolist() == [0, 0, 0]


def test_infinity_and_nan() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1e9], np.float32)
    assert dtype("f4e2m1").round(x).tolist() == [6, -6, 0, 6]
    assert dtype("f4e2m1").round(x, overflow="ieee").tolist() == [6, -6, 0, 6]
    assert dtype("f8e5m2").encode(x).tolist() == [0x7C, 0xFC, 0x7E, 0x7B]
    assert dtype("f8e5m2").encode(x, overflow="ieee").tolist() == [0x7C, 0xFC, 0x7E, 0x7C]
    assert dtype("f8e4m3fn").encode(x).tolist() == [0x7E, 0xFE, 0x7F, 0x7E]
    assert dtype("f8e4m3fn").encode(x, overflow="ieee").tolist() == [0x7F, 0xFF, 0x7F, 0x7F]
    assert dtype("e8m0").encode(x).tolist() == [254, 0, 255, 157]
    assert dtype("uf4e3m1").encode(x).tolist() == [15, 0, 0, 15]


@pytest.mark.parametrize("name", ["f4e2m1", "f6e3m2", "uf4e3m1", "f5e4m0ieee", "nf4", "ternary", "i4"])
def test_nan_of_either_sign_is_zero_where_there_is_none(name: str) -> None:
    for size in (2, 20_000):
        x = np.resize(np.array([np.nan, -np.nan], np.float32), size)
        got = dtype(name).round(x)
        assert not got.any()
        assert not np.signbit(got).any()

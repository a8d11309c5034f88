"""The element types against other people's code: ml_dtypes, pychop's P3109, en_dtypes, gguf, NumPy."""

from collections.abc import Iterator
from statistics import NormalDist

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from bitwright.vm.dtypes import DTypeError, Float, dtype, float_dtype

ML_TYPES = {
    "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2,
    "f8e4m3": ml_dtypes.float8_e4m3,
    "f8e3m4": ml_dtypes.float8_e3m4,
    "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "f6e2m3": ml_dtypes.float6_e2m3fn,
    "f6e3m2": ml_dtypes.float6_e3m2fn,
    "f4e2m1": ml_dtypes.float4_e2m1fn,
    "bf16": ml_dtypes.bfloat16,
}


def boundaries(d: Float) -> npt.NDArray[np.float32]:
    """Every value and midpoint of a type of at most 8 bits, one unit to each side of them, and what lies beyond."""
    values = d.decode(np.arange(2**d.bits)).astype(np.float64)
    values = np.unique(np.abs(values[np.isfinite(values)]))
    values = np.append(values, values[-1] * np.array([1.03, 1.0625, 1.125, 1.25, 1.5, 2, 4, 1e9]))
    with np.errstate(over="ignore"):
        points = np.concatenate([values, (values[1:] + values[:-1]) / 2]).astype(np.float32)
    points = points[np.isfinite(points)]
    around = [points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))]
    positive = np.concatenate(around)
    return np.concatenate([positive, -positive])


@pytest.mark.parametrize("name", list(ML_TYPES))
def test_decode_equals_ml_dtypes(name: str) -> None:
    d, theirs = dtype(name), ML_TYPES[name]
    codes = np.arange(2**d.bits, dtype=d.code_dtype)
    want = codes.view(theirs).astype(np.float32)
    got = d.decode(codes)
    assert got.dtype == np.float32
    assert np.array_equal(got, want, equal_nan=True)
    assert np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))


@pytest.mark.parametrize("name", list(ML_TYPES))
def test_encode_equals_ml_dtypes(name: str) -> None:
    d, theirs = dtype(name), ML_TYPES[name]
    assert isinstance(d, Float)
    generator = np.random.default_rng(1)
    x = (generator.standard_normal(60_000) * np.exp2(generator.integers(-20, 20, 60_000))).astype(np.float32)
    x = np.concatenate([x, [np.inf, -np.inf, 0.0, -0.0]]).astype(np.float32)
    if d.bits <= 8:
        x = np.concatenate([x, boundaries(d)])
    want = x.astype(theirs).view(d.code_dtype)
    assert np.array_equal(d.encode(x, overflow="ieee"), want)
    assert np.array_equal(d.encode(x.astype(np.float64), overflow="ieee"), want)
    if d.has_nan:
        nan = np.array([np.nan, -np.nan], np.float32)
        assert np.array_equal(d.encode(nan), nan.astype(theirs).view(d.code_dtype))


def test_e8m0_equals_ml_dtypes() -> None:
    d = dtype("e8m0")
    assert isinstance(d, Float)
    codes = np.arange(256, dtype=np.uint8)
    want = codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    assert np.array_equal(d.decode(codes), want, equal_nan=True)
    x = np.concatenate([boundaries(d), [0.0, -1.0, np.inf, np.nan]]).astype(np.float32)
    # Among float32's subnormals ml_dtypes is not to nearest: it takes 1.0000002 * 2^-127 to 2^-126.
    x = x[(np.abs(x) >= 2**-126) | (x == 0) | np.isnan(x)]
    theirs = x.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)
    assert np.array_equal(d.encode(x, "rna", "ieee"), theirs)  # ml_dtypes rounds ties up
    assert d.encode(np.float32([1, 1.25, 1.5, 1.75]) * np.float32(2**-127), "rna").tolist() == [0, 0, 1, 1]


def test_ue4m3_is_the_lower_half_of_e4m3fn() -> None:
    codes = np.arange(128, dtype=np.uint8)
    want = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    assert np.array_equal(dtype("ue4m3").decode(codes), want, equal_nan=True)


def formats() -> Iterator[tuple[int, int]]:
    return ((bits, precision) for bits in range(3, 9) for precision in range(1, bits))


MODES = {
    "rne": "nearest_even",
    "rna": "nearest_away",
    "rtz": "toward_zero",
    "rup": "toward_positive",
    "rdn": "toward_negative",
}


@pytest.mark.parametrize(("bits", "precision"), list(formats()))
def test_finite_and_fnuz_floats_equal_p3109(bits: int, precision: int) -> None:
    """P3109's signed finite formats are fnuz; their bias is one more than that of ours without reserved codes."""
    pychop = pytest.importorskip("pychop")
    theirs = pychop.P3109Format(bits, precision, True, "finite")
    fnuz = float_dtype(bits - precision, precision - 1, specials="fnuz")
    finite = float_dtype(bits - precision, precision - 1)
    values = np.asarray(pychop.p3109_decode(np.arange(2**bits), theirs), np.float64)
    assert np.array_equal(fnuz.decode(np.arange(2**bits)), values, equal_nan=True)
    numbers = ~np.isnan(values)
    assert np.array_equal(finite.decode(np.arange(2**bits))[numbers], 2 * values[numbers])
    x = boundaries(fnuz).astype(np.float64)
    for mode, name in MODES.items():
        want = np.asarray(pychop.p3109_encode(x, theirs, rounding=name, saturate=True))
        assert np.array_equal(fnuz.encode(x, mode), want), mode  # type: ignore[arg-type]
        got = finite.encode(2 * x, mode)  # type: ignore[arg-type]
        same = (got == want) | ((got == 2 ** (bits - 1)) & (want == 0))  # we have a negative zero
        assert same.all(), mode


@pytest.mark.parametrize(("bits", "precision"), [(4, 2), (5, 3), (8, 4), (8, 3)])
def test_stochastic_equals_p3109_variant_a(bits: int, precision: int) -> None:
    pychop = pytest.importorskip("pychop")
    theirs = pychop.P3109Format(bits, precision, True, "finite")
    ours = float_dtype(bits - precision, precision - 1, specials="fnuz")
    generator = np.random.default_rng(2)
    x = generator.uniform(-ours.max, ours.max, 4000) * np.exp2(generator.integers(-8, 1, 4000))
    random = generator.integers(0, 2**32, 4000, np.uint32)
    want = pychop.p3109_encode(
        x, theirs, rounding="stochastic_a", srbits=random.astype(np.uint64), srnumbits=32, saturate=True
    )
    assert np.array_equal(ours.encode(x, "stochastic", random=random), np.asarray(want))


def test_ue5m3_is_twice_unsigned_p3109() -> None:
    pychop = pytest.importorskip("pychop")
    theirs = pychop.P3109Format(8, 4, False, "finite")
    want = 2 * np.asarray(pychop.p3109_decode(np.arange(256), theirs), np.float64)
    ours = dtype("ue5m3")
    assert isinstance(ours, Float)
    assert np.array_equal(ours.decode(np.arange(256)), want, equal_nan=True)
    x = np.abs(boundaries(ours)).astype(np.float64)
    for mode, name in MODES.items():
        codes = np.asarray(pychop.p3109_encode(x / 2, theirs, rounding=name, saturate=True))
        assert np.array_equal(ours.encode(x, mode), codes), mode  # type: ignore[arg-type]


def test_e1m2_with_bias_1_equals_en_dtypes() -> None:
    en_dtypes = pytest.importorskip("en_dtypes")
    ours = dtype("f4e1m2b1")
    assert isinstance(ours, Float)
    codes = np.arange(16, dtype=np.uint8)
    assert np.array_equal(ours.decode(codes), codes.view(en_dtypes.float4_e1m2).astype(np.float32))
    x = boundaries(ours)
    assert np.array_equal(ours.encode(x), x.astype(en_dtypes.float4_e1m2).view(np.uint8))


def test_hif8_equals_en_dtypes_but_for_its_three_special_codes() -> None:
    en_dtypes = pytest.importorskip("en_dtypes")
    ours = dtype("hif8")
    codes = np.arange(256, dtype=np.uint8)
    theirs = codes.view(en_dtypes.hifloat8).astype(np.float32)
    finite = np.isfinite(theirs)
    assert codes[~finite].tolist() == [0x6F, 0x80, 0xEF]
    decoded = ours.decode(codes)
    assert np.array_equal(decoded[finite], theirs[finite])
    assert decoded[~finite].tolist() == [32768.0, 0.0, -32768.0]
    values = np.unique(theirs[finite])
    points = np.concatenate([values, (values[1:] + values[:-1]) / 2])
    x = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))])
    x = x[np.abs(x) <= 32768]
    want = x.astype(en_dtypes.hifloat8).view(np.uint8)  # ties go away from zero
    assert np.array_equal(ours.encode(x, "rna"), np.where(want == 0x80, 0, want))
    assert ours.encode([1e9, -1e9, np.nan]).tolist() == [0x6E, 0xEE, 0]


def gguf_block(head: bytes) -> npt.NDArray[np.uint8]:
    """One block whose element i has code i % 16: byte j holds elements j (low) and j + 16 (high)."""
    nibbles = np.arange(16, dtype=np.uint8)
    return np.concatenate([np.frombuffer(head, np.uint8), nibbles | nibbles << 4])[None]


def test_iq4nl_equals_gguf() -> None:
    quants, constants = pytest.importorskip("gguf.quants"), pytest.importorskip("gguf.constants")
    block = gguf_block(np.float16(1.0).tobytes())
    want = quants.dequantize(block, constants.GGMLQuantizationType.IQ4_NL).reshape(-1)[:16]
    assert np.array_equal(dtype("iq4nl").decode(np.arange(16)), want)


def test_f4e2m1_and_e8m0_equal_gguf_mxfp4() -> None:
    quants, constants = pytest.importorskip("gguf.quants"), pytest.importorskip("gguf.constants")
    for exponent in (100, 127, 130):
        want = quants.dequantize(gguf_block(bytes([exponent])), constants.GGMLQuantizationType.MXFP4)
        got = dtype("f4e2m1").decode(np.arange(16)) * dtype("e8m0").decode([exponent])
        assert np.array_equal(got, want.reshape(-1)[:16])


def test_f16_equals_numpy() -> None:
    d = dtype("f16")
    codes = np.arange(1 << 16, dtype=np.uint16)
    values = codes.view(np.float16).astype(np.float32)
    assert np.array_equal(d.decode(codes).view(np.uint32), values.view(np.uint32))
    assert np.array_equal(d.encode(codes.view(np.float16)), codes)
    number = ~np.isnan(values)
    for rounding in ("rne", "rna", "rtz", "rup", "rdn"):
        assert np.array_equal(d.encode(values[number], rounding), codes[number])  # type: ignore[arg-type]
    generator = np.random.default_rng(3)
    x = generator.integers(0, 2**32, 50_000, np.uint32).view(np.float32)
    some = values[number & np.isfinite(values)]
    x = np.concatenate([x, values, np.nextafter(some, np.float32(0)), some * np.float32(1 + 2**-11)])
    x = x[~np.isnan(x)]
    with np.errstate(over="ignore"):
        want = x.astype(np.float16)
    assert np.array_equal(d.encode(x, overflow="ieee"), want.view(np.uint16))
    clamped = np.where(np.isfinite(x), np.clip(want, -65504, 65504), want).astype(np.float16)
    assert np.array_equal(d.encode(x), clamped.view(np.uint16))


def test_f32_equals_numpy() -> None:
    d = dtype("f32")
    generator = np.random.default_rng(4)
    word = generator.integers(0, 2**32, 50_000, np.uint32)
    assert np.array_equal(d.encode(word.view(np.float32)), word)
    assert np.array_equal(d.decode(word).view(np.uint32), word)
    x = generator.integers(0, 2**64, 50_000, np.uint64).view(np.float64)
    x = np.concatenate([x, generator.standard_normal(50_000) * np.exp2(generator.integers(-150, 128, 50_000))])
    x = x[~np.isnan(x)]
    with np.errstate(over="ignore"):
        want = x.astype(np.float32)
    assert np.array_equal(d.encode(x, overflow="ieee"), want.view(np.uint32))
    toward_zero = np.where(np.abs(want.astype(np.float64)) > np.abs(x), np.nextafter(want, np.float32(0)), want)
    assert np.array_equal(d.encode(x, "rtz", "ieee")[np.isfinite(x)], toward_zero.view(np.uint32)[np.isfinite(x)])


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_normal_float_tables_follow_their_construction(bits: int) -> None:
    n = 2**bits
    start = 1 - (1 / (2 * n) + 1 / (2 * n - 2)) / 2
    quantile = NormalDist().inv_cdf
    positive = [quantile(p) for p in np.linspace(start, 0.5, n // 2 + 1)[:-1]]
    negative = [-quantile(p) for p in np.linspace(start, 0.5, n // 2)[:-1]]
    table = np.array(sorted([*positive, *negative, 0.0])) / max(positive)
    assert np.allclose(dtype(f"nf{bits}").decode(np.arange(n)), table, atol=3e-7)


def test_fp4_bnb_is_in_code_order() -> None:
    d = dtype("fp4_bnb")
    want = np.array([0, 0.005208333, 2 / 3, 1, 1 / 3, 0.5, 1 / 6, 0.25], np.float32)
    assert np.allclose(d.decode(np.arange(8)), want, rtol=1e-6)
    assert np.array_equal(d.decode(np.arange(8, 16)), -d.decode(np.arange(8)))
    assert d.encode([0.0, -0.0]).tolist() == [0, 0]


def test_p3109_extended_has_what_we_refuse() -> None:
    """A format with both a single zero and infinities has no name here; the message lists what exists."""
    with pytest.raises(DTypeError, match="finite, fn, ieee, fnuz"):
        float_dtype(4, 3, specials="extended")  # type: ignore[arg-type]

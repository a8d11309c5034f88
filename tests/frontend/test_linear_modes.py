"""`linear` with rounded activations: what "bf16", "f16" and "int8" promise, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.frontend.linear import LinearError, linear
from bitwright.frontend.quantize import quantize
from bitwright.frontend.tensor import QTensor, value_table
from bitwright.tests.linear_bounds import assert_within, bound, exact, random_tensor, rounding_bound
from bitwright.vm.dtypes import Codebook, codebook, dtype
from bitwright.vm.formats import Format, ZeroKind

ml_dtypes = pytest.importorskip("ml_dtypes")

INTEGERS = [f"{sign}{bits}" for bits in range(1, 9) for sign in "ui"]
BYTES = ["f4e2m1", "f6e2m3", "f3e1m1", "f4e1m2", "ternary", "iq4nl"]  # other types whose values are bytes, scaled
NO_BYTES = ["f6e3m2", "f8e4m3fn", "f8e5m2", "nf4"]
# group, and the part of it (worked out by hand) that shares a step: its largest divisor up to 128, where there is one
# a multiple of 4; rows that are one group are padded
PARTS = {16: 16, 32: 32, 48: 48, 128: 128, 160: 80, 300: 100, 129: 43, None: 128}


def rows(m: int, k: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(m, k)).astype(np.float32)


def check_int8(format: Format, n: int, k: int, m: int, part: int) -> None:
    q, x = random_tensor(format, n, k), rows(m, k)
    x[:, : k // 2] *= 30  # parts of different sizes
    bias = rows(1, n, 1)[0]
    y = linear(x, q, bias=bias, activations="int8")
    assert_within(y, exact(x, q, bias), 1.01 * bound(x, q, bias) + rounding_bound(x, q, part))


@pytest.mark.parametrize("element", [*INTEGERS, *BYTES])
def test_int8_of_every_element_type_that_is_bytes(element: str) -> None:
    kinds: list[ZeroKind | None] = [None, "float", "min"]
    zero = kinds[(INTEGERS + BYTES).index(element) % 3]
    check_int8(Format(dtype(element), 32, dtype("f16"), zero), 7, 100, 1, 32)


@pytest.mark.parametrize("group", list(PARTS))
@pytest.mark.parametrize("m", [1, 3])
def test_int8_steps_are_of_parts_of_groups(group: int | None, m: int) -> None:
    """A large x makes its own part coarse, whose weights are 0 here, and no other part."""
    part = PARTS[group]
    q, x = random_tensor(Format(dtype("i3"), group, dtype("f16")), 7, 611), rows(m, 611)
    codes = q.codes
    codes[:, :part] = 0
    q = QTensor.from_codes(codes, q.scales, q.format)
    x[:, 0] = 1e4
    assert_within(linear(x, q, activations="int8"), exact(x, q), 1.01 * bound(x, q) + rounding_bound(x, q, part))


@pytest.mark.parametrize("zero", [None, "int", "float", "min"])
@pytest.mark.parametrize("element", ["u4", "i5"])
def test_int8_zero_points_and_wide_tiles(element: str, zero: ZeroKind | None) -> None:
    check_int8(Format(dtype(element), 128, dtype("bf16"), zero), 100, 200, 1, 128)


@pytest.mark.parametrize("name", ["mxfp4", "mxint8", "nvfp4", "q4_1", "q5_1"])
def test_int8_of_named_formats(name: str) -> None:
    format = Format.parse(name)
    assert format.group is not None
    check_int8(format, 7, 100, 17, format.group)


def test_int8_of_whole_numbers_is_exact() -> None:
    """Activations that are their own 8-bit integers, and codes of both signs: nothing is rounded anywhere."""
    random = np.random.default_rng(3)
    x = random.integers(-127, 128, (3, 256)).astype(np.float32)
    x[:, ::32] = 127
    for element in ("i8", "u8", "i3", "u1"):
        q = random_tensor(f"{element}:g32:f32", 20, 256)
        q = QTensor.from_codes(q.codes, np.ones((20, 8), np.uint32) * np.uint32(0x3F800000), q.format)
        np.testing.assert_array_equal(linear(x, q, activations="int8"), exact(x, q).astype(np.float32))


@pytest.mark.parametrize("element", NO_BYTES)
def test_int8_refuses_values_that_are_no_bytes(element: str) -> None:
    q = random_tensor(f"{element}:g32:f16", 7, 64)
    with pytest.raises(LinearError, match=r'no exact form as bytes.*use activations="f32"'):
        linear(rows(1, 64), q, activations="int8")


def test_int8_of_zeros_tiny_numbers_infinity_and_nan() -> None:
    q = quantize(rows(7, 64), "i4", group=32)
    x = rows(6, 64)
    clean = linear(x, q, activations="int8")
    x[1], x[2], x[3] = 0, 1e-41, -3e-39
    x[4, 40], x[5, 3] = np.inf, np.nan
    y = linear(x, q, activations="int8")
    np.testing.assert_array_equal(y[0], clean[0])
    np.testing.assert_array_equal(y[1], 0)
    assert (np.abs(y[2:4]) <= 1e-36 * np.abs(q.dequantize()).sum(axis=1)).all()
    assert not np.isfinite(y[4]).any()
    assert np.isnan(y[5]).all()


@pytest.mark.parametrize("mode", ["bf16", "f16"])
@pytest.mark.parametrize("element", ["u1", "u2", "i3", "u4", "i5", "u6", "i8", "f4e2m1", "f6e3m2", "f8e4m3fn", "nf4"])
def test_rounded_activations_are_the_only_rounding(element: str, mode: str) -> None:
    """ml_dtypes and NumPy round x; with that x, the result is as near as f32 sums are: weights are not rounded."""
    q, x = random_tensor(f"{element}:g32:f16+min", 7, 100), rows(2, 100)
    rounded = x.astype(ml_dtypes.bfloat16 if mode == "bf16" else np.float16).astype(np.float32)
    assert_within(linear(x, q, activations=mode), exact(rounded, q), bound(rounded, q))
    unit = 2.0**-8 if mode == "bf16" else 2.0**-11
    weights = np.abs(q.dequantize(np.float64))
    assert_within(
        linear(x, q, activations=mode),
        exact(x, q),
        1.01 * bound(x, q) + unit * np.abs(x.astype(np.float64)) @ weights.T,
    )


@pytest.mark.parametrize("zero", [None, "int", "float", "min"])
def test_bf16_in_wide_tiles_and_several_rows(zero: ZeroKind | None) -> None:
    q, x = random_tensor(Format(dtype("u4"), 64, dtype("f16"), zero), 100, 200), rows(5, 200)
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert_within(linear(x, q, activations="bf16"), exact(rounded, q), bound(rounded, q))


def test_codebooks_that_are_bf16_are_multiplied_as_bf16_and_others_are_not_rounded() -> None:
    x = rows(1, 64)
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    for book in (codebook([-1.5, 0.25, 3.0, 0.0078125], "short"), codebook([-1.1, 0.3, 1 + 2**-20], "long")):
        q = random_tensor(Format(book, 32, dtype("f32")), 7, 64)
        assert isinstance(q.format.element, Codebook)
        assert np.unique(value_table(book)[q.codes]).size == len(book.values)
        assert_within(linear(x, q, activations="bf16"), exact(rounded, q), bound(rounded, q))


def test_f16_overflows_to_infinity() -> None:
    q = random_tensor("i4:g32:f16", 3, 32)
    x = np.full((1, 32), 1.0, np.float32)
    x[0, 5] = 70000.0
    assert not np.isfinite(linear(x, q, activations="f16")).any()
    assert np.isfinite(linear(x, q, activations="bf16")).all()


def test_auto_is_f32() -> None:
    q, x = random_tensor("u4:g32:f16+zero", 7, 64), rows(2, 64)
    np.testing.assert_array_equal(linear(x, q), linear(x, q, activations="f32"))


def test_an_unknown_mode_lists_the_choices() -> None:
    with pytest.raises(LinearError, match=r'activations=.int4.: choose "auto", "f32", "bf16", "f16" or "int8"'):
        linear(rows(1, 64), random_tensor("u4:g32:f16", 7, 64), activations="int4")  # type: ignore[arg-type]

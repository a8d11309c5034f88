"""`linear` in f32 against float64: every width, kind, group, zero point, scale, shape and number of rows.

Results must be within the bound that `linear` states (see `linear_bounds.bound`); shapes are small and odd.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np
import pytest

from bitwright.frontend.linear import linear
from bitwright.frontend.tensor import QTensor
from bitwright.tests.linear_bounds import assert_within, bound, exact, random_tensor
from bitwright.vm.dtypes import DType, Int, codebook, dtype
from bitwright.vm.formats import NAMED_FORMATS, SCALE_TYPES, Format, ZeroKind

INTEGERS = [dtype(f"{sign}{bits}") for bits in range(1, 9) for sign in "ui"]
FLOATS = [dtype(name) for name in ("f3e1m1", "f4e2m1", "f5e2m2", "f6e3m2", "f6e2m3", "f7e3m3", "f8e4m3fn", "f8e5m2")]
OWN = codebook([-3.5, -1.25, 0.0, 0.1, 2.0], "five")
WIDE = codebook(np.linspace(-1, 1, 200).tolist(), "two_hundred")
CODEBOOKS = [dtype("nf4"), dtype("iq4nl"), dtype("ternary"), OWN, WIDE]
GROUPS = (32, 128, None)
SHAPES = ((7, 31), (1, 200), (16, 300), (7, 1))  # [N, K]


def zero_kinds(element: DType) -> tuple[ZeroKind | None, ...]:
    return (None, "int", "float", "min") if isinstance(element, Int) else (None, "float", "min")


def elements() -> Iterator[tuple[Format, tuple[int, int], int]]:
    """Every element type without zero points and with one kind of them; the rest takes turns."""
    groups, shapes, rows = cycle(GROUPS), cycle(SHAPES), cycle((1, 1, 1, 3, 1, 1, 1, 1, 1))
    for number, element in enumerate((*INTEGERS, *FLOATS, *CODEBOOKS)):
        kinds = zero_kinds(element)
        for kind in (None, kinds[1 + number % (len(kinds) - 1)]):
            yield Format(element, next(groups), dtype("f16"), kind), next(shapes), next(rows)


def check(q: QTensor, m: int, with_bias: bool = False) -> None:
    random = np.random.default_rng(m)
    x = random.normal(size=(m, q.shape[1])).astype(np.float32)
    bias = random.normal(size=q.shape[0]).astype(np.float32) * 10 if with_bias else None
    y = linear(x, q, bias=bias)
    assert y.dtype == np.float32
    assert_within(y, exact(x, q, bias), bound(x, q, bias))


@pytest.mark.parametrize(("format", "shape", "m"), list(elements()), ids=str)
def test_every_element_type(format: Format, shape: tuple[int, int], m: int) -> None:
    check(random_tensor(format, *shape), m)


@pytest.mark.parametrize("zero", [None, "int", "float", "min"])
@pytest.mark.parametrize("group", GROUPS)
def test_groups_and_zero_points(group: int | None, zero: ZeroKind | None) -> None:
    q = random_tensor(Format(dtype("u3"), group, dtype("f16"), zero), 7, 300)
    check(q, 1)
    check(q, 3)


@pytest.mark.parametrize("zero", [None, "int", "float", "min"])
def test_more_rows_than_one_pass_serves(zero: ZeroKind | None) -> None:
    check(random_tensor(Format(dtype("i2"), 32, dtype("f16"), zero), 7, 100), 17)


@pytest.mark.parametrize("shape", [(100, 200), (65, 200), (64, 200), (17, 200), (16, 200), (15, 200), (1, 200)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_any_number_of_columns(shape: tuple[int, int], with_bias: bool) -> None:
    check(random_tensor("u5:g128:f16+zero", *shape), 1, with_bias)


@pytest.mark.parametrize("element", ["u1", "i3", "u4", "u6", "nf4", "f8e4m3fn"])
def test_wide_tiles_of_every_width(element: str) -> None:
    check(random_tensor(f"{element}:g32:f16+min", 100, 200), 1)


@pytest.mark.parametrize("m", [2, 17])
def test_several_rows_share_a_wide_tile(m: int) -> None:
    check(random_tensor("u4:g32:f16+zero", 100, 96), m, with_bias=True)


@pytest.mark.parametrize("group", [1, 7, 16, 24, 37, 48, 129, 160, 300, 1000])
def test_groups_of_any_length(group: int) -> None:
    check(random_tensor(f"i3:g{group}:f32+fzero", 5, 611), 1)


@pytest.mark.parametrize(
    ("scale", "zero"), [*((s, None) for s in SCALE_TYPES), *((s, "min") for s in ("f32", "f16", "bf16"))]
)
def test_every_type_of_scales(scale: str, zero: ZeroKind | None) -> None:
    check(random_tensor(Format(dtype("u4"), 32, dtype(scale), zero), 3, 64), 1)


@pytest.mark.parametrize("name", list(NAMED_FORMATS))
def test_every_named_format(name: str) -> None:
    check(random_tensor(name, 7, 100), 1)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "TQ2_0", "MXFP4"])
def test_gguf_blocks(kind: str) -> None:
    """The reference is what the gguf package reads from the same bytes."""
    gguf = pytest.importorskip("gguf")
    quants = pytest.importorskip("gguf.quants")
    from bitwright.frontend.importers.gguf import from_blocks
    from bitwright.frontend.importers.gguf_blocks import BLOCK_TYPES

    block, code = BLOCK_TYPES[kind], gguf.GGMLQuantizationType[kind]
    random = np.random.default_rng(3)
    data = random.integers(0, 256, (6, 2 * block.bytes)).astype(np.uint8)
    first = data.reshape(-1, block.bytes)
    at = block.bytes - 2 if kind == "TQ2_0" else 0
    if kind == "MXFP4":
        first[:, 0] = random.integers(120, 130, len(first))
    else:  # f16 scales (and offsets) that are ordinary numbers
        count = 4 if kind in ("Q4_1", "Q5_1") else 2
        first[:, at : at + count] = random.normal(size=(len(first), count // 2)).astype(np.float16).view(np.uint8)
    k = 2 * block.elements
    q = from_blocks(data, kind, (6, k))
    x = random.normal(size=(1, k)).astype(np.float32)
    right = x.astype(np.float64) @ quants.dequantize(data, code).astype(np.float64).T
    assert_within(linear(x, q), right, bound(x, q))


def test_infinities_and_nan_stay_in_their_row() -> None:
    q = random_tensor("u4:g32:f16+zero", 7, 64)
    x = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    clean = linear(x, q)
    x[1, 3], x[2, 40] = np.nan, np.inf
    y = linear(x, q)
    assert np.isnan(y[1]).all()
    assert not np.isfinite(y[2]).any()
    np.testing.assert_array_equal(y[[0, 3]], clean[[0, 3]])


def test_rows_do_not_depend_on_their_neighbours() -> None:
    """Row by row and all at once: the same sums in the same order."""
    q = random_tensor("i6:g32:bf16+min", 100, 96)
    x = np.random.default_rng(1).normal(size=(15, 96)).astype(np.float32)
    together = linear(x, q)
    np.testing.assert_array_equal(np.concatenate([linear(x[i : i + 1], q) for i in range(15)]), together)

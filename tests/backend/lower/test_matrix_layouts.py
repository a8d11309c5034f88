"""Where operands of a warp's product lie: by enumeration, against the pictures of the fragments."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.backend.lower.matrix_layouts import COLUMNS, ROWS, Operands, matrix_layouts, terms_of
from bitwright.backend.target import target
from bitwright.frontend.library.prepared_cuda import gpu_storage
from bitwright.vm.dtypes import dtype
from bitwright.vm.layout.relation import Layout
from bitwright.vm.layout.spread import repeat
from bitwright.vm.layout.views import local, replicate, spatial, transpose

WARP = 32
SHAPES = [(16, 8, 16), (64, 8, 32), (128, 64, 48), (32, 128, 16), (48, 24, 64)]


def held(layout: Layout, lanes: int) -> np.ndarray:
    """[lanes, registers, 2]: the element in each register."""
    assert layout.size("lane") == lanes
    return layout.places(("lane", "reg"), ("d0", "d1"))


def check(found: Operands, m: int, n: int, k: int, lanes: int) -> None:
    """Each lane has the rows, columns and terms that the instruction multiplies, and each sum is made."""
    a, b, sums = (held(layout, lanes) for layout in (found.a, found.b, found.sums))
    lane = np.arange(lanes)
    quad = lane // WARP * WARP + lane % WARP // 4 * 4  # the first lane of the four that share rows
    for x, axis in ((a, 0), (sums, 0), (b, 1)):
        np.testing.assert_array_equal(x[..., axis], x[quad][..., axis], "four lanes share rows of a, columns of b")
    np.testing.assert_array_equal(np.unique(a[..., 0], axis=1)[:, 0], np.unique(sums[..., 0], axis=1)[:, 0])
    for first in range(0, lanes, WARP):
        of_b = {tuple(np.unique(b[first + 4 * g, :, 1])) for g in range(8)}
        of_sums = {tuple(np.unique(sums[first + t, :, 1])) for t in range(4)}
        assert {c for cs in of_b for c in cs} == {c for cs in of_sums for c in cs}, "the warp's columns"
        for t in range(4):
            terms = [set(x[first + 4 * g + t, :, axis]) for g in range(8) for x, axis in ((a, 1), (b, 0))]
            assert all(s == terms[0] for s in terms), "lanes of one number mean the same terms"
    made = {tuple(x) for x in sums.reshape(-1, 2).tolist()}
    assert made == {(i, j) for i in range(m) for j in range(n)}
    assert {tuple(x) for x in a.reshape(-1, 2).tolist()} == {(i, j) for i in range(m) for j in range(k)}
    assert {tuple(x) for x in b.reshape(-1, 2).tolist()} == {(i, j) for i in range(k) for j in range(n)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warps", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("terms", [16, 32])
def test_operands_meet(shape: tuple[int, int, int], warps: int, terms: int) -> None:
    m, n, k = shape
    found = matrix_layouts(shape, terms, WARP * warps, None)
    if k % terms:
        assert found is None
    else:
        assert found is not None
        check(found, m, n, k, WARP * warps)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("warps", [1, 2, 4])
def test_stored_weights_are_operands_as_they_lie(bits: int, warps: int) -> None:
    storage = gpu_storage(dtype(f"u{bits}"), "f16", target("cuda:sm_90a"))
    k, n = storage.tile_shape
    stored = transpose(repeat(storage.tile, (k, n * 4), WARP * warps))
    found = matrix_layouts((4 * n, 16, k), 16, WARP * warps, stored)
    assert found is not None
    assert found.a == stored
    check(found, 4 * n, 16, k, WARP * warps)


@pytest.mark.parametrize(
    "layout",
    [
        local(16, 16) * replicate(32),  # no lane has rows of its own
        spatial(16, 2) * local(1, 8),  # two lanes share a row
        spatial(4, 8) * local(4, 2),  # eight do
    ],
)
def test_other_layouts_are_not_taken(layout: Layout) -> None:
    found = matrix_layouts((16, 8, 16), 16, WARP, layout)
    assert found == matrix_layouts((16, 8, 16), 16, WARP, None)


@pytest.mark.parametrize("shape", [(8, 8, 16), (16, 4, 16), (16, 8, 8), (24, 8, 16)])
def test_tiles_that_are_too_small(shape: tuple[int, int, int]) -> None:
    assert matrix_layouts(shape, 16, WARP, None) is None
    assert matrix_layouts((ROWS, COLUMNS, 16), 16, 48, None) is None, "not whole warps"


def test_which_products_warps_take() -> None:
    gpu, cpu = target("cuda:sm_80"), target("cpu")
    assert terms_of(gpu, dtype("f16"), dtype("f16")) == terms_of(gpu, dtype("bf16"), dtype("bf16")) == 16
    assert terms_of(gpu, dtype("i8"), dtype("u8")) == 32
    assert terms_of(gpu, dtype("f32"), dtype("f32")) == terms_of(gpu, dtype("f16"), dtype("bf16")) == 0
    assert terms_of(cpu, dtype("f16"), dtype("f16")) == 0

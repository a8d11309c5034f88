"""Products of four warps that find their right factor in shared memory, in whole programs."""

from __future__ import annotations

from itertools import groupby

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.backend.cuda.sass import read_instructions
from bitwright.backend.lower.group_tile import GroupTile
from bitwright.frontend.library.plan_cuda import GpuSchedule, cuda_kernel, plan_cuda
from bitwright.frontend.library.prepared_cuda import prepare_cuda
from bitwright.vm.dtypes import dtype
from bitwright.vm.ir import Shared

HOPPER = "cuda:sm_90a"
NUMPY = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}

PRODUCT = """
def product(w: {D}[{BN}, {K}], x: {D}[M, {K}], y: f32[M, {BN}]):
    m0 = grid((M, {BM}), lanes={LANES})
    acc = full(f32, [{BN}, {BM}], 0.5)
    for k in range(0, {K}, {BK}, stages=2):
        a = load(w, [0, k], [{BN}, {BK}])
        t = load(x, [m0, k], [{BM}, {BK}])
        acc = {STEP}
    store(y, [m0, 0], transpose(acc, [1, 0]))
"""
SUMS = "acc + dot(a, transpose(t, [1, 0]))"
INTO = "dot(a, transpose(t, [1, 0]), acc)"
ALSO = "acc + dot(a, transpose(t, [1, 0])) + reshape(sum(cast(t, f32), dim=1), [1, {BM}])"


def kernel(step: str, target: str = HOPPER, **given: int | str) -> bw.Kernel:
    settings = {"D": "f16", "BN": 256, "BM": 64, "BK": 64, "K": 128, "LANES": 128} | given
    return bw.compile(PRODUCT.replace("{STEP}", step).format(**settings), target=target)


def outcome(
    made: bw.Kernel, m: int, n: int, k: int, kind: str = "f16"
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What the simulator gives, and what it should: sums of small integers are exact."""
    rng = np.random.default_rng(m)
    w, x = (rng.integers(-8, 9, (rows, k)).astype(NUMPY[kind]) for rows in (n, m))
    y = np.full((m, n), np.nan, np.float32)
    codes = [a if kind == "f16" else a.view(np.uint16) for a in (w, x)]
    bw.simulate(made, *codes, y)
    return y, x.astype(np.float64) @ w.astype(np.float64).T + 0.5


@pytest.mark.parametrize(
    ("kind", "bn", "bm", "bk", "lanes", "step"),
    [
        ("f16", 256, 64, 64, 128, SUMS),
        ("bf16", 256, 64, 128, 128, INTO),  # two spans of 128 bytes
        ("f16", 384, 64, 32, 256, INTO),  # two groups of four warps, spans of 64 bytes
        ("bf16", 192, 64, 16, 128, INTO),  # one product for each pair of rows, of which there are three: spans of 32
        ("f16", 192, 64, 48, 128, SUMS),
    ],
)
def test_sums(kind: str, bn: int, bm: int, bk: int, lanes: int, step: str) -> None:
    k = 3 * bk
    made = kernel(step, D=kind, BN=bn, BM=bm, BK=bk, K=k, LANES=lanes)
    assert f"wgmma_{kind}_n{bm}" in made.source("lane")
    found, wanted = outcome(made, 70, bn, k, kind)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("first", [True, False])
def test_a_tile_that_is_loaded_twice_lies_twice(first: bool) -> None:
    """Once as products find it, once as lanes read it."""
    mine, other = ("t", "load(x, [m0, k], [{BM}, {BK}])")[:: 1 if first else -1]
    step = f"acc + reshape(sum(cast({mine}, f32), dim=1), [1, {{BM}}]) + dot(a, transpose({other}, [1, 0]))"
    made = kernel(step.format(BM=64, BK=64))
    assert "wgmma_f16_n64" in made.source("lane")
    rng = np.random.default_rng(1)
    w, x = (rng.integers(-8, 9, (rows, 128)).astype(np.float16) for rows in (256, 64))
    y = np.full((64, 256), np.nan, np.float32)
    bw.simulate(made, w, x, y)
    exact = x.astype(np.float64)
    np.testing.assert_array_equal(y, exact @ w.astype(np.float64).T + exact.sum(1, keepdims=True) + 0.5)


@pytest.mark.parametrize(
    ("step", "target", "settings"),
    [
        (SUMS, "cuda:sm_80", {}),
        (SUMS, "cuda:sm_100a", {}),
        (SUMS, HOPPER, {"BM": 32}),  # too few columns
        (SUMS, HOPPER, {"BN": 64}),  # the warps share the columns out
        (SUMS, HOPPER, {"LANES": 64, "BN": 32}),
        (ALSO.replace("{BM}", "64"), HOPPER, {}),  # others read the tile
    ],
)
def test_where_warps_multiply_alone(step: str, target: str, settings: dict[str, int]) -> None:
    made = kernel(step, target, **settings)
    text = made.source("lane")
    assert "mma_f16" in text
    assert "wgmma" not in text
    bn = settings.get("BN", 256)
    found, wanted = outcome(made, 40, bn, 128)
    if step != SUMS:
        rng = np.random.default_rng(40)
        rng.integers(-8, 9, (bn, 128))
        wanted = wanted + rng.integers(-8, 9, (40, 128)).sum(axis=1)[:, None]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("rows", "terms"), [(64, 128), (16, 32), (8, 48)])
def test_every_element_has_its_own_place(rows: int, terms: int) -> None:
    """And eight neighbouring rows have their pieces of 16 bytes in all banks."""
    tile = GroupTile(Shared("x", dtype("f16"), (rows, terms)))
    places = tile.places(np.moveaxis(np.indices((rows, terms)), 0, -1))
    assert sorted(places.reshape(-1)) == list(range(0, tile.size, 2))
    for first in range(0, rows, 8):
        for piece in range(0, terms, 8):
            banks = places[first : first + 8, piece] % 128 // 16
            assert len(set(banks.tolist())) == 8


def test_the_compiler_keeps_products_under_way() -> None:
    """The library's kernel: decoding goes on while products run, and nothing is spilled."""
    weights = np.random.default_rng(0).standard_normal((128, 1024)).astype(np.float32)
    where = bw.target(HOPPER)
    p = prepare_cuda(bw.quantize(weights, "u4"), "f16", where)
    made = cuda_kernel(p, plan_cuda(p, 64, where), "f16", dtype("f16"), False, where)
    report = made.report()
    assert report["spills"] == 0
    assert report["issue_slots_per_weight"] <= 2.6
    found = [i for i in read_instructions(made.source("sass")) if i.opcode.startswith(("HGMMA", "WARPGROUP.DEPBAR"))]
    assert [i.opcode for i in found if i.name == "HGMMA"] == ["HGMMA.64x64x16.F32"] * 16
    waits = [i.operands[1] for i in found if i.name == "WARPGROUP"]
    assert waits == ["0x1"] * 3 + ["0x0"], "one that waits for every product is there where ptxas puts them in a row"


def test_rows_of_128_find_registers() -> None:
    """Of 64 rows of sums after the other: the second ones go where the first were when they have been added."""
    weights = np.random.default_rng(0).standard_normal((256, 1024)).astype(np.float32)
    where = bw.target(HOPPER)
    p = prepare_cuda(bw.quantize(weights, "u3"), "f16", where)
    made = cuda_kernel(p, GpuSchedule("prefill", 128, stages=3, tiles=2), "f16", dtype("f16"), False, where)
    report = made.report()
    assert report["spills"] == 0
    assert report["issue_slots_per_weight"] <= 3.3
    found = [i for i in read_instructions(made.source("sass")) if i.name in ("HGMMA", "FFMA")]
    turns = [name for name, _ in groupby(i.name for i in found)]
    assert turns == ["HGMMA", "FFMA"] * 2, "sums are added between the products"

"""Quantised linears for GPUs: the code lowered for them, run by the simulator, against float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bitwright as bw
from bitwright.backend.cuda.architectures import ARCHITECTURES
from bitwright.backend.pipeline import compile_program
from bitwright.frontend.library.plan_cuda import (
    GpuSchedule,
    cuda_kernel,
    plan_cuda,
    schedules_cuda,
    shared_bytes,
    shares_of,
)
from bitwright.frontend.library.prepared import LinearError
from bitwright.frontend.library.prepared_cuda import Product, gpu_storage, prepare_cuda
from bitwright.tests.gpu_linears import HOPPER, gpu_linear, sums_of, workspace


def run(element: str, product: Product, m: int, n: int, k: int, **options: Any) -> GpuSchedule:
    """Simulates a linear and holds it to its bound; the schedule that it took."""
    linear = gpu_linear(element, product, m, n, k, **options)
    facts = bw.simulate(linear.kernel, *linear.arguments)
    streams = ("read matrix", "copy", "read.32x")  # of the main loop
    assert not [site for site in facts.sites if site.extra and any(s in site.statement for s in streams)]
    linear.assert_close()
    return linear.schedule


@pytest.mark.parametrize("product", ["f16", "bf16"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_width_with_few_rows(bits: int, product: Product) -> None:
    element, zero = (f"u{bits}", True) if (bits % 2 == 0) == (product == "f16") else (f"i{bits}", False)
    assert run(element, product, m=3, n=40, k=256, zero=zero).form == "decode"


@pytest.mark.parametrize("product", ["f16", "bf16"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_width_with_many_rows(bits: int, product: Product) -> None:
    element, zero = (f"i{bits}", False) if (bits % 2 == 0) == (product == "f16") else (f"u{bits}", True)
    assert run(element, product, m=35, n=40, k=256, zero=zero).form == "prefill"


@pytest.mark.parametrize(
    ("element", "product", "k", "target"),
    [
        ("u3", "f16", 128, HOPPER), ("u4", "bf16", 250, HOPPER), ("i8", "bf16", 120, HOPPER), ("u8", "f16", 65, HOPPER),
        ("i8", "bf16", 128, "cuda:sm_80"),
    ],
)  # fmt: skip
def test_blocks_of_four_warps(element: str, product: str, k: int, target: str) -> None:
    """Which multiply together where the GPU can, and x can be copied as it lies; elsewhere each by itself."""
    run(element, product, m=40, n=100, k=k, zero=element[0] == "u", target=target)


@pytest.mark.parametrize("element", ["f6e3m2", "f4e2m1", "f5e2m2", "f3e1m1", "f8e4m3fn", "f8e5m2", "nf4", "iq4nl"])
def test_floats_and_codebooks(element: str) -> None:
    run(element, "f16", m=9, n=40, k=256)
    run(element, "bf16", m=1, n=40, k=256)


@pytest.mark.parametrize("group", [16, 32, 48, 64, 256, None])
def test_groups(group: int | None) -> None:
    run("u3", "f16", m=5, n=72, k=384, group=group, zero=True)


@pytest.mark.parametrize(("n", "k"), [(8, 16), (1, 128), (33, 130), (200, 1001), (264, 520)])
def test_sizes_that_fill_no_tile(n: int, k: int) -> None:
    run("u4", "f16", m=2, n=n, k=k, zero=True)


def decode(share: int) -> GpuSchedule:
    return GpuSchedule("decode", 8, stages=2, share=share, chunk=1)


@pytest.mark.parametrize("splits", [1, 2, 4, 8])
def test_blocks_that_share_a_sum(splits: int) -> None:
    run("u5", "f16", m=4, n=40, k=1024, zero=True, schedule=decode(8 // splits))


@pytest.mark.parametrize(
    ("n", "schedule"),
    [
        (128, GpuSchedule("prefill", 32)), (100, decode(2)),
        (97, GpuSchedule("prefill", 32)), (128, decode(1)),
    ],
)  # fmt: skip
def test_a_lane_writes_neighbouring_columns_at_once(n: int, schedule: GpuSchedule) -> None:
    """As many as divide N, so that a warp's writes fill the sectors that they touch."""
    where = bw.target(HOPPER)
    q = bw.quantize(np.random.default_rng(0).standard_normal((n, 256)).astype(np.float32), "u4")
    p = prepare_cuda(q, "f16", where)
    x = np.random.default_rng(1).standard_normal((8, 256)).astype(np.float16)
    y = np.zeros((8, n), np.float16)
    kernel = cuda_kernel(p, schedule, "f16", bw.dtype("f16"), False, where)
    total = sums_of(p, "f16", x, schedule, where)
    none = np.zeros(0, np.float32)
    facts = bw.simulate(kernel, x, *total, p.weights, p.scales, p.zeros, none, *workspace(p, schedule, 8), y)
    writes = [site for site in facts.sites if site.space == "global" and site.statement.startswith("write")]
    if shares_of(p, schedule) == 1:
        assert len(writes) == 8 // math.gcd(n, 4)
    if n == 128:
        assert all(site.sectors == site.needed for site in writes)


@pytest.mark.parametrize(
    ("element", "product", "splits", "zero", "group"),
    [
        ("u4", "f16", 2, True, 256), ("i3", "bf16", 3, False, 128), ("u5", "bf16", 3, True, 32),
        ("f4e2m1", "f16", 6, False, None),
    ],
)  # fmt: skip
def test_blocks_of_many_rows_that_share_a_sum(
    element: str, product: Product, splits: int, zero: bool, group: int | None
) -> None:
    """Also where they share three groups unevenly, and where rows, columns and K fill no tile."""
    rows = 64 if zero else 32
    run(element, product, 45, 100, 761, group=group, zero=zero, schedule=GpuSchedule("prefill", rows, splits, 2))


def test_many_rows_fill_the_gpu() -> None:
    """Sums are shared where blocks are few and sums are long, and only there."""
    where = bw.target(HOPPER)

    def splits(m: int, n: int, k: int) -> int:
        q = bw.quantize(np.zeros((128, k), np.float32), "u4")
        return plan_cuda(prepare_cuda(q, "f16", where).planned_for(n), m, where).splits

    assert splits(64, 4096, 512) == 1
    assert splits(64, 4096, 4096) > 1
    assert splits(64, 4096, 14336) > 1
    assert splits(512, 4096, 4096) == 1
    assert splits(4096, 4096, 14336) == 1


@pytest.mark.parametrize(
    ("element", "product", "rows", "splits", "n", "target"),
    [
        ("u4", "f16", 64, 1, 300, HOPPER), ("i3", "bf16", 128, 2, 500, HOPPER), ("nf4", "f16", 128, 1, 200, HOPPER),
        ("u6", "f16", 64, 1, 132, "cuda:sm_80"),
    ],
)  # fmt: skip
def test_wide_blocks(element: str, product: Product, rows: int, splits: int, n: int, target: str) -> None:
    """Of twice the columns, also where the last block has but half of them."""
    schedule = GpuSchedule("prefill", rows, splits, stages=2, tiles=2)
    run(element, product, 66, n, 384 * splits - 9, zero=element[0] == "u", schedule=schedule, target=target)


def test_many_blocks_are_wide() -> None:
    """Where there are enough of them, so that each reads x for more products."""
    where = bw.target(HOPPER)
    q = bw.quantize(np.zeros((128, 4096), np.float32), "u4")
    p = prepare_cuda(q, "f16", where)
    assert plan_cuda(p.planned_for(4096), 4096, where).tiles == 2
    assert plan_cuda(p.planned_for(4096), 4096, where).rows == 128
    assert plan_cuda(p.planned_for(4096), 64, where).tiles == 1
    assert plan_cuda(p, 4096, where).tiles == 1, "there is one block of columns"


def test_shares_are_added_in_one_order() -> None:
    """Whichever block is last, the sum is the same to the last bit."""
    q = bw.quantize(np.random.default_rng(0).standard_normal((40, 512)).astype(np.float32), "u4")
    where = bw.target(HOPPER)
    p = prepare_cuda(q, "f16", where)
    s = decode(1)
    kernel = cuda_kernel(p, s, "f16", bw.dtype("f32"), False, where)
    x = np.random.default_rng(1).standard_normal((1, 512)).astype(np.float16)
    part, state = workspace(p, s, 1)
    y = np.zeros((1, 40), np.float32)
    bw.simulate(kernel, x, p.weights, p.scales, p.zeros, np.zeros(0, np.float32), part, state, y)
    total = np.zeros((1, 40), np.float32)
    for share in part:
        total = total + share
    np.testing.assert_array_equal(y, total)
    assert not state.any(), "the next call finds the state as this one did"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_schedules_fit_every_gpu(name: str) -> None:
    where = bw.target(f"cuda:{name}")
    q = bw.quantize(np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32), "u8")
    p = prepare_cuda(q, "f16", where).planned_for(8192)
    for m in (1, 16, 32, 33, 1000):
        found = schedules_cuda(p, m, where)
        assert found[0] == plan_cuda(p, m, where)
        assert all(shared_bytes(p, s) <= ARCHITECTURES[name].shared_bytes for s in found)
    compiled = cuda_kernel(p, plan_cuda(p, 32, where), "f16", bw.dtype("f16"), False, where).compiled
    assert compiled.shared_bytes <= shared_bytes(p, plan_cuda(p, 32, where))


@pytest.mark.parametrize("m", [32, 64])
def test_where_memory_is_scarce_a_table_takes_a_stage(m: int) -> None:
    where = bw.target("cuda:sm_86")
    weights = np.random.default_rng(0).standard_normal((128, 1024)).astype(np.float32)
    integers, table = (prepare_cuda(bw.quantize(weights, w), "f16", where).planned_for(8192) for w in ("u4", "nf4"))
    s = plan_cuda(table, m, where)
    assert s.stages == plan_cuda(integers, m, where).stages - 1
    program = cuda_kernel(table, s, "f16", bw.dtype("f16"), False, where).program
    assert compile_program(program, where, until="lower").shared_bytes <= shared_bytes(table, s)


def test_groups_that_no_product_takes_are_refused() -> None:
    q = bw.quantize(np.ones((8, 48), np.float32), "u4", group=24)
    with pytest.raises(LinearError, match="groups of 24 weights do not divide into 16s"):
        prepare_cuda(q, "f16", bw.target(HOPPER))


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_lane_reads_sixteen_bytes(bits: int) -> None:
    storage = gpu_storage(bw.dtype(f"u{bits}"), "f16", bw.target(HOPPER))
    assert storage.vector == 4
    assert storage.tile_bytes * 8 == storage.regs * storage.lanes * bits, "nothing is padded"

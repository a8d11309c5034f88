"""Blocks that take shares of the steps of all tiles: a tile may have several blocks, and a block several tiles."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

import bitwright as bw
from bitwright.backend.lane import simulate as machine
from bitwright.frontend.kernel import Kernel
from bitwright.frontend.library.plan_cuda import GpuSchedule, cuda_kernel, plan_cuda, steps_of, width
from bitwright.frontend.library.plan_decode import sharers
from bitwright.frontend.library.prepared import Prepared
from bitwright.frontend.library.prepared_cuda import Product, prepare_cuda
from bitwright.tests.frontend.library.test_linear_cuda import run
from bitwright.tests.gpu_linears import HOPPER, workspace
from bitwright.vm.interpret import interpret


@pytest.mark.parametrize(
    ("m", "n", "k", "group", "share", "chunk"),
    [
        (1, 300, 1152, 128, 7, 4),  # 9 steps for each of 3 tiles: 2 and 3 blocks have a part of one
        (8, 300, 640, 128, 12, 5),  # a block has the end of a tile, a whole one, and the beginning of another
        (3, 264, 384, 128, 2, 1),  # more blocks than tiles
        (32, 200, 384, 128, 4, 2),
        (9, 70, 160, 16, 8, 8),  # steps of 16 terms
        (2, 72, 336, 48, 8, 8),
        (5, 520, 250, None, 3, 2),  # one group; x ends within a step
        (1, 40, 1024, 1024, 3, 3),  # one tile
        (4, 264, 128, 128, 2, 1),  # tiles of one step, of which each block takes two
    ],
)
def test_shares_that_cross_tiles(m: int, n: int, k: int, group: int | None, share: int, chunk: int) -> None:
    rows = next(r for r in (8, 16, 32) if m <= r)
    schedule = GpuSchedule("decode", rows, stages=3, share=share, chunk=chunk)
    run("u4", "f16", m, n, k, group=group, zero=True, schedule=schedule)


@pytest.mark.parametrize(("element", "product", "zero"), [("u3", "bf16", True), ("i6", "f16", False)])
def test_other_weights(element: str, product: Product, zero: bool) -> None:
    run(element, product, 2, 300, 640, zero=zero, schedule=GpuSchedule("decode", 8, share=4, chunk=2))


def problem(n: int, k: int, share: int) -> tuple[Prepared, GpuSchedule, Kernel, list[np.ndarray]]:
    """A kernel, and its arguments: y is the last, after the parts and the state."""
    q = bw.quantize(np.random.default_rng(0).standard_normal((n, k)).astype(np.float32), "u4")
    where = bw.target(HOPPER)
    p, s = prepare_cuda(q, "f16", where), GpuSchedule("decode", 8, stages=2, share=share, chunk=2)
    x = np.random.default_rng(1).standard_normal((3, k)).astype(np.float16)
    bias = np.random.default_rng(2).standard_normal(n).astype(np.float32)
    y = np.full((3, n), np.nan, np.float32)
    kernel = cuda_kernel(p, s, "f16", bw.dtype("f32"), True, where)
    return p, s, kernel, [x, p.weights, p.scales, p.zeros, bias, *workspace(p, s, 3), y]


@pytest.mark.parametrize("share", [2, 3, 4])
def test_the_order_of_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Whichever block is last, sums are the same to the last bit, and the state is what it was."""
    p, s, kernel, first = problem(300, 640, share)
    bw.simulate(kernel, *first)
    blocks = -(-p.shape.columns // width(p) * steps_of(p) // s.share)
    order = np.random.default_rng(5).permutation(blocks)
    assert (order != np.arange(blocks)).any()
    one = machine._Machine.run_block
    monkeypatch.setattr(machine._Machine, "run_block", lambda self, block: one(self, int(order[block])))
    second = problem(300, 640, share)[3]
    bw.simulate(kernel, *second)
    for left, right in zip(first[5:], second[5:], strict=True):  # NaN: parts that no block has
        np.testing.assert_array_equal(left, right)
    assert not second[6].any()
    assert np.isfinite(second[7]).all()


def test_the_interpreter_finds_no_race() -> None:
    _, _, kernel, simulated = problem(140, 384, 2)
    _, _, _, interpreted = problem(140, 384, 2)
    bw.simulate(kernel, *simulated)
    interpret(kernel.program, *interpreted)
    size = np.abs(interpreted[7]).max()
    np.testing.assert_allclose(simulated[7], interpreted[7], rtol=0, atol=1e-5 * size)
    assert not interpreted[6].any()


@pytest.mark.parametrize("steps", range(1, 12))
@pytest.mark.parametrize("share", range(1, 14))
def test_how_many_share_a_tile(steps: int, share: int) -> None:
    """As many as are found when every step's block is written down."""
    owner = np.arange(steps * share) // share
    found = {len(set(owner[first:end])) for first, end in pairwise(range(0, steps * share + 1, steps))}
    assert sharers(steps, share) == max(found)


@pytest.mark.parametrize("name", ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"])
def test_a_wave_of_blocks_is_nearly_full(name: str) -> None:
    """Where K has few divisors, blocks take parts of tiles; where they fit, they do not."""
    where = bw.target(f"cuda:{name}")
    odd = prepare_cuda(bw.quantize(np.ones((512, 7392), np.float32), "u4"), "f16", where).planned_for(10944)
    s = plan_cuda(odd, 1, where)
    assert steps_of(odd) % s.share, "tiles have 58 steps"
    even = prepare_cuda(bw.quantize(np.ones((512, 8192), np.float32), "u4"), "f16", where).planned_for(8192)
    if name == "sm_90a":
        assert plan_cuda(even, 1, where).share == 8, "512 blocks, of 528 that the GPU holds"


@pytest.mark.parametrize("name", ["cuda:sm_80", "cuda:sm_90a"])
@pytest.mark.parametrize("share", [10, 27])
def test_a_weight_takes_as_few_issue_slots(name: str, share: int) -> None:
    """As where every block has one tile, and nothing is spilled."""
    pytest.importorskip("cuda.bindings.nvrtc")
    where = bw.target(name)
    p = prepare_cuda(bw.quantize(np.ones((512, 8192), np.float32), "u4", zero_point=False), "f16", where)
    make = partial(GpuSchedule, "decode", 8, chunk=8)
    one, shared = (
        cuda_kernel(p, make(share=steps), "f16", bw.dtype("f16"), False, where).report() for steps in (64, share)
    )
    assert shared["issue_slots_per_weight"] <= 1.02 * one["issue_slots_per_weight"]
    assert one["local_memory_bytes"] == shared["local_memory_bytes"] == 0

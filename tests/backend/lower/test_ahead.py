"""What a GPU may copy ahead of the program: only what stays as it is, and of which a copy's zeros mean 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.lane.ir import CopyAsync, Function, Statement, lets
from bitwright.backend.simulated import simulate_on
from bitwright.backend.target import target
from bitwright.frontend.kernel import compile, simulate
from bitwright.tests.backend.lower.three_ways import Case, interpreted, lowered, written
from bitwright.vm.dtypes import dtype
from bitwright.vm.interpret import interpret
from bitwright.vm.layout.text import storage

GPU = "cuda:sm_80"

INSIDE = """
def f(x: i32[512], y: i32[512]):
    i = grid(1, lanes=64)
    for k in range(0, 448, 64, stages=3):
        store(x, [k + 64], load(x, [k], [64]) + load(x, [k + 64], [64]))
    store(y, [0], load(x, [0], [512]))
"""
BEFORE = """
def f(x: i32[512], y: i32[512]):
    i = grid(1, lanes=64)
    store(x, [0], load(x, [0], [512], layout="spatial(64) * local(8)") + 1)
    for k in range(0, 512, 64, stages=3):
        store(y, [k], load(x, [k], [64]))
"""
UNDER_WAY = """
def f(x: i32[512], y: i32[512]):
    i = grid(1, lanes=64)
    t = shared(i32, [64])
    copy_async(x, [0], t, [0], [64])
    commit()
    store(x, [0], load(x, [0], [64]) + 1)
    wait(0)
    store(y, [0], load(t, [0], [64]))
"""
KEPT = """
def f(x: i32[512], y: i32[512]):
    i = grid(1, lanes=64)
    acc = zeros(i32, [64])
    for k in range(0, 448, 64, stages=3):
        acc = acc * 3 + load(x, [k], [64])
    store(y, [0], acc)
"""


def copies(body: Sequence[Statement]) -> list[CopyAsync]:
    return [s.op for s in lets(body) if isinstance(s.op, CopyAsync)]


def same_as_interpreted(case: Case) -> Function:
    function, given = lowered(case, GPU), case.copies()
    simulate_on(target(GPU), function, given, 1)
    found, right = written(case, case.program(), given), interpreted(case)
    for name, values in right.items():
        np.testing.assert_array_equal(found[name], values)
    return function


@pytest.mark.parametrize(("text", "ahead"), [(INSIDE, False), (BEFORE, False), (UNDER_WAY, False), (KEPT, True)])
def test_arrays_that_a_program_stores_to_are_not_copied_ahead(text: str, ahead: bool) -> None:
    rng = np.random.default_rng(2)
    case = Case(text, (rng.integers(-9, 9, 512).astype(np.int32), np.zeros(512, np.int32)))
    assert bool(copies(same_as_interpreted(case).body)) == ahead


@pytest.mark.parametrize(("name", "ahead"), [("nf4", False), ("f4e2m1", True)])
def test_past_the_end_of_an_array_are_zeros_of_its_dtype(name: str, ahead: bool) -> None:
    """Storage tiles past the end of K: code 0 of nf4 is -1."""
    kind = dtype(name)
    tiles = storage('tiled("spatial(4, 8) * local(2, 4)", container=32)', kind.bits)
    text = """
def f(w: W[40, 32] @ L, y: f32[16, 32], *, W: dtype, L: layout):
    i = grid(1, lanes=32)
    acc = zeros(f32, [16, 32])
    for k in range(0, 40, 16, stages=3):
        acc = acc * 2.0 + cast(load(w, [k, 0], [16, 32]), f32)
    store(y, [0, 0], acc)
"""
    kernel = compile(text, target=GPU, W=kind, L=tiles)
    weights = tiles.pack(np.random.default_rng(3).integers(0, 16, (40, 32)).astype(np.uint8))
    right: NDArray[np.float32] = np.zeros((16, 32), np.float32)
    found = np.zeros_like(right)
    interpret(kernel.program, weights, right)
    simulate(kernel, weights, found)
    np.testing.assert_array_equal(found, right)
    assert kernel.compiled.function is not None
    assert bool(copies(kernel.compiled.function.body)) == ahead


def test_a_loop_within_an_unrolled_one_has_one_ring() -> None:
    text = """
def f(x: i32[512], y: i32[512]):
    i = grid(1, lanes=64)
    acc = zeros(i32, [64])
    for k in range(0, 320, 64, unroll=3):
        for j in range(k, k + 192, 64, stages=4):
            acc = acc * 3 + load(x, [j], [64])
    store(y, [0], acc)
"""
    x = np.random.default_rng(5).integers(-9, 9, 512).astype(np.int32)
    assert same_as_interpreted(Case(text, (x, np.zeros(512, np.int32)))).shared == 4 * 64 * 4

"""Programs that load what they store: on GPUs the warps of a block meet where lanes would else overtake each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bitwright.backend.lane.ir import Barrier, Statement, lets
from bitwright.backend.lower.order import barriers_before
from bitwright.backend.simulated import simulate_on
from bitwright.backend.target import target
from bitwright.tests.backend.lower.three_ways import Case, interpreted, lowered, written

GPU = "cuda:sm_80"

LOOPS = """
def f(x: i32[64], y: i32[64]):
    i = grid(1, lanes=128)
    for k in range(3):
        v = load(y, [i], [64], layout="spatial(64)")
        store(y, [i], v * 2 + load(x, [i], [64], layout="spatial(64)"))
"""
TURNED = """
def f(x: i32[64], y: i32[64]):
    i = grid(1, lanes=64)
    store(y, [i], load(x, [i], [64], layout="spatial(64)") + 1)
    v = load(y, [i], [64], layout="spatial(16) * local(4)")
    store(x, [i], v)
"""
BRANCH = """
def f(x: i32[64], y: i32[64]):
    i = grid(1, lanes=128)
    v = load(y, [i], [64], layout="spatial(64)")
    if i == 0:
        store(y, [i], v + 3)
    store(x, [i], load(y, [i], [64], layout="spatial(64)"))
"""
PLAIN = """
def f(x: i32[64], y: i32[64]):
    i = grid(1, lanes=128)
    for k in range(2):
        store(y, [i], load(x, [i], [64], layout="spatial(64)") + k)
"""
SHIFTED = """
def f(x: i32[64], y: i32[64]):
    i = grid(1, lanes=64)
    for k in range(3, 7):
        store(y, [k], load(x, [i], [64], layout="spatial(64)") + k)
"""
BESIDE = """
def f(x: i32[64], y: i32[64]):
    i = grid(1, lanes=128)
    for k in range(3, 35, 16):
        for j in range(k, k + 16, 8):
            store(y, [j + i], load(x, [0], [8], layout="spatial(8)") + k)
"""
ASKEW = """
def f(x: i32[64], y: i32[64]):
    i = grid(1, lanes=64)
    for k in range(0, 24, 8):
        for j in range(0, 24, 12):
            store(y, [k + j], load(x, [0], [8], layout="spatial(8)") + k)
"""


def barriers(body: Sequence[Statement]) -> list[Barrier]:
    return [s.op for s in lets(body) if isinstance(s.op, Barrier)]


@pytest.mark.parametrize(
    ("text", "count"), [(LOOPS, 2), (TURNED, 1), (BRANCH, 2), (PLAIN, 0), (SHIFTED, 1), (BESIDE, 0), (ASKEW, 1)]
)
def test_warps_meet_where_they_must(text: str, count: int) -> None:
    rng = np.random.default_rng(4)
    case = Case(text, tuple(rng.integers(-9, 9, 64).astype(np.int32) for _ in range(2)))
    function = lowered(case, GPU)
    assert len(barriers(function.body)) == count
    given = case.copies()
    simulate_on(target(GPU), function, given, 1)  # refuses races
    found, right = written(case, case.program(), given), interpreted(case)
    for name, values in right.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_cpu_needs_no_barrier() -> None:
    case = Case(LOOPS, (np.zeros(64, np.int32), np.zeros(64, np.int32)))
    assert barriers_before(case.program())
    assert not barriers(lowered(case).body)

"""Loops: `unroll` changes nothing but the code."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.tests.backend.lower.three_ways import Case, agree, simulated

UNROLLED = """
def f(y: i32[128], n: int, low: int, high: int):
    total = zeros(i32, [1])
    k = 1
    for i in range(low, high, {step}, unroll={unroll}):
        total = total * 3 + i
        k = k * 5 + i
    for j in range({first}, {last}, {step}, unroll={unroll}):
        total = total * 7 - j
    store(y, [n], total)
    store(y, [n + 1], full(i32, [1], 2) * k)
"""


@pytest.mark.parametrize(("unroll", "step"), [(1, 1), (2, 1), (3, 2), (4, 3), (7, 1), (64, 5)])
def test_unrolled_loops_count_the_same(unroll: int, step: int) -> None:
    for first, last in ((0, 12), (-7, 8), (5, 5), (6, -20)):
        text = UNROLLED.format(step=step, unroll=unroll, first=first, last=last)
        for low, high in ((0, 0), (0, 1), (-9, 4), (3, 17), (8, 2), (-6, -5), (0, 64)):
            case = Case(text, (np.zeros(128, np.int32), 4, low, high))
            total, k = 0, 1
            for i in range(low, high, step):
                total, k = total * 3 + i, k * 5 + i
            for j in range(first, last, step):
                total = total * 7 - j
            found = simulated(case)["y"]
            assert [int(v) for v in found[4:6]] == [_wrapped(total), _wrapped(2 * k)]


def test_native_loops_count_the_same() -> None:
    for unroll, step in ((3, 2), (4, 1)):
        text = UNROLLED.format(step=step, unroll=unroll, first=-7, last=8)
        agree(Case(text, (np.zeros(128, np.int32), 4, -9, 4)), machine=True)


def _wrapped(n: int) -> int:
    return (n + 2**31) % 2**32 - 2**31

"""Loops: `stages` hints at what later iterations read; `unroll` changes nothing but the code."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.backend.lane import simulate as simulator
from bitwright.backend.lane.ir import Function, Let, Prefetch, Read, lets
from bitwright.tests.backend.lower.three_ways import Case, agree, lowered, simulated
from bitwright.vm.layout.text import storage

LINE = 64


def _hints(function: Function) -> int:
    return sum(isinstance(s.op, Prefetch) for s in lets(function.body))


class Lines:
    """The cache lines of a run that were hinted at, and those that were read without a hint before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hinted: set[int] = set()
        self.missed: list[int] = []
        original = simulator._Machine.let

        def spy(machine: simulator._Machine, let: Let) -> None:
            op = let.op
            if isinstance(op, Prefetch | Read):
                base = np.broadcast_to(machine.get(op.base) + machine.get(op.offset), (machine.lanes,))
                size = 1 if isinstance(op, Prefetch) else op.count * op.bits // 8
                mask = op.mask if isinstance(op, Read) else None
                on = np.ones(machine.lanes, bool) if mask is None else machine.vector(mask).astype(bool)
                lines = sorted({int(a + k) // LINE for a in base[on] for k in (0, size - 1)})
                if isinstance(op, Prefetch):
                    self.hinted.update(lines)
                else:
                    self.missed += [line for line in lines if line not in self.hinted]
            original(machine, let)

        monkeypatch.setattr(simulator._Machine, "let", spy)


ROWS = """
def f(x: f32[M, N], y: f32[M, N]):
    for i in range(0, M, 2, stages={stages}):
        store(y, [i, 0], load(x, [i, 3], [2, 40]))
"""


@pytest.mark.parametrize("stages", [2, 3, 5])
def test_rows_are_hinted_at_that_many_iterations_ahead(stages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(24 * 48, dtype=np.float32).reshape(24, 48)
    case = Case(ROWS.format(stages=stages), (x, np.zeros_like(x)))
    lines = Lines(monkeypatch)
    agree(case)
    early = {
        (1 << 40) // LINE + (row * 48 * 4 + byte) // LINE for row in range(2 * (stages - 1)) for byte in range(192)
    }
    assert lines.missed
    assert set(lines.missed) <= early


def test_stored_tiles_are_hinted_at(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
def f(x: u4[M, N] @ L, y: f32[M, N], *, L: layout = tiled("local(32, 1) * spatial(1, 16)", container=8, planes=[4])):
    n0 = grid((N, 16))
    for i in range(0, M, 32, stages=3):
        store(y, [i, n0], cast(load(x, [i, n0], [32, 16]), f32))
"""
    kept = storage('tiled("local(32, 1) * spatial(1, 16)", container=8, planes=(4,))', 4)
    codes = np.random.default_rng(0).integers(0, 16, (256, 16)).astype(np.uint8)
    case = Case(text, (kept.pack(codes), np.zeros((256, 16), np.float32)), {"M": 256, "N": 16})
    lines = Lines(monkeypatch)
    right = agree(case)
    np.testing.assert_array_equal(right["y"], codes)
    assert len(lines.missed) == 2 * kept.tile_bytes // LINE


def test_one_stage_hints_at_nothing() -> None:
    x = np.zeros((8, 48), np.float32)
    assert _hints(lowered(Case(ROWS.format(stages=1), (x, x)))) == 0
    assert _hints(lowered(Case(ROWS.format(stages=2), (x, x)))) == 2 * 4


def test_only_loads_whose_place_is_known_ahead_are_hinted_at() -> None:
    text = """
def f(x: i32[N], y: i32[N]):
    k = 0
    for i in range(0, N, 16, stages=2, unroll=2):
        j = item(load(x, [0], [1])) % 8
        a = load(x, [(i + j) % N], [16])
        b = load(x, [(i + k) % N], [16])
        k = k + 16
        for n in range(0, 2):
            b = b + load(x, [(i + n) % N], [16])
        store(y, [i], a + b)
"""
    rng = np.random.default_rng(1)
    case = Case(text, (rng.integers(0, 99, 57).astype(np.int32), np.zeros(57, np.int32)))
    assert _hints(lowered(case)) == 0
    agree(case, machine=True)


def test_hints_past_the_end_are_harmless() -> None:
    x = np.arange(40, dtype=np.float32)
    text = """
def f(x: f32[N], y: f32[N]):
    for i in range(0, N, 8, stages=8):
        store(y, [i], load(x, [i], [8]))
"""
    agree(Case(text, (x, np.zeros_like(x))), machine=True)


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

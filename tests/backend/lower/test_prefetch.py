"""Hints: `stages` of a loop at what later iterations read, `prefetch` at a tile; each line of it, and no other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bitwright.backend.lane import simulate as simulator
from bitwright.backend.lane.ir import Constant, Function, Let, Prefetch, Read, lets
from bitwright.backend.lower.prefetch import MOST
from bitwright.tests.backend.lower.three_ways import Case, agree, lowered
from bitwright.vm.layout.text import storage

LINE = 64
FIRST = (1 << 40) // LINE
"""The line that the first argument begins with."""


def hints(function: Function) -> list[int]:
    """The places that each hint of the code is at, the bytes from its base, every place once."""
    made = {s.results[0]: s.op for s in lets(function.body) if isinstance(s.op, Constant)}
    places = [made[s.op.offset].values for s in lets(function.body) if isinstance(s.op, Prefetch)]
    return [int(byte) for some in places for byte in dict.fromkeys(some)]


class Lines:
    """The cache lines of a run that were hinted at (how often), and those that were read without a hint before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hinted: Counter[int] = Counter()
        self.levels: set[int] = set()
        self.missed: list[int] = []
        original = simulator._Machine.let

        def spy(machine: simulator._Machine, let: Let) -> None:
            op = let.op
            if isinstance(op, Prefetch):
                places = np.broadcast_to(machine.get(op.base) + machine.get(op.offset), (machine.lanes,))
                self.hinted.update(int(a) // LINE for a in np.unique(places))
                self.levels.add(op.level)
            elif isinstance(op, Read):
                base = np.broadcast_to(machine.get(op.base) + machine.get(op.offset), (machine.lanes,))
                on = np.ones(machine.lanes, bool) if op.mask is None else machine.vector(op.mask).astype(bool)
                lines = sorted({int(a + k) // LINE for a in base[on] for k in (0, op.count * op.bits // 8 - 1)})
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
    early = {FIRST + (row * 48 * 4 + byte) // LINE for row in range(2 * (stages - 1)) for byte in range(192)}
    assert lines.levels == {1}
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
    assert hints(lowered(Case(ROWS.format(stages=1), (x, x)))) == []
    assert len(hints(lowered(Case(ROWS.format(stages=2), (x, x))))) == 2 * 4


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
    assert hints(lowered(case)) == []
    agree(case, machine=True)


def test_hints_past_the_end_are_harmless() -> None:
    x = np.arange(40, dtype=np.float32)
    text = """
def f(x: f32[N], y: f32[N]):
    for i in range(0, N, 8, stages=8):
        store(y, [i], load(x, [i], [8]))
"""
    agree(Case(text, (x, np.zeros_like(x))), machine=True)


def test_a_load_of_many_lines_is_hinted_at_in_part() -> None:
    text = """
def f(x: f32[M, 2048], y: f32[M, 2048]):
    for i in range(0, M, 2, stages=2):
        store(y, [i, 0], load(x, [i, 0], [2, {columns}]))
        store(y, [i, 0], load(x, [i, 64], [2, 16]))
"""
    x = np.zeros((4, 2048), np.float32)
    assert len(hints(lowered(Case(text.format(columns=1024), (x, x))))) == MOST + 2 * 2
    assert len(hints(lowered(Case(text.format(columns=256), (x, x))))) == 2 * 17 + 2 * 2


@pytest.mark.parametrize(("step", "hinted"), [(32, 2), (16, 3), (64, 3)])
def test_a_row_that_goes_on_is_not_hinted_at_twice(step: int, hinted: int) -> None:
    """Where the next iteration's row begins there, the line that this one ends in is its first."""
    text = f"""
def f(x: f32[M, N], y: f32[M, N]):
    for k in range(0, N - 31, {step}, stages=4):
        store(y, [0, k], load(x, [0, k], [1, 32]))
"""
    x = np.zeros((1, 256), np.float32)
    assert len(hints(lowered(Case(text, (x, x))))) == hinted


PREFETCH = """
def f(x: {kind}[M, {n}], y: f32[1], m: int, n: int):
{assume}    prefetch(x, [m, n], [{rows}, {columns}])
"""


@pytest.mark.parametrize("width", [64, 1000])
@pytest.mark.parametrize(("m", "n"), [(0, 0), (3, 5), (2, 15)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 16), (2, 33)])
@pytest.mark.parametrize("known", [False, True])
def test_prefetch_hints_at_the_lines_of_rows(
    width: int, m: int, n: int, rows: int, columns: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that begin and end within lines; a width and a start that are known, or only when the kernel is called."""
    text = PREFETCH.format(kind="f32", n=width if known else "N", rows=rows, columns=columns, assume="")
    text = text.replace("[m, n]", f"[{m}, {n}]") if known else text
    case = Case(text, (np.zeros((6, width), np.float32), np.zeros(1, np.float32), m, n))
    lines = Lines(monkeypatch)
    agree(case)
    begins = [((m + row) * width + n) * 4 for row in range(rows)]
    assert set(lines.hinted) == {FIRST + byte // LINE for b in begins for byte in range(b, b + 4 * columns)}
    assert lines.levels == {2}
    assert not lines.missed


@pytest.mark.parametrize(
    ("first", "columns"), [(0, 3), (8, 125), (68, 126), (69, 125), (70, 125), (240, 125), (241, 3)]
)
def test_prefetch_hints_at_the_lines_of_a_stream(first: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """u3: a row may begin and end within a byte, which may be the first or the last of a line."""
    text = PREFETCH.format(kind="u3", n=1000, rows=1, columns=columns, assume="").replace("[m, n]", "[m, n + 1]")
    case = Case(text, (np.zeros(6 * 375, np.uint8), np.zeros(1, np.float32), 1, first), {"M": 6})
    lines = Lines(monkeypatch)
    agree(case)
    begin = (1000 + first + 1) * 3
    inside = {FIRST + bit // 8 // LINE for bit in range(begin, begin + 3 * columns)}
    assert inside <= set(lines.hinted)
    assert len(lines.hinted) <= len(inside) + 1  # a byte more where it is not known where in a byte a row begins


@pytest.mark.parametrize(
    ("bits", "layout"),
    [
        (4, 'tiled("local(32, 1) * spatial(1, 16)", container=8, planes=(4,))'),
        (3, 'tiled("local(32, 1) * spatial(1, 16)", container=32, planes=(2, 1))'),
        (3, 'tiled("local(32, 1) * spatial(1, 4)", container=32, planes=(2, 1))'),
        (4, 'tiled("spatial(4, 4) * local(2, 4)", container=8, planes=(4,))'),
    ],
)
@pytest.mark.parametrize(("first", "count"), [(1, 3), (3, 1)])
def test_prefetch_hints_at_the_lines_of_storage_tiles(
    bits: int, layout: str, first: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just once, where tiles are whole lines; two columns of 5 by 4 tiles from (first, 2) on."""
    kept = storage(layout, bits)
    rows, columns = kept.tile_shape
    text = f"""
def f(x: u{bits}[M, N] @ L, y: f32[1], *, L: layout = {layout.replace("(2, 1))", "[2, 1])").replace("(4,)", "[4]")}):
    prefetch(x, [{first * rows}, {2 * columns}], [{count * rows}, {2 * columns}])
"""
    sizes = {"M": 5 * rows, "N": 4 * columns - 1}
    case = Case(text, (np.zeros(kept.nbytes((sizes["M"], sizes["N"])), np.uint8), np.zeros(1, np.float32)), sizes)
    lines = Lines(monkeypatch)
    agree(case)
    tiles = [first + i + 5 * (2 + j) for j in range(2) for i in range(count)]
    size = kept.tile_bytes
    assert set(lines.hinted) == {FIRST + (t * size + byte) // LINE for t in tiles for byte in range(size)}
    assert size % LINE or set(lines.hinted.values()) == {1}
    assert lines.levels == {2}


PAST = """
def f(x: u4[K, N] @ L, h: f16[M, 40], y: f16[M, 16], *, L: layout = tiled("local(32, 1) * spatial(1, 16)")):
    prefetch(x, [K // 32 * 32, 0], [64, 32])
    prefetch(x, [0, N // 16 * 16 + 1600], [32, 16])
    prefetch(h, [M - 1, 30], [4, 20])
    prefetch(h, [M + 1000000, 0], [4, 40])
    prefetch(h, [M - 1000000, 8], [1, 8])
    store(y, [0, 0], load(h, [0, 0], [1, 16]))
"""


@pytest.mark.parametrize("name", ["cpu", "cpu:baseline"])
def test_a_tile_that_is_not_there_may_be_prefetched(name: str) -> None:
    h = np.arange(120, dtype=np.float16).reshape(3, 40)
    case = Case(PAST, (np.zeros(64 * 48 // 2, np.uint8), h, np.zeros((3, 16), np.float16)), {"K": 64, "N": 48})
    right = agree(case, machine=True, targets=(name,))
    np.testing.assert_array_equal(right["y"][0], h[0, :16])

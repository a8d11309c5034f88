"""What the simulator counts, where the numbers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bitwright.backend.lane.facts import Facts, Site
from bitwright.backend.lane.ir import Barrier, Let, Read, ReadMatrix, Reg, SharedAddress, Write
from bitwright.backend.lane.simulate import simulate
from bitwright.tests.backend.lane.writing import Body

LANES, WARP = 64, 32


def shared_reads(offsets: Sequence[int], bits: int, count: int, mask: Sequence[int] | None = None) -> Site:
    """What is counted of one read of shared memory by two warps."""
    body = Body(LANES)
    base = body.let(SharedAddress(0), "i64", True)
    size = bits * count // 8
    for k in range(32):  # all of it is written first
        places = body.lane_constant("i32", [4 * (k * LANES + lane) for lane in range(LANES)])
        body.do(Write(base, places, 32, (places,), align=4, space="shared"))
    body.do(Barrier())
    on = body.lane_constant("i1", mask) if mask else None
    body.read(Read(base, body.lane_constant("i32", offsets), bits, count, on, size, "shared"))
    facts = simulate(body.function(0, 128 * LANES), [], 1, warp=WARP)
    assert facts.conflicts == facts.sites[-1].extra
    return facts.sites[-1]


@pytest.mark.parametrize(
    ("stride", "words", "extra"),
    [
        (4, 1, 0),  # one bank each
        (8, 1, 1),  # two lanes share a bank
        (32, 1, 7),  # eight do
        (128, 1, 31),  # all do
        (0, 1, 0),  # one word for all
        (8, 2, 0),  # half a warp at a time fills the banks
        (16, 4, 0),  # a quarter does
        (32, 4, 4),  # each of the four quarters takes two passes
        (12, 1, 0),  # an odd number of words
    ],
)
def test_bank_conflicts(stride: int, words: int, extra: int) -> None:
    """Two warps do the same."""
    found = shared_reads([stride * (lane % WARP) for lane in range(LANES)], 32, words)
    assert (found.times, found.extra) == (2, 2 * extra)
    assert (found.sectors, found.needed) == (0, 0)
    assert "shared" in found.statement


def test_masked_lanes_meet_no_bank() -> None:
    """Of the lanes that share a bank in pairs, one of each pair acts; and of the second warp none."""
    mask = [int(lane < WARP // 2) for lane in range(LANES)]
    found = shared_reads([8 * (lane % WARP) for lane in range(LANES)], 32, 1, mask)
    assert (found.times, found.extra) == (1, 0)


def test_conflicts_of_matrices() -> None:
    """Rows of 16 bytes, 128 bytes apart: all eight of a matrix begin in one bank."""
    for apart, extra in ((16, 0), (144, 0), (128, 7)):
        body = Body(LANES)
        base = body.let(SharedAddress(0), "i64", True)
        for k in range(8):
            places = body.lane_constant("i32", [16 * (k * LANES + lane) for lane in range(LANES)])
            body.do(Write(base, places, 32, (places,) * 4, align=16, space="shared"))
        body.do(Barrier())
        rows = body.lane_constant("i32", [apart * (lane % WARP) for lane in range(LANES)])
        results = tuple(Reg("i32", False) for _ in range(4))
        body.statements.append(Let(results, ReadMatrix(base, rows, 4)))
        facts = simulate(body.function(0, 128 * LANES), [], 1, warp=WARP)
        assert facts.sites[-1].extra == 2 * 4 * extra
        assert facts.read["shared"] == 2 * 4 * 128


def global_read(offsets: Sequence[int], bits: int, count: int, align: int, blocks: int = 1) -> Facts:
    body = Body(LANES)
    body.read(Read(body.slot(0), body.lane_constant("i32", offsets), bits, count, align=align))
    return simulate(body.function(1), [np.zeros(1 << 16, np.uint8)], blocks, warp=WARP)


@pytest.mark.parametrize(
    ("stride", "start", "count", "align", "sectors", "needed"),
    [
        (4, 0, 1, 4, 4, 4),  # 128 bytes in a row
        (4, 20, 1, 4, 5, 4),  # which begin inside a sector
        (128, 0, 1, 4, 32, 4),  # a row each
        (16, 0, 4, 16, 16, 16),
        (0, 0, 1, 4, 1, 1),  # all the same word
        (32, 0, 8, 16, 64, 32),  # two accesses of 16 bytes, each of which uses half of every sector
        (8, 0, 2, 4, 16, 8),  # pairs of words that are only known to be aligned to words: two accesses
    ],
)
def test_sectors(stride: int, start: int, count: int, align: int, sectors: int, needed: int) -> None:
    facts = global_read([start + stride * (lane % WARP) for lane in range(LANES)], 32, count, align, blocks=3)
    (site,) = facts.sites
    assert (site.sectors, site.needed) == (6 * sectors, 6 * needed)  # two warps of three blocks
    assert site.times == 6 * (4 * count // min(16, align if align < 16 else 16, 4 * count))
    assert (facts.sectors, facts.needed, facts.conflicts) == (site.sectors, site.needed, 0)
    assert facts.read["global"] == 3 * LANES * 4 * count


def test_what_is_counted_and_shown() -> None:
    body = Body(LANES)
    value = body.load(0, "i32")
    body.save(1, body.apply("add", "i32", value, value))
    x, y = np.arange(4 * LANES, dtype=np.int32), np.zeros(4 * LANES, np.int32)
    facts = simulate(body.function(2), [x, y], 4, warp=WARP)
    assert (y == 2 * x).all()
    assert facts.operations["read"] == facts.operations["write"] == 4
    assert facts.operations["add"] == 3 * 4  # two of them of addresses
    assert (facts.read, facts.written) == (
        {"global": 4 * 4 * LANES, "shared": 0},
        {"global": 4 * 4 * LANES, "shared": 0},
    )
    text = str(facts)
    assert "12 add" in text
    assert "global memory: 1024 bytes read, 1024 written" in text
    assert text.splitlines()[3].split() == ["accesses", "conflicts", "sectors", "needed"]
    assert text.splitlines()[4].split()[:3] == ["8", "32", "32"]
    assert "read.32" in text.splitlines()[4]


def test_lanes_in_step_have_no_warps_to_look_at() -> None:
    body = Body(LANES)
    body.save(0, body.load(0, "i32"))
    facts = simulate(body.function(1), [np.zeros(LANES, np.int32)], 1)
    assert facts.sites == ()
    assert facts.read["global"] == 4 * LANES
    assert "accesses" not in str(facts)

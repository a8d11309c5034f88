"""What the simulator refuses of GPU code, and that it takes the same code with the mistake put right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.cuda.atoms import MEANINGS
from bitwright.backend.lane.facts import Facts
from bitwright.backend.lane.ir import (
    Atom,
    Barrier,
    Commit,
    CopyAsync,
    Exchange,
    Fence,
    Let,
    Operation,
    Read,
    ReadMatrix,
    Reg,
    SharedAddress,
    Shuffle,
    WaitCopies,
    Write,
)
from bitwright.backend.lane.simulate import LaneError, simulate
from bitwright.backend.lane.text import render
from bitwright.tests.backend.lane.writing import Body

LANES, WARP = 64, 32
BARRIERS = [Barrier(), Fence()]


class Writing(Body):
    """Two warps."""

    def __init__(self) -> None:
        super().__init__(LANES)

    def shared(self) -> Reg:
        return self.let(SharedAddress(0), "i64", True)

    def put(self, offsets: Sequence[int]) -> None:
        """Each lane writes a word to shared memory."""
        self.do(Write(self.shared(), self.words(offsets), 32, (self.places(1),), align=4, space="shared"))

    def take(self, offsets: Sequence[int]) -> Reg:
        (value,) = self.read(Read(self.shared(), self.words(offsets), 32, align=4, space="shared"))
        return value

    def words(self, offsets: Sequence[int]) -> Reg:
        return self.lane_constant("i32", offsets)

    def fetch(self, slot: int, offsets: Sequence[int], size: int = 4, mask: Reg | None = None) -> None:
        """Each lane copies `size` bytes from its place in the slot to `offsets`."""
        self.do(CopyAsync(self.slot(slot), self.places(size), self.shared(), self.words(offsets), size, mask))


OWN = [4 * lane for lane in range(LANES)]
NEXT = [4 * ((lane + 1) % LANES) for lane in range(LANES)]
NEIGHBOUR = [4 * (lane ^ 1) for lane in range(LANES)]


def run(body: Body, slots: Sequence[NDArray[np.generic]] = (), shared: int = 4 * LANES, blocks: int = 1,
        warp: int | None = WARP) -> Facts:  # fmt: skip
    return simulate(body.function(len(slots), shared), list(slots), blocks, MEANINGS, warp)


def refused(body: Body, slots: Sequence[NDArray[np.generic]] = (), shared: int = 4 * LANES) -> str:
    with pytest.raises(LaneError) as error:
        run(body, slots, shared)
    return str(error.value)


# Races


Step = Callable[[Writing], object]


def both(before: Step, after: Step, between: Sequence[Operation] = (), slots: int = 0) -> Writing:
    body = Writing()
    before(body)
    for op in between:
        body.do(op)
    after(body)
    return body


RACES: dict[str, tuple[Step, Step, str]] = {
    "another warp's words": (
        lambda b: b.put(OWN), lambda b: b.take(NEXT),
        "lane 0 reads byte 4 of shared memory, which lane 1 wrote since the last barrier",
    ),
    "the same warp's words": (
        lambda b: b.put(OWN), lambda b: b.take(NEIGHBOUR),
        "lane 0 reads byte 4 of shared memory, which lane 1 wrote since the last barrier",
    ),
    "words that were read": (
        lambda b: (b.put(OWN), b.do(Barrier()), b.take(NEXT)), lambda b: b.put(OWN),
        "lane 0 writes byte 0 of shared memory, which lane 63 read since the last barrier",
    ),
    "words that were written": (
        lambda b: b.put(OWN), lambda b: b.put(NEXT),
        "lane 0 writes byte 4 of shared memory, which lane 1 wrote since the last barrier",
    ),
    "words that several read": (
        lambda b: (b.put(OWN), b.do(Barrier()), b.take([0] * LANES)), lambda b: b.put(OWN),
        "lane 0 writes byte 0 of shared memory, which another lane read since the last barrier",
    ),
    "a word that one lane wrote for all": (
        lambda b: b.do(Write(b.shared(), b.number(0, "i32"), 32, (b.number(7, "i32"),), align=4, space="shared")),
        lambda b: b.read(Read(b.shared(), b.number(0, "i32"), 32, align=4, space="shared")),
        "another lane reads byte 0 of shared memory, which lane 0 wrote since the last barrier",
    ),
    "the rows of a matrix": (
        lambda b: b.put(OWN),
        lambda b: b.statements.append(
            Let((Reg("i32", False),), ReadMatrix(b.shared(), b.words([16 * (lane % 8) for lane in range(LANES)]), 1))
        ),
        "another lane reads byte 0 of shared memory, which lane 0 wrote since the last barrier",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RACES))
def test_races_in_shared_memory(name: str) -> None:
    before, after, message = RACES[name]
    assert message in refused(both(before, after))
    for barrier in BARRIERS:
        run(both(before, after, [barrier]))
    run(both(before, after), warp=None)  # lanes in step


def test_a_lane_may_do_as_it_likes_with_its_own_words() -> None:
    body = Writing()
    for _ in range(3):
        body.put(OWN)
        body.take(OWN)
    run(body, blocks=2)


@pytest.mark.parametrize("barrier", [False, True])
def test_a_race_in_a_loop_is_found_when_it_comes_round(barrier: bool) -> None:
    """Written, barrier, read by others, and written again: the second time without a barrier in between."""
    body = Writing()
    for _ in range(2):
        body.put(OWN)
        body.do(Barrier())
        body.take(NEXT)
        if barrier:
            body.do(Barrier())
    if barrier:
        run(body)
    else:
        assert "lane 0 writes byte 0 of shared memory, which lane 63 read" in refused(body)


def test_races_in_global_memory() -> None:
    def body(offsets: Sequence[int], barrier: bool) -> Writing:
        b = Writing()
        b.do(Write(b.slot(0), b.places(4), 32, (b.places(1),), align=4))
        if barrier:
            b.do(Barrier())
        (value,) = b.read(Read(b.slot(0), b.words(offsets), 32, align=4))
        b.do(Write(b.slot(1), b.places(4), 32, (value,), align=4))
        return b

    x, y = np.zeros(LANES, np.int32), np.zeros(LANES, np.int32)
    assert "lane 0 reads byte 4 of slot 0, which lane 1 wrote" in refused(body(NEXT, False), [x, y])
    run(body(OWN, False), [x, y])
    run(body(NEXT, True), [x, y], blocks=1)
    assert y.tolist() == [*range(1, LANES), 0]


def test_what_other_blocks_did_is_no_race() -> None:
    body = Writing()
    (value,) = body.read(Read(body.slot(0), body.words(NEXT), 32, align=4))
    body.do(Barrier())
    body.do(Write(body.slot(0), body.places(4), 32, (body.apply("add", "i32", value, body.number(1, "i32")),), align=4))
    x = np.zeros(LANES, np.int32)
    run(body, [x], blocks=3)
    assert (x == 3).all()


def test_atomic_exchanges_do_not_race() -> None:
    body = Writing()
    zero, one = body.number(0, "i32"), body.number(1, "i32")
    for expected, new in ((zero, one), (one, zero)):
        body.let(Exchange(body.slot(0), zero, expected, new), "i32", True)
    run(body, [np.zeros(1, np.int32)])


# Copies under way


def copied(*after: Operation, offsets: Sequence[int] = OWN) -> tuple[Writing, list[NDArray[np.generic]]]:
    """A body that copies slot 0 to shared memory, does `after`, and saves what lies at `offsets` to slot 1."""
    body = Writing()
    body.fetch(0, OWN)
    for op in after:
        body.do(op)
    body.do(Write(body.slot(1), body.places(4), 32, (body.take(offsets),), align=4))
    return body, [np.arange(LANES, dtype=np.int32) + 5, np.zeros(LANES, np.int32)]


def test_a_copy_is_read_when_it_has_been_waited_for() -> None:
    under_way = "reads byte 0 of shared memory, to which a copy is under way"
    for steps in ((), (Commit(),), (Commit(), Barrier()), (Commit(), WaitCopies(1), Barrier()), (WaitCopies(0),)):
        assert under_way in refused(*copied(*steps))
    body, slots = copied(Commit(), WaitCopies(0))
    run(body, slots)
    assert slots[1].tolist() == slots[0].tolist()


def test_others_see_a_copy_after_a_barrier_after_that() -> None:
    race = "lane 0 reads byte 4 of shared memory, which lane 1 wrote since the last barrier"
    assert race in refused(*copied(Commit(), WaitCopies(0), offsets=NEXT))
    assert race in refused(*copied(Commit(), Barrier(), WaitCopies(0), offsets=NEXT))
    body, slots = copied(Commit(), WaitCopies(0), Barrier(), offsets=NEXT)
    run(body, slots)
    assert slots[1].tolist() == np.roll(slots[0], -1).tolist()


def test_the_oldest_groups_are_waited_for() -> None:
    """Two groups, of which one may stay under way: the first has come, the second has not."""

    def body(second: bool) -> Writing:
        b = Writing()
        for group in range(2):
            b.fetch(0, [4 * LANES * group + offset for offset in OWN])
            b.do(Commit())
        b.do(WaitCopies(1))
        b.take([4 * LANES * second + offset for offset in OWN])
        return b

    slots = [np.zeros(LANES, np.int32)]
    run(body(False), slots, 8 * LANES)
    assert f"reads byte {4 * LANES} of shared memory, to which a copy" in refused(body(True), slots, 8 * LANES)


def test_nothing_touches_the_place_of_a_copy() -> None:
    slots = [np.zeros(LANES, np.int32)]
    body = Writing()
    body.fetch(0, OWN)
    body.put(OWN)
    assert "writes byte 0 of shared memory, to which a copy is under way" in refused(body, slots)
    body = Writing()
    body.fetch(0, OWN)
    body.do(Commit())
    body.fetch(0, OWN)
    assert "copies to byte 0 of shared memory, to which a copy is under way" in refused(body, slots)
    body = Writing()
    body.put(OWN)
    body.do(Barrier())
    body.take(NEXT)
    body.fetch(0, OWN)
    assert "lane 0 writes byte 0 of shared memory, which lane 63 read since the last barrier" in refused(body, slots)


def test_masked_copies_bring_zeros() -> None:
    body = Writing()
    body.fetch(0, OWN, mask=body.lane_constant("i1", [lane < 7 for lane in range(LANES)]))
    for op in (Commit(), WaitCopies(0)):
        body.do(op)
    body.do(Write(body.slot(1), body.places(4), 32, (body.take(OWN),), align=4))
    x, y = np.full(7, 9, np.int32), np.ones(LANES, np.int32)
    run(body, [x, y])
    assert y.tolist() == [9] * 7 + [0] * (LANES - 7)


def test_lanes_in_step_copy_at_once() -> None:
    body, slots = copied(offsets=NEXT)
    run(body, slots, warp=None)
    assert slots[1].tolist() == np.roll(slots[0], -1).tolist()


def test_copies_are_aligned() -> None:
    body = Writing()
    body.fetch(0, [16 * lane + 8 for lane in range(LANES)], 16)
    assert "is not a multiple of 16 bytes" in refused(body, [np.zeros(16 * LANES, np.uint8)], 16 * LANES + 16)


# Warps


def test_matrices_are_read() -> None:
    """Words of rows, and of columns, as the PTX ISA has ldmatrix give them."""
    rng = np.random.default_rng(1)
    tile = rng.integers(0, 2**16, (2, 4, 8, 8)).astype(np.uint16)  # [warp, matrix, row, column]
    for count in (1, 2, 4):
        for transposed in (False, True):
            body = Writing()
            offsets = body.places(16)
            body.do(CopyAsync(body.slot(0), offsets, body.shared(), offsets, 16))
            for op in (Commit(), WaitCopies(0), Barrier()):
                body.do(op)
            rows = [512 * (lane // 32) + 16 * (lane % 32 % (8 * count)) for lane in range(LANES)]
            results = tuple(Reg("i32", False) for _ in range(count))
            body.statements.append(Let(results, ReadMatrix(body.shared(), body.words(rows), count, transposed)))
            for k, result in enumerate(results):
                body.do(Write(body.slot(1), body.words([4 * LANES * k + o for o in OWN]), 32, (result,), align=4))
            out = np.zeros((4, LANES, 2), np.uint16)
            run(body, [tile, out], 4096)
            for k in range(count):
                for lane in range(LANES):
                    m, row, column = tile[lane // 32, k], lane % 32 // 4, 2 * (lane % 4)
                    pair = m[column : column + 2, row] if transposed else m[row, column : column + 2]
                    assert out[k, lane].tolist() == pair.tolist()


def test_rows_of_matrices_are_aligned() -> None:
    body = Writing()
    body.statements.append(Let((Reg("i32", False),), ReadMatrix(body.shared(), body.places(8), 1)))
    assert "is not a multiple of 16 bytes" in refused(body, shared=1024)


def test_registers_stay_in_their_warp() -> None:
    def body(lane: Sequence[int]) -> Writing:
        b = Writing()
        b.let(Shuffle((b.places(1),), (0,) * LANES, tuple(lane)), "i32", False)
        return b

    text = refused(body([(lane + 1) % LANES for lane in range(LANES)]))
    assert "lane 31 takes a register of lane 32, which is in another warp" in text
    run(body([lane ^ 31 for lane in range(LANES)]))


def test_matrices_are_multiplied_by_warps() -> None:
    """Ones times ones: every sum is 16, on top of 1."""
    body = Writing()
    ones, one = body.number(0x3C003C00, "i32"), body.number(1, "i32")
    start = body.apply("sitofp", "f32", one)
    results = tuple(Reg("f32", False) for _ in range(4))
    body.statements.append(Let(results, Atom("mma_f16", (*(ones,) * 6, *(start,) * 4))))
    body.save(0, results[3])
    out = np.zeros(LANES, np.float32)
    run(body, [out])
    assert (out == 17).all()
    half = Body(48)
    ones = half.number(0, "i32")
    half.statements.append(Let(results, Atom("mma_f16", (ones,) * 10)))
    with pytest.raises(LaneError, match="mma_f16 is done by whole warps of 32 lanes, but there are 48"):
        simulate(half.function(0), [], 1, MEANINGS, WARP)


def test_an_error_names_registers_as_the_listing_does() -> None:
    body = Writing()
    body.put(OWN)
    body.take(NEXT)
    listing = render(body.function(0, 4 * LANES)).splitlines()
    assert next(line for line in listing if "read.32" in line) in refused(body)

"""Memory as the interpreter sees it: windows at the edges, shared tiles, blocks that meet, and locks."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.tests.kernels import program, refused
from bitwright.vm.bits import pack
from bitwright.vm.interpret import interpret
from bitwright.vm.ir import Program


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


TILED = """
def shift(x: u3[R, C] @ L, y: u3[R, C] @ L, *, L: layout = tiled("local(4, 1) * spatial(1, 4)", planes=[2, 1])):
    r0, c0 = grid((R, 4), (C, 4))
    store(y, [r0, c0], load(x, [r0, c0], [4, 4]))
"""


class TestWindows:
    def test_tiles_have_padding(self, rng: np.random.Generator) -> None:
        p = program(TILED)
        storage = p.arrays[0].storage
        assert storage is not None
        full = rng.integers(0, 8, (8, 12)).astype(np.uint8)
        x, y = storage.pack(full), np.zeros(storage.nbytes((8, 12)), np.uint8)
        interpret(p, x, y, sizes={"R": 5, "C": 10})
        np.testing.assert_array_equal(storage.unpack(y, (8, 12)), full)

    def test_past_the_last_tile(self, rng: np.random.Generator) -> None:
        p = program(TILED.replace("[4, 4])", "[8, 4])"))
        storage = p.arrays[0].storage
        assert storage is not None
        x = storage.pack(rng.integers(0, 8, (4, 4)).astype(np.uint8))
        y = np.zeros_like(x)
        interpret(p, x, y, sizes={"R": 4, "C": 4})  # the second storage tile is not there: read as 0, not written
        np.testing.assert_array_equal(x, y)

    @pytest.mark.parametrize(("start", "side"), [(-1, "before the start"), (5, "past the end"), (9, "past the end")])
    def test_bounds(self, start: int, side: str) -> None:
        p = program("""
def one(x: f32[N], y: f32[M], at: int):
    store(y, [0], load(x, [at], [4], other=-2.5))
""")
        x, y = np.arange(5, dtype=np.float32), np.zeros(4, np.float32)
        interpret(p, x, y, 3)
        assert y.tolist() == [3, 4, -2.5, -2.5]
        error = refused(lambda: interpret(p, x, y, start), side, "x [5]", "load(x, [at], [4]", "<string>:3")
        assert error.block == ()
        assert error.span is not None

    def test_store_out_of_bounds(self) -> None:
        p = program("""
def one(y: f32[N], at: int):
    store(y, [at], ones(f32, [4]))
""")
        y = np.zeros(5, np.float32)
        interpret(p, y, 4)
        assert y.tolist() == [0, 0, 0, 0, 1]
        refused(lambda: interpret(p, y, 5), "past the end of y")

    def test_empty_arrays_have_no_end_to_be_past(self) -> None:
        p = program("""
def one(x: f32[N], y: f32[M]):
    store(y, [0], load(x, [0], [4], other=7))
""")
        y = np.zeros(4, np.float32)
        interpret(p, np.zeros(0, np.float32), y)
        assert y.tolist() == [7] * 4

    def test_division_by_zero_in_an_index(self) -> None:
        p = program("""
def one(y: f32[N], k: int):
    store(y, [4 // k], ones(f32, [1]))
""")
        refused(lambda: interpret(p, np.zeros(5, np.float32), 0), "division by zero", "store(y")

    def test_indices_have_64_bits(self) -> None:
        p = program("""
def one(y: f32[N], k: int):
    store(y, [k * k], ones(f32, [1]))
""")
        refused(lambda: interpret(p, np.zeros(5, np.float32), 1 << 40), "64 bits")


def shared_program(body: str) -> Program:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    head = "def f(x: f32[8], y: f32[8]):\n    s = shared(f32, [8])\n    t = shared(f32, [8])\n"
    return program(head + lines + "\n")


def run_shared(body: str) -> list[float]:
    y = np.zeros(8, np.float32)
    interpret(shared_program(body), np.arange(8, dtype=np.float32), y)
    return [float(v) for v in y]


class TestShared:
    def test_through_shared_memory(self) -> None:
        assert run_shared("""
store(s, [0], load(x, [4], [4]))
store(s, [4], load(x, [0], [4]))
barrier()
store(y, [0], load(s, [0], [8]))
""") == [4, 5, 6, 7, 0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("store(y, [0], load(s, [0], [8]))", "element [0] of the shared tile s is read, but never stored"),
            ("store(s, [0], load(x, [0], [7]))\nbarrier()\nstore(y, [0], load(s, [0], [8]))", "element [7]"),
            ("store(s, [0], load(x, [0], [8]))\nstore(y, [0], load(s, [0], [8]))", "read, and stored to"),
            ("store(s, [0], load(x, [0], [8]))\nstore(s, [6], load(x, [0], [2]))", "element [6]"),
            (
                "store(s, [0], load(x, [0], [8]))\nbarrier()\nv = load(s, [0], [8])\nstore(s, [0], v)",
                "stored to, and read by another",
            ),
            ("for i in range(0, 4):\n    store(s, [i], load(x, [i], [2]))", "stored to by another"),
            ("copy_async(x, [0], s, [0], [8])\ncommit()\nstore(y, [0], load(s, [0], [8]))", "before its wait"),
            ("copy_async(x, [0], s, [0], [8])\nwait(0)\nstore(y, [0], load(s, [0], [8]))", "before its wait"),
            (
                "copy_async(x, [0], s, [0], [8])\ncommit()\nwait(1)\nbarrier()\nstore(y, [0], load(s, [0], [8]))",
                "before its wait",
            ),
            ("copy_async(x, [0], s, [0], [8])\ncommit()\nstore(s, [0], load(x, [0], [8]))", "while it is being copied"),
            ("copy_async(x, [0], s, [4], [8])\ncopy_async(x, [0], s, [7], [1])", "element [7]"),
            ("store(s, [0], load(x, [0], [8]))\nbarrier()\nstore(y, [0], load(s, [8], [1]))", "out of bounds"),
        ],
    )
    def test_refused(self, body: str, message: str) -> None:
        refused(lambda: run_shared(body), message, "statement")

    def test_allowed(self) -> None:
        # The same access again, disjoint stores, and reads by several statements are no race.
        assert run_shared("""
for i in range(0, 3):
    store(s, [0], load(x, [0], [4]))
    store(s, [4], load(x, [4], [4]))
barrier()
store(y, [0], load(s, [0], [8]) + load(s, [0], [8]))
barrier()
store(s, [0], load(x, [0], [8]))
""") == [0, 2, 4, 6, 8, 10, 12, 14]

    def test_copies_arrive_group_by_group(self) -> None:
        assert run_shared("""
copy_async(x, [0], s, [0], [8])
commit()
copy_async(x, [6], t, [0], [8])
commit()
wait(1)
a = load(s, [0], [8])
wait(0)
store(y, [0], a + load(t, [0], [8]) * 10)
""") == [60, 71, 2, 3, 4, 5, 6, 7]

    def test_every_block_has_its_own(self) -> None:
        p = program("""
def f(x: f32[N], y: f32[N]):
    i = grid(N)
    s = shared(f32, [1])
    if i == 0:
        store(s, [0], load(x, [i], [1]))
        barrier()
    store(y, [i], load(s, [0], [1]))
""")
        x = np.ones(2, np.float32)
        assert refused(lambda: interpret(p, x, x.copy()), "never stored").block == (1,)


class TestBlocks:
    def test_two_blocks_write(self) -> None:
        p = program("""
def f(y: i32[N], value: int):
    i = grid(2)
    store(y, [i], full(i32, [2], 5 + i * value))
""")
        y = np.zeros(3, np.int32)
        interpret(p, y, 0)
        assert y.tolist() == [5, 5, 5]
        error = refused(lambda: interpret(p, y, 1), "two blocks clash", "element [1] of y", "block number 0")
        assert error.block == (1,)

    def test_reads_what_another_wrote(self) -> None:
        p = program("""
def f(y: i32[N]):
    i = grid(2)
    store(y, [1 - i], load(y, [i], [1]) + 1)
""")
        refused(lambda: interpret(p, np.zeros(2, np.int32)), "reads element [1] of y", "writes too")

    def test_writes_what_another_read(self) -> None:
        p = program("""
def f(x: i32[N], y: i32[N]):
    i = grid(2)
    store(y, [i], load(x, [0], [1]))
    if i == 1:
        store(x, [0], full(i32, [1], 9))
""")
        refused(
            lambda: interpret(p, np.zeros(2, np.int32), np.zeros(2, np.int32)), "writes element [0] of x", "reads too"
        )

    @pytest.mark.parametrize(("bits", "span"), [(1, 4), (2, 2), (3, 4), (4, 1), (6, 2), (7, 4)])
    def test_two_blocks_write_one_byte(self, bits: int, span: int) -> None:
        text = f"""
def f(x: u{bits}[N], y: u{bits}[N], *, S: int):
    n0 = grid((N, S))
    store(y, [n0], load(x, [n0], [S]))
"""
        x, y = pack(np.arange(32) % 2, bits), np.zeros(4 * bits, np.uint8)
        refused(lambda: interpret(program(text, S=span), x, y, sizes={"N": 32}), "two blocks write one byte")
        interpret(program(text, S=8), x, y, sizes={"N": 32})
        assert y.tolist() == x.tolist()


LOCKED = """
def total(x: f32[N], y: f32[1], locks: i32[1]):
    i = grid(N)
    lock(locks, [0])
    store(y, [0], load(y, [0], [1]) + load(x, [i], [1]))
    release(locks, [0])
"""


class TestLocks:
    def test_a_lock_orders_blocks(self) -> None:
        y, locks = np.zeros(1, np.float32), np.zeros(1, np.int32)
        interpret(program(LOCKED), np.arange(5, dtype=np.float32), y, locks)
        assert y.tolist() == [10]
        assert locks.tolist() == [0]

    def test_what_comes_before_a_release_is_ordered_too(self) -> None:
        p = program("""
def last(part: i32[N], count: i32[1], y: i32[1], locks: i32[1]):
    i = grid(N)
    store(part, [i], full(i32, [1], i + 1))
    lock(locks, [0])
    done = load(count, [0], [1]) + 1
    store(count, [0], done)
    release(locks, [0])
    if item(done) == N:
        store(y, [0], sum(load(part, [0], [4]), dim=0, keepdim=True))
""")
        arrays = [np.zeros(n, np.int32) for n in (4, 1, 1, 1)]
        interpret(p, *arrays)
        assert arrays[2].tolist() == [10]

    def test_another_lock_does_not_order(self) -> None:
        p = program(LOCKED.replace("locks: i32[1]", "locks: i32[N]").replace("locks, [0]", "locks, [i]"))
        x = np.arange(5, dtype=np.float32)
        refused(lambda: interpret(p, x, np.zeros(1, np.float32), np.zeros(5, np.int32)), "reads element [0] of y")

    def test_what_comes_after_a_release_is_not_ordered(self) -> None:
        p = program("""
def f(y: i32[1], locks: i32[1]):
    i = grid(2)
    lock(locks, [0])
    release(locks, [0])
    store(y, [0], full(i32, [1], i))
""")
        refused(lambda: interpret(p, np.full(1, 7, np.int32), np.zeros(1, np.int32)), "another value")

    def test_deadlock(self) -> None:
        without = LOCKED.replace("    release(locks, [0])\n", "")
        y, locks = np.zeros(1, np.float32), np.zeros(1, np.int32)
        error = refused(lambda: interpret(program(without), np.ones(2, np.float32), y, locks), "deadlock", "lock(locks")
        assert error.block == (1,)

    def test_out_of_bounds(self) -> None:
        p = program(LOCKED.replace("locks, [0]", "locks, [i + 1]"))
        y = np.zeros(1, np.float32)
        refused(lambda: interpret(p, np.ones(2, np.float32), y, np.zeros(1, np.int32)), "out of bounds")

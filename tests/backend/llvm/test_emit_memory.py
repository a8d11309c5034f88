"""Every pattern of access that the emitter tells apart, against the simulator, with guard bytes around the arrays."""

from __future__ import annotations

import mmap
import re
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.backend.lane.ir import Exchange, Fence, Prefetch, Read, Reg, SharedAddress, Write
from bitwright.backend.lane.simulate import simulate
from bitwright.backend.llvm.memory import _lines
from bitwright.tests.backend.lane.writing import Body
from bitwright.tests.backend.llvm.native import PLACES, run_native

PATTERNS = ["consecutive", "reversed", "permuted", "pairs", "strided", "rows", "same", "uniform", "sum", "held"]
MASKS = ["none", "constant", "uniform", "held", "off"]


def offsets(body: Body, pattern: str, unit: int, rng: np.random.Generator) -> tuple[Reg, NDArray[np.int64]]:
    """The offset register (from slot 2 and 3 where it is not constant) and its values; multiples of `unit`, disjoint
    unless the pattern says otherwise.
    """
    lanes = body.lanes
    index = np.arange(lanes)
    order = {
        "consecutive": index,
        "reversed": index[::-1],
        "permuted": rng.permutation(lanes),
        "pairs": index // 2,
        "strided": index * 3,
        "rows": index // 4 * 9 + index % 4,
        "same": index * 0 + 5,
        "held": rng.permutation(2 * lanes)[:lanes],
    }
    if pattern == "uniform":
        return body.number(3 * unit, "i32"), np.full(lanes, 3 * unit)
    if pattern == "sum":  # rows of four lanes that lie a pitch apart which only the caller knows, and a shift
        near = body.lane_constant("i64", (index % 4 * unit).tolist())
        far = body.apply("mul", "i64", body.lane_constant("i64", (index // 4).tolist()), body.slot(3))
        total = body.apply("add", "i64", body.apply("add", "i64", far, near), body.slot(3))
        return total, index // 4 * 64 * unit + index % 4 * unit + 64 * unit
    values = order[pattern] * unit
    if pattern == "held":
        (register,) = body.read(Read(body.slot(2), body.places(4), 32, align=4))
        return register, values
    return body.lane_constant("i32", values.tolist()), values


def masks(body: Body, mask: str, rng: np.random.Generator) -> Reg | None:
    """The mask register; the one that is held comes from slot 4."""
    if mask == "none":
        return None
    if mask == "constant":
        return body.lane_constant("i1", rng.integers(0, 2, body.lanes).tolist())
    if mask == "off":
        return body.lane_constant("i1", [0] * body.lanes)
    zero = body.number(0, "i32")
    offset = zero if mask == "uniform" else body.places(4)
    (word,) = body.read(Read(body.slot(4), offset, 32, align=4))
    return body.apply("ne", "i1", word, zero)


def guarded(size: int) -> tuple[NDArray[np.uint8], mmap.mmap]:
    """An array that ends where its page ends; touching what follows would stop the test."""
    whole = mmap.mmap(-1, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
    data = np.frombuffer(whole, np.uint8)
    return data[data.size - size :], whole


def slots_for(
    size: int, values: NDArray[np.int64], unit: int, on: NDArray[np.int32], data: NDArray[np.uint8]
) -> list[NDArray[np.generic] | int]:
    return [data.copy(), np.zeros(size, np.uint8), values.astype(np.int32), 64 * unit, on]


def check(body: Body, slots: list[NDArray[np.generic] | int], name: str) -> None:
    """Both ways of running give the same bytes in every array."""
    function = body.function(len(slots))
    expected = [s.copy() if isinstance(s, np.ndarray) else s for s in slots]
    simulate(function, expected, 1)
    run_native(function, name, slots, 1)
    for index, (found, wanted) in enumerate(zip(slots, expected, strict=True)):
        np.testing.assert_array_equal(found, wanted, err_msg=f"slot {index}")


@pytest.mark.parametrize(("name", "lanes"), PLACES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_reads(name: str, lanes: int, pattern: str) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{name}{lanes}{pattern}".encode()))
    for bits, count, mask in [(32, 1, m) for m in MASKS] + [
        (8, 1, "held"),
        (16, 3, "none"),
        (32, 4, "held"),
        (64, 2, "constant"),
    ]:
        size = bits // 8
        body = Body(lanes)
        offset, values = offsets(body, pattern, size, rng)
        on = masks(body, mask, rng)
        fields = body.read(Read(body.slot(0), offset, bits, count, on, size))
        for k, field in enumerate(fields):
            body.do(
                Write(
                    body.slot(1),
                    body.lane_constant("i32", [(k * lanes + n) * 8 for n in range(lanes)]),
                    64 if bits == 64 else 32,
                    (field,),
                    align=4,
                )
            )
        data, _page = guarded(int(values.max()) + count * size)
        data[:] = rng.integers(0, 256, data.size)
        held = rng.integers(0, 2, lanes).astype(np.int32)
        check(body, [data, np.zeros(8 * lanes * count, np.uint8), values.astype(np.int32), 64 * size, held], name)


@pytest.mark.parametrize(("name", "lanes"), PLACES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_writes(name: str, lanes: int, pattern: str) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{name}{lanes}{pattern}w".encode()))
    for bits, count, mask in [(32, 1, m) for m in MASKS] + [
        (8, 1, "held"),
        (16, 3, "none"),
        (32, 4, "held"),
        (64, 2, "constant"),
    ]:
        size = bits // 8
        unit = size * count if pattern not in ("sum",) else size * 4
        body = Body(lanes)
        offset, places = offsets(body, pattern, unit, rng)
        on = masks(body, mask, rng)
        same = pattern in ("pairs", "same", "uniform")  # lanes that share a place must agree
        values = []
        for k in range(count):
            source = body.number(0, "i32") if same else body.places(8)
            at = body.apply("add", "i64", body.slot(0), body.number(8 * k * lanes))
            values += body.read(Read(at, source, 64 if bits == 64 else 32, align=8))
        body.do(Write(body.slot(1), offset, bits, tuple(values), on, size))
        data = rng.integers(0, 256, 8 * lanes * count).astype(np.uint8)
        out, _page = guarded(int(places.max()) + count * size)
        held = rng.integers(0, 2, lanes).astype(np.int32)
        check(body, [data, out, places.astype(np.int32), 64 * unit, held], name)


@pytest.mark.parametrize(("name", "lanes"), PLACES)
@pytest.mark.parametrize("shared", [64 * 4 * 2, 1 << 20])
def test_shared_memory_is_the_block_s_own(name: str, lanes: int, shared: int) -> None:
    """Each block turns its row round through shared memory, on the stack or on the heap."""
    body = Body(lanes)
    base = body.let(SharedAddress(shared - 256), "i64", True)
    body.do(Write(base, body.places(4), 32, (body.load(0, "i32"),), align=4, space="shared"))
    body.do(Fence())
    turned = body.lane_constant("i32", [4 * (lanes - 1 - n) for n in range(lanes)])
    (value,) = body.read(Read(base, turned, 32, align=4, space="shared"))
    body.save(1, value)
    x = np.arange(5 * lanes, dtype=np.int32)
    native, simulated = np.zeros_like(x), np.zeros_like(x)
    function = body.function(2, shared)
    run_native(function, name, [x, native], 5)
    simulate(function, [x, simulated], 5)
    expected = x.reshape(5, lanes)[:, ::-1].reshape(-1)
    np.testing.assert_array_equal(native, expected)
    np.testing.assert_array_equal(simulated, expected)


@pytest.mark.parametrize("name", ["cpu", "cpu:baseline"])
def test_exchange_and_prefetch(name: str) -> None:
    """Blocks count up a word, each from the value that it expects; the fourth expects another and changes nothing."""
    body = Body(4)
    zero = body.number(0, "i32")
    body.do(Prefetch(body.slot(0), body.places(64), 2))
    (place,) = body.read(Read(body.slot(2), body.number(0, "i32"), 32, align=4))
    body.do(Prefetch(body.slot(0), body.apply("add", "i32", place, body.places(4)), 1))
    expected = body.load(2, "i32", uniform=True)
    new = body.apply("add", "i32", expected, body.number(1, "i32"))
    old = body.let(Exchange(body.slot(0), zero, expected, new), "i32", True)
    body.save(1, old)
    wants = np.repeat(np.array([7, 8, 9, 3], np.int32), 4)
    for run in (lambda f, s: run_native(f, name, s, 4), lambda f, s: simulate(f, s, 4)):
        word, out = np.array([7], np.int32), np.zeros(16, np.int32)
        run(body.function(3), [word, out, wants])
        assert word[0] == 10
        assert out[::4].tolist() == [7, 8, 9, 10]


@pytest.mark.parametrize(
    ("name", "near", "far"),
    [("cpu:x86-64-v4", "prefetcht0", "prefetcht1"), ("cpu:aarch64", r"prfm\s+pldl1keep,", r"prfm\s+pldl2keep,")],
)
def test_hints_say_to_which_cache(name: str, near: str, far: str) -> None:
    """`stages` to the first, `prefetch` to the second; a row of 256 bytes may end in a fifth line."""
    text = """
def f(x: f32[M, 64], y: f32[M, 16]):
    prefetch(x, [M - 1, 0], [1, 64])
    for m in range(0, M, stages=3):
        store(y, [m, 0], load(x, [m, 3], [1, 16]))
"""
    kernel = bw.compile(text, target=name)
    calls = re.findall(r"call void @llvm.prefetch.*, (i32 \d), i32 1", kernel.source("llvm"))
    assert calls == ["i32 2"] * 5 + ["i32 3"] * 2
    code = kernel.source("asm")
    found = [len(re.findall(hint, code)) for hint in (near, far, "prefetch|prfm")]
    assert found[0] > 0
    assert found[1] % 5 == 0 < found[1]
    assert sum(found[:2]) == found[2]


@pytest.mark.parametrize("begin", [0, 4, 16, 60, 63])
def test_few_hints_touch_every_line(begin: int) -> None:
    """Wherever lines begin, which the emitter cannot know."""
    random = np.random.default_rng(begin)
    for count, most in ((16, 100), (16, 1000), (64, 300), (1, 10)):
        places = np.unique(random.integers(0, most, count)).tolist()
        kept = _lines(places)
        assert set(kept) <= set(places)
        assert {(begin + p) // 64 for p in kept} == {(begin + p) // 64 for p in places}
        assert len(kept) <= 2 * (most // 64 + 1)
    assert _lines([0, 1, 65]) == [0, 1, 65]
    assert _lines([0, 1, 64]) == [0, 64]
    assert _lines(list(range(0, 1024, 4))) == [*range(0, 1024, 64), 1020]


@pytest.mark.parametrize("name", ["cpu:x86-64-v3", "cpu:x86-64-v4"])
def test_a_gather_that_is_no_instruction_has_no_mask(name: str) -> None:
    """Codes of 6 bits at an edge, gathered byte by byte: LLVM would branch for each lane and code."""
    text = """
def f(x: f6e3m2[A, B], y: f32[A, B]):
    p = grid((A, 4), lanes=6)
    store(y, [p, 0], cast(load(x, [p, 0], [4, 6], other=1.0), f32))
"""
    gathers = [line for line in bw.compile(text, target=name).source("llvm").splitlines() if "= call" in line]
    gathers = [line for line in gathers if "@llvm.masked.gather" in line]
    assert gathers
    assert all(re.search(r"<6 x i1> (splat \(i1 true\)|<(i1 true,? ?){6}>)", line) for line in gathers)

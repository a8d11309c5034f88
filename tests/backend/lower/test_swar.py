"""Moving bits between words: the same bits arrive as when they are moved one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Apply, Function, Let, Read, Reg, Write
from bitwright.backend.lane.simulate import simulate
from bitwright.backend.lower.swar import dense, extract, insert, move, staged
from bitwright.backend.lower.tile import Packed, repacked
from bitwright.vm.layout.packing import Packing, default_planes

LANES = 8
Bits = NDArray[np.uint8]


def _bits(words: NDArray[np.uint32]) -> Bits:
    """[lanes, words] as [lanes, bits]."""
    return (words[:, :, None] >> np.arange(32, dtype=np.uint32) & 1).astype(np.uint8).reshape(len(words), -1)


def _run(words: NDArray[np.uint32], make: object) -> tuple[NDArray[np.uint32], int]:
    """[lanes, words] to [lanes, results], and how many operations it took."""
    b = Builder(words.shape[0])
    count = words.shape[1]
    given = b.read(Read(b.slot(1), b.i32(np.arange(len(words)) * 4 * count), 32, count, None, 4))
    assert callable(make)
    results: list[Reg] = make(b, given)
    work = sum(isinstance(s, Let) and isinstance(s.op, Apply) for s in b.body)
    lane = b.i32(np.arange(len(words)) * 4 * len(results))
    b.effect(Write(b.slot(0), lane, 32, tuple(results), None, 4))
    out = np.zeros((len(words), len(results)), np.uint32)
    simulate(Function("moves", len(words), 2, 0, b.body), [out, np.ascontiguousarray(words)], 1)
    return out, work


def _words(rng: np.random.Generator, count: int) -> NDArray[np.uint32]:
    return rng.integers(0, 1 << 32, (LANES, count), dtype=np.uint64).astype(np.uint32)


@pytest.mark.parametrize("seed", range(20))
def test_move_puts_every_bit_in_its_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = _words(rng, 3)
    count = int(rng.integers(0, 33))
    source, to = rng.permutation(96)[:count], rng.permutation(32)[:count]
    found, _ = _run(words, lambda b, w: [move(b, w, zip(source.tolist(), to.tolist(), strict=True))])
    right = np.zeros((LANES, 32), np.uint8)
    right[:, to] = _bits(words)[:, source]
    assert np.array_equal(_bits(found), right)


@pytest.mark.parametrize("loose", [False, True])
def test_extract_gives_the_code_of_a_field_anywhere(loose: bool) -> None:
    rng = np.random.default_rng(3)
    words = _words(rng, 2)
    for bits in range(1, 17):
        for start in range(0, 65 - bits, 3):
            field = list(range(start, start + bits))
            found, _ = _run(words, lambda b, w, f=field: [extract(b, w, f, loose)])
            keep = np.uint32((1 << bits) - 1 if loose else (1 << 32) - 1)
            right = _bits(words)[:, field].astype(np.uint32) @ (1 << np.arange(bits, dtype=np.uint32))
            assert np.array_equal(found[:, 0] & keep, right)


def _positions(rng: np.random.Generator, bits: int, registers: int) -> list[NDArray[np.int64]]:
    places = [dense(registers, bits), rng.permutation(registers * bits + 32)[: registers * bits].reshape(-1, bits)]
    for container in (8, 16, 32):
        planes = default_planes(bits)
        if max(planes) <= container:
            places.append(Packing(bits, container, planes).place(registers))
        places.append(Packing(bits, container, (1,) * bits).place(registers))
    return [p.astype(np.int64) for p in places]


@pytest.mark.parametrize("bits", range(1, 9))
def test_repack_then_insert_is_the_identity(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for registers in (1, 3, 4, 8, 13):
        for positions in _positions(rng, bits, registers):
            words = _words(rng, int(positions.max()) // 32 + 1)
            fields = _bits(words)[:, positions]  # [lanes, registers, bits]
            for container in (8, 16):
                slots = 32 // container
                packed, _ = _run(words, lambda b, w, p=positions, c=container: list(repacked(b, Packed(w, p), c)))
                padded = np.zeros((LANES, -(-registers // slots) * slots, container), np.uint8)
                padded[:, :registers, :bits] = fields
                assert np.array_equal(_bits(packed), padded.reshape(LANES, -1))
            codes = (fields.astype(np.uint32) * (1 << np.arange(bits, dtype=np.uint32))).sum(axis=2, dtype=np.uint32)
            back, _ = _run(codes, lambda b, w, p=positions, n=words.shape[1]: insert(b, w, p, n))
            right = np.zeros((LANES, words.shape[1] * 32), np.uint8)
            right[:, positions.reshape(-1)] = fields.reshape(LANES, -1)
            assert np.array_equal(_bits(back), right)


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_put_together_in_bytes_are_the_codes(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for positions in _positions(rng, bits, 13):
        words = _words(rng, int(positions.max()) // 32 + 1)
        codes = _bits(words)[:, positions].astype(np.uint32) @ (1 << np.arange(bits, dtype=np.uint32))
        for whole in (False, True):

            def make(b: Builder, w: Sequence[Reg], p: NDArray[np.int64] = positions, all_: bool = whole) -> list[Reg]:
                return [extract(b, *staged(b, w, p, r, all_)) for r in range(13)]

            assert np.array_equal(_run(words, make)[0], codes)


def test_fields_that_travel_together_share_their_operations() -> None:
    """Nibbles of neighbouring bytes come with one shift and one mask; five bits need a second plane, and one or."""

    def cost(bits: int, planes: Sequence[int]) -> int:
        positions = Packing(bits, 8, tuple(planes)).place(32)
        words = _words(np.random.default_rng(0), int(positions.max()) // 32 + 1)
        return _run(words, lambda b, w: list(repacked(b, Packed(w, positions), 8)))[1]

    assert cost(8, [8]) == 0
    assert cost(4, [4]) == 12  # of 8 words, 4 need no shift
    assert cost(1, [1]) == 15  # all but the lowest shift
    assert cost(5, [4, 1]) <= 12 + 16 + 8

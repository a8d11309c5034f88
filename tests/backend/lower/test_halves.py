"""Values and bf16 pairs from tables of bytes, and signed integers from a fraction: all codes, as the dtype says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Function, Read, Reg, Write
from bitwright.backend.lane.simulate import simulate
from bitwright.backend.lower.decode import one_piece_float
from bitwright.backend.lower.halves import by_bytes, half_pair, single
from bitwright.tests.backend.llvm.native import run_native
from bitwright.tests.backend.lower.every_dtype import same_numbers
from bitwright.tests.backend.lower.lane_kernels import Step, Words, run_on, run_simulated
from bitwright.vm.dtypes import DType, Int, dtype

LANES = 16
COUNT = 256 * LANES
NAMES = (
    "u3", "i3", "u5", "i5", "u6", "i6", "u7", "i7", "f4e2m1", "f5e2m2fn", "f6e2m3", "f6e3m2",
    "f8e4m3fn", "f8e5m2", "f8e4m3",
)  # fmt: skip
OTHERS = ("u8", "i8", "nf4", "e8m0", "f8e4m3fnuz", "f16", "bool")  # of one sign, of finer values, or too wide


def _positions(bits: int) -> NDArray[np.int64]:
    """Four codes in two words, scattered, at 8 bits in the bytes of one."""
    places = np.random.default_rng(bits).permutation(64)[: 4 * bits] if bits < 8 else np.arange(32)
    return places.reshape(4, bits)


def _stored(kind: DType) -> tuple[Words, NDArray[np.int64]]:
    """Two words [1, COUNT, 2] around four codes, and the codes [COUNT, 4]: every one comes at every place and lane."""
    rng = np.random.default_rng(kind.bits)
    codes = (np.arange(COUNT)[:, None] // LANES + rng.integers(0, 256, (LANES, 4))[np.arange(COUNT) % LANES]) % (
        1 << kind.bits
    )
    words = rng.integers(0, 1 << 32, (1, COUNT, 2), dtype=np.uint64).astype(np.uint32)
    for register, field in enumerate(_positions(kind.bits)):
        for bit, place in enumerate(field.tolist()):
            word, shift = words[0, :, place // 32], np.uint32(place % 32)
            word &= ~(np.uint32(1) << shift)
            word |= (codes[:, register] >> bit & 1).astype(np.uint32) << shift
    return words, codes


def _function(step: Step) -> Function:
    """As in `lane_kernels`, with tables of bytes."""
    b = Builder(LANES, 6, 7)
    lane = np.arange(LANES, dtype=np.int64)
    first = b.apply("mul", b.block(), b.i64(LANES))
    source = b.apply("add", b.slot(0), b.apply("mul", first, b.i64(8)))
    words = b.read(Read(source, b.i32(lane * 8), 32, 2, None, 4))
    found = step(b, words)
    found = b.apply("bits", found) if found.type == "f32" else found
    target = b.apply("add", b.slot(1), b.apply("mul", first, b.i64(4)))
    b.effect(Write(target, b.i32(lane * 4), 32, (found,), None, 4))
    return Function("step", LANES, 2, 0, b.body)


def _both(step: Step, words: Words) -> NDArray[np.uint32]:
    """Its words by simulation, which native code gives too, on any processor."""
    out, native = np.zeros(COUNT, np.uint32), np.zeros(COUNT, np.uint32)
    simulate(_function(step), [words, out], COUNT // LANES)
    assert run_native(_function(step), "cpu", [words, native], COUNT // LANES) == 0
    np.testing.assert_array_equal(native, out)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_values_and_pairs_are_those_of_the_codes(name: str) -> None:
    kind = dtype(name)
    words, codes = _stored(kind)
    positions, right = _positions(kind.bits), kind.decode(codes.astype(kind.code_dtype)).astype(np.float32)

    def value(register: int, b: Builder, given: list[Reg]) -> Reg:
        return single(b, kind, given, positions, register)

    def pair(register: int, b: Builder, given: list[Reg]) -> Reg:
        return half_pair(b, kind, given, positions, register)

    for register in range(4):
        found = _both(partial(value, register), words).view(np.float32)
        assert same_numbers(found, right[:, register]).all()
    for register in (0, 2):
        found = (_both(partial(pair, register), words).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        assert same_numbers(found, right[:, register : register + 2].reshape(-1)).all()


@pytest.mark.parametrize("table_bits", [0, 7])
def test_which_dtypes_have_tables(table_bits: int) -> None:
    b = Builder(LANES, 6, table_bits)
    assert [by_bytes(b, dtype(name)) for name in NAMES] == [table_bits == 7] * len(NAMES)
    assert not any(by_bytes(b, dtype(name)) for name in OTHERS)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(1, 9))
def test_integers_from_the_fraction(bits: int, signed: bool) -> None:
    """At every place in a word."""
    places = range(33 - bits)
    codes = np.resize(np.arange(1 << bits), COUNT)
    words = np.random.default_rng(bits).integers(0, 1 << 32, (len(places), COUNT, 1), dtype=np.uint64).astype(np.uint32)
    for place in places:
        words[place, :, 0] &= ~np.uint32(((1 << bits) - 1) << place)
        words[place, :, 0] |= codes.astype(np.uint32) << np.uint32(place)

    def value(place: int, b: Builder, given: list[Reg]) -> Reg:
        return one_piece_float(b, Int(bits, signed), given, list(range(place, place + bits)))

    steps = [partial(value, place) for place in places]
    right = np.where(signed & (codes >> (bits - 1) == 1), codes - (1 << bits), codes).astype(np.float32)
    slowly, simulated = (run_simulated(steps, words, 6, slow) for slow in (True, False))
    for found in (slowly, simulated, run_on(("cpu:x86-64-v3", 8, 3), steps, words)):
        np.testing.assert_array_equal(found, np.broadcast_to(right.view(np.uint32), found.shape))

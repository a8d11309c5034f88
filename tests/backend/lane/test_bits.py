"""What is claimed of a word's bits holds for random words, and is not more than it must be for the plain cases."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Function, Read, Reg, Write
from bitwright.backend.lane.simulate import simulate

LANES = 4
WORDS = st.integers(0, 2**32 - 1)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["and", "or", "xor", "add", "mul"]), WORDS),
    st.tuples(st.sampled_from(["shl", "lshr", "ashr"]), st.integers(0, 31)),
    st.tuples(st.sampled_from(["choose", "select", "lookup", "bytes", "pick", "shuffle", "spread"]), WORDS),
    st.tuples(st.sampled_from(["smin", "smax", "umin", "umax", "fabs"]), WORDS),
)


def step(b: Builder, x: Reg, first: Reg, kind: str, number: int) -> Reg:
    match kind:
        case "choose":
            return b.apply("choose", b.i32(number), x, first)
        case "select":
            return b.apply("select", b.apply("slt", x, b.i32(number)), x, b.i32(number & 0xFF))
        case "lookup":
            return b.lookup([(number >> k) & 0xF0F0F for k in range(16)], x)
        case "bytes":
            return b.lookup_bytes([(number + k) & 0x7C for k in range(16)], x)
        case "pick":
            return b.pick_bytes(x, first, (7, number % 4, -1, 4 + number % 3))
        case "shuffle":
            return b.shuffle([x, b.varying(first)], [k % 2 for k in range(LANES)], [3, 2, 1, 0])
        case "spread":
            return b.first(x)
        case "fabs":
            return b.apply("bits", b.apply("fabs", b.apply("float", x)))
    return b.apply(kind, x, b.i32(number))


@given(st.lists(STEPS, max_size=6), st.lists(WORDS, min_size=LANES, max_size=LANES), st.sampled_from([8, 16, 32]))
def test_no_bit_is_one_that_is_not_possible(steps: list[tuple[str, int]], words: list[int], bits: int) -> None:
    b = Builder(LANES)
    place = b.i64(4 * np.arange(LANES))
    (first,) = b.read(Read(b.slot(0), place, bits))
    x = first
    for kind, number in steps:
        x = step(b, x, first, kind, number)
    b.effect(Write(b.slot(1), place, 32, (b.varying(x),)))
    out = np.zeros(LANES, np.uint32)
    simulate(Function("f", LANES, 2, 0, b.body), [np.array(words, np.uint32), out], 1)
    assert not (out & ~np.uint32(b.possible(x))).any()


def test_fields_are_known_to_the_bit() -> None:
    b = Builder(LANES)
    (word,) = b.read(Read(b.slot(0), b.i64(4 * np.arange(LANES)), 32))
    assert b.possible(word) == 0xFFFFFFFF
    low = b.apply("and", b.apply("lshr", word, b.i32(4)), b.i32(0x0F0F0F0F))
    high = b.apply("and", b.apply("shl", word, b.i32(4)), b.i32(0x10101010))
    assert b.possible(low) == 0x0F0F0F0F
    assert b.possible(b.apply("or", low, high)) == 0x1F1F1F1F
    assert b.possible(b.apply("lshr", word, b.i32(28))) == 0xF
    assert b.possible(b.lookup_bytes([1, 2, 4, 127] * 4, word)) == 0x7F7F7F7F
    assert b.possible(b.apply("fabs", b.apply("float", word))) == 0x7FFFFFFF
    assert b.possible(b.f32(-2.0)) == 0xC0000000
    (byte,) = b.read(Read(b.slot(0), b.i64(np.arange(LANES)), 8))
    assert b.possible(byte) == 0xFF

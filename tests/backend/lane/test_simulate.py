"""The simulator against plain Python: integers, fractions, and the mistakes that it must catch."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.backend.lane.ir import Exchange, Fail, Read, SharedAddress, Slot, Write
from bitwright.backend.lane.meaning import DTYPES, MEANINGS, fma32, single_to_half
from bitwright.backend.lane.simulate import LaneError, simulate
from bitwright.tests.backend.lane.writing import Body

EDGES = {32: [0, 1, -1, 2, 7, -7, 2**31 - 1, -(2**31)], 64: [0, 1, -1, 3, -7, 2**40, 2**63 - 1, -(2**63)]}


def quotient(x: int, y: int) -> int:
    return 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def remainder(x: int, y: int) -> int:
    return 0 if y == 0 else x - y * quotient(x, y)


SIGNED: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "sdiv": quotient,
    "srem": remainder,
    "smin": min, "smax": max, "and": lambda x, y: x & y, "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y,
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y, "slt": lambda x, y: x < y, "sle": lambda x, y: x <= y,
}  # fmt: skip
UNSIGNED: dict[str, Callable[[int, int], int]] = {
    "udiv": quotient, "urem": remainder, "umin": min, "umax": max, "ult": lambda x, y: x < y,
    "ule": lambda x, y: x <= y,
}  # fmt: skip


def wrap(value: int, bits: int) -> int:
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def run(kind: str, *operands: float, type: str) -> float:
    """One row of KINDS on single values."""
    result = MEANINGS[kind](*(np.array([x]).astype(DTYPES[type]) for x in operands))
    return result[0].item()  # type: ignore[no-any-return]  # NumPy's item is untyped


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("kind", [*SIGNED, *UNSIGNED])
@given(data=st.data())
def test_integers(kind: str, bits: int, data: st.DataObject) -> None:
    whole = st.one_of(st.sampled_from(EDGES[bits]), st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    x, y = data.draw(whole), data.draw(whole)
    expected = SIGNED[kind](x, y) if kind in SIGNED else UNSIGNED[kind](x % 2**bits, y % 2**bits)
    found = run(kind, x, y, type=f"i{bits}")
    assert found == (expected if isinstance(expected, bool) else wrap(expected, bits))


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(0, 31))
def test_words(x: int, y: int, n: int) -> None:
    assert run("mulhi", x, y, type="i32") == wrap((x % 2**32) * (y % 2**32) >> 32, 32)
    bits = ((x >> i if n >> (i % 5) & 1 else y >> i) & 1 for i in range(32))
    mask = sum((n >> (i % 5) & 1) << i for i in range(32))
    assert run("choose", wrap(mask, 32), x, y, type="i32") == wrap(sum(bit << i for i, bit in enumerate(bits)), 32)
    assert run("shl", x, n, type="i32") == wrap(x << n, 32)
    assert run("lshr", x, n, type="i32") == wrap((x % 2**32) >> n, 32)
    assert run("ashr", x, n, type="i32") == x >> n
    assert run("sext", x, type="i32") == x
    assert run("zext", x, type="i32") == x % 2**32
    assert run("trunc", x * 2**20 + y, type="i64") == wrap(x * 2**20 + y, 32)


def rounded(value: Fraction) -> float:
    """The f32 nearest to an exact value, ties to even."""
    if value == 0:
        return 0.0
    exponent = max(-126, math.frexp(float(abs(value)))[1] - 1)
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - 23)
    steps = round(value / unit)  # Python rounds a fraction to even
    total = steps * unit
    return math.copysign(math.inf, total) if abs(total) >= 2**128 else float(total)


WIDE = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([1 + 2**-23, 2**-149, 0.5])
)


@given(WIDE, WIDE, WIDE)
def test_fma_rounds_once(x: float, y: float, z: float) -> None:
    arrays = [np.array([v], np.float32) for v in (x, y, z)]
    with np.errstate(over="ignore"):
        found = fma32(*arrays)[0]
    assert float(found) == rounded(Fraction(x) * Fraction(y) + Fraction(z))


def test_fma_where_rounding_twice_is_wrong() -> None:
    """x * y + z lies just above the middle of two f32, by less than f64 can hold."""
    x, y, z = np.float32(1 + 2**-12), np.float32(1 + 2**-12), np.float32(2**-60)
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    assert float(fma32(np.array([x]), np.array([y]), np.array([z]))[0]) == rounded(exact)
    assert float(np.float32(float(x) * float(y) + float(z))) != rounded(exact)
    with np.errstate(invalid="ignore"):
        infinite = fma32(*(np.array([v], np.float32) for v in (math.inf, 1, 1)))[0]
    assert infinite == math.inf


@given(WIDE)
def test_conversions(x: float) -> None:
    with np.errstate(all="ignore"):
        whole = math.trunc(x)
        assert run("fptosi", x, type="f32") == min(max(whole, -(2**31)), 2**31 - 1)
        assert run("fptoui", x, type="f32") == wrap(min(max(whole, 0), 2**32 - 1), 32)
        assert run("fptosl", x, type="f32") == min(max(whole, -(2**63)), 2**63 - 1)
        try:
            (half,) = struct.unpack("<H", struct.pack("<e", x))
        except OverflowError:
            half = 0xFC00 if x < 0 else 0x7C00
        assert int(single_to_half(np.array([x], np.float32))[0]) == half
        assert run("f16tof32", half, type="i32") == struct.unpack("<e", struct.pack("<H", half))[0]


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_to_floats_round_once(x: int) -> None:
    assert run("sitofp", x, type="i64") == rounded(Fraction(x))
    assert run("uitofp", x, type="i64") == rounded(Fraction(x % 2**64))


def test_minimum_and_maximum_order_zeros_and_propagate_nan() -> None:
    for x, y in itertools.permutations([0.0, -0.0]):
        assert math.copysign(1, run("fmin", x, y, type="f32")) == -1
        assert math.copysign(1, run("fmax", x, y, type="f32")) == 1
    for kind in ("fmin", "fmax"):
        assert math.isnan(run(kind, math.nan, 1.0, type="f32"))
        assert math.isnan(run(kind, 1.0, math.nan, type="f32"))
    assert not run("feq", math.nan, math.nan, type="f32")
    assert run("fne", math.nan, math.nan, type="f32")


def failing(make: Callable[[Body], None], slots: int, shared: int = 0) -> str:
    """The message of the error that a body of four lanes raises on arrays of 16 bytes."""
    body = Body(4)
    make(body)
    with pytest.raises(LaneError) as error:
        simulate(body.function(slots, shared), [np.zeros(4, np.int32) for _ in range(slots)], 1)
    return str(error.value)


def test_accesses_outside_are_caught() -> None:
    text = failing(lambda b: b.read(Read(b.slot(0), b.lane_constant("i32", [0, 4, 8, 16]), 32, align=4)) and None, 1)
    assert "byte 16 of slot 0 (16 bytes)" in text
    assert "read.32 %u0 + %1 align 4" in text
    text = failing(lambda b: b.do(Write(b.slot(1), b.number(-4, "i32"), 32, (b.number(1, "i32"),), align=4)), 2)
    assert "byte -4 of slot 1" in text
    assert "outside every buffer" in failing(lambda b: b.read(Read(b.number(8), b.number(0, "i32"), 32)) and None, 1)


def test_masked_lanes_touch_nothing() -> None:
    body = Body(4)
    mask = body.lane_constant("i1", [1, 0, 0, 1])
    (value,) = body.read(Read(body.slot(0), body.lane_constant("i32", [0, 1 << 20, -64, 12]), 32, 1, mask, 4))
    body.save(1, value)
    out = np.full(4, 9, np.int32)
    simulate(body.function(2), [np.array([1, 2, 3, 4], np.int32), out], 1)
    assert out.tolist() == [1, 0, 0, 4]


def test_races_misalignment_and_blank_memory_are_caught() -> None:
    def race(b: Body) -> None:
        b.do(Write(b.slot(0), b.lane_constant("i32", [0, 3, 8, 12]), 32, (b.lane_constant("i32", [1, 2, 3, 4]),)))

    def blank(b: Body) -> None:
        base = b.let(SharedAddress(0), "i64", True)
        b.do(Write(base, b.places(4), 16, (b.places(4),), align=2, space="shared"))
        b.read(Read(base, b.places(4), 32, align=4, space="shared"))

    assert "two lanes write different values to byte 3 of slot 0" in failing(race, 1)
    assert "not a multiple of 8" in failing(lambda b: b.read(Read(b.slot(0), b.places(4), 32, align=8)) and None, 1)
    assert "nothing was written to" in failing(blank, 0, shared=16)
    wrong = "a shared access meets slot 0"
    assert wrong in failing(lambda b: b.read(Read(b.slot(0), b.places(4), 32, space="shared")) and None, 1)


def test_lanes_may_agree_on_a_byte() -> None:
    body = Body(4)
    body.do(Write(body.slot(0), body.lane_constant("i32", [0, 0, 4, 4]), 32, (body.number(7, "i32"),), align=4))
    out = np.zeros(2, np.int32)
    simulate(body.function(1), [out], 1)
    assert out.tolist() == [7, 7]


def test_wide_shifts_and_wrong_types_are_caught() -> None:
    text = failing(lambda b: b.apply("shl", "i32", b.places(4), b.number(32, "i32")) and None, 0)
    assert "the amount must be from 0 to 31" in text
    assert "is i32 but gets" in failing(lambda b: b.let(Slot(0), "i32", True) and None, 1)


def test_shared_memory_is_blank_in_every_block() -> None:
    body = Body(1)
    base = body.let(SharedAddress(0), "i64", True)
    zero = body.number(0, "i32")
    first = body.apply("eq", "i1", body.load(0, "i32"), zero)
    body.do(Write(base, body.places(4), 32, (body.places(4),), first, 4, "shared"))
    body.read(Read(base, zero, 32, align=4, space="shared"))
    function = body.function(1, 4)
    simulate(function, [np.array([0, 0], np.int32)], 2)
    with pytest.raises(LaneError, match=r"block 1 .*\n?.*nothing was written"):
        simulate(function, [np.array([0, 1], np.int32)], 2)


def test_failures_slots_and_exchange() -> None:
    body = Body(1)
    old = body.let(
        Exchange(body.slot(0), body.number(0, "i32"), body.number(5, "i32"), body.number(6, "i32")), "i32", True
    )
    body.do(Fail(body.apply("ne", "i1", old, body.number(5, "i32")), 1))
    function = body.function(1, failures=["the word was not 5"])
    word = np.array([5], np.int32)
    simulate(function, [word], 1)
    assert word[0] == 6
    with pytest.raises(LaneError, match="the word was not 5"):
        simulate(function, [word], 1)
    with pytest.raises(LaneError, match="takes 1 slots"):
        simulate(function, [], 1)
    with pytest.raises(LaneError, match="contiguous"):
        simulate(function, [np.zeros((4, 4), np.int32)[:, 0]], 1)


def test_a_float_slot_holds_the_bits_of_a_double() -> None:
    body = Body(1)
    low = body.let(Slot(0), "i64", True)
    body.save(1, low)
    out = np.zeros(1, np.int64)
    simulate(body.function(2), [0.1, out], 1)
    assert struct.unpack("<d", out.tobytes())[0] == 0.1

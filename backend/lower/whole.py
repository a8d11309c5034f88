"""Integers: from floats and to floats, rounding once, and from width to width."""

from __future__ import annotations

from typing import assert_never

from ...vm.dtypes import Int, Overflow, Rounding
from ..lane.build import Builder
from ..lane.ir import Reg
from .rounding import round_magnitude

_INFINITY = 0x7F800000
_UNIT_STEPS = 1.5 * 2.0**23  # f32 numbers that are no more than _MOST_STEPS away from it are 1 apart
_UNIT_STEPS_WORD = 0x4B400000
_MOST_STEPS = 2**22

_STEP_BITS = 23  # integers of so many bits are added to the word of an f32 whose neighbours are 1 apart
_STEPS = {True: _UNIT_STEPS, False: 2.0**23}  # by whether they have a sign
_STEPS_WORD = {True: _UNIT_STEPS_WORD, False: 0x4B000000}


# From f32


def encode_integer(
    b: Builder, dtype: Int, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None = None
) -> Reg:
    """The integer nearest to an f32 `value`, as a value of the dtype (i32, or i64 beyond 32 bits).  NaN gives 0.

    Out of range: "sat" clamps, "ieee" wraps; infinities clamp under both.
    """
    if rounding == "rne" and overflow == "sat" and max(-dtype.min, dtype.max) <= _MOST_STEPS:
        return _nearest(b, dtype, value)
    whole = _round_signed(b, value, rounding, random)
    if dtype.bits > 32:
        return _to_long(b, dtype, whole, overflow)
    if overflow == "ieee":
        return _wrapped(b, dtype, whole)
    if dtype.bits == 32:
        return b.apply("fptosi" if dtype.signed else "fptoui", whole)
    number = b.apply("fptosi", whole)
    return b.apply("smin", b.apply("smax", number, b.i32(dtype.min)), b.i32(dtype.max))


def _nearest(b: Builder, dtype: Int, value: Reg) -> Reg:
    """Clamped, then rounded to nearest even by an addition, after which the number stands in the low bits of the word.

    To clamp first changes nothing, for the ends are whole numbers; NaN goes through it.
    """
    clamped = b.apply("fmax", b.apply("fmin", value, b.f32(dtype.max)), b.f32(dtype.min))
    sum_ = b.apply("bits", b.apply("fadd", clamped, b.f32(_UNIT_STEPS)))
    number = b.apply("sub", sum_, b.i32(_UNIT_STEPS_WORD))
    return b.apply("select", b.apply("fne", value, value), b.i32(0), number)


def _round_signed(b: Builder, value: Reg, rounding: Rounding, random: Reg | None) -> Reg:
    """An f32 to an integral f32.  From 2^23 on every f32 is integral."""
    match rounding:
        case "rne":
            return b.apply("rint", value)
        case "rdn":
            return b.apply("floor", value)
        case "rup":
            return b.apply("ceil", value)
        case "rtz" | "rna" | "stochastic":
            negative = b.apply("slt", b.apply("bits", value), b.i32(0))
            magnitude = b.apply("fabs", value)
            small = b.apply("flt", magnitude, b.f32(2.0**23))
            part = b.apply("select", small, magnitude, b.f32(0.0))
            steps = b.apply("sitofp", round_magnitude(b, part, negative, rounding, random))
            signed = b.apply("select", negative, b.apply("fneg", steps), steps)
            return b.apply("select", small, signed, value)
    assert_never(rounding)


def _wrapped(b: Builder, dtype: Int, whole: Reg) -> Reg:
    """An integral f32 modulo 2^bits, at most 32.  Numbers from 2^63 on are multiples of 2^40."""
    magnitude = b.apply("and", b.apply("bits", whole), b.i32(0x7FFFFFFF))
    number = b.apply("trunc", b.apply("fptosl", whole))
    number = b.apply("select", b.apply("slt", magnitude, b.i32((127 + 63) << 23)), number, b.i32(0))
    clamped = b.apply("select", b.apply("flt", whole, b.f32(0.0)), b.i32(dtype.min), b.i32(dtype.max))
    infinite = b.apply("eq", magnitude, b.i32(_INFINITY))
    return b.apply("select", infinite, clamped, wrap(b, dtype, number))


def _to_long(b: Builder, dtype: Int, whole: Reg, overflow: Overflow) -> Reg:
    """An integral f32 as an integer of 33 to 64 bits."""
    bits = b.apply("bits", whole)
    magnitude, negative = b.apply("and", bits, b.i32(0x7FFFFFFF)), b.apply("slt", bits, b.i32(0))
    low, high = b.i64(dtype.min), b.i64(_signed_word(dtype.max))
    end = b.apply("select", negative, low, high)
    if overflow == "sat":
        # fptosl itself saturates at the ends of i64, so that smaller ranges are a clamp.
        if dtype.bits < 64:
            return b.apply("smin", b.apply("smax", b.apply("fptosl", whole), low), high)
        if dtype.signed:
            return b.apply("fptosl", whole)
        inside = b.apply("select", negative, b.i64(0), modular_long(b, whole))
        beyond = b.apply("sle", b.i32((127 + 64) << 23), magnitude)
    else:
        inside = modular_long(b, whole)
        beyond = b.apply("eq", magnitude, b.i32(_INFINITY))
        if dtype.bits < 64:
            inside = wrap_long(b, dtype, inside)
    number = b.apply("select", beyond, end, inside)
    return b.apply("select", b.apply("fne", whole, whole), b.i64(0), number)


def _signed_word(n: int) -> int:
    """A number of 64 bits in two's complement."""
    return n - (1 << 64) if n >> 63 == 1 else n


def modular_long(b: Builder, whole: Reg) -> Reg:
    """An integral f32 modulo 2^64 (any i64 for infinity and NaN): its significand, shifted, where fptosl saturates."""
    bits = b.apply("bits", whole)
    exponent = b.apply("and", b.apply("lshr", bits, b.i32(23)), b.i32(255))
    significand = b.apply("or", b.apply("and", bits, b.i32(0x7FFFFF)), b.i32(0x800000))
    distance = b.apply("smax", b.apply("sub", exponent, b.i32(127 + 23)), b.i32(0))
    by = b.apply("zext", b.apply("smin", distance, b.i32(63)))
    far = b.apply("shl", b.apply("zext", significand), by)
    far = b.apply("select", b.apply("slt", distance, b.i32(64)), far, b.i64(0))
    far = b.apply("select", b.apply("slt", bits, b.i32(0)), b.apply("sub", b.i64(0), far), far)
    return b.apply("select", b.apply("slt", exponent, b.i32(127 + 63)), b.apply("fptosl", whole), far)


# To f32


def as_float(b: Builder, source: Int, x: Reg, rounding: Rounding | None) -> Reg:
    """The integer as an f32: exact up to 24 bits, else rounded by the mode.

    None rounds to odd: what is not exact gets an odd last bit, so that rounding the result again, to two bits less or
    fewer, equals rounding the integer itself (Boldo and Melquiond, 2008).
    """
    kind = "sitofp" if source.signed else "uitofp"
    if b.slow_to_float and source.bits <= _STEP_BITS:
        word = b.apply("add" if source.signed else "or", x, b.i32(_STEPS_WORD[source.signed]))
        return b.apply("fsub", b.apply("float", word), b.f32(_STEPS[source.signed]))
    if source.bits <= 24 or rounding == "rne":
        return b.apply(kind, x)
    assert rounding != "stochastic", "the type rule of casts excludes it"
    negative = b.apply("slt", x, b.constant(x.type, 0)) if source.signed else b.constant("i1", 0)
    absolute = b.apply("select", negative, b.apply("sub", b.constant(x.type, 0), x), x)
    if absolute.type == "i32":
        absolute = b.apply("zext", absolute)
    near = b.apply("uitofp", absolute)
    word = b.apply("bits", near)
    error = b.apply("sub", absolute, modular_long(b, near))  # small, so that its sign is right although 2^64 wraps to 0
    low, high = b.apply("slt", error, b.i64(0)), b.apply("slt", b.i64(0), error)
    down, up = b.apply("select", low, b.i32(-1), b.i32(0)), b.apply("select", high, b.i32(1), b.i32(0))
    match rounding:
        case None:
            word = b.apply("add", word, down)
            word = b.apply("or", word, b.apply("select", b.apply("or", low, high), b.i32(1), b.i32(0)))
        case "rtz":
            word = b.apply("add", word, down)
        case "rna":  # to nearest even went down from a tie if the next f32 is as far
            after = modular_long(b, b.apply("float", b.apply("add", word, b.i32(1))))
            tie = b.apply("eq", b.apply("sub", after, absolute), error)
            word = b.apply("add", word, b.apply("select", tie, up, b.i32(0)))
        case "rup" | "rdn":
            away = negative if rounding == "rdn" else b.apply("xor", negative, b.constant("i1", 1))
            word = b.apply("add", word, b.apply("select", away, up, down))
        case _:
            assert_never(rounding)
    value = b.apply("float", word)
    return b.apply("select", negative, b.apply("fneg", value), value)


# From width to width


def integer_to_integer(b: Builder, source: Int, target: Int, x: Reg, overflow: Overflow) -> Reg:
    """Clamped ("sat") or modulo 2^bits ("ieee")."""
    if overflow == "sat":
        x = _clamp(b, source, target, x)
    if target.bits > 32:
        if x.type == "i32":
            x = b.apply("sext" if source.signed else "zext", x)
        return wrap_long(b, target, x) if overflow == "ieee" else x
    if x.type == "i64":
        x = b.apply("trunc", x)
    return wrap(b, target, x) if overflow == "ieee" else x


def _clamp(b: Builder, source: Int, target: Int, x: Reg) -> Reg:
    if source.max > target.max:
        x = b.apply("smin" if source.signed else "umin", x, b.constant(x.type, target.max))
    if source.min < target.min:
        x = b.apply("smax", x, b.constant(x.type, target.min))
    return x


def wrap(b: Builder, dtype: Int, number: Reg) -> Reg:
    """The number modulo 2^bits, in the dtype's range (i32)."""
    if dtype.bits == 32:
        return number
    if not dtype.signed:
        return b.apply("and", number, b.i32((1 << dtype.bits) - 1))
    gap = b.i32(32 - dtype.bits)
    return b.apply("ashr", b.apply("shl", number, gap), gap)


def wrap_long(b: Builder, dtype: Int, number: Reg) -> Reg:
    """The same for dtypes of more than 32 bits (i64)."""
    if dtype.bits == 64:
        return number
    gap = b.i64(64 - dtype.bits)
    return b.apply("ashr" if dtype.signed else "lshr", b.apply("shl", number, gap), gap)

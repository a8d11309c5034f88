"""From an f32 value to the nearest code of a dtype: every rounding and overflow mode, rounding once.

The float algorithm works on the magnitude.  Within a binade the f32's own fraction, read as a number from 2^mantissa to
2^(mantissa+1), counts the steps of the dtype's grid; below the lowest binade the value times a power of two does.  That
count is rounded to a whole number, and the code is (steps) + (binade << mantissa): a carry out of the mantissa goes to
the exponent by itself.  What lies beyond the largest code is put right afterwards.
"""

from __future__ import annotations

from typing import assert_never

from ...vm.dtypes import Bool, Codebook, DType, Float, Int, Overflow, Rounding
from ..lane.build import Builder
from ..lane.ir import Reg
from .codebook import encode_codebook
from .rounding import inexact_up, round_magnitude, scale
from .whole import encode_integer

INFINITY = 0x7F800000
_SMALLEST_NORMAL = 1 << 23  # f32 magnitudes below it, as words, are subnormal


def encode(
    b: Builder, dtype: DType, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None = None
) -> Reg:
    """The code, zero-extended, of an f32 `value`."""
    match dtype:
        case Float():
            if dtype.name == "f32":
                return b.apply("bits", value)
            if dtype.name in ("f16", "bf16") and rounding == "rne":
                return _encode_half(b, dtype, value, overflow)
            return _encode_float(b, dtype, value, rounding, overflow, random)
        case Codebook():
            return encode_codebook(b, dtype, value, rounding)
        case Int():
            number = encode_integer(b, dtype, value, rounding, overflow, random)
            return number if dtype.bits >= 32 else b.apply("and", number, b.i32((1 << dtype.bits) - 1))
        case Bool():
            return b.apply("select", b.apply("fne", value, b.f32(0.0)), b.i32(1), b.i32(0))
    assert_never(dtype)


# f16 and bf16 to nearest even


def _encode_half(b: Builder, dtype: Float, value: Reg, overflow: Overflow) -> Reg:
    """By the machine's own conversion, or by the high half of the f32; both turn what is too large into infinity."""
    code = b.apply("f32tof16", value) if dtype.name == "f16" else _bf16(b, value)
    if overflow == "ieee":
        return code
    infinity = _infinity(dtype)
    assert infinity is not None
    finite = b.apply("slt", _magnitude(b, value), b.i32(INFINITY))
    became = b.apply("eq", b.apply("and", code, b.i32(0x7FFF)), b.i32(infinity))
    # The largest finite code is one below that of infinity.
    return b.apply("sub", code, b.apply("select", b.apply("and", finite, became), b.i32(1), b.i32(0)))


def _bf16(b: Builder, value: Reg) -> Reg:
    """The high half of the f32, to nearest even; NaN is the quiet one of its sign."""
    bits = b.apply("bits", value)
    high = b.apply("lshr", bits, b.i32(16))
    odd = b.apply("and", high, b.i32(1))
    rounded = b.apply("lshr", b.apply("add", b.apply("add", bits, odd), b.i32(0x7FFF)), b.i32(16))
    nan = b.apply("or", b.apply("and", high, b.i32(0x8000)), b.i32(0x7FC0))
    return b.apply("select", b.apply("fne", value, value), nan, rounded)


def _magnitude(b: Builder, value: Reg) -> Reg:
    """The word of |value|."""
    return b.apply("and", b.apply("bits", value), b.i32(0x7FFFFFFF))


# Any float


def _encode_float(
    b: Builder, dtype: Float, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None
) -> Reg:
    magnitude = _magnitude(b, value)
    negative = b.apply("slt", b.apply("bits", value), b.i32(0))
    code = _on_grid(b, dtype, magnitude, negative, rounding, random)
    code = _limit(b, dtype, code, magnitude, negative, rounding, overflow)
    nan = b.apply("fne", value, value)
    if not dtype.signed:
        code = _not_negative(b, dtype, code, magnitude, negative, overflow)
    return _signed(b, dtype, code, negative, nan)


def _on_grid(b: Builder, dtype: Float, magnitude: Reg, negative: Reg, rounding: Rounding, random: Reg | None) -> Reg:
    """The code to which a magnitude rounds on the dtype's grid, as if that had no end."""
    lowest = 1 - dtype.bias if dtype.subnormal else -dtype.bias  # the exponent of the lowest binade
    exponent, fraction = _parts(b, magnitude, lowest)
    binade = b.apply("shl", b.apply("sub", exponent, b.i32(127 + lowest)), b.i32(dtype.mantissa))
    steps = b.apply("float", b.apply("or", fraction, b.i32((127 + dtype.mantissa) << 23)))
    if dtype.subnormal:
        low = _below(b, magnitude, dtype.mantissa - lowest)
        normal = b.apply("sle", b.i32(_power(lowest)), magnitude)
        steps = b.apply("select", normal, steps, low)
        binade = b.apply("select", normal, binade, b.i32(0))
        return _count(b, dtype, steps, binade, negative, rounding, random)
    base = b.apply("sub", binade, b.i32(1 << dtype.mantissa))
    code = _count(b, dtype, steps, base, negative, rounding, random)
    if not dtype.zero:
        return b.apply("smax", code, b.i32(0))
    first = _first_gap(b, dtype, _below(b, magnitude, dtype.mantissa - lowest), negative, rounding, random)
    return b.apply("select", b.apply("slt", magnitude, b.i32(_first_code(dtype))), first, code)


def _count(
    b: Builder, dtype: Float, steps: Reg, base: Reg, negative: Reg, rounding: Rounding, random: Reg | None
) -> Reg:
    """The code: steps, rounded, above the code `base`."""
    if dtype.mantissa or rounding != "rne":
        return b.apply("add", round_magnitude(b, steps, negative, rounding, random), base)
    # A tie goes to the even code.  Without mantissa bits that is not the even count of steps.
    down = b.apply("floor", steps)
    rest, half = b.apply("fsub", steps, down), b.f32(0.5)
    code = b.apply("add", b.apply("fptoui", down), base)
    odd = b.apply("ne", b.apply("and", code, b.i32(1)), b.i32(0))
    up = b.apply("or", b.apply("flt", half, rest), b.apply("and", b.apply("feq", half, rest), odd))
    return b.apply("add", code, b.apply("select", up, b.i32(1), b.i32(0)))


def _parts(b: Builder, magnitude: Reg, lowest: int) -> tuple[Reg, Reg]:
    """The biased exponent and the fraction bits of a magnitude; subnormals are normalised where the dtype has such."""
    bias: Reg | None = None
    if lowest < -126:
        tiny = b.apply("slt", magnitude, b.i32(_SMALLEST_NORMAL))
        grown = b.apply("bits", b.apply("fmul", b.apply("float", magnitude), b.f32(2.0**24)))
        magnitude = b.apply("select", tiny, grown, magnitude)
        bias = b.apply("select", tiny, b.i32(24), b.i32(0))
    exponent = b.apply("lshr", magnitude, b.i32(23))
    fraction = b.apply("and", magnitude, b.i32(_SMALLEST_NORMAL - 1))
    return exponent if bias is None else b.apply("sub", exponent, bias), fraction


def _power(exponent: int) -> int:
    """The word of the f32 2^exponent, from -149; 2^128 is where infinity is."""
    return (exponent + 127) << 23 if exponent >= -126 else 1 << (exponent + 149)


def _below(b: Builder, magnitude: Reg, power: int) -> Reg:
    """magnitude * 2^power.  What would underflow stays a tiny number: all that is asked of it is whether it is 0."""
    scaled = scale(b, b.apply("float", magnitude), power)
    if power >= 0:
        return scaled
    nonzero = b.apply("ne", magnitude, b.i32(0))
    return b.apply("select", nonzero, b.apply("fmax", scaled, b.f32(2.0**-100)), scaled)


def _first_code(dtype: Float) -> int:
    """The word of the f32 that code 1 stands for; without subnormals it is (1 + 2^-mantissa) * 2^-bias."""
    return int(dtype.decode([1]).view("u4")[0])


def _first_gap(b: Builder, dtype: Float, steps: Reg, negative: Reg, rounding: Rounding, random: Reg | None) -> Reg:
    """0 or 1: where a magnitude of so many steps goes that lies between zero and code 1, 2^mantissa + 1 steps apart."""
    gap = (1 << dtype.mantissa) + 1
    match rounding:
        case "rne":
            up = b.apply("flt", b.f32(gap / 2), steps)
        case "rna":
            up = b.apply("fle", b.f32(gap / 2), steps)
        case "stochastic":
            assert random is not None
            down = b.apply("floor", steps)
            part = b.apply("fptoui", b.apply("fmul", b.apply("fsub", steps, down), b.f32(2.0**32)))
            whole = b.apply("shl", b.apply("zext", b.apply("fptoui", down)), b.i64(32))
            share = b.apply("udiv", b.apply("or", whole, b.apply("zext", part)), b.i64(gap))
            chance = b.apply("trunc", share)
            up = b.apply("ult", b.apply("add", chance, random), chance)
        case "rtz" | "rup" | "rdn":
            up = inexact_up(b, b.apply("flt", b.f32(0.0), steps), negative, rounding)
        case _:
            assert_never(rounding)
    return b.apply("select", up, b.i32(1), b.i32(0))


# The ends of the range, the sign, and NaN


def _top(dtype: Float) -> int:
    """The code of the largest finite magnitude."""
    every = (1 << (dtype.exponent + dtype.mantissa)) - 1
    if dtype.specials == "ieee":
        return (every >> dtype.mantissa << dtype.mantissa) - 1
    return every - (dtype.specials == "fn")


def _infinity(dtype: Float) -> int | None:
    """The code of infinity, if there is one."""
    return _top(dtype) + 1 if dtype.has_infinity else None


def _nan(dtype: Float) -> int | None:
    """The code of the positive (quiet) NaN, if there is one; for fnuz that of the only one."""
    if not dtype.has_nan:
        return None
    if dtype.specials == "fnuz":
        return 1 << (dtype.exponent + dtype.mantissa)
    return _top(dtype) + 1 + ((1 << dtype.mantissa) >> 1 if dtype.specials == "ieee" else 0)


def _limit(
    b: Builder, dtype: Float, code: Reg, magnitude: Reg, negative: Reg, rounding: Rounding, overflow: Overflow
) -> Reg:
    """Too large a magnitude saturates, or becomes infinity, else NaN, where the dtype has that."""
    top, infinity, nan = _top(dtype), _infinity(dtype), _nan(dtype)
    infinite = b.apply("eq", magnitude, b.i32(INFINITY))
    if overflow == "sat":
        limited = b.apply("smin", code, b.i32(top))
        return limited if infinity is None else b.apply("select", infinite, b.i32(infinity), limited)
    beyond = b.i32(infinity if infinity is not None else nan if nan is not None else top)
    if rounding in ("rtz", "rup", "rdn"):  # modes that may round a finite number towards zero keep the largest one then
        away = inexact_up(b, b.constant("i1", 1), negative, rounding)
        beyond = b.apply("select", b.apply("or", infinite, away), beyond, b.i32(top))
    return b.apply("select", b.apply("slt", b.i32(top), code), beyond, code)


def _not_negative(b: Builder, dtype: Float, code: Reg, magnitude: Reg, negative: Reg, overflow: Overflow) -> Reg:
    """Unsigned dtypes take what is below their range to their smallest value, or to NaN."""
    if dtype.zero:
        below = b.apply("and", negative, b.apply("ne", code, b.i32(0)))
    else:
        below = b.apply("or", negative, b.apply("eq", magnitude, b.i32(0)))
    nan = _nan(dtype) if overflow == "ieee" else None
    return b.apply("select", below, b.i32(nan or 0), code)


def _signed(b: Builder, dtype: Float, code: Reg, negative: Reg, nan: Reg) -> Reg:
    """The code with its sign; NaN keeps its sign where there are two, and is +0 where there is none."""
    found = _nan(dtype)
    if found is not None:
        code = b.apply("select", nan, b.i32(found), code)
    if dtype.signed:
        if dtype.specials == "fnuz":  # there is no -0
            negative = b.apply("and", negative, b.apply("ne", code, b.i32(0)))
        sign = b.i32(1 << (dtype.exponent + dtype.mantissa))
        code = b.apply("or", code, b.apply("select", negative, sign, b.i32(0)))
    return code if found is not None else b.apply("select", nan, b.i32(0), code)

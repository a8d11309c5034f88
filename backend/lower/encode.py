"""From an f32 value to the nearest code of a dtype: every rounding and overflow mode, rounding once.

The float algorithm: scale the magnitude by a power of two so that the dtype's grid becomes the integers, round there,
and read the code off the integer: (steps above the lowest binade) + (binade << mantissa).  A carry out of the mantissa
goes to the exponent by itself, and subnormals are the lowest binade.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...vm.dtypes import Bool, Codebook, DType, Float, Int, Overflow, Rounding
from ..lane.build import Builder
from ..lane.ir import Reg

EVERY = 0xFFFFFFFF


def encode(
    b: Builder, dtype: DType, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None = None
) -> Reg:
    """The code, zero-extended, of an f32 `value`.  For integers see `encode_integer`."""
    match dtype:
        case Float():
            if dtype.name == "f32":
                return b.apply("bits", value)
            if dtype.name == "f16" and rounding == "rne" and overflow == "ieee":
                return b.apply("f32tof16", value)
            if dtype.name == "bf16" and rounding == "rne" and overflow == "ieee":
                return _bf16(b, value)
            if dtype.name == "bf16" or not (dtype.subnormal and dtype.zero):
                return _wide_exponent(b, dtype, value, rounding, overflow, random)
            return _encode_float(b, dtype, value, rounding, overflow, random)
        case Codebook():
            return _encode_table(b, dtype, value, rounding)
        case Int():
            return b.apply(
                "and", encode_integer(b, dtype, value, rounding, overflow, random), b.i32((1 << dtype.bits) - 1)
            )
        case Bool():
            return b.apply("select", b.apply("fne", value, b.f32(0.0)), b.i32(1), b.i32(0))
    assert_never(dtype)


def _bf16(b: Builder, value: Reg) -> Reg:
    """The high half of the f32, to nearest even; NaN stays a (quiet) NaN."""
    bits = b.apply("bits", value)
    odd = b.apply("and", b.apply("lshr", bits, b.i32(16)), b.i32(1))
    rounded = b.apply("lshr", b.apply("add", b.apply("add", bits, odd), b.i32(0x7FFF)), b.i32(16))
    return b.apply("select", b.apply("fne", value, value), b.i32(0x7FC0), rounded)


def round_magnitude(b: Builder, x: Reg, negative: Reg, rounding: Rounding, random: Reg | None) -> Reg:
    """A magnitude below 2^31, as f32, to an integer i32; `negative` is the sign of the number that it is taken from."""
    down = b.apply("floor", x)
    whole = b.apply("fptoui", down)
    rest = b.apply("fsub", x, down)
    match rounding:
        case "rne":
            return b.apply("fptoui", b.apply("rint", x))
        case "rtz":
            return whole
        case "rna":
            up = b.apply("fle", b.f32(0.5), rest)
        case "rup" | "rdn":
            inexact = b.apply("flt", b.f32(0.0), rest)
            away = negative if rounding == "rdn" else b.apply("xor", negative, b.constant("i1", 1))
            up = b.apply("and", inexact, away)
        case "stochastic":
            assert random is not None
            part = b.apply("fptoui", b.apply("fmul", rest, b.f32(2.0**32)))
            up = b.apply("ult", b.apply("add", part, random), part)  # part + random carries out of the word
        case _:
            assert_never(rounding)
    return b.apply("add", whole, b.apply("select", up, b.i32(1), b.i32(0)))


def _encode_float(
    b: Builder, dtype: Float, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None
) -> Reg:
    bits = b.apply("bits", value)
    magnitude_bits = b.apply("and", bits, b.i32(0x7FFFFFFF))
    negative = b.apply("slt", bits, b.i32(0))
    lowest = 1 - dtype.bias  # the exponent of the smallest normal number, and of the subnormals
    exponent = b.apply("sub", b.apply("lshr", magnitude_bits, b.i32(23)), b.i32(127))
    exponent = b.apply("smin", b.apply("smax", exponent, b.i32(lowest)), b.i32(127))
    power = b.apply("shl", b.apply("sub", b.i32(127 + dtype.mantissa), exponent), b.i32(23))
    scaled = b.apply("fmul", b.apply("float", magnitude_bits), b.apply("float", power))
    steps = round_magnitude(b, scaled, negative, rounding, random)
    binade = b.apply("shl", b.apply("sub", exponent, b.i32(lowest)), b.i32(dtype.mantissa))
    code = _limit(b, dtype, b.apply("add", steps, binade), magnitude_bits, negative, rounding, overflow)
    return _sign(b, dtype, code, value, negative)


def _largest(dtype: Float) -> int:
    """The code of the largest finite magnitude."""
    top = (1 << (dtype.exponent + dtype.mantissa)) - 1
    return {"finite": top, "fnuz": top, "fn": top - 1, "ieee": top - (1 << dtype.mantissa)}[dtype.specials]


def _limit(
    b: Builder, dtype: Float, code: Reg, magnitude: Reg, negative: Reg, rounding: Rounding, overflow: Overflow
) -> Reg:
    """Too large a magnitude saturates, or becomes what the dtype has for it."""
    largest = _largest(dtype)
    over = b.apply("or", b.apply("slt", b.i32(largest), code), b.apply("sle", b.i32(0x7F800000), magnitude))
    beyond = b.i32(_beyond(dtype) if overflow == "ieee" else largest)
    if overflow == "ieee" and rounding in ("rtz", "rup", "rdn"):
        # modes that round a finite number towards zero keep the largest one
        infinite = b.apply("eq", magnitude, b.i32(0x7F800000))
        away = {"rtz": b.constant("i1", 0), "rdn": negative, "rup": b.apply("xor", negative, b.constant("i1", 1))}[
            rounding
        ]
        beyond = b.apply("select", b.apply("or", infinite, away), beyond, b.i32(largest))
    return b.apply("select", over, beyond, code)


def _beyond(dtype: Float) -> int:
    """The magnitude code of infinity, else of NaN, else of the largest number."""
    largest = _largest(dtype)
    if dtype.specials == "fnuz":
        return 1 << (dtype.exponent + dtype.mantissa)
    return largest + 1 if dtype.specials in ("ieee", "fn") else largest


def _sign(b: Builder, dtype: Float, code: Reg, value: Reg, negative: Reg) -> Reg:
    magnitude_bits = dtype.exponent + dtype.mantissa
    sign = 1 << magnitude_bits
    if dtype.signed and dtype.specials == "fnuz":
        has_sign = b.apply("and", negative, b.apply("ne", code, b.i32(0)))  # there is no -0
        code = b.apply("select", has_sign, b.apply("or", code, b.i32(sign)), code)
    elif dtype.signed:
        code = b.apply("select", negative, b.apply("or", code, b.i32(sign)), code)
    else:
        below = b.apply("and", negative, b.apply("fne", value, b.f32(0.0)))
        code = b.apply("select", below, b.i32(0), code)
    nan = {"finite": 0, "fnuz": sign, "fn": sign - 1, "ieee": _largest(dtype) + 1 + ((1 << dtype.mantissa) >> 1)}[
        dtype.specials
    ]
    return b.apply("select", b.apply("fne", value, value), b.i32(nan), code)


def thresholds(dtype: DType, rounding: Rounding, overflow: Overflow) -> tuple[list[float], list[int]]:
    """For a dtype of at most 8 bits: codes in the order of their values, and the least f32 that becomes each but the first.

    They are found by bisection over all f32 with the dtype's own `encode`, so there is nothing here to disagree with it.
    """

    def code(key: int) -> int:
        bits = key if key >= 0 else 0x80000000 | -(key + 1)
        number = np.array([bits], np.uint32).view(np.float32)
        return int(dtype.encode(number, rounding=rounding, overflow=overflow)[0])

    low, high = -(0x7F800000) - 1, 0x7F800000  # keys: the order of f32 from -inf to inf
    codes, bounds = [code(low)], []
    edges: list[tuple[int, int]] = []

    def search(left: int, right: int, a: int, z: int) -> None:
        if a == z:
            return
        if right == left + 1:
            edges.append((right, z))
            return
        middle = (left + right) // 2
        m = code(middle)
        search(left, middle, a, m)
        search(middle, right, m, z)

    search(low, high, code(low), code(high))
    for key, c in edges:
        bits = key if key >= 0 else 0x80000000 | -(key + 1)
        bounds.append(float(np.array([bits], np.uint32).view(np.float32)[0]))
        codes.append(c)
    return bounds, codes


def _encode_table(b: Builder, dtype: Codebook, value: Reg, rounding: Rounding) -> Reg:
    """The code by its rank among the values: one comparison and one addition for each boundary."""
    return _by_thresholds(b, dtype, value, rounding, "sat")


def _by_thresholds(b: Builder, dtype: DType, value: Reg, rounding: Rounding, overflow: Overflow) -> Reg:
    bounds, codes = thresholds(dtype, rounding, overflow)
    rank = b.i32(0)
    for bound in bounds:
        rank = b.apply("add", rank, b.apply("select", b.apply("fle", b.f32(bound), value), b.i32(1), b.i32(0)))
    size = 1 << max(4, (len(codes) - 1).bit_length())
    code = b.lookup(tuple(codes + [codes[-1]] * (size - len(codes))), rank)
    nan = int(dtype.encode(np.array([np.nan], np.float32), rounding=rounding, overflow=overflow)[0])
    return b.apply("select", b.apply("fne", value, value), b.i32(nan), code)


def _wide_exponent(
    b: Builder, dtype: Float, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None
) -> Reg:
    """Types whose exponents reach those of f32 (bf16), or that have no zero (e8m0, ue6m2)."""
    if dtype.bits <= 8 and rounding != "stochastic":
        return _by_thresholds(b, dtype, value, rounding, overflow)
    return _truncate(b, dtype, value, rounding, overflow, random)


def _truncate(b: Builder, dtype: Float, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None) -> Reg:
    """bf16: its code is the high half of an f32, so rounding is done on the f32's own bits."""
    assert dtype.name == "bf16", f"no way to round to {dtype} with {rounding}"
    bits = b.apply("bits", value)
    magnitude, negative = b.apply("and", bits, b.i32(0x7FFFFFFF)), b.apply("slt", bits, b.i32(0))
    whole, rest = b.apply("lshr", magnitude, b.i32(16)), b.apply("and", magnitude, b.i32(0xFFFF))
    match rounding:
        case "rtz":
            up = b.constant("i1", 0)
        case "rna":
            up = b.apply("sle", b.i32(0x8000), rest)
        case "rne":
            odd = b.apply("and", whole, b.i32(1))
            up = b.apply("slt", b.i32(0x8000), b.apply("add", rest, odd))
        case "rup" | "rdn":
            away = negative if rounding == "rdn" else b.apply("xor", negative, b.constant("i1", 1))
            up = b.apply("and", b.apply("ne", rest, b.i32(0)), away)
        case "stochastic":
            assert random is not None
            part = b.apply("shl", rest, b.i32(16))
            up = b.apply("ult", b.apply("add", part, random), part)
        case _:
            assert_never(rounding)
    code = b.apply("add", whole, b.apply("select", up, b.i32(1), b.i32(0)))
    code = _limit(b, dtype, code, magnitude, negative, rounding, overflow)
    return _sign(b, dtype, code, value, negative)


def encode_integer(
    b: Builder, dtype: Int, value: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None = None
) -> Reg:
    """The integer nearest to an f32 `value`, as a value of the dtype (i32, or i64 for 64 bits).  NaN gives 0."""
    bits = b.apply("bits", value)
    negative = b.apply("slt", bits, b.i32(0))
    if rounding == "rne":
        whole = b.apply("rint", value)
    else:
        whole = _round_signed(b, value, negative, rounding, random)
    if overflow == "ieee":
        wide = b.apply("fptosl", whole)
        return wide if dtype.bits == 64 else _wrap(b, dtype, b.apply("trunc", wide))
    if dtype.bits == 64:
        return b.apply("fptosl", whole if dtype.signed else b.apply("fmax", whole, b.f32(0.0)))
    if dtype.bits == 32:
        return b.apply("fptosi" if dtype.signed else "fptoui", whole)
    number = b.apply("fptosi", whole)
    return b.apply("smin", b.apply("smax", number, b.i32(int(dtype.min))), b.i32(int(dtype.max)))


def _round_signed(b: Builder, value: Reg, negative: Reg, rounding: Rounding, random: Reg | None) -> Reg:
    """An f32 to an integral f32.  From 2^23 on every f32 is integral."""
    if rounding == "rdn":
        return b.apply("floor", value)
    if rounding == "rup":
        return b.apply("ceil", value)
    magnitude = b.apply("fabs", value)
    small = b.apply("flt", magnitude, b.f32(2.0**23))
    steps = b.apply(
        "sitofp", round_magnitude(b, b.apply("select", small, magnitude, b.f32(0.0)), negative, rounding, random)
    )
    signed = b.apply("select", negative, b.apply("fneg", steps), steps)
    return b.apply("select", small, signed, value)


def _wrap(b: Builder, dtype: Int, number: Reg) -> Reg:
    """The number modulo 2^bits, in the dtype's range (i32)."""
    if dtype.bits == 32:
        return number
    if not dtype.signed:
        return b.apply("and", number, b.i32((1 << dtype.bits) - 1))
    gap = b.i32(32 - dtype.bits)
    return b.apply("ashr", b.apply("shl", number, gap), gap)


wrap = _wrap

"""From an element's code to its value, and back: any dtype, one element in a word of its own.

Strategies, cheapest first: integers extend; f16 and bf16 convert; types of at most 5 bits, codebooks and types with
no simple fields are a table derived from the dtype itself; other floats have their fields put in place of those of an
f32 and are multiplied by a power of two, which is exact, subnormals included.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...vm.dtypes import Bool, Codebook, DType, Float, Int
from ..lane.build import Builder
from ..lane.ir import Reg
from .encode import encode

TABLE_BITS = 5  # 32 entries: one two-register permute on a vector unit


def decode(b: Builder, dtype: DType, code: Reg) -> Reg:
    """The value of a zero-extended code."""
    match dtype:
        case Bool():
            return b.apply("ne", code, b.i32(0))
        case Int():
            return _extend(b, dtype, code)
        case Float():
            if dtype.name == "f32":
                return b.apply("float", code)
            if dtype.name == "f16":
                return b.apply("f16tof32", code)
            if dtype.name == "bf16":
                return b.apply("float", b.apply("shl", code, b.i32(16)))
            if dtype.bits <= TABLE_BITS or not _simple(dtype):
                return table(b, dtype, code)
            return _place_fields(b, dtype, code)
        case Codebook():
            return table(b, dtype, code)
    assert_never(dtype)


def _extend(b: Builder, dtype: Int, code: Reg) -> Reg:
    if not dtype.signed or dtype.bits in (32, 64):
        return code
    gap = b.i32(32 - dtype.bits)
    return b.apply("ashr", b.apply("shl", code, gap), gap)


def decode_table(dtype: DType) -> tuple[int, ...]:
    """The f32 bits of every code's value, 16 entries at least; codes without a meaning repeat the table from its start."""
    if isinstance(dtype, Codebook):
        values = np.asarray(dtype.values, np.float32)
        values = np.resize(values, 1 << dtype.bits)
    else:
        values = dtype.decode(np.arange(1 << dtype.bits)).astype(np.float32)
    return tuple(np.resize(values.astype(np.float32), max(16, values.size)).view(np.uint32).tolist())


def table(b: Builder, dtype: DType, code: Reg) -> Reg:
    """The value by a look-up in the dtype's own table."""
    return b.apply("float", b.lookup(decode_table(dtype), code))


def _simple(dtype: Float) -> bool:
    """Whether all codes, but for infinity and NaN, follow the rule that subnormals exist and zero is the zero code."""
    return dtype.subnormal and dtype.zero and dtype.exponent >= 1 and dtype.bits <= 16 and dtype.bias < 100


def _place_fields(b: Builder, dtype: Float, code: Reg) -> Reg:
    """sign, exponent, mantissa at an f32's places, times 2^(127 - bias); infinity and NaN are put right after."""
    magnitude_bits = dtype.exponent + dtype.mantissa
    magnitude = b.apply("and", code, b.i32((1 << magnitude_bits) - 1)) if dtype.signed else code
    bits = b.apply("shl", magnitude, b.i32(23 - dtype.mantissa))
    value = b.apply("fmul", b.apply("float", bits), b.f32(2.0 ** (127 - dtype.bias)))
    value = _specials(b, dtype, magnitude, value)
    if not dtype.signed:
        return value
    sign = b.apply("shl", b.apply("and", code, b.i32(1 << magnitude_bits)), b.i32(31 - magnitude_bits))
    value = b.apply("float", b.apply("or", b.apply("bits", value), sign))
    if dtype.specials == "fnuz":
        return b.apply("select", b.apply("eq", code, b.i32(1 << magnitude_bits)), _nan(b), value)
    return value


def _specials(b: Builder, dtype: Float, magnitude: Reg, value: Reg) -> Reg:
    top = (1 << (dtype.exponent + dtype.mantissa)) - 1
    if dtype.specials == "fn":
        return b.apply("select", b.apply("eq", magnitude, b.i32(top)), _nan(b), value)
    if dtype.specials == "ieee":
        infinity = ((1 << dtype.exponent) - 1) << dtype.mantissa
        value = b.apply("select", b.apply("eq", magnitude, b.i32(infinity)), b.f32(float("inf")), value)
        return b.apply("select", b.apply("slt", b.i32(infinity), magnitude), _nan(b), value)
    return value


def _nan(b: Builder) -> Reg:
    return b.f32(float("nan"))


def encode_exact(b: Builder, dtype: DType, value: Reg) -> Reg:
    """The code of a value that the dtype has exactly, zero-extended.  NaN keeps being NaN where the dtype has one."""
    match dtype:
        case Bool():
            return b.apply("select", value, b.i32(1), b.i32(0))
        case Int():
            if dtype.bits >= 32:
                return value
            return b.apply("and", value, b.i32((1 << dtype.bits) - 1))
        case Float() | Codebook():
            return encode(b, dtype, value, "rne", "sat" if dtype.bits <= 8 else "ieee")
    assert_never(dtype)

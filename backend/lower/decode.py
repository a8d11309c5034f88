"""From an element's code to its value, and back: any dtype, one element in a word of its own.

Strategies, cheapest first: integers extend; f16 and bf16 convert; types of at most 5 bits, codebooks and types with
no simple fields are a table derived from the dtype itself; other floats have their fields put in place of those of an
f32 and are multiplied by a power of two, which is exact, subnormals included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from ...vm.dtypes import Bool, Codebook, DType, Float, Int
from ..lane.build import Builder
from ..lane.ir import Reg
from .encode import encode
from .swar import extract, move

TABLE_BITS = 6  # 64 entries: two permutes of two registers, and a blend


def decode(b: Builder, dtype: DType, code: Reg) -> Reg:
    """The value of a zero-extended code in a word of its own."""
    return decode_field(b, dtype, [code], list(range(dtype.bits)))


def decode_field(b: Builder, dtype: DType, words: Sequence[Reg], field: Sequence[int]) -> Reg:
    """The value of the code whose bits are at the positions `field` of the string `words`."""

    def code(loose: bool = False) -> Reg:
        return extract(b, words, field, loose)

    match dtype:
        case Bool():
            return b.apply("ne", code(), b.i32(0))
        case Int():
            return _extend(b, dtype, code())
        case Float():
            if dtype.name == "f32":
                return b.apply("float", code())
            if dtype.name == "f16":
                return b.apply("f16tof32", code(loose=True))
            if dtype.name == "bf16":
                return b.apply("float", move(b, words, zip(field, range(16, 32), strict=True)))
            if dtype.bits <= TABLE_BITS or not _simple(dtype):
                return table(b, dtype, code(loose=True))
            return _place_fields(b, dtype, words, field)
        case Codebook():
            return table(b, dtype, code(loose=True))
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


def _place_fields(b: Builder, dtype: Float, words: Sequence[Reg], field: Sequence[int]) -> Reg:
    """sign, exponent, mantissa at an f32's places, times 2^(127 - bias); infinity and NaN are put right after."""
    magnitude = dtype.exponent + dtype.mantissa
    places = [*range(23 - dtype.mantissa, 23 - dtype.mantissa + magnitude), *([31] if dtype.signed else [])]
    bits = move(b, words, zip(field, places, strict=True))
    value = b.apply("fmul", b.apply("float", bits), b.f32(2.0 ** (127 - dtype.bias)))
    if dtype.specials == "finite":
        return value
    if dtype.specials == "fnuz":
        return b.apply("select", b.apply("eq", bits, b.i32(0x80000000)), _nan(b), value)
    top = ((1 << magnitude) - 1) << (23 - dtype.mantissa)
    absolute = b.apply("and", bits, b.i32(0x7FFFFFFF)) if dtype.signed else bits
    if dtype.specials == "fn":
        return b.apply("select", b.apply("eq", absolute, b.i32(top)), _nan(b), value)
    infinity = ((1 << dtype.exponent) - 1) << 23
    # An f32 whose exponent is all ones is what the code means: infinity, or NaN.
    special = b.apply("float", b.apply("or", bits, b.i32(0x7F800000)))
    return b.apply("select", b.apply("sle", b.i32(infinity), absolute), special, value)


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

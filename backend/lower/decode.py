"""From an element's code to its value, and back: any dtype, one element in a word of its own.

Integers extend; f16 and bf16 convert.  Floats have their fields put in place of those of an f32 and are multiplied by a
power of two, which is exact, subnormals included; where a look-up is a few permutes of registers (`Builder.table_bits`)
a table derived from the dtype itself takes less.  Codebooks are tables everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from ...vm.dtypes import Bool, Codebook, DType, Float, Int
from ..lane.build import Builder
from ..lane.ir import Reg
from .encode import encode
from .rounding import scale
from .swar import extract, move

FRACTION = 23  # bits of an f32's fraction
E8M0 = Float(8, 0, 127, "fn", signed=False, subnormal=False, zero=False)


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
            return _extend(b, dtype, words, field)
        case Float():
            if dtype.name == "f32":
                return b.apply("float", code())
            if dtype.name == "f16":
                return b.apply("f16tof32", code(loose=True))
            if dtype.name == "bf16":
                return b.apply("float", move(b, words, zip(field, range(16, 32), strict=True)))
            if dtype.bits <= b.table_bits or not _placeable(dtype):
                return table(b, dtype, code(loose=True))
            return _place_fields(b, dtype, words, field)
        case Codebook():
            return table(b, dtype, code(loose=True))
    assert_never(dtype)


def _extend(b: Builder, dtype: Int, words: Sequence[Reg], field: Sequence[int]) -> Reg:
    """The integer: a signed one comes to the top of the word first, and its sign follows it down."""
    if not dtype.signed or dtype.bits in (32, 64):
        return extract(b, words, field)
    gap = 32 - dtype.bits
    return b.apply("ashr", move(b, words, zip(field, range(gap, 32), strict=True)), b.i32(gap))


def one_piece_float(b: Builder, dtype: Int, words: Sequence[Reg], field: Sequence[int]) -> Reg:
    """The value, as an f32, of an integer of at most 8 bits in one piece.

    Its bits, a sign bit turned, are put into the fraction of a power of two of which one unit is 1; that power, and
    what the turned sign adds, are subtracted again.  Nothing is rounded, and bits move with no shift of their own.
    """
    word, place = words[field[0] // 32], field[0] % 32
    sign = 1 << (dtype.bits - 1) if dtype.signed else 0
    if b.slow_to_float and dtype.bits == 8 and place % 8 == 0:  # there a permute of bytes is one instruction, too
        bytes_ = b.apply("xor", word, b.i32(sign * 0x01010101)) if sign else word
        put = b.pick_bytes(bytes_, b.i32((127 + FRACTION) << FRACTION), (place // 8, 5, 6, 7))
        return b.apply("fsub", b.apply("float", put), b.f32(float((1 << FRACTION) + sign)))
    if place + dtype.bits > FRACTION:
        word, place = b.apply("lshr", word, b.i32(16)), place - 16
    exponent = FRACTION - place
    code = b.apply("and", word, b.i32(((1 << dtype.bits) - 1) << place))
    turned = b.apply("xor", code, b.i32((127 + exponent) << FRACTION | sign << place))
    return b.apply("fsub", b.apply("float", turned), b.f32(float((1 << exponent) + sign)))


def decode_table(dtype: DType) -> tuple[int, ...]:
    """The f32 bits of every code's value, 16 entries at least; codes without a meaning repeat the table's start."""
    if isinstance(dtype, Codebook):
        values = np.asarray(dtype.values, np.float32)
        values = np.resize(values, 1 << dtype.bits)
    else:
        values = dtype.decode(np.arange(1 << dtype.bits)).astype(np.float32)
    return tuple(np.resize(values.astype(np.float32), max(16, values.size)).view(np.uint32).tolist())


def table(b: Builder, dtype: DType, code: Reg) -> Reg:
    """The value by a look-up in the dtype's own table."""
    return b.apply("float", b.lookup(decode_table(dtype), code))


def _placeable(dtype: Float) -> bool:
    """Whether no finite code has its exponent at that of an f32's infinity."""
    return dtype == E8M0 or dtype.exponent < 8 or (dtype.subnormal and dtype.specials != "finite")


def _place_fields(b: Builder, dtype: Float, words: Sequence[Reg], field: Sequence[int]) -> Reg:
    """sign, exponent, mantissa at an f32's places, times 2^(127 - bias); infinity and NaN are put right after."""
    magnitude = dtype.exponent + dtype.mantissa
    places = [*range(23 - dtype.mantissa, 23 - dtype.mantissa + magnitude), *([31] if dtype.signed else [])]
    bits = move(b, words, zip(field, places, strict=True))
    if dtype == E8M0:
        return _e8m0(b, bits)
    if dtype.subnormal:
        value = scale(b, b.apply("float", bits), 127 - dtype.bias)
    else:  # one exponent higher, so that the lowest is not an f32's subnormals
        value = scale(b, b.apply("float", b.apply("add", bits, b.i32(1 << 23))), 126 - dtype.bias)
    absolute = b.apply("and", bits, b.i32(0x7FFFFFFF)) if dtype.signed else bits
    if dtype.zero and not dtype.subnormal:
        value = b.apply("select", b.apply("eq", absolute, b.i32(0)), b.apply("float", bits), value)
    return _specials(b, dtype, bits, absolute, value)


def _specials(b: Builder, dtype: Float, bits: Reg, absolute: Reg, value: Reg) -> Reg:
    """The value, but infinity and NaN for the codes that mean it; an f32 whose exponent is all ones is either."""
    top = ((1 << (dtype.exponent + dtype.mantissa)) - 1) << (23 - dtype.mantissa)
    match dtype.specials:
        case "finite":
            return value
        case "fnuz":
            return b.apply("select", b.apply("eq", bits, b.i32(0x80000000)), b.f32(float("nan")), value)
        case "fn":
            nan = b.apply("float", b.apply("or", bits, b.i32(0x7FC00000)))
            return b.apply("select", b.apply("eq", absolute, b.i32(top)), nan, value)
        case "ieee":
            infinity = ((1 << dtype.exponent) - 1) << 23
            special = b.apply("float", b.apply("or", bits, b.i32(0x7F800000)))
            return b.apply("select", b.apply("sle", b.i32(infinity), absolute), special, value)
    assert_never(dtype.specials)


def _e8m0(b: Builder, bits: Reg) -> Reg:
    """A power of two is an f32 without a fraction, but for 2^-127, a subnormal, and NaN in place of infinity."""
    word = b.apply("umax", bits, b.i32(1 << 22))
    return b.apply("float", b.apply("select", b.apply("eq", bits, b.i32(0x7F800000)), b.i32(0x7FC00000), word))


def encode_exact(b: Builder, dtype: DType, value: Reg) -> Reg:
    """The code of a value that the dtype has exactly, zero-extended.  NaN keeps being NaN where the dtype has one."""
    match dtype:
        case Float() if dtype.name == "bf16":  # NaN too has something in the upper half: it is the value of a code
            return b.apply("lshr", b.apply("bits", value), b.i32(16))
        case Bool():
            return b.apply("select", value, b.i32(1), b.i32(0))
        case Int():
            if dtype.bits >= 32:
                return value
            return b.apply("and", value, b.i32((1 << dtype.bits) - 1))
        case Float() | Codebook():
            return encode(b, dtype, value, "rne", "sat" if dtype.bits <= 8 else "ieee")
    assert_never(dtype)

"""Encoding and decoding of binary floats: the arithmetic behind `Float`, on its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .element import checked_codes, code_dtype_for
from .rounding import Grid, Magnitude, Overflow, Rounding, blocks, magnitude, round_to_grid

# From this many values on, building (once) the table of all bfloat16 prefixes pays.
_PREFIX_TABLE_FROM: Final = 1 << 14


@dataclass(frozen=True)
class FloatFields:
    """The parameters of a `Float`, and what follows from them. A magnitude code is a code without its sign bit."""

    exponent: int
    mantissa: int
    bias: int
    specials: str
    signed: bool
    subnormal: bool
    zero: bool

    @property
    def bits(self) -> int:
        return self.signed + self.exponent + self.mantissa

    @property
    def sign_bit(self) -> int:
        """The value of the sign bit in a code; 0 if unsigned."""
        return 1 << (self.exponent + self.mantissa) if self.signed else 0

    @property
    def lowest(self) -> int:
        """The exponent of the lowest binade."""
        return 1 - self.bias if self.subnormal else -self.bias

    @property
    def top_code(self) -> int:
        """The magnitude code of the largest finite value."""
        everything = (1 << (self.exponent + self.mantissa)) - 1
        if self.specials == "ieee":
            return (everything >> self.mantissa << self.mantissa) - 1
        return everything - (self.specials == "fn")

    @property
    def infinity_code(self) -> int | None:
        return self.top_code + 1 if self.specials == "ieee" else None

    @property
    def nan_code(self) -> int | None:
        """The code of a NaN (positive where there are two); None if the type has none. IEEE types: the quiet NaN."""
        if self.specials == "fn":
            return self.top_code + 1
        if self.specials == "fnuz":
            return self.sign_bit
        if self.specials == "ieee" and self.mantissa > 0:
            return self.top_code + 1 + (1 << (self.mantissa - 1))
        return None

    def magnitude(self, code: int) -> float:
        """|value| of a finite magnitude code."""
        field, fraction = code >> self.mantissa, code & ((1 << self.mantissa) - 1)
        if field == 0 and self.subnormal:
            return math.ldexp(fraction, self.lowest - self.mantissa)
        if field == 0 and self.zero and fraction == 0:
            return 0.0
        return math.ldexp((1 << self.mantissa) + fraction, field - self.bias - self.mantissa)

    def value(self, code: int) -> float:
        """The value of a code, specials included."""
        negative = bool(code & self.sign_bit)
        if self.specials == "fnuz" and code == self.nan_code:
            return math.nan
        rest = code & ~self.sign_bit
        if rest > self.top_code:
            result = math.inf if rest == self.infinity_code else math.nan
        else:
            result = self.magnitude(rest)
        return -result if negative else result


@lru_cache(maxsize=256)
def _values(fields: FloatFields) -> npt.NDArray[np.float32]:
    """The values of all codes of a type of at most 8 bits."""
    table = np.array([fields.value(code) for code in range(1 << fields.bits)], np.float32)
    table.flags.writeable = False
    return table


def decode_floats(fields: FloatFields, codes: npt.ArrayLike, name: str) -> npt.NDArray[np.float32]:
    """The values of codes, exact in float32."""
    checked = checked_codes(codes, 1 << fields.bits, name)
    if fields.bits <= 8:
        return np.asarray(np.take(_values(fields), checked))
    if (fields.exponent, fields.mantissa, fields.bias, fields.specials) == (5, 10, 15, "ieee"):
        return checked.astype(np.uint16).view(np.float16).astype(np.float32)
    word = checked.astype(np.uint32)
    return np.asarray(word << np.uint32(32 - fields.bits)).view(np.float32)


def encode_floats(
    fields: FloatFields,
    values: npt.NDArray[np.generic],
    rounding: Rounding,
    overflow: Overflow,
    random: npt.NDArray[np.uint32] | None,
) -> npt.NDArray[np.unsignedinteger]:
    """Codes of a 1-D array of numbers, rounded once."""
    dtype = code_dtype_for(fields.bits)
    if fields.bits == 32 and values.dtype == np.float32:
        return values.view(np.uint32).copy()
    if fields.bits == 16 and fields.exponent == 5 and values.dtype == np.float16:
        return values.view(np.uint16).copy()
    out = np.empty(values.shape, dtype)
    if rounding == "rne" and fields.bits > 8 and values.dtype.kind == "f":
        for part in blocks(values.size):
            out[part] = _encode_wide(fields, values[part], overflow)
        return out
    if random is None and _prefixes_decide(fields, values):
        table = _prefix_codes(fields, rounding, overflow)
        for part in blocks(values.size):
            word = values[part].astype(np.float32).view(np.uint32)
            sticky = (word & np.uint32(0xFFFF)) != 0
            out[part] = table[((word >> np.uint32(16)) << np.uint32(1)) | sticky]
        return out
    for part in blocks(values.size):
        some = None if random is None else random[part]
        out[part] = _encode(fields, magnitude(values[part]), rounding, overflow, some)
    return out


def _prefixes_decide(fields: FloatFields, values: npt.NDArray[np.generic]) -> bool:
    """Whether 16 leading bits of a float32, and whether the others are zero, are enough to know the code.

    They are if every boundary between codes is a bfloat16: a boundary has at most mantissa + 1 fraction bits and is a
    multiple of half the smallest spacing.
    """
    if values.dtype.kind != "f" or values.dtype.itemsize > 4 or values.size < _PREFIX_TABLE_FROM:
        return False
    return fields.bits <= 8 and fields.mantissa <= 6 and fields.lowest - fields.mantissa - 1 >= -133


@lru_cache(maxsize=64)
def _prefix_codes(fields: FloatFields, rounding: Rounding, overflow: Overflow) -> npt.NDArray[np.uint8]:
    index = np.arange(1 << 17, dtype=np.uint32)
    sample = ((index >> np.uint32(1)) << np.uint32(16)) | ((index & np.uint32(1)) << np.uint32(15))
    table = _encode(fields, magnitude(sample.view(np.float32)), rounding, overflow, None).astype(np.uint8)
    table.flags.writeable = False
    return table


def _encode_wide(
    fields: FloatFields, values: npt.NDArray[np.generic], overflow: Overflow
) -> npt.NDArray[np.unsignedinteger]:
    """Codes of floats in f16, bf16 or f32, to nearest even: what NumPy can do itself, faster than `_encode`."""
    code: npt.NDArray[np.unsignedinteger]
    with np.errstate(over="ignore", invalid="ignore"):
        if fields.bits == 32:
            code = values.astype(np.float32).view(np.uint32)
        elif fields.exponent == 5:
            code = values.astype(np.float16).view(np.uint16)
        elif values.dtype.itemsize <= 4:
            word = values.astype(np.float32).view(np.uint32)
            odd = (word >> np.uint32(16)) & np.uint32(1)
            code = ((word + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
        else:
            return _encode(fields, magnitude(values), "rne", overflow, None).astype(np.uint16)
    # A NaN whose mantissa is all ones carries into the sign above, so the code does not tell it.
    special = ((code & code.dtype.type(fields.infinity_code or 0)) == fields.infinity_code) | np.isnan(values)
    if special.any():
        # Overflow, infinity or NaN: the general way knows what each becomes.
        code[special] = _encode(fields, magnitude(values[special]), "rne", overflow, None)
    return code


def _encode(
    fields: FloatFields,
    x: Magnitude,
    rounding: Rounding,
    overflow: Overflow,
    random: npt.NDArray[np.uint32] | None,
) -> npt.NDArray[np.int64]:
    grid = Grid(fields.mantissa, fields.lowest, fields.subnormal, fields.zero)
    code = round_to_grid(x, grid, rounding, random)
    top, infinity, nan = fields.top_code, fields.infinity_code, fields.nan_code
    beyond = top if infinity is None else infinity
    lost = np.zeros(code.shape, np.bool_)  # to NaN
    over = code > top
    if overflow == "sat":
        code = np.where(over, top, code)
        code = np.where(x.infinite, beyond, code)
    else:
        toward_zero = _stops_at_top(x, rounding)
        code = np.where(over, np.where(toward_zero, top, beyond), code)
        code = np.where(x.infinite, beyond, code)
        if infinity is None:
            lost = (over & ~toward_zero) | x.infinite
    if not fields.signed:
        below = x.negative & ((code != 0) | x.infinite)
        if not fields.zero:
            below = x.negative | ((x.significand == 0) & ~x.infinite)
        code = np.where(below, 0, code)
        lost = (lost & ~x.negative) | below if overflow == "ieee" else lost
    if nan is None:
        code = np.where(x.nan, 0, code)
        return _with_sign(fields, code, x.negative & ~x.nan, x.nan)
    lost = lost | x.nan
    return _with_sign(fields, np.where(lost, nan, code), x.negative, lost)


def _stops_at_top(x: Magnitude, rounding: Rounding) -> npt.NDArray[np.bool_]:
    """Where the mode rounds magnitudes down, so that a finite value never becomes infinite."""
    match rounding:
        case "rtz":
            return np.ones(x.negative.shape, np.bool_)
        case "rup":
            return x.negative
        case "rdn":
            return ~x.negative
        case "rne" | "rna" | "stochastic":
            return np.zeros(x.negative.shape, np.bool_)


def _with_sign(
    fields: FloatFields,
    code: npt.NDArray[np.int64],
    negative: npt.NDArray[np.bool_],
    lost: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    if not fields.signed:
        return code
    signed = np.where(negative, code | fields.sign_bit, code)
    if fields.specials == "fnuz":  # one zero, one NaN
        return np.where(lost | (code == 0), code, signed)
    return signed

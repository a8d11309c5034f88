"""What an element type's values are exactly: bytes for integer products, bf16 for bf16 products, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...vm.dtypes import Codebook, DType, Int, codebook
from ..tensor import value_table


@dataclass(frozen=True)
class Integers:
    """An element type's values as unsigned bytes: value = (byte - shift) * unit, exactly."""

    element: DType
    shift: int
    unit: float


@lru_cache(maxsize=64)
def as_integers(element: DType) -> Integers | None:
    """The element's values as bytes, if they are multiples of one power of two and fit; None if they do not.

    For integers the byte of a code is the code itself, with its sign bit turned if the type is signed; a codebook's
    codes may be such bytes, too.
    """
    if isinstance(element, Int):
        if element.bits > 8:
            return None
        return Integers(Int(element.bits, signed=False), -int(element.min), 1.0)
    table = value_table(element)
    values = table[~np.isnan(table)]
    if not np.isfinite(values).all() or not values.any():
        return None
    if values.size < table.size and not isinstance(element, Codebook):
        return None  # codes of NaN, which no byte stands for; a codebook's codes without a value do not occur
    mantissa, exponent = np.frexp(values[values != 0])
    low = int(min(e - (53 - _trailing(m)) for m, e in zip(mantissa.tolist(), exponent.tolist(), strict=True)))
    unit = 2.0**low
    whole = values / unit
    shift = max(0, int(-whole.min()))
    if whole.max() + shift > 255:
        return None
    if np.array_equal(whole + shift, np.arange(whole.size)):
        return Integers(Int(element.bits, signed=False), shift, unit)
    return Integers(codebook((whole + shift).tolist(), f"{element.name}_bytes"), shift, unit)


def _trailing(mantissa: float) -> int:
    """Trailing zero bits of a 53-bit mantissa."""
    bits = int(abs(mantissa) * 2**53)
    return (bits & -bits).bit_length() - 1


@lru_cache(maxsize=64)
def fits_bf16(element: DType) -> bool:
    """Whether every value is a bf16, and none so small that processors take it as 0."""
    values = value_table(element)
    values = values[np.isfinite(values)].astype(np.float32)
    high_half = not (values.view(np.uint32) & 0xFFFF).any()
    return high_half and not ((values != 0) & (np.abs(values) < np.finfo(np.float32).tiny)).any()

"""The upper halves of f32 values, four codes at a time, by look-ups of bytes.

Where the value of every code is an f32 whose lower half is 0, a bf16, two tables of bytes give the two bytes of its
upper half.  Four codes in the bytes of a word are looked up at once, and one permute then puts together an f32, or two
bf16 numbers.  A look-up of bytes reaches `Builder.byte_table_bits`; a code of 8 bits is looked up without its top bit
if that is the sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ...vm.dtypes import Bool, DType, Float
from ..lane.build import Builder
from ..lane.ir import Reg
from .decode import decode_table
from .swar import Positions, repack

__all__ = ["by_bytes", "half_pair", "single"]

SIGNS = 0x80808080
ENTRIES = 16  # of a table of bytes, at least


@lru_cache(maxsize=256)
def _tables(dtype: DType) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The upper and the lower byte for every code (without a sign, at 8 bits), or None where they are not enough."""
    if isinstance(dtype, Bool) or dtype.bits > 8:
        return None
    words = np.array(decode_table(dtype), np.uint32)
    if (words & 0xFFFF).any():
        return None
    if dtype.bits == 8:
        if not isinstance(dtype, Float) or not np.array_equal(words[128:], words[:128] | np.uint32(1 << 31)):
            return None
        words = words[:128]
    upper, lower = (np.resize(words >> np.uint32(s) & 0xFF, max(ENTRIES, len(words))).tolist() for s in (24, 16))
    return tuple(upper), tuple(lower)


def by_bytes(b: Builder, dtype: DType) -> bool:
    """Whether tables of bytes, a permute each, give the values of this dtype."""
    tables = _tables(dtype) if b.byte_table_bits else None
    return tables is not None and len(tables[0]) <= 1 << b.byte_table_bits


def _bytes(b: Builder, dtype: DType, words: Sequence[Reg], positions: Positions, register: int) -> tuple[Reg, Reg]:
    """Words of the upper and of the lower bytes for the four codes among which the register's is."""
    tables = _tables(dtype)
    assert tables is not None
    first = register - register % 4
    four = repack(b, words, positions[first : first + 4], 8)
    upper, lower = (b.lookup_bytes(table, four) for table in tables)
    return b.apply("choose", b.i32(SIGNS), four, upper) if dtype.bits == 8 else upper, lower


def single(b: Builder, dtype: DType, words: Sequence[Reg], positions: Positions, register: int) -> Reg:
    """The value of the register's code."""
    pair = half_pair(b, dtype, words, positions, register - register % 2)
    if register % 2:
        return b.apply("float", b.apply("and", pair, b.i32(0xFFFF0000)))
    return b.apply("float", b.apply("shl", pair, b.i32(16)))


def half_pair(b: Builder, dtype: DType, words: Sequence[Reg], positions: Positions, register: int) -> Reg:
    """The bf16 codes for the register, an even one, and the next, in a word."""
    upper, lower = _bytes(b, dtype, words, positions, register)
    place = register % 4
    return b.pick_bytes(lower, upper, (place, 4 + place, place + 1, 5 + place))

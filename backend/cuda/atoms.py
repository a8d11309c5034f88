"""Hardware instructions of NVIDIA's GPUs that the lane IR names, as a table.

Each row says what the instruction is called, which GPUs have it, what it takes and gives per lane, what it means (in
NumPy), what it costs, and how PTX writes it.  Words hold two 16-bit floats or four bytes, the first in the low bits.

    mma_f16, mma_bf16            the product of m16n8k16, f32 sums: a (4 words), b (2), c (4) give c
    mma_s8, _u8, _us8, _su8      of m16n8k32, i32 sums that wrap; the first letter is a's sign, the second b's
    mma_e4m3, mma_e5m2           of m16n8k32, f32 sums
    wgmma_f16_n64 ...            of four warps, with a matrix in shared memory: see atoms_group.py
    fma_f16x2(a, b, c), fma_bf16x2, mul_...(a, b)               rounded once to nearest even, subnormals kept
    pack_f16x2(low, high), pack_bf16x2                          two f32, each to nearest even
    cvt_f16x2_e4m3x2(x), cvt_f16x2_e5m2x2                       the low two bytes of x as two f16
    cvt_f16x2_e4m3x2_high(x), cvt_f16x2_e5m2x2_high             the high two
    f16tof32_high(x)             the high f16 of x as f32
    and_xor(x, mask, y)          x & mask ^ y
    prmt(x, y, selector)         bytes by number, chosen at run time; bit 3 of a nibble gives copies of the sign
    dp4a_us, _ls, _ss, _uu(acc, a, b)                           as on a CPU
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from ..lane.shared_meaning import SharedMeaning
from ..target import Target
from . import atoms_group, atoms_matrix, atoms_words
from .atom_row import Matrix, Meaning, Row

__all__ = ["MEANINGS", "ROWS", "Matrix", "Row", "rows_of", "select_row"]

ROWS: tuple[Row, ...] = (*atoms_matrix.ROWS, *atoms_group.ROWS, *atoms_words.ROWS)

MEANINGS: Mapping[str, Meaning | SharedMeaning] = MappingProxyType({row.name: row.meaning for row in ROWS})
"""What each atom means, by name: those of one name mean the same."""


@lru_cache(maxsize=16)
def rows_of(target: Target) -> Mapping[str, Row]:
    """The rows that the target has, by name; of several of one name, the cheapest."""
    found: dict[str, Row] = {}
    for row in sorted(ROWS, key=lambda row: row.cost):
        if all(target.has(f) for f in row.features):
            found.setdefault(row.name, row)
    return MappingProxyType(found)


def select_row(target: Target, name: str) -> Row:
    """The row of that name; KeyError where the target has none."""
    rows = rows_of(target)
    if name not in rows:
        raise KeyError(f"{target.name} has no atom {name!r}; it has {', '.join(sorted(rows))}")
    return rows[name]

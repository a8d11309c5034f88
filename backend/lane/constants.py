"""What constants are, and look-ups in constant tables and picks of bytes mean, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .ir import Constant
from .meaning import DTYPES, Lanes

__all__ = ["constant", "lookup", "lookup_bytes", "pick_bytes"]


def constant(op: Constant) -> Lanes:
    """The values as an array of the constant's type; integers may be given signed or unsigned."""
    if op.type == "f32":
        return np.array(op.values, np.float32)
    if op.type == "i1":
        return np.array(op.values).astype(bool)
    bits = 32 if op.type == "i32" else 64
    wrapped = [int(v) & ((1 << bits) - 1) for v in op.values]
    return np.array(wrapped, f"u{bits // 8}").view(DTYPES[op.type])


def lookup(table: Sequence[int], index: Lanes) -> Lanes:
    """The table's entry (32 bits) at `index` modulo its length, which is a power of two."""
    entries = constant(Constant("i32", tuple(table)))
    found: Lanes = entries[index.astype(np.int64) & (len(table) - 1)]
    return found


def lookup_bytes(table: Sequence[int], word: Lanes) -> Lanes:
    """Each byte of each word replaced by the table's entry at that byte modulo the table's length."""
    entries = np.array([v & 0xFF for v in table], np.uint8)
    found: NDArray[np.uint8] = entries[np.ascontiguousarray(word).view(np.uint8) & (len(table) - 1)]
    return found.view(np.int32)


def pick_bytes(x: Lanes, y: Lanes, order: Sequence[int]) -> Lanes:
    """Words of bytes that are taken from those of x and y, by number, or 0."""
    wide = [np.ascontiguousarray(w).view(np.uint8).reshape(-1, 4) for w in np.broadcast_arrays(x, y)]
    bytes_ = np.concatenate([*wide, np.zeros_like(wide[0][:, :1])], axis=1)
    return np.ascontiguousarray(bytes_[:, list(order)]).view(np.int32).reshape(-1)

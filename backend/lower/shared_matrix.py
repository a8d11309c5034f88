"""Loads from shared memory as matrices: where a warp's words are parts of rows of 16 bytes, four come at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..lane.ir import ReadMatrix, Reg
from .access import Window
from .tile import Later

__all__ = ["read_matrices"]

_WARP, _QUAD, _ROWS = 32, 4, 8
_ROW_BYTES = 16


def read_matrices(window: Window, bits: int) -> Later | None:
    """The words of the tile's registers in order, read by ReadMatrix when asked for; None where they do not lie so.

    Elements are 8 or 16 bits wide; the words hold 4 or 2.
    """
    if bits not in (8, 16) or window.coords.shape[2] == 0 or any(window.open):
        return None
    lanes, registers, _ = window.coords.shape
    word = 32 // bits
    if lanes % _WARP or registers % word:
        return None
    for turned in (False, True):
        rows = _rows(window.coords, word, turned)
        if rows is not None:
            return _read(window, bits, rows, turned)
    return None


def _rows(coords: NDArray[np.int64], word: int, turned: bool) -> NDArray[np.int64] | None:
    """[warps, words, 8, rank]: where the 8 rows begin of which each word of a warp's lanes is a part."""
    lanes, registers, rank = coords.shape
    parts = coords.reshape(lanes // _WARP, _ROWS, _QUAD, registers // word, word, rank)
    if not turned:
        rows = parts[:, :, 0, :, 0].transpose(0, 2, 1, 3)
        wanted = np.broadcast_to(rows.transpose(0, 2, 1, 3)[:, :, None, :, None], parts.shape).copy()
        wanted[..., -1] += np.arange(_QUAD)[:, None, None] * word + np.arange(word)
        return rows if np.array_equal(parts, wanted) else None
    if word != 2 or rank < 2:
        return None
    rows = parts[:, 0].transpose(0, 2, 1, 3, 4).reshape(lanes // _WARP, registers // word, _ROWS, rank)
    wanted = np.broadcast_to(parts[:, :1], parts.shape).copy()
    wanted[..., -1] += np.arange(_ROWS)[:, None, None, None]
    return rows if np.array_equal(parts, wanted) else None


def _read(window: Window, bits: int, rows: NDArray[np.int64], turned: bool) -> Later | None:
    c = window.context
    warps, words, _, rank = rows.shape
    pending: list[ReadMatrix] = []
    for first in range(0, words, 4):
        count = 4 if words - first >= 4 else 2 if words - first >= 2 else 1
        starts = rows[:, [first + i % count for i in range(4)]].reshape(warps * _WARP, 1, rank)
        base, offset, align = Window(c, window.memory, window.at, window.shape, starts).address(0, bits)
        if align % _ROW_BYTES:
            return None
        pending.append(ReadMatrix(base, offset, count, turned))
        if words - first == 3:
            last = rows[:, [words - 1] * 4].reshape(warps * _WARP, 1, rank)
            base, offset, _ = Window(c, window.memory, window.at, window.shape, last).address(0, bits)
            pending.append(ReadMatrix(base, offset, 1, turned))
    held: dict[int, tuple[Reg, ...]] = {}
    place = [(number, k) for number, op in enumerate(pending) for k in range(op.count)]

    def make(word: int) -> Reg:
        number, k = place[word]
        if number not in held:
            held[number] = c.b.read_matrix(pending[number])
        return held[number][k]

    return Later(words, make)

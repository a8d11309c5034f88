"""The code of a number in a codebook: by its rank among the boundaries between the sorted values.

Boundaries are found by bisection over all numbers of the source type with the codebook's own `encode`, so that there is
no second definition here to disagree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...vm.dtypes import Codebook, Int, Rounding
from ..lane.build import Builder
from ..lane.ir import Reg

_INFINITY = 0x7F800000
LINEAR = 24  # so many comparisons are cheaper than a search by look-ups in memory
LINEAR_BESIDE_TABLES = 6  # the same where look-ups are permutes of registers


def encode_codebook(b: Builder, book: Codebook, value: Reg, rounding: Rounding) -> Reg:
    """The code of an f32; NaN is taken as 0."""
    keys, codes = boundaries(book, rounding, None)
    bounds = numbers(np.array(keys, np.int64))
    rank = _rank(b, value, [b.f32(float(x)) for x in bounds], bounds.view(np.int32).tolist())
    code = _code(b, codes, rank)
    nan = int(book.encode(np.zeros(1, np.float32), rounding=rounding)[0])
    return b.apply("select", b.apply("fne", value, value), b.i32(nan), code)


def encode_whole_codebook(b: Builder, book: Codebook, source: Int, x: Reg, rounding: Rounding) -> Reg:
    """The code of an integer of the source type."""
    keys, codes = boundaries(book, rounding, source)
    compare = "sle" if source.signed else "ule"
    tables = keys if x.type == "i32" else None
    return _code(b, codes, _rank(b, x, [b.constant(x.type, _wrapped(k, x.type)) for k in keys], tables, compare))


def _wrapped(key: int, type: str) -> int:
    """Two's complement: constants are given as signed 64-bit numbers."""
    return key - (1 << 64) if type == "i64" and key >> 63 == 1 else key


def numbers(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """The f32 of each key; keys count all f32 in rising order, 0 is +0 and -1 is -0."""
    bits = np.where(keys >= 0, keys, 0x80000000 | -(keys + 1))
    return bits.astype(np.uint32).view(np.float32)


@lru_cache(maxsize=256)
def boundaries(book: Codebook, rounding: Rounding, source: Int | None) -> tuple[list[int], list[int]]:
    """The least key of each code but the first, and the codes in the order of their values, as far as numbers reach.

    Keys are integers of the source, or those of `numbers` if it is None, f32.
    """
    order = sorted(set(book.values))
    codes = book.encode(np.array(order, np.float32)).astype(np.int64)
    rank_of = np.zeros(int(codes.max()) + 1, np.int64)
    rank_of[codes] = np.arange(len(order))

    def rank(keys: NDArray[np.object_]) -> NDArray[np.int64]:
        given = numbers(keys.astype(np.int64)) if source is None else keys
        found: NDArray[np.int64] = rank_of[book.encode(given, rounding=rounding)]
        return found

    low, high = (-_INFINITY - 1, _INFINITY) if source is None else (source.min, source.max)
    first, last = rank(np.array([low, high], object))
    keys = _least(rank, low, high, np.arange(first + 1, last + 1))
    return keys, codes[first : last + 1].tolist()


def _least(
    rank: Callable[[NDArray[np.object_]], NDArray[np.int64]], low: int, high: int, wanted: NDArray[np.int64]
) -> list[int]:
    """For each wanted rank, which lies above that of `low`, the least key that has it or a higher one."""
    below, above = np.full(wanted.shape, low, object), np.full(wanted.shape, high, object)
    for _ in range((high - low).bit_length()):
        middle = (below + above) // 2
        reached = rank(middle) >= wanted if middle.size else np.zeros(0, bool)
        above, below = np.where(reached, middle, above), np.where(reached, below, middle)
    return [int(k) for k in above]


def _rank(b: Builder, x: Reg, bounds: Sequence[Reg], table: Sequence[int] | None, compare: str = "fle") -> Reg:
    """How many bounds are at or below x; more than there are, where x is beyond the last and the search overshoots.

    `table` holds the bounds as words, if they are such.
    """
    limit = LINEAR_BESIDE_TABLES if b.table_bits >= 4 else LINEAR
    if table is None or len(bounds) <= limit:
        rank = b.i32(0)
        for bound in bounds:
            rank = b.apply("add", rank, b.apply("select", b.apply(compare, bound, x), b.i32(1), b.i32(0)))
        return rank
    levels = len(bounds).bit_length()
    padded = [*table, *[table[-1]] * ((1 << levels) - 1 - len(table))]
    rank = b.i32(0)
    for level in range(levels):
        step = 1 << (levels - level)
        middles = padded[step // 2 - 1 :: step]
        word = b.i32(middles[0]) if level == 0 else b.lookup(middles, rank)
        bound = b.apply("float", word) if compare == "fle" else word
        above = b.apply("select", b.apply(compare, bound, x), b.i32(1), b.i32(0))
        rank = b.apply("or", b.apply("shl", rank, b.i32(1)), above)
    return rank


def _code(b: Builder, codes: Sequence[int], rank: Reg) -> Reg:
    """The code of a rank; ranks past the end are that of the last."""
    if list(codes) == list(range(len(codes))):
        return b.apply("umin", rank, b.i32(len(codes) - 1))
    size = 1 << max(4, (len(codes) - 1).bit_length())
    return b.lookup((*codes, *[codes[-1]] * (size - len(codes))), rank)

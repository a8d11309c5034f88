"""Codebooks: element types given by a table, for alphabets that no formula describes (nf4, ternary, a user's own)."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from .element import DTypeError, Element, checked_codes
from .rounding import Overflow, Rounding, blocks, check_modes, numbers

# From this many values at once, a table of all prefixes pays.
_BUCKETS_FROM: Final = 1 << 12


@dataclass(frozen=True, repr=False)
class Codebook(Element):
    """Code c stands for `values[c]`: 2 to 256 finite numbers in any order, each rounded to float32.

    The width is ceil(log2(number of values)), at least 1; codes beyond the table do not exist. A value may stand at
    several codes: then `encode` gives the lowest of them.

    >>> Codebook("ternary", (-1.0, 0.0, 1.0)).encode([0.6, -7, 0.5]).tolist()
    [2, 0, 1]
    """

    name: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise DTypeError(f"a codebook's name must be an identifier such as 'my_table', not {self.name!r}")
        with np.errstate(over="ignore"):
            table = tuple(float(np.float32(v)) for v in self.values)
        if not all(math.isfinite(v) for v in table):
            raise DTypeError(f"codebook {self.name}: every value must be finite and fit float32")
        if not 2 <= len(table) <= 256 or len(set(table)) < 2:
            raise DTypeError(f"codebook {self.name}: give 2 to 256 values, at least two of them different")
        object.__setattr__(self, "values", table)

    @property
    def bits(self) -> int:
        return max(1, (len(self.values) - 1).bit_length())

    @property
    def carrier(self) -> np.dtype[np.generic]:
        return np.dtype(np.float32)

    @property
    def min(self) -> float:
        return min(self.values)

    @property
    def max(self) -> float:
        return max(self.values)

    def encode(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.unsignedinteger]:
        """Codes of the chosen neighbour of each value in the sorted table.

        `rne`: the nearest; a tie goes to the value with the lower code. `rna`: a tie goes to the greater magnitude
        (of two equal magnitudes, to the lower code). `rdn`, `rup`: the lower, upper neighbour. `rtz`: the neighbour of
        smaller magnitude (of two equal ones, as `rne`). `stochastic`: the upper neighbour b of a <= x < b if
        floor((x - a) / (b - a) * 2^32) + random >= 2^32, in float64.
        Beyond the ends, and for infinities, the end value, under both overflows. NaN is taken as 0.
        """
        array = numbers(values)
        check_modes(rounding, overflow, random, array.shape)
        flat = np.ascontiguousarray(array).reshape(-1)
        bits = None if random is None else np.ascontiguousarray(random).reshape(-1)
        out = np.empty(flat.shape, np.uint8)
        for part in blocks(flat.size):
            if bits is None:
                out[part] = _nearest(self, flat[part], rounding)
            else:
                out[part] = _stochastic(self, flat[part], bits[part])
        return out.reshape(array.shape)

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The values of `codes`; DTypeError for a code that is not in the table."""
        return np.asarray(np.take(_table(self), checked_codes(codes, len(self.values), self.name)))

    def round(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """The table values that `values` round to: `decode(encode(values))`."""
        return self.decode(self.encode(values, rounding, overflow, random))

    def __repr__(self) -> str:
        shown = ", ".join(f"{v:g}" for v in self.values[:4])
        more = ", ..." if len(self.values) > 4 else ""
        return f"Codebook({self.name!r}, {len(self.values)} values: {shown}{more})"


@lru_cache(maxsize=256)
def _table(book: Codebook) -> npt.NDArray[np.float32]:
    table = np.array(book.values, np.float32)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=256)
def _sorted(book: Codebook) -> tuple[tuple[float, ...], npt.NDArray[np.uint8]]:
    """The different values in rising order, and the lowest code of each."""
    lowest: dict[float, int] = {}
    for code, value in enumerate(book.values):
        lowest.setdefault(value, code)
    order = sorted(lowest)
    return tuple(order), np.array([lowest[v] for v in order], np.uint8)


@dataclass(frozen=True)
class _Bound:
    """Where a gap between sorted neighbours is divided: what is >= `at` (> `at` if `strict`) goes to the upper one."""

    at: Fraction
    strict: bool

    def least_float(self) -> float:
        """The least float64 that goes to the upper neighbour."""
        nearest = float(self.at)
        if Fraction(nearest) < self.at or (self.strict and Fraction(nearest) == self.at):
            return math.nextafter(nearest, math.inf)
        return nearest

    def least_integer(self) -> int:
        """The least integer that goes to the upper neighbour."""
        return math.floor(self.at) + 1 if self.strict else math.ceil(self.at)


@lru_cache(maxsize=512)
def _bounds(book: Codebook, rounding: Rounding) -> tuple[_Bound, ...]:
    """One bound per gap, rising."""
    order, codes = _sorted(book)
    found = []
    for i, (low, high) in enumerate(pairwise(order)):
        toward_low = bool(codes[i] < codes[i + 1])
        way: Rounding = rounding
        if rounding == "rtz" and abs(low) != abs(high):
            way = "rdn" if abs(low) < abs(high) else "rup"
        if rounding == "rna" and abs(low) != abs(high):
            toward_low = abs(low) > abs(high)
        if way == "rdn":
            found.append(_Bound(Fraction(high), strict=False))
        elif way == "rup":
            found.append(_Bound(Fraction(low), strict=True))
        else:
            found.append(_Bound((Fraction(low) + Fraction(high)) / 2, strict=toward_low))
    return tuple(found)


@lru_cache(maxsize=512)
def _thresholds(book: Codebook, rounding: Rounding) -> npt.NDArray[np.float64]:
    """For each gap the least float64 that goes to the upper neighbour."""
    return np.array([bound.least_float() for bound in _bounds(book, rounding)], np.float64)


@lru_cache(maxsize=512)
def _thresholds_f32(book: Codebook, rounding: Rounding) -> npt.NDArray[np.float32]:
    """The same for float32 inputs."""
    exact = _thresholds(book, rounding)
    near = exact.astype(np.float32)
    return np.where(near < exact, np.nextafter(near, np.float32(np.inf)), near)


@lru_cache(maxsize=64)
def _buckets(book: Codebook, rounding: Rounding) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """For each value of a float32's upper 16 bits: how many thresholds are at or below all numbers that begin so, and
    the one threshold that lies among them (NaN: there is none). None if two thresholds are that close.
    """
    prefix = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    ends = np.stack([prefix, prefix | np.uint32(0xFFFF)]).view(np.float32)
    infinity = np.float32(np.inf)
    ends = np.where(np.isnan(ends), np.copysign(infinity, ends), ends)  # the numbers that begin as infinity does
    bounds = _thresholds_f32(book, rounding)
    first, last = np.searchsorted(bounds, np.sort(ends, axis=0), side="right")
    if np.any(last - first > 1):
        return None
    inside = np.append(bounds, infinity)[first]
    return first, np.where(last > first, inside, np.float32(np.nan))


def _thresholds_whole(book: Codebook, rounding: Rounding, kind: str) -> npt.NDArray[np.generic]:
    """The same for int64 or uint64 inputs, as far as the type reaches."""
    limits = np.iinfo(np.int64 if kind == "i" else np.uint64)
    least = [max(bound.least_integer(), int(limits.min)) for bound in _bounds(book, rounding)]
    return np.array([bound for bound in least if bound <= limits.max], limits.dtype)


def _nearest(book: Codebook, values: npt.NDArray[np.generic], rounding: Rounding) -> npt.NDArray[np.uint8]:
    _, codes = _sorted(book)
    kind = values.dtype.kind
    if kind == "O":
        whole = [bound.least_integer() for bound in _bounds(book, rounding)]
        return codes[[bisect_right(whole, int(v)) for v in values]]
    if kind in "biu":
        wide = values.astype(np.int64 if kind == "i" else np.uint64)
        return codes[np.searchsorted(_thresholds_whole(book, rounding, kind), wide, side="right")]
    if values.dtype.itemsize <= 4:
        short = _zero_for_nan(values.astype(np.float32))
        buckets = _buckets(book, rounding) if short.size >= _BUCKETS_FROM else None
        if buckets is not None:
            prefix = short.view(np.uint32) >> np.uint32(16)
            index = buckets[0][prefix] + (short >= buckets[1][prefix])
        else:
            index = np.searchsorted(_thresholds_f32(book, rounding), short, side="right")
    else:
        index = np.searchsorted(_thresholds(book, rounding), _zero_for_nan(values.astype(np.float64)), side="right")
    chosen: npt.NDArray[np.uint8] = codes[index]
    return chosen


_F = TypeVar("_F", bound=np.floating)


def _zero_for_nan(values: npt.NDArray[_F]) -> npt.NDArray[_F]:
    return np.where(np.isnan(values), values.dtype.type(0), values)


def _stochastic(
    book: Codebook, values: npt.NDArray[np.generic], random: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint8]:
    order, codes = _sorted(book)
    table = np.array(order)
    with np.errstate(over="ignore"):
        x = np.clip(_zero_for_nan(values.astype(np.float64)), order[0], order[-1])
    low = np.minimum(np.searchsorted(table, x, side="right") - 1, len(order) - 2)
    share = (x - table[low]) / (table[low + 1] - table[low])
    up = np.floor(share * 2.0**32).astype(np.uint64) + random >= np.uint64(1 << 32)
    chosen: npt.NDArray[np.uint8] = codes[low + up]
    return chosen

"""Rounding modes, and exact rounding of numbers of any NumPy type to a binary grid.

The modes (`Rounding`):

* `rne`  to nearest, a tie goes to the even code;   `rna`  to nearest, a tie goes away from zero
* `rtz`  toward zero;   `rup`  toward +infinity;   `rdn`  toward -infinity
* `stochastic`  away from zero with a probability proportional to the distance. With 32 random bits r and
  d = (|x| - a) / (b - a), where a <= |x| < b are neighbours, the result is b if floor(d * 2^32) + r >= 2^32, else a.
  (P3109's variant A.) A value on the grid never moves.

What happens beyond the largest finite value is `Overflow`, decided after rounding on a grid without an upper end:

* `sat`   finite values clamp to the largest finite value of their sign
* `ieee`  floats go to infinity, or to NaN where the type has no infinity, or clamp where it has neither;
          a finite value that the mode rounds toward zero stays at the largest finite value. Integers wrap modulo 2^n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

Rounding = Literal["rne", "rna", "rtz", "rup", "rdn", "stochastic"]
Overflow = Literal["sat", "ieee"]

# Enough elements that NumPy's cost per call vanishes, few enough that the temporaries stay in the L2 cache.
BLOCK: Final = 1 << 14

_LOW_EXPONENT: Final = -4096  # the exponent that stands for zero: far below any grid


class RoundingError(ValueError):
    """Values, a mode or random bits that cannot be rounded as asked."""


@dataclass(frozen=True)
class Magnitude:
    """Numbers taken apart exactly: |x| = significand * 2^(exponent - 63), top bit of the significand set unless x = 0.

    `nan` and `infinite` elements have significand 0. Integers above 2^64 keep a sticky lowest bit, which no mode
    can tell from the exact value for results of up to 24 bits.
    """

    negative: npt.NDArray[np.bool_]
    significand: npt.NDArray[np.uint64]
    exponent: npt.NDArray[np.int64]
    nan: npt.NDArray[np.bool_]
    infinite: npt.NDArray[np.bool_]


def numbers(values: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """`values` as an array whose kind is bool, int, uint, float (at most 64 bits) or object (Python integers)."""
    array = np.asarray(values)
    kind = array.dtype.kind
    if kind in "biu" or (kind == "f" and array.dtype.itemsize in (2, 4, 8)):
        return array
    if kind == "O" and all(isinstance(v, (int, np.integer)) for v in array.flat):
        return array
    if kind in "Vf" and array.dtype.itemsize <= 2 and array.dtype.names is None:  # ml_dtypes: bfloat16, fp8, int4 ...
        try:
            return array.astype(np.float32)
        except (TypeError, ValueError):
            pass
    raise RoundingError(
        f"cannot encode values of NumPy type {array.dtype}; pass integers or floats of at most 64 bits "
        "(convert longer floats with .astype(np.float64) first)"
    )


def check_modes(
    rounding: Rounding, overflow: Overflow, random: npt.NDArray[np.uint32] | None, shape: tuple[int, ...]
) -> None:
    """RoundingError unless both modes exist and `random` is there exactly when the rounding is stochastic."""
    if rounding not in get_args(Rounding):
        raise RoundingError(f"unknown rounding {rounding!r}; use one of {', '.join(get_args(Rounding))}")
    if overflow not in get_args(Overflow):
        raise RoundingError(f"unknown overflow {overflow!r}; use one of {', '.join(get_args(Overflow))}")
    if rounding != "stochastic":
        if random is not None:
            raise RoundingError(f"random bits are used only by rounding='stochastic', not by {rounding!r}")
        return
    if random is None:
        raise RoundingError("rounding='stochastic' needs `random`: an array of uint32, one per value")
    if random.dtype != np.uint32 or random.shape != shape:
        raise RoundingError(
            f"`random` must be uint32 of the values' shape {shape}, not {random.dtype} of shape {random.shape}"
        )


def blocks(size: int) -> Iterator[slice]:
    """Slices that cover 0..size in pieces small enough for the cache."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))


def magnitude(values: npt.NDArray[np.generic]) -> Magnitude:
    """A 1-D array from `numbers`, taken apart exactly."""
    kind = values.dtype.kind
    if kind == "f":
        with np.errstate(invalid="ignore"):  # a signalling NaN
            return _float_magnitude(values.astype(np.float64))
    if kind == "O":
        return _python_magnitude([int(v) for v in values])
    if kind == "i":
        signed = values.astype(np.int64)
        unsigned = signed.view(np.uint64)
        negative = signed < 0
        return _integer_magnitude(negative, np.where(negative, ~unsigned + np.uint64(1), unsigned))
    return _integer_magnitude(np.zeros(values.shape, np.bool_), values.astype(np.uint64))


def _float_magnitude(values: npt.NDArray[np.float64]) -> Magnitude:
    nan = np.isnan(values)
    infinite = np.isinf(values)
    fraction, exponent = np.frexp(np.abs(np.where(nan | infinite, 0.0, values)))
    significand = (fraction * 2.0**53).astype(np.uint64) << np.uint64(11)
    where = np.where(significand == 0, _LOW_EXPONENT, exponent.astype(np.int64) - 1)
    return Magnitude(np.signbit(values), significand, where, nan, infinite)


def _integer_magnitude(negative: npt.NDArray[np.bool_], value: npt.NDArray[np.uint64]) -> Magnitude:
    length = np.frexp(value.astype(np.float64))[1].astype(np.int64)
    # Conversion to float64 may round up to the next power of two, which counts one bit too many.
    too_long = (length > 0) & ((value >> np.clip(length - 1, 0, 63).astype(np.uint64)) == 0)
    too_long |= length > 64
    length -= too_long
    significand = value << np.clip(64 - length, 0, 63).astype(np.uint64)
    no = np.zeros(value.shape, np.bool_)
    return Magnitude(negative, significand, np.where(value == 0, _LOW_EXPONENT, length - 1), no, no)


def _python_magnitude(values: list[int]) -> Magnitude:
    significand = np.zeros(len(values), np.uint64)
    exponent = np.full(len(values), _LOW_EXPONENT, np.int64)
    for i, value in enumerate(values):
        absolute = abs(value)
        length = absolute.bit_length()
        if length > 64:
            kept = absolute >> (length - 64)
            significand[i] = kept | (kept << (length - 64) != absolute)
        elif length:
            significand[i] = absolute << (64 - length)
        if length:
            exponent[i] = length - 1
    no = np.zeros(len(values), np.bool_)
    return Magnitude(np.array([v < 0 for v in values], np.bool_), significand, exponent, no, no)


@dataclass(frozen=True)
class Grid:
    """Magnitudes of a binary floating-point type with no upper end: `mantissa` bits, numbered from code 0.

    `lowest` is the exponent of the lowest binade. With `subnormal`, its lower half-open interval down to zero is filled
    at the same spacing. Without, code 0 is 2^lowest, or zero if `zero` (then 2^lowest itself is missing).
    """

    mantissa: int
    lowest: int
    subnormal: bool
    zero: bool


@dataclass(frozen=True)
class _Between:
    """Where magnitudes lie between two neighbours of a grid; `odd` tells the code of the lower one."""

    above: npt.NDArray[np.bool_]  # beyond the middle
    tie: npt.NDArray[np.bool_]  # in the middle
    inexact: npt.NDArray[np.bool_]  # not on the lower neighbour
    odd: npt.NDArray[np.bool_]
    chance: npt.NDArray[np.uint64]  # floor(d * 2^32), d the distance from the lower one as a share of the gap

    def up(
        self, negative: npt.NDArray[np.bool_], rounding: Rounding, random: npt.NDArray[np.uint32] | None
    ) -> npt.NDArray[np.bool_]:
        """Whether each magnitude goes to its upper neighbour."""
        match rounding:
            case "rne":
                return self.above | (self.tie & self.odd)
            case "rna":
                return self.above | self.tie
            case "rtz":
                return np.zeros(self.tie.shape, np.bool_)
            case "rup":
                return self.inexact & ~negative
            case "rdn":
                return self.inexact & negative
            case "stochastic":
                assert random is not None
                away: npt.NDArray[np.bool_] = self.chance + random >= np.uint64(1 << 32)
                return away


def round_to_grid(
    x: Magnitude, grid: Grid, rounding: Rounding, random: npt.NDArray[np.uint32] | None
) -> npt.NDArray[np.int64]:
    """The number of the grid value to which |x| rounds (the sign decides what `rup` and `rdn` mean)."""
    place = np.maximum(x.exponent, grid.lowest)
    shift = 63 - grid.mantissa + (place - x.exponent)
    # A quantum above 2^63 units: keep 63 bits of the significand and one sticky bit.
    excess = np.clip(shift - 63, 0, 63).astype(np.uint64)
    lost = x.significand & ((np.uint64(1) << excess) - np.uint64(1))
    significand = (x.significand >> excess) | (lost != 0)
    by = np.minimum(shift, 63).astype(np.uint64)
    kept = significand >> by
    rest = significand & ((np.uint64(1) << by) - np.uint64(1))
    half = np.uint64(1) << (by - np.uint64(1))
    code: npt.NDArray[np.int64] = ((place - grid.lowest) << grid.mantissa) + kept.astype(np.int64)
    if not grid.subnormal:
        code -= 1 << grid.mantissa
    chance = rest >> (by - np.uint64(32))  # `by` is at least 40
    between = _Between(rest > half, rest == half, rest != 0, (code & 1) == 1, chance)
    rounded = np.add(code, between.up(x.negative, rounding, random), dtype=np.int64)
    if grid.subnormal:
        return rounded
    if not grid.zero:
        return np.maximum(rounded, 0)
    first = _below_first(kept, between, grid.mantissa).up(x.negative, rounding, random)
    return np.where(code >= 1, rounded, first.astype(np.int64))


def _below_first(kept: npt.NDArray[np.uint64], between: _Between, mantissa: int) -> _Between:
    """Where magnitudes lie between codes 0 and 1 of a grid with a zero but no subnormals; its first gap is wide.

    The gap is 2^mantissa + 1 quanta; a magnitude is `kept` quanta, and `between` says where in the next quantum.
    """
    gap = np.uint64((1 << mantissa) + 1)
    kept = np.minimum(kept, gap)  # larger ones are not below code 1; the caller drops them
    twice = (kept << np.uint64(1)) + (between.above | between.tie)
    beyond = between.inexact & ~between.tie
    share = ((kept << np.uint64(32)) + between.chance) // gap
    return _Between(
        above=(twice > gap) | ((twice == gap) & beyond),
        tie=(twice == gap) & ~beyond,
        inexact=(kept != 0) | between.inexact,
        odd=np.zeros(kept.shape, np.bool_),
        chance=share,
    )


def round_to_whole(
    values: npt.NDArray[np.float64], rounding: Rounding, random: npt.NDArray[np.uint32] | None
) -> npt.NDArray[np.float64]:
    """Finite floats rounded to whole numbers, exactly."""
    match rounding:
        case "rne":
            return np.rint(values)
        case "rtz":
            return np.trunc(values)
        case "rup":
            return np.ceil(values)
        case "rdn":
            return np.floor(values)
        case "rna" | "stochastic":
            absolute = np.abs(values)
            low = np.floor(absolute)
            chance = absolute - low
            if rounding == "rna":
                away = chance >= 0.5
            else:
                assert random is not None
                away = (chance * 2.0**32).astype(np.uint64) + random >= np.uint64(1 << 32)
            whole: npt.NDArray[np.float64] = np.copysign(low + away, values)
            return whole

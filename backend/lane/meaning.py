"""The NumPy meaning of every row of `KINDS`, on arrays that hold one value per lane (or one for all of them).

i1 is bool, i32 int32, i64 int64, f32 float32.  Results are exact: integers wrap, floats round once to nearest even and
keep subnormals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...vm.fused import fma32, odd_sum

__all__ = ["DTYPES", "MEANINGS", "Lanes", "fma32", "half_to_single", "odd_sum", "single_to_half"]

Lanes = NDArray[np.generic]
Ints = NDArray[np.signedinteger]  # int32 or int64
Floats = NDArray[np.float32]
DTYPES: dict[str, np.dtype[np.generic]] = {
    "i1": np.dtype(np.bool_), "i32": np.dtype(np.int32), "i64": np.dtype(np.int64), "f32": np.dtype(np.float32),
}  # fmt: skip


def unsigned(x: Ints) -> NDArray[np.uint64]:
    """The bits of an i32 or i64 as a number from 0 up."""
    return x.view(np.uint32).astype(np.uint64) if x.dtype == np.int32 else x.view(np.uint64)


def _divide(x: Ints, y: Ints, remainder: bool, signed: bool) -> Ints:
    """Truncating division; 0 for a zero divisor; the least integer by -1 wraps."""
    dtype = x.dtype
    if not signed:
        a, b = unsigned(x), unsigned(y)
        safe = np.where(b == 0, np.uint64(1), b)
        found = np.where(b == 0, np.uint64(0), a % safe if remainder else a // safe)
        return found.astype(np.uint32 if dtype == np.int32 else np.uint64).view(dtype)
    wraps = (x == np.iinfo(dtype).min) & (y == -1)
    safe = np.where((y == 0) | wraps, dtype.type(1), y)
    rest = np.fmod(x, safe)
    quotient = (x - rest) // safe
    return np.where(y == 0, dtype.type(0), rest if remainder else quotient)


def _shift(kind: str) -> Callable[[Ints, Ints], Ints]:
    def run(x: Ints, y: Ints) -> Ints:
        width = 8 * x.dtype.itemsize
        if ((y < 0) | (y >= width)).any():
            raise ValueError(f"{kind} by {y[(y < 0) | (y >= width)][0]}: the amount must be from 0 to {width - 1}")
        if kind == "lshr":
            found = unsigned(x) >> y.astype(np.uint64)
            return found.astype(np.uint32 if width == 32 else np.uint64).view(x.dtype)
        return x << y if kind == "shl" else x >> y

    return run


def _extreme(
    pick_first: Callable[[Floats, Floats], NDArray[np.bool_]], zero_sign: bool
) -> Callable[[Floats, Floats], Floats]:
    """IEEE 754-2019 minimum or maximum: NaN wins, and -0 is below +0."""

    def run(x: Floats, y: Floats) -> Floats:
        tie = np.where(np.signbit(x) == zero_sign, x, y)
        found = np.where(x == y, tie, np.where(pick_first(x, y), x, y))
        return np.where(np.isnan(x) | np.isnan(y), np.float32(np.nan), found)

    return run


def _saturate(x: NDArray[np.float32], low: int, high: int) -> NDArray[np.int64]:
    """Truncated towards 0, the nearer end where out of [low, high], 0 for NaN."""
    wide = np.trunc(x.astype(np.float64))
    inside = (wide >= float(low)) & (wide < float(high + 1))
    found = np.where(inside, wide, 0.0).astype(np.int64)
    found = np.where(wide >= float(high + 1), np.int64(high), found)
    return np.where(wide < float(low), np.int64(low), found)


def half_to_single(word: NDArray[np.int32]) -> NDArray[np.float32]:
    """The f16 in the low half of each word."""
    return (word & 0xFFFF).astype(np.uint16).view(np.float16).astype(np.float32)


def single_to_half(x: NDArray[np.float32]) -> NDArray[np.int32]:
    """To nearest even; NaN keeps its sign and leading payload and becomes quiet."""
    bits = x.view(np.uint32)
    nan = (
        ((bits >> np.uint32(16)) & np.uint32(0x8000)) | np.uint32(0x7E00) | ((bits >> np.uint32(13)) & np.uint32(0x1FF))
    )
    found = np.where(np.isnan(x), np.float32(0), x).astype(np.float16).view(np.uint16).astype(np.uint32)
    return np.where(np.isnan(x), nan, found).astype(np.uint32).view(np.int32)


def _round_once(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Floats], Floats]:
    """A function of the C library in f64, rounded to f32: within one unit in the last place."""
    return lambda x: function(x.astype(np.float64)).astype(np.float32)


def _choose(condition: NDArray[np.bool_], x: Lanes, y: Lanes) -> Lanes:
    chosen: Lanes = np.where(condition, x, y)
    return chosen


def _mulhi(x: Ints, y: Ints) -> Ints:
    return ((unsigned(x) * unsigned(y)) >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _from_unsigned(x: Ints) -> Floats:
    return unsigned(x).astype(np.float32)


MEANINGS: dict[str, Callable[..., Lanes]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "sdiv": lambda x, y: _divide(x, y, False, True), "srem": lambda x, y: _divide(x, y, True, True),
    "udiv": lambda x, y: _divide(x, y, False, False), "urem": lambda x, y: _divide(x, y, True, False),
    "smin": np.minimum, "smax": np.maximum,
    "umin": lambda x, y: _choose(unsigned(x) < unsigned(y), x, y),
    "umax": lambda x, y: _choose(unsigned(x) > unsigned(y), x, y),
    "shl": _shift("shl"), "lshr": _shift("lshr"), "ashr": _shift("ashr"),
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "eq": np.equal, "ne": np.not_equal, "slt": np.less, "sle": np.less_equal,
    "ult": lambda x, y: unsigned(x) < unsigned(y), "ule": lambda x, y: unsigned(x) <= unsigned(y),
    "mulhi": _mulhi,
    "choose": lambda mask, x, y: (mask & x) | (~mask & y),
    "fadd": np.add, "fsub": np.subtract, "fmul": np.multiply, "fdiv": np.divide,
    "fmin": _extreme(np.less, True), "fmax": _extreme(np.greater, False), "fma": fma32,
    "fneg": np.negative, "fabs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "rint": np.rint,
    "exp": _round_once(np.exp), "exp2": _round_once(np.exp2), "log": _round_once(np.log), "log2": _round_once(np.log2),
    "sin": _round_once(np.sin), "cos": _round_once(np.cos), "tanh": _round_once(np.tanh),
    "feq": np.equal, "fne": np.not_equal, "flt": np.less, "fle": np.less_equal,
    "sitofp": lambda x: x.astype(np.float32), "uitofp": _from_unsigned,
    "fptosi": lambda x: _saturate(x, -(2**31), 2**31 - 1).astype(np.int32),
    "fptoui": lambda x: _saturate(x, 0, 2**32 - 1).astype(np.uint32).view(np.int32),
    "fptosl": lambda x: _saturate(x, -(2**63), 2**63 - 1),
    "sext": lambda x: x.astype(np.int64), "zext": lambda x: unsigned(x).astype(np.int64),
    "trunc": lambda x: x.astype(np.int32),
    "bits": lambda x: x.view(np.int32), "float": lambda x: x.view(np.float32),
    "f16tof32": half_to_single, "f32tof16": single_to_half,
    "select": _choose,
}  # fmt: skip

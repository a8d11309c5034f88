"""Sums that are rounded once, in arithmetic that rounds twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fma32", "odd_sum"]


def fma32(x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32]) -> NDArray[np.float32]:
    """x * y + z rounded once: the product is exact in f64."""
    return odd_sum(x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64)).astype(np.float32)


def odd_sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """x + y rounded to odd, so that rounding it to f32 or less equals rounding the exact sum.

    The error of the addition is found exactly (Knuth's two-sum), and where it is not 0 the last bit is set, by going
    one step towards it if need be (Boldo and Melquiond, 2008).
    """
    total = np.atleast_1d(np.asarray(x + y))
    part = total - x
    lost = (x - (total - part)) + (y - part)
    bits = total.view(np.int64)
    inexact = (lost < 0) | (lost > 0)
    step = np.where((lost > 0) == (total > 0), 1, -1)
    return np.where(inexact & (bits & 1 == 0), bits + step, bits).view(np.float64)

"""What `bitwright run` says of an array that a kernel wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...vm.dtypes import Float
from ...vm.ir import Array

Numbers = npt.NDArray[np.generic]

SHOWN = 6
LEAST_TOLERANCE = 1e-5
"""Relative error that is allowed for floats of any precision: sums are taken in another order."""


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart, and whether that is within what is allowed."""

    text: str
    good: bool


def summary(array: Array, values: Numbers) -> str:
    """One line: dtype, shape, range, mean, and the first numbers."""
    head = f"{array.name}: {array.dtype}{list(values.shape)}"
    if not values.size:
        return f"{head} is empty"
    flat = values.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    odd = f", {flat.size - finite.size} not finite" if finite.size < flat.size else ""
    spread = f" min {finite.min():.6g}, max {finite.max():.6g}, mean {finite.mean():.6g}" if finite.size else ""
    some = " ".join(f"{value:.6g}" for value in flat[:SHOWN]) + (" ..." if flat.size > SHOWN else "")
    return f"{head}{spread}{odd}; {some}"


def difference(array: Array, ours: Numbers, right: Numbers, tolerance: float | None) -> Difference:
    """The largest difference, also relative to the largest number. NaNs and infinities must be the same."""
    a, b = ours.astype(np.float64), right.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return Difference(f"{array.name}: identical to the interpreter's", True)
    odd = ~same & ~(np.isfinite(a) & np.isfinite(b))
    if odd.any():
        return Difference(f"{array.name}: {int(odd.sum())} numbers are not finite in one of the two only", False)
    largest = float(np.abs(a - b)[~same].max())
    top = float(np.abs(b[np.isfinite(b)]).max())
    relative = largest / top if top else np.inf
    allowed = _tolerance(array) if tolerance is None else tolerance
    text = f"{array.name}: largest error {largest:.3g}, {relative:.3g} of the largest number ({top:.6g})"
    return Difference(text + ("" if relative <= allowed else f": more than {allowed:.3g}"), relative <= allowed)


def _tolerance(array: Array) -> float:
    """Two units in the last place for floats; integers are exact."""
    if not isinstance(array.dtype, Float):
        return 0.0
    return max(LEAST_TOLERANCE, 2.0 * 2.0**-array.dtype.mantissa)

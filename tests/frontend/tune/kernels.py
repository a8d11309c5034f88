"""A small kernel to tune."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bitwright.frontend.tune.kernel_problem import KernelProblem
from bitwright.frontend.tune.worker import Limits

QUICK = Limits(
    measure_seconds=20.0, compile_seconds=20.0, memory=1 << 29, cold=1 << 20, timed_seconds=0.02, prune=False
)
"""Timing that shows nothing but takes little time."""

SCALE = """
def scale(x: f32[M, N], y: f32[M, N], *, B: int = tune(64, 128, 256), R: int = tune(1, 2)):
    m, n = grid((M, R), (N, B))
    store(y, [m, n], load(x, [m, n], [R, B]) * 2.0)
"""

Arrays = Mapping[str, NDArray[np.generic]]


def bad(*names: str) -> tuple[str, ...]:
    return tuple(f"bitwright.tests.frontend.tune.bad_strategies:{name}" for name in names)


def scale(*strategies: str, reference: str = "interpreter") -> KernelProblem:
    """y = 2 x, with these bad strategies beside the kernel's own choices."""
    return KernelProblem.of(SCALE, {"M": 16, "N": 512}, strategies=bad(*strategies), reference=reference)


def double(arrays: Arrays, sizes: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    """The right result, in NumPy."""
    assert sizes == {"M": 16, "N": 512}
    return {"y": arrays["x"].astype(np.float64) * 2}


def triple(arrays: Arrays, sizes: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    return {"y": arrays["x"].astype(np.float64) * 3}


def slow(arrays: Arrays, sizes: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    time.sleep(1000)
    return double(arrays, sizes)


def slender(arrays: Arrays, sizes: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    return {"y": arrays["x"][:1].astype(np.float64)}

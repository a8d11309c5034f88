"""A kernel that takes as long as one likes: 2 ns for each of TIMES, in every block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SLOW = """
def slow(y: f32[N], *, TIMES: int = 1000):
    i = grid((N, 16))
    x = load(y, [i], [16])
    for t in range(TIMES):
        x = x * 0.5 + 1.0
    store(y, [i], x)
"""


def slow_result(y: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    for _ in range(times):
        y = y * np.float32(0.5) + np.float32(1)
    return y

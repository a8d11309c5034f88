"""How fast this machine reads memory: the limit of every kernel that reads each weight once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from ...backend.buffers import aligned_empty
from ..kernel import Kernel, compile

ROW_BYTES = 1 << 20
"""Bytes that one block of the kernel reads."""

PART_ROWS = 16
"""Rows that are timed at once: about as many bytes as one product of the kernels that are compared with it reads."""

PROGRAM = """
def read(x: i32[B, C], y: i32[B, 256]):
    "Each block sums one row of x, in 256 parts."
    b = grid(B)
    acc = zeros(i32, [1, 256])
    for k in range(0, C, 256):
        acc = acc + load(x, [b, k], [1, 256])
    store(y, [b, 0], acc)
"""


class BandwidthError(RuntimeError):
    """The kernel that measures bandwidth does not read what it should: our mistake."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A buffer much larger than the caches, and two ways of reading it with all threads."""

    buffer: npt.NDArray[np.int32]
    sums: npt.NDArray[np.int32]
    kernel: Kernel
    threads: int

    def sample(self) -> float:
        """Bytes per second of the faster way: the median over the buffer's parts, read one after the other."""
        with ThreadPoolExecutor(self.threads) as pool:
            ways = (
                self._by_kernel,
                lambda part: list(pool.map(np.max, np.array_split(part.reshape(-1), self.threads))),
            )
            return max(self._rate(way) for way in ways)

    def _rate(self, way: Callable[[npt.NDArray[np.int32]], object]) -> float:
        rates: list[float] = []
        for row in range(0, self.buffer.shape[0], PART_ROWS):
            part = self.buffer[row : row + PART_ROWS]
            start = time.perf_counter()
            way(part)
            rates.append(part.nbytes / (time.perf_counter() - start))
        return median(rates)

    def _by_kernel(self, part: npt.NDArray[np.int32]) -> None:
        self.kernel(part, self.sums[: len(part)])


def make_reader(nbytes: int, threads: int) -> Reader:
    """A reader of about that many bytes. The kernel's sums are checked before it is used."""
    rows = max(1, nbytes // ROW_BYTES)
    buffer = aligned_empty(rows * ROW_BYTES).view(np.int32).reshape(rows, -1)
    buffer[...] = np.arange(rows, dtype=np.int32)[:, None] + np.arange(buffer.shape[1], dtype=np.int32) % 7
    reader = Reader(buffer, np.zeros((rows, 256), np.int32), compile(PROGRAM, C=buffer.shape[1]), threads)
    reader.kernel(buffer, reader.sums)
    if not np.array_equal(reader.sums.sum(axis=1, dtype=np.int64), buffer.sum(axis=1, dtype=np.int64)):
        raise BandwidthError("the kernel that reads memory returns wrong sums")
    return reader

"""Timing contenders in turns: each product on weights that are not in the caches, the machine's mood shared by all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

PAUSE = 0.05
"""Seconds between contenders: the threads of the one before may spin for a while when they have no work."""


@dataclass(frozen=True, eq=False)
class Contender:
    """Something that computes y = x @ w.T.

    bits      of one weight as it is stored, without scales; None where weights are no codes
    nbytes    bytes of weights, scales and zero points that one product reads
    error     largest error of its result against float64, relative to the largest number of the result
    products  how many products one `call` makes, each with other copies of the weights
    """

    name: str
    bits: int | None
    nbytes: int
    error: float
    products: int
    call: Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Median seconds of one product of each contender, and the bytes per second at which memory was read meanwhile."""

    seconds: tuple[float, ...]
    bandwidth: float


def measure(contenders: list[Contender], bandwidth: Callable[[], float], seconds: float, rounds: int = 5) -> Timing:
    """Time every contender for about `seconds`, in `rounds` turns, with a bandwidth sample before each turn."""
    taken: list[list[float]] = [[] for _ in contenders]
    rates: list[float] = []
    for _ in range(rounds):
        rates.append(bandwidth())
        for contender, samples in zip(contenders, taken, strict=True):
            time.sleep(PAUSE)
            contender.call()  # warm up: threads, code, and what the pause put to sleep
            end = time.perf_counter() + seconds / rounds
            while not samples or time.perf_counter() < end:
                start = time.perf_counter()
                contender.call()
                samples.append((time.perf_counter() - start) / contender.products)
    return Timing(tuple(median(samples) for samples in taken), median(rates))

"""Timing contenders in turns: each product on weights that are not in the caches, the machine's mood shared by all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from ..library.plan import Activations

ROUNDS = 5
"""Turns of each contender."""

PAUSE = 0.05
"""Seconds between contenders: the threads of the one before may spin for a while when they have no work."""


@dataclass(frozen=True)
class Facts:
    """What a contender is.

    name         of the library, with what tells its kernels apart
    weights      what one weight is stored as, in the library's own words
    bits         of one stored weight, without scales
    activations  what activations are rounded to before they are multiplied
    nbytes       bytes of weights, scales and zero points that one product reads
    ours         whether it is this package
    """

    name: str
    weights: str
    bits: int
    activations: Activations
    nbytes: int
    ours: bool = False


@dataclass(frozen=True, eq=False)
class Contender:
    """Something that computes y = x @ w.T.

    error     largest error of its result against float64, relative to the largest number of the result
    products  how many products one `call` makes, each with other copies of the weights
    """

    facts: Facts
    error: float
    products: int
    call: Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Median seconds of one product of each contender, and the median reading of each meter meanwhile."""

    seconds: tuple[float, ...]
    readings: Mapping[str, float]


def measure(
    contenders: list[Contender], meters: Mapping[str, Callable[[], float]], seconds: float, rounds: int = ROUNDS
) -> Timing:
    """Time every contender for about `seconds`, in `rounds` turns, with a reading of every meter before each turn."""
    taken: list[list[float]] = [[] for _ in contenders]
    readings: dict[str, list[float]] = {name: [] for name in meters}
    for _ in range(rounds):
        for name, meter in meters.items():
            readings[name].append(meter())
        for contender, samples in zip(contenders, taken, strict=True):
            time.sleep(PAUSE)
            contender.call()  # warm up: threads, code, and what the pause put to sleep
            end = time.perf_counter() + seconds / rounds
            first = len(samples)
            while len(samples) == first or time.perf_counter() < end:
                start = time.perf_counter()
                contender.call()
                samples.append((time.perf_counter() - start) / contender.products)
    return Timing(
        tuple(median(samples) for samples in taken), {name: median(values) for name, values in readings.items()}
    )

"""Timing a candidate and the incumbent in turns, so that both feel whatever else the machine does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from .problem import Run

TURNS = 6
"""In which each contender is timed, one after the other; which one begins changes from turn to turn."""

SAMPLES = 16
"""Of one turn, about."""

LEAST_TURNS = 2
"""After which a candidate may be found to be behind."""

BEHIND = 1.15
"""A candidate whose fastest call is slower than the incumbent's median by this factor is not timed further."""

CLOSE = (0.93, 1.02)
"""Ratios to the incumbent between which it is timed for as long again, since little decides."""

PATIENCE = 6.0
"""Times the seconds asked for, after which slow calls are no longer repeated."""


@dataclass(frozen=True)
class Race:
    """Seconds of calls, in order; whether timing was cut short since the candidate was clearly behind."""

    ours: tuple[float, ...]
    others: tuple[float, ...]
    early: bool


def race(ours: Run, other: Run | None, seconds: float) -> Race:
    """Times each contender for about that long."""
    taken: tuple[list[float], list[float]] = [], []
    runs = [(ours, taken[0])] if other is None else [(ours, taken[0]), (other, taken[1])]
    end = time.perf_counter() + PATIENCE * seconds
    turns, turn = TURNS, 0
    while turn < turns:
        for run, samples in runs if turn % 2 else reversed(runs):
            _turn(run, samples, seconds / TURNS)
        turn += 1
        if other is not None and turn >= LEAST_TURNS and min(taken[0]) > BEHIND * median(taken[1]):
            return Race(tuple(taken[0]), tuple(taken[1]), True)
        if time.perf_counter() > end and turn >= LEAST_TURNS:
            break
        if turn == TURNS and other is not None and CLOSE[0] < median(taken[0]) / median(taken[1]) < CLOSE[1]:
            turns = 2 * TURNS
    return Race(tuple(taken[0]), tuple(taken[1]), False)


def _turn(run: Run, samples: list[float], seconds: float) -> None:
    """Calls for about that long; a sample is the mean of some calls where one takes very little.

    The first call, which finds threads asleep, does not count.
    """
    run.call()
    count = max(1, round(seconds / SAMPLES / _seconds(run, 1)))
    end = time.perf_counter() + seconds
    samples.append(_seconds(run, count))
    while time.perf_counter() < end:
        samples.append(_seconds(run, count))


def _seconds(run: Run, count: int) -> float:
    """Of one call, as the mean of so many."""
    start = time.perf_counter()
    for _ in range(count):
        run.call()
    return (time.perf_counter() - start) / count

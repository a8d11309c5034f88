"""Timing in turns, on a clock that only the contenders move: each call takes as long as it says."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from statistics import median

import pytest

from bitwright.frontend.tune.problem import Run
from bitwright.frontend.tune.race import BEHIND, TURNS, race


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def contender(self, name: str, seconds: Callable[[], float]) -> Run:
        def call() -> None:
            self.log.append(name)
            self.now += seconds()

        return Run(call, dict, lambda: None)

    def steady(self, name: str, seconds: float) -> Run:
        return self.contender(name, lambda: seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: found.now)
    return found


def test_contenders_take_turns_and_begin_by_turns(clock: Clock) -> None:
    found = race(clock.steady("a", 0.002), clock.steady("b", 0.002), 0.05)
    assert not found.early
    text = "".join(clock.log)
    changes = [text[i] for i in range(len(text)) if i == 0 or text[i] != text[i - 1]]
    assert len(changes) > TURNS
    assert set(text) == {"a", "b"}
    assert all(s == pytest.approx(0.002) for s in (*found.ours, *found.others))


def test_a_candidate_that_is_far_behind_is_not_timed_to_the_end(clock: Clock) -> None:
    found = race(clock.steady("a", 0.006), clock.steady("b", 0.002), 0.2)
    assert found.early
    assert clock.log.count("a") < 30


def test_only_what_is_behind_ends_early(clock: Clock) -> None:
    """Over many races of contenders whose times vary wildly."""
    draw = random.Random(5)

    def noisy(name: str, typical: float) -> Run:
        return clock.contender(name, lambda: typical * draw.lognormvariate(0.0, 0.4))

    ends = set()
    for _ in range(300):
        found = race(noisy("a", draw.uniform(0.001, 0.01)), noisy("b", 0.003), 0.1)
        ends.add(found.early)
        if found.early:
            assert median(found.ours) > BEHIND * median(found.others)
    assert ends == {True, False}


def test_alone_it_is_timed_to_the_end(clock: Clock) -> None:
    found = race(clock.steady("a", 0.001), None, 0.1)
    assert 0.1 <= clock.now < 0.2
    assert found.others == ()
    assert not found.early


def test_slow_calls_are_repeated_a_few_times_only(clock: Clock) -> None:
    race(clock.steady("a", 0.05), clock.steady("b", 0.05), 0.01)
    assert len(clock.log) <= 12


def test_short_calls_are_timed_together(clock: Clock) -> None:
    """Many calls, few samples, each the time of one call."""
    found = race(clock.steady("a", 5e-6), None, 0.05)
    assert len(clock.log) > 10 * len(found.ours)
    assert min(found.ours) == pytest.approx(5e-6)

"""Timing in turns, with contenders that only sleep."""

from __future__ import annotations

import random
import time
from statistics import median

import pytest

from bitwright.frontend.tune.problem import Run
from bitwright.frontend.tune.race import BEHIND, TURNS, race


def sleeper(seconds: float, log: list[str], name: str) -> Run:
    def call() -> None:
        log.append(name)
        time.sleep(seconds)

    return Run(call, dict, lambda: None)


def test_contenders_take_turns_and_begin_by_turns() -> None:
    log: list[str] = []
    found = race(sleeper(0.002, log, "a"), sleeper(0.002, log, "b"), 0.05)
    assert not found.early
    text = "".join(log)
    changes = [text[i] for i in range(len(text)) if i == 0 or text[i] != text[i - 1]]
    assert len(changes) > TURNS
    assert set(text) == {"a", "b"}
    assert all(s >= 0.002 for s in (*found.ours, *found.others))


def test_a_candidate_that_is_far_behind_is_not_timed_to_the_end() -> None:
    log: list[str] = []
    found = race(sleeper(0.006, log, "a"), sleeper(0.002, log, "b"), 0.2)
    assert found.early
    assert log.count("a") < 30


def test_only_what_is_behind_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many races of contenders whose times vary wildly, on a clock that only they move."""
    now, draw = [0.0], random.Random(5)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def noisy(typical: float) -> Run:
        def call() -> None:
            now[0] += typical * draw.lognormvariate(0.0, 0.4)

        return Run(call, dict, lambda: None)

    ends = set()
    for _ in range(300):
        found = race(noisy(draw.uniform(0.001, 0.01)), noisy(0.003), 0.1)
        ends.add(found.early)
        if found.early:
            assert median(found.ours) > BEHIND * median(found.others)
    assert ends == {True, False}


def test_alone_it_is_timed_to_the_end() -> None:
    log: list[str] = []
    begin = time.perf_counter()
    found = race(sleeper(0.001, log, "a"), None, 0.1)
    assert 0.08 < time.perf_counter() - begin < 0.6
    assert found.others == ()
    assert not found.early


def test_slow_calls_are_repeated_a_few_times_only() -> None:
    log: list[str] = []
    race(sleeper(0.05, log, "a"), sleeper(0.05, log, "b"), 0.01)
    assert len(log) <= 12


def test_short_calls_are_timed_together() -> None:
    """Many calls, few samples, each the time of one call."""
    calls = [0]

    def call() -> None:
        calls[0] += 1
        end = time.perf_counter() + 5e-6
        while time.perf_counter() < end:
            pass

    found = race(Run(call, dict, lambda: None), None, 0.05)
    assert calls[0] > 10 * len(found.ours)
    assert min(found.ours) == pytest.approx(5e-6, rel=0.5)

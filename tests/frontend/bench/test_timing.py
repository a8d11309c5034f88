from __future__ import annotations

import pytest

from bitwright.frontend.bench import timing
from bitwright.frontend.bench.timing import Contender, Facts, measure


class Clock:
    """A clock that moves only when something is called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def contender(self, name: str, durations: list[float], products: int) -> Contender:
        def call() -> None:
            self.calls.append(name)
            self.now += durations[len([c for c in self.calls if c == name]) % len(durations)]

        return Contender(Facts(name, "u4", 4, "int8", 1000), 0.0, products, call)


def test_medians_of_one_product_with_the_bandwidth_of_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    rates = iter([10.0, 50.0, 20.0])
    contenders = [clock.contender("a", [1.0, 1.0, 9.0], 1), clock.contender("b", [8.0], 4)]
    found = measure(contenders, {"bandwidth": lambda: next(rates), "f32": lambda: 7.0}, seconds=90.0, rounds=3)
    assert found.seconds == (1.0, 2.0)
    assert found.readings == {"bandwidth": 20.0, "f32": 7.0}
    turns = [name for name, before in zip(clock.calls, ["", *clock.calls], strict=False) if name != before]
    assert turns == ["a", "b"] * 3


def test_every_turn_of_a_slow_contender_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    found = measure([clock.contender("slow", [1.0, 4.0], 1)], {}, seconds=0.3, rounds=3)
    assert found.seconds == (1.0,)  # every other call warms up
    assert len(clock.calls) == 6

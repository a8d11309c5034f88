"""The cost model and the ranking on made-up machines whose law is known."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from bitwright.frontend.tune.cost import LEAST_RESULTS, CostModel, Machine
from bitwright.frontend.tune.outcome import Outcome
from bitwright.frontend.tune.ranking import rank
from bitwright.frontend.tune.space import Candidate, Choice


def figures(nbytes: float, instructions: float, spills: float = 0.0) -> dict[str, float]:
    return {"call.bytes": nbytes, "call.instructions": instructions, "main.spill": spills, "main.instructions": 100.0}


def test_before_anything_is_measured_the_longer_of_reading_and_computing_counts() -> None:
    model = CostModel(Machine(bandwidth=1e9, instructions=1e8))
    assert model.predict(figures(1e6, 1e3)) == pytest.approx(1e-3)
    assert model.predict(figures(1e3, 1e6)) == pytest.approx(1e-2)
    assert model.predict({"spills": 3.0}) == 0
    assert model.hopeless(figures(1e12, 1e12), 1e-9) is None, "nothing is known yet"


def test_measurements_correct_it() -> None:
    """The machine is three times slower at computing than was thought, and each call has a cost of its own."""
    model, rng = CostModel(Machine(bandwidth=1e9, instructions=1e8)), random.Random(1)

    def law(of: dict[str, float]) -> float:
        return 2e-3 + of["call.bytes"] / 1e9 + 3 * of["call.instructions"] / 1e8

    seen = [figures(rng.uniform(1e5, 1e7), rng.uniform(1e5, 1e7)) for _ in range(60)]
    for each in seen:
        model.learn(each, law(each) * rng.uniform(0.98, 1.02))
    fresh = [figures(rng.uniform(1e5, 1e7), rng.uniform(1e5, 1e7)) for _ in range(200)]
    errors = [abs(np.log(model.predict(f) / law(f))) for f in fresh]
    assert np.median(errors) < 0.05
    assert model.spread() < 0.1
    best = min(map(law, seen))
    hopeless = [f for f in fresh if model.hopeless(f, best) is not None]
    assert hopeless
    assert all(law(f) > 1.3 * best for f in hopeless)
    assert all(model.hopeless(f, best) is not None for f in fresh if law(f) > 5 * best)
    assert "expects" in str(model.hopeless(hopeless[0], best))


def test_a_model_that_errs_prunes_nothing() -> None:
    model, rng = CostModel(), random.Random(2)
    for _ in range(3 * LEAST_RESULTS):
        model.learn(figures(rng.uniform(1e5, 1e7), 1e5), 10 ** rng.uniform(-5, -2))
    assert model.hopeless(figures(1e7, 1e5), 1e-4) is None


def test_the_ranking_finds_what_each_choice_is_worth() -> None:
    worth: dict[str, dict[Choice, float]] = {
        "x": {1: 1.0, 2: 1.5, 4: 3.0},
        "y": {"p": 2.0, "q": 1.0},
        "z": {0: 1.0, 1: 1.2},
    }
    pool = [Candidate.of("s", dict(zip("xyz", c, strict=True))) for c in product((1, 2, 4), ("p", "q"), (0, 1))]

    def law(c: Candidate) -> float:
        return float(np.prod([worth[name][value] for name, value in c.mapping.items()]))

    assert rank(pool, []) == pool
    rng = random.Random(3)
    shown = [Outcome(c, "ok", score=law(c) * rng.uniform(0.95, 1.05)) for c in rng.sample(pool, 8)]
    ranked = rank(pool, shown)
    assert sorted(map(str, ranked)) == sorted(map(str, pool))
    assert law(ranked[0]) == 1.0
    assert law(ranked[-1]) == pytest.approx(7.2)


def test_what_fails_is_ranked_last() -> None:
    pool = [Candidate.of("s", {"x": x}) for x in (1, 2, 3)]
    results = [Outcome(pool[0], "crashed"), Outcome(pool[1], "ok", score=1.0), Outcome(pool[1], "pruned")]
    assert rank(pool, results)[-1] == pool[0]
    assert rank(pool, results)[0] == pool[1]


def test_what_was_pruned_counts_as_its_prediction() -> None:
    pool = [Candidate("s", (("A", a), ("B", b))) for a in (1, 2, 3) for b in (1, 2)]
    shown = [Outcome(pool[0], "ok", score=1e-6), Outcome(pool[1], "ok", score=1.1e-6)]
    shown += [Outcome(pool[2], "pruned", figures={"predicted_seconds": 9e-6}), Outcome(pool[5], "pruned")]
    ranked = rank(pool, shown)
    assert {ranked[-2], ranked[-1]} == {pool[2], pool[3]}, "those with A=2; nothing is known of A=3"

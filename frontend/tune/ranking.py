"""Which candidates look best before they are compiled: every choice has a factor, fitted to the results so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .outcome import Outcome
from .space import Candidate

RIDGE = 0.5
"""How strongly factors are held at 1 where few results speak for another."""

PENALTY = 4.0
"""Times the slowest: what a candidate that crashed, hung or was wrong counts as."""

FAILURES = ("wrong", "failed", "crashed", "timeout", "out_of_memory")


def rank(candidates: Sequence[Candidate], results: Sequence[Outcome]) -> list[Candidate]:
    """The candidates, those first that are expected to be fast; in their own order where nothing is known.

    The model is score = product of one factor for the strategy and one for each of its choices: linear in logarithms.
    """
    scores = [o.score for o in results if o.ok and o.score is not None]
    if not scores:
        return list(candidates)
    values = [(o, _seconds(o, PENALTY * max(scores))) for o in results]
    known = [o for o, value in values if value]
    if len(known) < 2:
        return list(candidates)
    right = np.log([value for _, value in values if value])
    names = sorted({word for o in known for word in _words(o.candidate)})
    column = {name: i for i, name in enumerate(names)}

    def row(candidate: Candidate) -> list[int]:
        return [column[word] for word in _words(candidate) if word in column]

    matrix = np.zeros((len(known) + len(names), len(names)))
    for i, outcome in enumerate(known):
        matrix[i, row(outcome.candidate)] = 1.0
    matrix[len(known) :] = RIDGE * np.eye(len(names))
    wanted = np.concatenate([right - right.mean(), np.zeros(len(names))])
    factors = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    return sorted(candidates, key=lambda c: float(factors[row(c)].sum()))


def _seconds(outcome: Outcome, failed: float) -> float | None:
    """What the candidate counts as: its score, the prediction by which it was pruned, or that much if it failed."""
    if outcome.kind == "pruned":
        return outcome.figures.get("predicted_seconds")
    return failed if outcome.kind in FAILURES else outcome.score


def _words(candidate: Candidate) -> list[str]:
    """The choices that have a factor."""
    own = candidate.strategy
    return [own, *(f"{own}.{name}={value!r}" for name, value in candidate.values)]

"""Which candidates to try next: a function of the results so far and of nothing else.

The same results give the same candidates, in any process and after any interruption, since every random number comes
from a seed that is made of the session's and of the position.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from .outcome import Outcome
from .space import Branch, Candidate, Choice, Space
from .store import distributions, parameters

__all__ = ["BATCH", "Chooser", "Ranking"]

BATCH = 8
"""Candidates that are chosen at once, to be compiled in parallel."""

POOL = 20_000
"""Candidates of a strategy that are ranked; of a larger space a random part."""

DRAWS = 16
"""How often the sampler may answer with what was tried before, or cannot be, until the ranking is asked instead."""

Ranking = Callable[[Sequence[Candidate], Sequence[Outcome]], Sequence[Candidate]]
"""Candidates in the order in which they look promising, given results."""


@dataclass(frozen=True, eq=False)
class Chooser:
    """The choice for one problem.

    The first batch is the default alone, which the others are compared with.  Then every second candidate is the most
    promising one by the cost model, and every other one comes from a tree-structured Parzen estimator (Optuna), once
    it has something to learn from.  No candidate is chosen twice.
    """

    space: Space
    default: Candidate
    seed: int
    rank: Ranking
    exhaustive: bool = False

    @cached_property
    def pool(self) -> tuple[Candidate, ...]:
        """The candidates that are ranked: of each strategy in turn, those first that differ least from the default."""
        if self.exhaustive:
            found = list(self.space)
        else:
            found = [c for branch in self.space.branches for c in _members(branch, self.seed)]
        near = set(self.default.values)
        found.sort(key=lambda c: len(near ^ set(c.values)))
        own = [[c for c in found if c.strategy == branch.strategy] for branch in self.space.branches]
        mixed = [c for few in zip_longest(*own) for c in few if c is not None]
        return tuple(dict.fromkeys([self.default, *mixed]))

    def batch(self, results: Sequence[Outcome], number: int) -> list[Candidate]:
        """The candidates of the batch of that number; empty at the end.

        `results` are those of all earlier batches, in the order in which they were chosen.
        """
        if number == 0:
            return [self.default]
        seen = {r.candidate.key for r in results}
        ranked = iter([c for c in self.rank(self.pool, results) if c.key not in seen])
        chosen: list[Candidate] = []
        sampler = None if self.exhaustive else self._sampler(results, number)
        while len(chosen) < BATCH:
            found = self._sample(sampler, seen) if sampler is not None and len(chosen) % 2 else None
            if found is None:
                found = next((c for c in ranked if c.key not in seen), None)
            if found is None:
                break
            seen.add(found.key)
            chosen.append(found)
        return chosen

    def _sampler(self, results: Sequence[Outcome], number: int) -> optuna.Study:
        """A study in memory with these results; what failed counts as slower than all others."""
        seed = random.Random(f"{self.seed} {number}").getrandbits(32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = TPESampler(seed=seed, multivariate=True, group=True, constant_liar=False, n_startup_trials=BATCH)
        study = optuna.create_study(sampler=sampler)
        for r in results:
            if self.space.refusal(r.candidate) is None:
                study.add_trial(
                    create_trial(
                        state=TrialState.COMPLETE if r.ok else TrialState.PRUNED,
                        value=r.score,
                        params=parameters(r.candidate, self.space),
                        distributions=distributions(r.candidate, self.space),
                    )
                )
        return study

    def _sample(self, study: optuna.Study, seen: set[str]) -> Candidate | None:
        """A candidate that is new, or None after too many that are not."""
        for _ in range(DRAWS):
            trial = study.ask()
            candidate = self._suggested(trial)
            study.tell(trial, state=TrialState.FAIL)  # which takes it out of the sampler's sight
            if candidate.key not in seen and self.space.refusal(candidate) is None:
                return candidate
        return None

    def _suggested(self, trial: optuna.Trial) -> Candidate:
        several = len(self.space.branches) > 1
        strategy = self.space.branches[0].strategy
        if several:
            strategy = str(trial.suggest_categorical("strategy", [b.strategy for b in self.space.branches]))
        prefix = f"{strategy}." if several else ""
        values: dict[str, Choice] = {}
        for p in self.space.branch(strategy).parameters:
            chosen = trial.suggest_categorical(prefix + p.name, p.choices)
            assert chosen is not None
            values[p.name] = chosen
        return Candidate.of(strategy, values)


def _members(branch: Branch, seed: int) -> list[Candidate]:
    """All candidates of the branch, or some of them drawn at random when there are too many."""
    if branch.size <= POOL:
        return list(islice(branch, POOL))
    draw = random.Random(f"{seed} {branch.strategy}")
    found: dict[str, Candidate] = {}
    for _ in range(2 * POOL):
        candidate = Candidate.of(branch.strategy, {p.name: draw.choice(p.choices) for p in branch.parameters})
        if branch.refusal(candidate.mapping) is None:
            found[candidate.key] = candidate
    return list(found.values())[:POOL]

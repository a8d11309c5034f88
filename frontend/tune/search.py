"""The search for one problem on one device: batches are chosen, tried and stored, and the best is held to the default.

A search that goes on replays its choices from the stored results, so that it continues as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import count, islice
from typing import Protocol

from .chooser import Chooser, Ranking
from .cost import Machine
from .device import compiler_version
from .outcome import Outcome
from .places import now
from .problem import Problem
from .space import Candidate, Json, Space
from .store import Results

__all__ = ["FINALISTS", "Final", "Result", "Runner", "RunnerFactory", "Search", "best_of", "wanted_of"]

FINALISTS = 3
"""Candidates that are measured once more, against the default alone, before one is called the winner."""

FINAL_SECONDS = 0.5
"""How long each of them is timed."""

MARGIN = 0.99
"""Of the default's time: a winner takes less, or the default stays."""


class Runner(Protocol):
    """What tries candidates: an executor on this machine, or workers elsewhere."""

    @property
    def machine(self) -> Machine:
        """What the device can do."""
        ...

    def run(self, candidates: Sequence[Candidate]) -> Iterator[Outcome]:
        """One outcome for each candidate, in any order, as they become known."""
        ...

    def measure(self, candidate: Candidate, against: Outcome | None = None, seconds: float | None = None) -> Outcome:
        """The candidate, timed in turns with another, for that long each."""
        ...


RunnerFactory = Callable[[Sequence[Outcome]], AbstractContextManager[Runner]]
"""Makes a runner, given what is known already; it compares candidates with the best of that."""


@dataclass(frozen=True)
class Result:
    """One finished trial.

    number, trials   how many are stored for the problem with this one, and how many are wanted
    best, default    the fastest right candidate so far and the planner's own choice; None before there is one
    limit            seconds in which the device could read and write what a call must: no candidate is faster
    """

    problem: Problem
    outcome: Outcome
    number: int
    trials: int
    best: Outcome | None
    default: Outcome | None
    limit: float


@dataclass(frozen=True)
class Final:
    """The end of a search: the winner, and how long it and the default take when they are timed in turns.

    `default_seconds` is None when the default does not run at all.
    """

    candidate: Candidate
    seconds: float
    default_seconds: float | None

    @property
    def gain(self) -> float | None:
        """How many times faster than the default the winner is: 1 when it is the default."""
        return None if self.default_seconds is None else self.default_seconds / self.seconds

    def to_json(self) -> dict[str, Json]:
        return vars(self) | {"candidate": self.candidate.to_json()}

    @classmethod
    def from_json(cls, row: Mapping[str, Json]) -> Final:
        candidate, seconds, default = row["candidate"], row["seconds"], row["default_seconds"]
        assert isinstance(candidate, dict)
        assert isinstance(seconds, float)
        assert default is None or isinstance(default, float)
        return cls(Candidate.from_json(candidate), seconds, default)


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The fastest right one."""
    timed = [(o.score, i) for i, o in enumerate(outcomes) if o.ok and o.score is not None]
    return outcomes[min(timed)[1]] if timed else None


def wanted_of(space: Space, trials: int | None) -> int:
    """How many candidates a search tries: no more than there are, and all for None."""
    return sum(1 for _ in islice(space, trials))


@dataclass(frozen=True, eq=False)
class Search:
    """The search for the fastest candidate of a problem, until `trials` results are stored or there is nothing left.

    `default` is what runs without tuning, on the device in question.
    """

    problem: Problem
    default: Candidate
    results: Results
    trials: int
    seed: int
    make_runner: RunnerFactory
    rank: Ranking
    exhaustive: bool = False

    def run(self) -> Iterator[Result]:
        """Try what has not been tried, then note how it ended; each result is stored before it is yielded."""
        stored = {o.candidate.key: o for o in self.results.outcomes()}
        begun = len(stored)
        with ExitStack() as stack:
            runner = _Lazy(lambda: stack.enter_context(self.make_runner(list(stored.values()))))
            yield from self._try(stored, runner)
            if len(stored) > begun or "final" not in self.results.notes():
                final = self._final(list(stored.values()), runner)
                if final is not None:
                    about: dict[str, Json] = {"compiler": compiler_version(), "when": now()}
                    self.results.note("final", final.to_json() | about)

    def _try(self, stored: dict[str, Outcome], runner: _Lazy) -> Iterator[Result]:
        """Batch after batch, those that are stored already included, from which the next ones follow."""
        wanted = wanted_of(self.results.space, None if self.exhaustive else self.trials)
        replayed: list[Outcome] = []
        for number in count():
            batch = self._chooser.batch(replayed, number)[: wanted - len(replayed)]
            if not batch:
                return
            if new := [c for c in batch if c.key not in stored]:
                for outcome in runner.found.run(new):
                    self.results.add(outcome)
                    stored[outcome.candidate.key] = outcome
                    best, default = best_of(list(stored.values())), stored.get(self.default.key)
                    limit = self.problem.nbytes / runner.found.machine.bandwidth
                    yield Result(self.problem, outcome, len(stored), wanted, best, default, limit)
            replayed += [stored[c.key] for c in batch]

    @cached_property
    def _chooser(self) -> Chooser:
        seed = int.from_bytes(sha256(f"{self.seed} {self.problem.key}".encode()).digest()[:8], "little")
        return Chooser(self.results.space, self.default, seed, self.rank, self.exhaustive)

    def _final(self, outcomes: Sequence[Outcome], runner: _Lazy) -> Final | None:
        """The winner, after the fastest few have been timed once more; None when nothing ran.

        Whoever wins a search of many noisy times owes it in part to luck.  So they are timed again, each in turns with
        the default and with nothing else, and the best of these times counts.
        """
        ranked = sorted((o for o in outcomes if o.ok), key=lambda o: o.score or 0.0)
        default = next((o for o in ranked if o.candidate.key == self.default.key), None)
        if default is None or default.seconds is None:
            first = ranked[0] if ranked else None
            return None if first is None or first.score is None else Final(first.candidate, first.score, None)
        found, least = default.candidate, 1.0
        for rival in [o for o in ranked if o.code != default.code or not o.code][:FINALISTS]:
            if rival.candidate.key == default.candidate.key:
                continue
            ratio = runner.found.measure(rival.candidate, default, FINAL_SECONDS).ratio
            if ratio is not None and ratio < min(MARGIN, least):
                found, least = rival.candidate, ratio
        return Final(found, default.seconds * least, default.seconds)


@dataclass(eq=False)
class _Lazy:
    """A runner that is made when it is first asked for: it may take a while."""

    make: Callable[[], Runner]

    @cached_property
    def found(self) -> Runner:
        return self.make()

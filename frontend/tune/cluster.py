"""Candidates on the workers of a Dask cluster: each compiles and measures on its own machine.

Workers of one kind of device share the candidates of a problem; each kind has a search of its own.  Workers on one
machine take turns at measuring, by the machine's lock.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TypeVar, cast

from distributed import Client, Future, as_completed

from .cost import Machine
from .device import compiler_version, device
from .outcome import Outcome
from .places import SessionError
from .problem import Problem, problem_from_json
from .runners import View
from .search import Runner, best_of
from .space import Candidate
from .worker import Executor, Limits

__all__ = ["Cluster", "connect"]

T = TypeVar("T")

CONNECT_SECONDS = 10
RETRIES = 3
"""How often a candidate is given out again when the worker that has it goes away."""


def connect(address: str, limits: Limits) -> Cluster:
    """The cluster whose scheduler is at this address."""
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]  # theirs
    except (OSError, ValueError, TimeoutError) as error:
        raise SessionError(f"there is no Dask scheduler at {address}: {error}") from error
    return Cluster(client, limits)


@dataclass(frozen=True, eq=False)
class Cluster:
    """The workers of a cluster, as devices to try candidates on."""

    client: Client
    limits: Limits

    def close(self) -> None:
        """Leave the cluster, which goes on without us."""
        self.client.close()  # type: ignore[no-untyped-call]  # theirs

    def views(self, problem: Problem) -> list[View]:
        """One for each kind of device among the workers; SessionError when there is none to work."""
        found: dict[str, View] = {}
        for view in self._seen(problem).values():
            found.setdefault(view.device.key, view)
        return list(found.values())

    def runner(self, view: View, history: Sequence[Outcome]) -> AbstractContextManager[Runner]:
        workers = [address for address, seen in self._seen(view.problem).items() if seen.device.key == view.device.key]
        return nullcontext(_Remote(self.client, workers, self.limits, _text(view.problem), list(history)))

    def _seen(self, problem: Problem) -> dict[str, View]:
        """How each worker sees the problem."""
        answers = cast("dict[str, tuple[View, str]]", self.client.run(seen, _text(problem)))
        if not answers:
            raise SessionError("the cluster has no workers: start some with `dask worker SCHEDULER`")
        for address, (_, version) in answers.items():
            if version != compiler_version():
                raise SessionError(f"the worker {address} runs another version of bitwright: install this one there")
        return {address: view for address, (view, _) in answers.items()}


@dataclass(eq=False)
class _Remote:
    """Workers of one kind of device, at work on one problem; `history` grows with what they find."""

    client: Client
    workers: list[str]
    limits: Limits
    problem: str
    history: list[Outcome] = field(default_factory=list)

    @cached_property
    def machine(self) -> Machine:
        return self._submit(machine_of, self.problem, self.limits).result()

    def run(self, candidates: Sequence[Candidate]) -> Iterator[Outcome]:
        best = best_of(self.history)
        against = "" if best is None else json.dumps(best.to_json())
        jobs = [self._submit(tried, self.problem, self.limits, _code(c), against) for c in candidates]
        for outcome in self._outcomes(jobs):
            self.history.append(outcome)
            yield outcome

    def measure(self, candidate: Candidate, against: Outcome | None = None, seconds: float | None = None) -> Outcome:
        other = "" if against is None else json.dumps(against.to_json())
        job = self._submit(measured, self.problem, self.limits, _code(candidate), other, seconds)
        return next(self._outcomes([job]))

    def _submit(self, function: Callable[..., T], *arguments: object) -> Future[T]:
        return self.client.submit(function, *arguments, workers=self.workers, pure=False, retries=RETRIES)

    def _outcomes(self, jobs: Sequence[Future[str]]) -> Iterator[Outcome]:
        limits = self.limits
        patience = limits.prepare_seconds + len(jobs) * (limits.compile_seconds + limits.measure_seconds)
        try:
            done = as_completed(jobs, loop=self.client.loop, timeout=patience)  # type: ignore[no-untyped-call]  # theirs
            for job in done:
                yield Outcome.from_json(json.loads(job.result()))
        except TimeoutError as error:
            raise SessionError(
                f"the workers {', '.join(self.workers)} do not answer any more; `resume` goes on when there are some"
            ) from error
        finally:
            self.client.cancel(jobs)  # type: ignore[no-untyped-call]  # theirs


def _text(problem: Problem) -> str:
    return json.dumps(problem.to_json(), sort_keys=True)


def _code(candidate: Candidate) -> str:
    return json.dumps(candidate.to_json())


# --- what runs on workers ---------------------------------------------------------------------------------------------

_BUSY = threading.Lock()
"""Held by the thread of the worker that uses its executor."""

_EXECUTORS: dict[tuple[str, str], Executor] = {}
"""The worker's one executor, by its problem and limits: it has inputs and the right result ready."""


def seen(problem: str) -> tuple[View, str]:
    """How this worker sees a problem, and its version of the compiler."""
    posed = problem_from_json(json.loads(problem))
    return View(posed, device(posed.target), posed.space(), posed.default), compiler_version()


def machine_of(problem: str, limits: Limits) -> Machine:
    """What this worker's machine can do."""
    with _BUSY:
        return _executor(problem, limits).machine


def tried(problem: str, limits: Limits, candidate: str, incumbent: str) -> str:
    """The outcome of a candidate, compared with the incumbent, as JSON text."""
    with _BUSY:
        executor = _executor(problem, limits)
        if incumbent:
            executor.incumbent = Outcome.from_json(json.loads(incumbent))
        (outcome,) = executor.run([Candidate.from_json(json.loads(candidate))])
        return json.dumps(outcome.to_json())


def measured(problem: str, limits: Limits, candidate: str, against: str, seconds: float | None) -> str:
    """The outcome of a candidate timed in turns with another for that long each, as JSON text."""
    with _BUSY:
        other = Outcome.from_json(json.loads(against)) if against else None
        executor = _executor(problem, limits)
        return json.dumps(executor.measure(Candidate.from_json(json.loads(candidate)), other, seconds).to_json())


def _executor(problem: str, limits: Limits) -> Executor:
    key = problem, json.dumps(asdict(limits))
    if key not in _EXECUTORS:
        for old in _EXECUTORS.values():
            old.close()
        _EXECUTORS.clear()
        _EXECUTORS[key] = Executor(problem_from_json(json.loads(problem)), limits)
    return _EXECUTORS[key]

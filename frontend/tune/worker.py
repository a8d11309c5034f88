"""Compiling and measuring candidates, each in a process of its own, so that none can harm the session.

    with Executor(problem, history=outcomes) as executor:      # history: what is known already, when resuming
        for outcome in executor.run(candidates):               # compiled in parallel, then measured one by one
            store(outcome)

`executor.incumbent` is the best outcome so far, against which candidates are measured in turns; a better one takes its
place, once it has been timed again, against the default: else lucky times of one after the other would add up.  The
first candidate of a session is `problem.default`.  `executor.machine` holds the limits of the machine, for
a roofline.  Closing the executor, or the end of this process, however it ends, ends its processes too.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...backend.cache import default_cache
from .cost import CostModel, Machine
from .device import compiler_version, cpus, device
from .fork import ForkServer
from .lock import MachineLock
from .message import Reply
from .outcome import Outcome
from .problem import Problem, ProblemError
from .space import Candidate
from .trial import Job, Result

DEFAULT_COLD = 128 << 20
BETTER = 0.99
"""A candidate takes the incumbent's place when its time is below this part of it: less is noise."""

CONFIRMATION = 3.0
"""Times as long is timed once more what seems to be better."""


@dataclass(frozen=True)
class Limits:
    """What a candidate may take, and how it is timed.

    prepare_seconds  for inputs and the reference, after which the problem is given up
    compile_seconds, measure_seconds    after which a candidate is killed
    memory         bytes of address space that it may take beyond what its process has at the start
    parallel       candidates that are compiled at the same time; None: one for each processor
    cold           bytes of copies of the inputs that rotate, so that none is in the caches
    timed_seconds  how long each contender is timed
    prune          leave out candidates that the cost model takes to be hopeless
    """

    prepare_seconds: float = 600.0
    compile_seconds: float = 60.0
    measure_seconds: float = 30.0
    memory: int = 8 << 30
    parallel: int | None = None
    cold: int = DEFAULT_COLD
    timed_seconds: float = 0.1
    prune: bool = True


class Executor:
    """Runs candidates of one problem.  ProblemError from the first use when the problem itself cannot be posed."""

    def __init__(
        self, problem: Problem, limits: Limits | None = None, history: Iterable[Outcome] = (),
        lock: MachineLock | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.problem = problem
        self.limits = Limits() if limits is None else limits
        self.lock = MachineLock() if lock is None else lock
        self.seed = seed
        self.incumbent: Outcome | None = None
        self._default: Outcome | None = None
        self.device = device(problem.target)
        self.compiler = compiler_version()
        self._text = json.dumps(problem.to_json(), sort_keys=True)
        self._space = problem.space()
        self._by_code: dict[str, Outcome] = {}
        self._server = ForkServer()
        self.machine = self._machine()
        self.cost = CostModel(self.machine)
        self._prepared_by: int | None = None
        for outcome in history:
            self._learn(outcome)

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes."""
        self._server.close()

    @property
    def server_pid(self) -> int | None:
        """The process whose children run candidates; None before the first."""
        return self._server.pid

    def run(self, candidates: Sequence[Candidate]) -> Iterator[Outcome]:
        """The outcome of each candidate, as soon as it is known: first of those that are never measured, then of the
        others, those that look best first.
        """
        compiled: list[tuple[Candidate, Result]] = []
        for candidate, found in self._compile(candidates):
            if found.kind == "ok":
                compiled.append((candidate, found))
            else:
                yield self._outcome(candidate, found, found)
        compiled.sort(key=lambda pair: self.cost.predict(pair[1].figures or {}))
        for candidate, found in compiled:
            outcome = self._known(candidate, found) or self._hopeless(candidate, found)
            yield self._measured(candidate, found) if outcome is None else outcome

    def measure(self, candidate: Candidate, against: Outcome | None = None, seconds: float | None = None) -> Outcome:
        """One candidate checked and timed in turns with another, for that long each; leaves the incumbent as it is.

        To settle what is better in the end: `measure(best.candidate, default, 1.0).ratio`.
        """
        found = next(iter(self._compile([candidate])))[1]
        if found.kind != "ok":
            return self._outcome(candidate, found, found)
        return self._timed(candidate, found, against, self.limits.timed_seconds if seconds is None else seconds)

    def _compile(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Result]]:
        """Results of compiling, in the order in which they end."""
        wanted = dict.fromkeys(candidates)
        for candidate in list(wanted):
            reason = self._space.refusal(candidate)
            if reason is not None:
                del wanted[candidate]
                yield candidate, Result("pruned", reason)
        waiting, running = list(wanted)[::-1], dict[int, Candidate]()
        parallel = self.limits.parallel or len(cpus())
        done: list[tuple[Candidate, Result]] = []
        with self.lock.held(), self._whole():
            while waiting or running:
                while waiting and len(running) < parallel:
                    candidate = waiting.pop()
                    job = Job("compile", self._text, candidate=_text(candidate))
                    running[self._server.send(job, self.limits.compile_seconds, self.limits.memory)] = candidate
                reply = self._answer(self.limits.compile_seconds)
                done.append((running.pop(reply.number), reply.result))
        yield from done

    def _machine(self) -> Machine:
        """What this machine can do; measured once for each device and compiler, and kept in the cache."""
        cache = default_cache()
        key = cache.key("machine", self.device.key)
        found = cache.get(key)
        if found is None:
            job = Job("limits", self._text, cold=self.limits.cold)
            with self.lock.held():
                result = self._asked(job, self.limits.prepare_seconds)
            if result.kind != "ok" or result.figures is None:
                return Machine()
            found = json.dumps(dict(result.figures)).encode()
            cache.put(key, found)
        return Machine(**json.loads(found))

    def _answer(self, seconds: float) -> Reply:
        reply = self._server.receive(seconds)
        if reply.problem:
            raise ProblemError(f"{self.problem.title}: {reply.result.message}")
        return reply

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """What is begun here is answered here, or ended: when waiting is broken off, no answer comes later."""
        try:
            yield
        except BaseException:
            self._server.close()
            raise

    def _asked(self, job: Job, seconds: float) -> Result:
        """One job and its result."""
        with self._whole():
            self._server.send(job, seconds, self.limits.memory)
            return self._answer(seconds).result

    def _prepare(self) -> None:
        """Has inputs and reference made, once in each server."""
        if self._prepared_by is None or self._prepared_by != self._server.pid:
            result = self._asked(Job("prepare", self._text, seed=self.seed), self.limits.prepare_seconds)
            if result.kind != "ok":
                raise ProblemError(
                    f"{self.problem.title}: inputs and the right result were not made ({result.message}); "
                    "take smaller sizes, or give a faster reference"
                )
            self._prepared_by = self._server.pid

    def _known(self, candidate: Candidate, compiled: Result) -> Outcome | None:
        """What another candidate has shown whose code is the same."""
        twin = self._by_code.get(compiled.code)
        if twin is None:
            return None
        message = twin.message or f"the same code as {twin.candidate}"
        return replace(
            twin, candidate=candidate, message=message, seconds_to_compile=compiled.seconds, when=time.time()
        )

    def _hopeless(self, candidate: Candidate, compiled: Result) -> Outcome | None:
        """Pruned, when the cost model is sure enough that it cannot win."""
        best = None if self.incumbent is None else self.incumbent.score
        if not self.limits.prune or best is None:
            return None
        reason = self.cost.hopeless(compiled.figures or {}, best)
        return None if reason is None else self._outcome(candidate, Result("pruned", reason), compiled)

    def _measured(self, candidate: Candidate, compiled: Result) -> Outcome:
        outcome = self._timed(candidate, compiled, self.incumbent, self.limits.timed_seconds)
        if self.incumbent is not None and self._better(outcome):
            seconds = CONFIRMATION * self.limits.timed_seconds
            outcome = self._timed(candidate, compiled, self._default or self.incumbent, seconds)
        self._learn(outcome)
        return outcome

    def _better(self, outcome: Outcome) -> bool:
        """Than the incumbent."""
        best = None if self.incumbent is None else self.incumbent.score
        return outcome.score is not None and (best is None or outcome.score < best * BETTER)

    def _timed(self, candidate: Candidate, compiled: Result, against: Outcome | None, seconds: float) -> Outcome:
        self._prepare()
        job = Job(
            "measure", self._text, _text(candidate), "" if against is None else _text(against.candidate), self.seed,
            self.limits.cold, seconds,
        )  # fmt: skip
        with self.lock.held():
            result = self._asked(job, self.limits.measure_seconds)
        outcome = self._outcome(candidate, result, compiled)
        if not outcome.ok:
            return outcome
        ratio, score = outcome.ratio, None if against is None else against.score
        return replace(outcome, score=outcome.seconds if ratio is None or score is None else ratio * score)

    def _outcome(self, candidate: Candidate, result: Result, compiled: Result) -> Outcome:
        figures = {**(compiled.figures or {}), **(result.figures or {})}
        if figures and (predicted := self.cost.predict(figures)):
            figures["predicted_seconds"] = predicted
        seconds = compiled.seconds + (result.seconds if result is not compiled else 0.0)
        return Outcome(
            candidate, result.kind, result.times, result.against, None, result.early, result.error, result.message,
            figures, compiled.code, compiled.seconds, seconds, time.time(), self.device.key, self.compiler,
        )  # fmt: skip

    def _learn(self, outcome: Outcome) -> None:
        """Takes the outcome into account for what comes."""
        if outcome.code and outcome.kind in ("ok", "wrong"):
            self._by_code.setdefault(outcome.code, outcome)
        if not outcome.ok or outcome.score is None:
            return
        self.cost.learn(outcome.figures, outcome.score)
        if outcome.candidate == self.problem.default and self._default is None:
            self._default = outcome
        known = self._space.refusal(outcome.candidate) is None  # not so when a strategy of the past is gone
        if known and self._better(outcome):
            self.incumbent = outcome


def _text(candidate: Candidate) -> str:
    return json.dumps(candidate.to_json())

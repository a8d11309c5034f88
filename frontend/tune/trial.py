"""What is done with one candidate in a process of its own: it is compiled; then checked, and only then timed."""

from __future__ import annotations

import errno
import functools
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from ...backend.llvm.pool import threads
from ...backend.target import target
from ...vm.diagnostic import Diagnostic
from ..bench.bandwidth import make_reader
from ..bench.peaks import make_meters
from .device import last_cache
from .outcome import Kind
from .problem import Data, Problem, Reals, Run, problem_from_json
from .race import race
from .space import Candidate, Json

CHECKS = 2
"""Calls that are checked before a candidate is timed, each on another copy of its inputs."""

LOOKS = 3
"""Readings of what the machine can do, of which the best counts."""


@dataclass(frozen=True)
class Job:
    """What a process is asked to do.

    do        "prepare": make inputs and reference ready; "compile" or "measure" the candidate; "limits": measure what
              the machine can do
    problem   as JSON text
    """

    do: str
    problem: str
    candidate: str = ""
    incumbent: str = ""
    seed: int = 0
    cold: int = 0
    timed_seconds: float = 0.0

    @classmethod
    def from_json(cls, text: str) -> Job:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Result:
    """What came of a job: the fields of an outcome that its process knows."""

    kind: Kind
    message: str = ""
    times: tuple[float, ...] = ()
    against: tuple[float, ...] = ()
    early: bool = False
    error: float | None = None
    figures: Mapping[str, float] | None = None
    code: str = ""
    seconds: float = 0.0

    @classmethod
    def from_json(cls, text: str) -> Result:
        plain = json.loads(text)
        return cls(**plain | {"times": tuple(plain["times"]), "against": tuple(plain["against"])})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@functools.lru_cache(maxsize=4)
def posed(text: str) -> Problem:
    """The problem of this JSON text."""
    return problem_from_json(json.loads(text))


@functools.lru_cache(maxsize=1)
def data_of(problem: str, seed: int) -> Data:
    """Inputs and right results; made once, in the process that others are forked from."""
    return posed(problem).data(seed)


def chosen(text: str) -> Candidate:
    return Candidate.from_json(cast("dict[str, Json]", json.loads(text)))


def run_job(job: Job) -> Result:
    """Does it; whatever is raised becomes a result."""
    start = time.perf_counter()
    try:
        found = _DO[job.do](job)
    except Diagnostic as error:
        found = Result("pruned", f"the compiler refuses it: {error}")
    except MemoryError as error:
        found = Result("out_of_memory", f"{error}" or "it wants more memory than a candidate may have")
    except OSError as error:
        kind: Kind = "out_of_memory" if error.errno == errno.ENOMEM else "failed"
        found = Result(kind, f"{type(error).__name__}: {error}")
    except Exception as error:  # a strategy is anybody's code: whatever it raises is its result
        found = Result("failed", f"{type(error).__name__}: {error}")
    return Result(**vars(found) | {"seconds": time.perf_counter() - start})


def _compiled(job: Job) -> Result:
    made = posed(job.problem).build(chosen(job.candidate))
    report = made.report().items()
    figures = {name: float(value) for name, value in report if not ("." in name and name.endswith("_per_weight"))}
    return Result("ok", figures=figures, code=made.digest())


def _measured(job: Job) -> Result:
    problem, data = posed(job.problem), data_of(job.problem, job.seed)
    ours = problem.build(chosen(job.candidate)).bind(data, job.cold)
    error, message = check(ours, data, CHECKS)
    if error > 1.0:
        return Result("wrong", message, error=error)
    other = None
    if job.incumbent:
        other = problem.build(chosen(job.incumbent)).bind(data, job.cold)
        other.call()
    pin_threads()
    found = race(ours, other, job.timed_seconds)
    after, message = check(ours, data, 1)
    if after > 1.0:
        return Result("wrong", f"right at first, but after {len(found.ours)} calls {message}", error=after)
    return Result("ok", "", found.ours, found.others, found.early, max(error, after))


def _limits(job: Job) -> Result:
    """What this machine can do at most (see `cost.Machine`)."""
    reader, meter = make_reader(max(job.cold, 4 * last_cache()), threads()), make_meters()["f32"]
    bandwidth = max(reader.sample() for _ in range(LOOKS))
    steps = max(meter.sample() for _ in range(LOOKS)) / (2 * target("cpu").lanes)
    return Result("ok", figures={"bandwidth": bandwidth, "instructions": steps})


_DO = {"compile": _compiled, "measure": _measured, "limits": _limits}


def check(run: Run, data: Data, calls: int) -> tuple[float, str]:
    """The largest error of some calls, in units of what is allowed, and a sentence about it."""
    worst, message = 0.0, ""
    for _ in range(calls):
        run.reset()
        run.call()
        for name, (error, text) in errors(run.result(), data).items():
            if error > worst or not message:
                worst, message = max(error, worst), f"{name} is {text}"
    return worst, message


def errors(result: Mapping[str, Reals], data: Data) -> dict[str, tuple[float, str]]:
    """Of each output the largest error in units of what is allowed, and where it is.  NaN equals NaN."""
    found: dict[str, tuple[float, str]] = {}
    for name, right in data.expected.items():
        got = result.get(name)
        if got is None or got.shape != right.shape:
            found[name] = np.inf, f"missing: its shape should be {list(right.shape)}"
            continue
        if not right.size:
            found[name] = 0.0, "empty"
            continue
        same = (got == right) | (np.isnan(got) & np.isnan(right))
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.where(same, 0.0, np.abs(got - right))
            units = np.where(same, 0.0, off / data.allowed[name])
        units = np.where(np.isnan(units), np.inf, units)
        at = np.unravel_index(int(np.argmax(units)), right.shape)
        place = ", ".join(str(int(i)) for i in at)
        limit = np.broadcast_to(data.allowed[name], right.shape)[at]
        text = f"{got[at]:.9g} at [{place}], not {right[at]:.9g} (allowed: {limit:.3g} away)"
        found[name] = float(units[at]), text
    return found


def pin_threads() -> None:
    """Every thread of this process onto a processor of its own, as far as they reach, so that none moves."""
    if not hasattr(os, "sched_setaffinity"):
        return
    usable = sorted(os.sched_getaffinity(0))
    with suppress(OSError):
        threads: Sequence[str] = sorted((p.name for p in Path("/proc/self/task").iterdir()), key=int)
        for index, thread in enumerate(threads):
            os.sched_setaffinity(int(thread), {usable[index % len(usable)]})

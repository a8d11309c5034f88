"""The library's own strategies for the quantised linear: the schedules that its planner knows, by their form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ..kernel import Kernel
from ..library.plan import MOST_AHEAD, Form, Schedule, prepare, prepared_kernel, schedules
from ..linear import run
from .linear_problem import LinearInputs, LinearProblem, sample
from .problem import Data, Executable, Problem, Reals, Run
from .space import Branch, Candidate, Choice, Parameter, Rule, SpaceError

CHOICES: dict[Form, tuple[str, ...]] = {"direct": ("rows", "ahead", "next"), "panel": ("rows", "depth", "share")}
"""What is chosen of a schedule of each form; the rest is as `Schedule` has it."""


@dataclass(frozen=True)
class Schedules:
    """The schedules of one form, after which the strategy is named; what the planner does not list is excluded."""

    name: Form

    def branch(self, problem: Problem) -> Branch | None:
        if not isinstance(problem, LinearProblem):
            return None
        known = schedules(sample(problem), problem.activations, problem.m, problem.target)
        listed = {c.key: c for c in map(candidate_of, known) if c.strategy == self.name}
        parameters = (Parameter(n, tuple(dict.fromkeys(c[n] for c in listed.values()))) for n in CHOICES[self.name])
        rule = Rule(
            "the planner has no such schedule for this shape",
            lambda values: Candidate.of(self.name, values).key in listed,
        )
        return Branch(self.name, tuple(parameters), (rule,))

    def build(self, problem: Problem, candidate: Candidate) -> Executable:
        assert isinstance(problem, LinearProblem)
        schedule = schedule_of(candidate)
        kernel = prepared_kernel(sample(problem), problem.activations, schedule, False, problem.target)
        kernel.code  # noqa: B018  # compiles
        return LinearExecutable(problem, schedule, kernel)


DIRECT, PANEL = Schedules("direct"), Schedules("panel")


def candidate_of(schedule: Schedule) -> Candidate:
    """The candidate that stands for a schedule.

    A share is a power of two that the planner has rounded up to whole passes over rows: that power is the choice, so
    that choices mean the same whatever the rows are.
    """
    values: dict[str, Choice] = {name: getattr(schedule, name) for name in CHOICES[schedule.form]}
    if schedule.share:
        values["share"] = 1 << (schedule.share.bit_length() - 1)
    return Candidate.of(schedule.form, values)


def schedule_of(candidate: Candidate) -> Schedule:
    """The schedule that a candidate stands for; SpaceError when it does not stand for one."""
    for form, names in CHOICES.items():
        values = {n: v for n, v in candidate.values if isinstance(v, int) and n in names and (v > 0 or n == "next")}
        if candidate.strategy == form and len(values) == len(candidate.values) == len(names):
            rows, ahead, depth = values["rows"], values.get("ahead", MOST_AHEAD), values.get("depth", 0)
            share = -(-values.get("share", 0) // rows) * rows
            return Schedule(form, rows, ahead, depth, share, bool(values.get("next", False)))
    raise SpaceError(f"{candidate} is no schedule of the library's linear")


@dataclass(frozen=True, eq=False)
class LinearExecutable:
    """`linear` with one schedule, as a user calls it: what is done to x is part of the time."""

    problem: LinearProblem
    schedule: Schedule
    kernel: Kernel

    def digest(self) -> str:
        """Of the code and the schedule, since the same code may be called in different ways."""
        return hashlib.sha256(self.kernel.code + repr(asdict(self.schedule)).encode()).hexdigest()

    def report(self) -> Mapping[str, float]:
        """Instructions of one call: each loop passes over all weights once for so many rows of x."""
        figures: dict[str, float] = dict(self.kernel.report())
        rows = {"main": self.schedule.rows, "product": self.schedule.rows, "decode": self.schedule.share}
        passes = {name: -(-self.problem.m // max(1, count)) for name, count in rows.items()}
        each = sum(figures.get(f"{name}.instructions_per_weight", 0.0) * count for name, count in passes.items())
        weights = self.problem.n * self.problem.k
        read = self.problem.nbytes * (passes["main"] if self.schedule.form == "direct" else passes["decode"])
        return figures | {"call.bytes": read, "call.instructions": each * weights}

    def bind(self, data: Data, cold: int) -> Run:
        assert isinstance(data.inputs, LinearInputs)
        p, x = self.problem, data.inputs.x
        packed = prepare(data.inputs.q, p.activations, p.target)
        twins = [packed.elsewhere() for _ in range(max(2, -(-cold // packed.nbytes)))]
        turn, latest = [0], [x[:, :0]]

        def call() -> None:
            turn[0] = (turn[0] + 1) % len(twins)
            latest[0] = run(twins[turn[0]], p.activations, x, None, p.target, self.schedule)

        def result() -> Mapping[str, Reals]:
            return {"y": latest[0].astype(float)}

        def reset() -> None:
            latest[0] = x[:, :0]

        return Run(call, result, reset)

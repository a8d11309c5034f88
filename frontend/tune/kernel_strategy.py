"""The strategy of any kernel: the choices are those that its text lists with `tune(...)`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..build import ParameterValue, tunables
from ..cli.run_arguments import Given
from ..kernel import Kernel
from .kernel_problem import KernelProblem, explicit_sizes, outputs
from .problem import Data, Executable, Problem, ProblemError, Run
from .space import Branch, Candidate, Choice, Parameter

MOST_COPIES = 256
"""Of the arrays of small kernels, which would else need thousands to leave the caches."""


@dataclass(frozen=True)
class TuneParameters:
    """The kernel's own `tune(...)` parameters, except those that the problem fixes."""

    name: str = "tune"

    def branch(self, problem: Problem) -> Branch | None:
        if not isinstance(problem, KernelProblem):
            return None
        fixed = {name for name, _ in problem.parameters}
        found = tunables(problem.source.syntax())
        if not set(found) - fixed and len(problem.strategies) == 1:
            raise ProblemError(
                f"{problem.name} has nothing to tune: give a parameter choices, for example BM: int = tune(16, 32, 64)"
            )
        parameters = (Parameter(n, tuple(map(choice, c))) for n, c in found.items() if n not in fixed)
        return Branch(self.name, tuple(parameters))

    def build(self, problem: Problem, candidate: Candidate) -> Executable:
        assert isinstance(problem, KernelProblem)
        made = KernelExecutable(problem, problem.kernel(candidate))
        made.kernel.code  # noqa: B018  # compiles
        return made


TUNE = TuneParameters()


def choice(value: ParameterValue) -> Choice:
    """The value as a choice: dtypes and layouts by their texts."""
    return value if isinstance(value, bool | int | float | str) else str(value)


@dataclass(frozen=True, eq=False)
class KernelExecutable:
    """One kernel, called with the problem's arrays."""

    problem: KernelProblem
    kernel: Kernel

    def digest(self) -> str:
        return hashlib.sha256(self.kernel.code).hexdigest()

    def report(self) -> Mapping[str, float]:
        """Instructions are guessed to be in proportion to those for one weight, or one multiplication."""
        figures: dict[str, float] = dict(self.kernel.report())
        work = figures.get("main.weights") or figures.get("main.multiply_adds") or figures["lanes"]
        steps = figures.get("main.instructions", 0.0) / work
        return figures | {"call.bytes": self.problem.nbytes, "call.instructions": steps * self.problem.nbytes}

    def bind(self, data: Data, cold: int) -> Run:
        assert isinstance(data.inputs, int), "the seed of the arguments"
        first = self.problem.arguments(self.kernel, data.inputs)
        nbytes = sum(value.nbytes for _, value in first.arrays(self.kernel.program))
        count = min(MOST_COPIES, max(2, -(-cold // max(nbytes, 1))))
        return rotating(self.kernel, first, [Given(first.copies(), first.sizes) for _ in range(count)])


def rotating(kernel: Kernel, original: Given, copies: list[Given]) -> Run:
    """Calls on one copy of the arguments after the other."""
    sizes = tuple(explicit_sizes(kernel, original.sizes).values())
    function, turn = kernel.function, [0]
    calls = [(*given.values, *sizes) for given in copies]

    def call() -> None:
        turn[0] = (turn[0] + 1) % len(calls)
        function(*calls[turn[0]])

    def reset() -> None:
        for given in (copies[turn[0]], copies[(turn[0] + 1) % len(copies)]):
            for ours, right in zip(given.values, original.values, strict=True):
                if isinstance(ours, np.ndarray) and isinstance(right, np.ndarray):
                    ours[...] = right

    return Run(call, lambda: outputs(kernel, copies[turn[0]]), reset)

"""What is tuned: a computation of given sizes, with its candidates, its inputs and its right results.

A problem is a small value that can be written as JSON: processes that compile and measure rebuild it from that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...backend.target import Target
from .space import Candidate, Json, Space

Reals = NDArray[np.float64]


class ProblemError(ValueError):
    """A problem that cannot be posed: sizes, formats or names that do not fit."""


@dataclass(frozen=True, eq=False)
class Data:
    """Random inputs of one problem, and what is right.

    inputs      whatever the problem's strategies take
    expected    the right result by the name of each output
    allowed     how far each number of a result may be off; a number, or an array of the output's shape
    """

    inputs: object
    expected: Mapping[str, Reals]
    allowed: Mapping[str, Reals | float]


@dataclass(frozen=True, eq=False)
class Run:
    """A candidate bound to inputs, ready to be called again and again.

    call      does the work once, on the next copy of the inputs
    result    what the last call computed, by the name of each output, as f64
    reset     puts outputs back to what they were before any call, so that a call that writes nothing shows
    """

    call: Callable[[], object]
    result: Callable[[], Mapping[str, Reals]]
    reset: Callable[[], None]


class Executable(Protocol):
    """A compiled candidate."""

    def digest(self) -> str:
        """A digest of the machine code; candidates that agree in it are the same."""
        ...

    def report(self) -> Mapping[str, float]:
        """What the code costs, by counting (see `backend/report`).

        For the cost model also `call.bytes` and `call.instructions`: what one call reads and executes, about.
        """
        ...

    def bind(self, data: Data, cold: int) -> Run:
        """Ready to be called on these inputs, of which copies of `cold` bytes or more rotate through the caches."""
        ...


@runtime_checkable
class Problem(Protocol):
    """LinearProblem and KernelProblem; a strategy's author may look at their fields."""

    @property
    def key(self) -> str:
        """A text that is the same for equal problems only, whatever the device."""
        ...

    @property
    def title(self) -> str:
        """A short name for people: `linear u3:g128:f16+zero int8 1x4096x4096`."""
        ...

    @property
    def target(self) -> Target: ...

    @property
    def strategies(self) -> tuple[str, ...]:
        """Where each strategy is found: "module:attribute"."""
        ...

    @property
    def default(self) -> Candidate:
        """What runs without tuning: always among the candidates, and the first that is measured."""
        ...

    @property
    def operations(self) -> int:
        """Multiplications and additions of one call, or 0 if that is not known: for the roofline."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that one call must read and write at least: for the roofline."""
        ...

    def space(self) -> Space: ...

    def build(self, candidate: Candidate) -> Executable:
        """Compiles the candidate.  Raises Diagnostic when the compiler refuses it."""
        ...

    def data(self, seed: int) -> Data: ...

    def warm(self, candidate: Candidate, data: Data) -> None:
        """Does beforehand what many candidates share, so that each need not do it in its own process.

        Runs in the process that all others are forked from, so only code that is known to be safe may run here.
        """
        ...

    def to_json(self) -> dict[str, Json]: ...


def problem_from_json(text: Mapping[str, Json]) -> Problem:
    """The problem that `to_json` wrote; ProblemError for anything else."""
    try:
        match text["kind"]:
            case "kernel":
                from .kernel_problem import KernelProblem

                return KernelProblem.from_json(text)
            case "linear":
                from .linear_problem import LinearProblem

                return LinearProblem.from_json(text)
            case kind:
                raise ProblemError(f"there are no problems of the kind {kind!r}")
    except (KeyError, TypeError, AttributeError) as error:
        raise ProblemError(f"this is no problem to tune: {error!r}") from error

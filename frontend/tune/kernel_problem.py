"""Tuning any kernel in the language: its `tune(...)` parameters, on random arrays of given sizes.

The right result is the interpreter's, or that of a function that the user names.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ...backend.interface import written
from ...backend.target import Target, target
from ...vm.dtypes import Float
from ...vm.expr import Var
from ...vm.interpret import interpret
from ...vm.ir import Array, Let, Program, walk
from ...vm.ops import Lock, Release
from ..cli.run_arguments import Given, make_arguments, numbers
from ..kernel import Kernel, KernelSource
from .problem import Data, Executable, ProblemError, Reals
from .space import Candidate, Choice, Json, Space
from .strategies import build_with, space_of

INTERPRETER = "interpreter"
TUNE = "bitwright.frontend.tune.kernel_strategy:TUNE"
LEAST_TOLERANCE = 1e-5
"""Error of floats of any precision that is allowed, relative to the largest number: sums are taken in another order."""

T = TypeVar("T")
Reference = Callable[[Mapping[str, NDArray[np.generic]], Mapping[str, int]], Mapping[str, object]]


@dataclass(frozen=True)
class KernelProblem:
    """A kernel's text, its sizes, and what is fixed of its parameters.

    parameters   compile-time parameters that are not tuned, dtypes and layouts by their texts
    divisible    facts about sizes that the code may rely on, as `compile` takes them
    inputs       what fills an array, or the number that a scalar is: as `bitwright run --input` takes it
    reference    "interpreter", or "module:function": called with the numbers of all arrays by name before the call, and
                 all sizes by name; returns the numbers of those that are written, by name
    tolerance    error that is allowed, relative to the largest number of an array; None: two units in the last place
    """

    source: KernelSource
    sizes: tuple[tuple[str, int], ...]
    parameters: tuple[tuple[str, Choice], ...] = ()
    divisible: tuple[tuple[str, int], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    reference: str = INTERPRETER
    tolerance: float | None = None
    target_name: str = "cpu"
    strategies: tuple[str, ...] = (TUNE,)

    @classmethod
    def of(
        cls, source: str | Path, sizes: Mapping[str, int], kernel: str | None = None, *,
        parameters: Mapping[str, Choice] | None = None, divisible: Mapping[str, int] | None = None,
        inputs: Mapping[str, str] | None = None, reference: str = INTERPRETER, tolerance: float | None = None,
        target_name: str = "cpu", strategies: tuple[str, ...] = (),
    ) -> KernelProblem:  # fmt: skip
        """The problem of a file or a text, whose text is taken now: later edits make another problem."""
        path = Path(source) if isinstance(source, Path) or (source.endswith(".bw") and "\n" not in source) else None
        text = path.read_text(encoding="utf-8") if path else str(source)
        return cls(
            KernelSource(text, str(path) if path else "<string>", kernel), pairs(sizes), pairs(parameters or {}),
            pairs(divisible or {}), pairs(inputs or {}), reference, tolerance, target_name, (TUNE, *strategies),
        )  # fmt: skip

    @property
    def key(self) -> str:
        digest = hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]
        return f"kernel {self.name} {digest}"

    @property
    def title(self) -> str:
        return f"{self.name} {' '.join(f'{name}={size}' for name, size in self.sizes)}".strip()

    @property
    def name(self) -> str:
        return self.source.kernel or self.source.syntax().name

    @property
    def target(self) -> Target:
        return target(self.target_name)

    @property
    def default(self) -> Candidate:
        return self.space().branches[0].default

    @property
    def operations(self) -> int:
        return 0

    @cached_property
    def nbytes(self) -> int:
        """Of all arrays, once each."""
        return sum(value.nbytes for _, value in self.arguments(self.kernel(self.default), 0).arrays(self._program))

    @property
    def _program(self) -> Program:
        return self.kernel(self.default).program

    def space(self) -> Space:
        return space_of(self)

    def kernel(self, candidate: Candidate) -> Kernel:
        """The kernel whose parameters are those of the problem and, where it has none of that name, the candidate's."""
        return Kernel(self.source, self.target, candidate.mapping | dict(self.parameters), dict(self.divisible))

    def build(self, candidate: Candidate) -> Executable:
        return build_with(self, candidate)

    def warm(self, candidate: Candidate, data: Data) -> None:
        """Nothing: arrays are packed in a moment."""

    def arguments(self, made: Kernel, seed: int) -> Given:
        """Random arguments: the same numbers for every candidate, stored as its kernel takes them.

        Arrays that are written begin with random numbers too, so that what a candidate leaves out shows; locks are 0.
        """
        program = made.program
        ops = [s.op for s in walk(program.body) if isinstance(s, Let)]
        locks = {op.array for op in ops if isinstance(op, Lock | Release)}
        fills = {a.name: "random" for a in written(program) if isinstance(a, Array) and a not in locks}
        return make_arguments(program, dict(self.sizes), fills | dict(self.inputs), seed)

    def data(self, seed: int) -> Data:
        made = self.kernel(self.default)
        given = self.arguments(made, seed)
        before = {a.name: numbers(a, value, given.sizes) for a, value in given.arrays(made.program)}
        if self.reference == INTERPRETER:
            interpret(made.program, *given.values, sizes=explicit_sizes(made, given.sizes), show=lambda text: None)
            right = outputs(made, given)
        else:
            found = _function(self.reference)(before, {var.name: size for var, size in given.sizes.items()})
            right = {name: np.asarray(value, np.float64) for name, value in found.items()}
            _check_outputs(self.reference, right, outputs(made, given))
        kinds = {a.name: a.dtype for a in made.program.arrays}
        return Data(seed, right, {name: self._allowed(kinds[name], value) for name, value in right.items()})

    def _allowed(self, kind: object, right: Reals) -> float:
        finite = np.abs(right[np.isfinite(right)])
        top = float(finite.max()) if finite.size else 0.0
        if self.tolerance is not None:
            return self.tolerance * top
        return max(LEAST_TOLERANCE, 2.0 * 2.0**-kind.mantissa) * top if isinstance(kind, Float) else 0.0

    def to_json(self) -> dict[str, Json]:
        s = self.source
        return {
            "kind": "kernel", "text": s.text, "origin": s.origin, "kernel": s.kernel, "first_line": s.first_line,
            "decorated": s.decorated, "sizes": dict(self.sizes), "parameters": dict(self.parameters),
            "divisible": dict(self.divisible), "inputs": dict(self.inputs), "reference": self.reference,
            "tolerance": self.tolerance, "target": self.target_name, "strategies": list(self.strategies),
        }  # fmt: skip

    @classmethod
    def from_json(cls, text: Mapping[str, Json]) -> KernelProblem:
        """The problem that `to_json` wrote."""
        t = cast("Mapping[str, str]", text)
        integers = {name: pairs(cast("dict[str, int]", text[name])) for name in ("sizes", "divisible")}
        return cls(
            KernelSource(t["text"], t["origin"], t["kernel"], int(t["first_line"]), bool(t["decorated"])),
            integers["sizes"], pairs(cast("dict[str, Choice]", text["parameters"])), integers["divisible"],
            pairs(cast("dict[str, str]", text["inputs"])), t["reference"], cast("float | None", text["tolerance"]),
            t["target"], tuple(t["strategies"]),
        )  # fmt: skip


def explicit_sizes(made: Kernel, sizes: Mapping[Var, int]) -> dict[str, int]:
    """The sizes that a call passes by name, since no array tells them."""
    return {var.name: sizes[var] for var in made.compiled.signature.explicit}


def outputs(made: Kernel, given: Given) -> dict[str, Reals]:
    """The numbers in the arrays that the kernel writes, by name."""
    targets = written(made.program)
    arrays = [(a, value) for a, value in given.arrays(made.program) if a in targets]
    return {a.name: numbers(a, value, given.sizes).astype(np.float64) for a, value in arrays}


def pairs(values: Mapping[str, T]) -> tuple[tuple[str, T], ...]:
    """In the order of names, so that equal mappings are equal."""
    return tuple(sorted(values.items()))


def _function(place: str) -> Reference:
    """The user's function at "module:function"."""
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ProblemError(
            f'the reference {place!r} is not found: {error}; give "interpreter" or "module:function"'
        ) from error
    if not callable(found):
        raise ProblemError(f"the reference {place} is no function")
    return cast("Reference", found)


def _check_outputs(place: str, found: Mapping[str, Reals], wanted: Mapping[str, Reals]) -> None:
    shapes = {name: value.shape for name, value in wanted.items()}
    if {name: value.shape for name, value in found.items()} != shapes:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ProblemError(f"the reference {place} must return a mapping of the numbers of {listed}, and of no other")

"""Problems from what users say: "linear" with shapes, a program with sizes, a function under @jit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

from ..bench.problem import format_of
from ..build import ParameterValue
from ..jit import Jit
from ..kernel import KernelSource
from ..library.plan import Activations
from .kernel_problem import INTERPRETER, TUNE, KernelProblem, pairs
from .kernel_strategy import choice
from .linear_problem import SCHEDULES, LinearProblem
from .problem import Problem, ProblemError
from .space import Choice

__all__ = ["Options", "Shape", "pose", "shape_of", "sizes_of"]

Shape = str | Sequence[int] | Mapping[str, int]
"""Of a linear MxNxK, as "1x4096x4096" or (1, 4096, 4096); of a kernel its sizes, as "M=1,N=4096" or a mapping."""


class Options(TypedDict, total=False):
    """What may be said of a problem besides its shapes: see `pose`."""

    weights: str | Sequence[str]
    group: int
    activations: str | Sequence[str]
    target: str
    kernel: str | None
    parameters: Mapping[str, ParameterValue] | None
    divisible: Mapping[str, int] | None
    inputs: Mapping[str, str] | None
    reference: str
    tolerance: float | None
    strategies: Sequence[str]


def pose(
    what: object, shapes: Sequence[Shape] = (), *, weights: str | Sequence[str] = "u4", group: int = 128,
    activations: str | Sequence[str] = "f32", target: str = "cpu", kernel: str | None = None,
    parameters: Mapping[str, ParameterValue] | None = None, divisible: Mapping[str, int] | None = None,
    inputs: Mapping[str, str] | None = None, reference: str = INTERPRETER, tolerance: float | None = None,
    strategies: Sequence[str] = (),
) -> list[Problem]:  # fmt: skip
    """One problem for each shape, and for "linear" for each of the weights and activations.

    what         "linear"; or a program: the path of a `.bw` file, its text, or a function under @jit; or problems
    weights, group, activations    of "linear": element types or whole formats, weights that share a scale, and what x
                 is rounded to ("f32", "bf16", "f16", "int8")
    kernel       which kernel of the file
    parameters, divisible, inputs, reference, tolerance     of a kernel: see `KernelProblem`
    strategies   further ways to build the kernel, as "module:attribute"
    """
    if isinstance(what, Problem):
        return [what]
    if isinstance(what, Sequence) and not isinstance(what, str):
        return [problem for one in what for problem in pose(one)]
    if not shapes:
        raise ProblemError('say for which shapes: shapes=["1x4096x4096"] of a linear, ["M=1,N=4096"] of a kernel')
    if what == "linear":
        kinds = cast(Sequence[Activations], _several(activations))
        formats = [str(format_of(name, group)) for name in _several(weights)]
        places = (*SCHEDULES, *strategies)
        return [
            LinearProblem(format, kind, *shape_of(shape), target, places)
            for format in formats
            for kind in kinds
            for shape in shapes
        ]
    source = _source(what, kernel)
    plain: dict[str, Choice] = {name: choice(value) for name, value in (parameters or {}).items()}
    facts, fills = pairs(divisible or {}), pairs(inputs or {})
    problems = [
        KernelProblem(
            source, pairs(sizes_of(shape)), pairs(plain), facts, fills, reference, tolerance, target,
            (TUNE, *strategies),
        )
        for shape in shapes
    ]  # fmt: skip
    for problem in problems:
        problem.nbytes  # noqa: B018  # makes its arguments: what is missing is known before a session begins
    return list(problems)


def shape_of(shape: Shape) -> tuple[int, int, int]:
    """M, N and K of a linear's shape."""
    numbers: Sequence[object] = shape.lower().split("x") if isinstance(shape, str) else ()
    if not isinstance(shape, str | Mapping):
        numbers = shape
    try:
        m, n, k = (int(str(number)) for number in numbers)
    except ValueError:
        raise ProblemError(f"the shape {shape} must be MxNxK, rows of x, rows and columns of w: 1x4096x4096") from None
    return m, n, k


def sizes_of(shape: Shape) -> dict[str, int]:
    """The sizes of a kernel by name."""
    if isinstance(shape, Mapping):
        return dict(shape)
    found: dict[str, int] = {}
    for part in shape.split(",") if isinstance(shape, str) else ():
        name, _, number = part.partition("=")
        if not name.strip().isidentifier() or not number.strip().isdecimal() or name.strip() in found:
            raise ProblemError(f"the shape {shape} must give each size once, by its name: M=1,N=4096,K=4096")
        found[name.strip()] = int(number)
    if not found:
        raise ProblemError(f"the shape {shape} must give each size by its name: M=1,N=4096,K=4096")
    return found


def _several(names: str | Sequence[str]) -> list[str]:
    words = names.split(",") if isinstance(names, str) else names
    return [word.strip() for word in words]


def _source(what: object, kernel: str | None) -> KernelSource:
    if isinstance(what, Jit):
        return what.source
    if isinstance(what, Path) or (isinstance(what, str) and what.endswith(".bw") and "\n" not in what):
        path = Path(what)
        if not path.exists():
            raise ProblemError(f"there is no file {path}")
        return KernelSource(path.read_text(encoding="utf-8"), str(path), kernel)
    if isinstance(what, str):
        return KernelSource(what, "<string>", kernel)
    raise ProblemError(f'a {type(what).__name__} cannot be tuned: give "linear", a program or a function under @jit')

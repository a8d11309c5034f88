"""`@jit`: a Python function whose body is in the language, compiled for the arguments that it is called with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Generic, ParamSpec

from ..backend.exclusive import once
from ..backend.target import Target
from ..backend.target import target as find_target
from ..vm.diagnostic import Diagnostic, Problem
from ..vm.dtypes import DType, dtype
from . import syntax
from .build import ParameterValue
from .kernel import Kernel, KernelSource

P = ParamSpec("P")
FACT = 64  # sizes are specialised on the power of two, up to this, that divides them
_NAMES = {"float16": "f16", "float32": "f32", "bfloat16": "bf16", "bool": "bool"}


class Jit(Generic[P]):
    """A kernel in the language that compiles itself when it is called.

    A call specialises on the dtypes of its arrays, on the powers of two (up to 64) that divide their sizes, and on the
    compile-time parameters, given by name; each specialisation is compiled once.
    """

    def __init__(self, function: Callable[P, object], target: Target) -> None:
        functools.update_wrapper(self, function)
        try:
            lines, first = inspect.getsourcelines(function)
        except OSError as error:
            hint = "write it to a file, or compile its text with bitwright.compile"
            raise Diagnostic(Problem(f"the text of {function.__name__} is in no file", hint)) from error
        file = inspect.getsourcefile(function) or "<unknown>"
        self.source = KernelSource("".join(lines), file, function.__name__, first, decorated=True)
        self.target = target
        self._kernels: dict[tuple[object, ...], Kernel] = {}

    @once
    def syntax(self) -> syntax.Kernel:
        """The kernel's syntax tree; parsed at the first call, when mistakes are reported."""
        return self.source.syntax()

    def __call__(self, *arguments: object, **parameters: ParameterValue) -> None:
        key = (*map(_key, arguments), *parameters.items())
        kernel = self._kernels.get(key)
        if kernel is None:
            kernel = self._kernels[key] = self.kernel(*arguments, **parameters)
        kernel(*arguments)

    def kernel(self, *arguments: object, **parameters: ParameterValue) -> Kernel:
        """The kernel that a call with these arguments runs."""
        params = self.syntax.params
        if len(arguments) != len(params):
            names = ", ".join(p.name for p in params)
            raise Diagnostic(
                Problem(f"{self.syntax.name} takes {len(params)} arguments ({names}), got {len(arguments)}")
            )
        given: dict[str, ParameterValue] = dict(parameters)
        multiples: dict[str, int] = {}
        types = {p.name for p in self.syntax.compile_params}
        for p, argument in zip(params, arguments, strict=True):
            _learn(p.annotation, argument, types, given, multiples)
        return Kernel(self.source, self.target, given, multiples)


def _key(argument: object) -> object:
    """What a specialisation depends on: of an array its dtype and the facts of its sizes, of a number its type."""
    shape = getattr(argument, "shape", None)
    if shape is None:
        return type(argument)
    return (getattr(argument, "dtype", None), *(_fact(n) for n in shape))


def _fact(n: int) -> int:
    return min(n & -n, FACT) if n else FACT


def _learn(
    annotation: syntax.Expression, argument: object, types: set[str],
    given: dict[str, ParameterValue], multiples: dict[str, int],
) -> None:  # fmt: skip
    """Takes the dtype parameter and the facts about sizes from an array and its annotation `D[M, N]`."""
    if not isinstance(annotation, syntax.Subscript):
        return
    shape, kind = getattr(argument, "shape", ()), annotation.value
    if isinstance(kind, syntax.Name) and kind.name in types and kind.name not in given:
        given[kind.name] = dtype_of(argument)
    for index, size in zip(annotation.indices, shape, strict=False):
        if isinstance(index, syntax.Name) and index.name not in given:
            known = multiples.get(index.name)
            multiples[index.name] = _fact(int(size)) if known is None else min(known, _fact(int(size)))


def dtype_of(array: object) -> DType:
    """Our dtype of an array's elements (NumPy's, torch's or ml_dtypes' name for it)."""
    name = str(getattr(array, "dtype", "")).removeprefix("torch.")
    if name in _NAMES:
        return dtype(_NAMES[name])
    for long, short in (("uint", "u"), ("int", "i")):
        if name.startswith(long):
            return dtype(short + name.removeprefix(long))
    if name.startswith("float8_"):
        return dtype("f8" + name.removeprefix("float8_"))
    raise Diagnostic(Problem(f"there is no dtype for arrays of {name or type(array).__name__}"))


def tune(*choices: ParameterValue) -> ParameterValue:
    """The default of a compile-time parameter that a session may search: its first choice.

    A decorated function's defaults are the one thing of it that Python evaluates, so there the name must exist:
    `from bitwright import tune`.
    """
    if not choices:
        raise ValueError("tune lists choices, for example tune(64, 128)")
    return choices[0]


def jit(
    function: Callable[P, object] | None = None, *, target: str = "cpu"
) -> Jit[P] | Callable[[Callable[P, object]], Jit[P]]:
    """Makes a kernel of a function whose body is written in the language; nothing of it is run as Python.

    from __future__ import annotations     # before Python 3.14, which would evaluate f32[N] at once

    @bitwright.jit
    def double(x: f32[N], y: f32[N], *, B: int = 128):
        i = grid((N, B))
        store(y, [i], load(x, [i], [B]) * 2.0)

    double(x, y)
    double(x, y, B=256)
    """
    if function is None:
        return lambda f: Jit(f, find_target(target))
    return Jit(function, find_target(target))

"""A compiled kernel: program text with its compile-time parameters fixed, for one target.

Nothing is done before it is needed: a kernel whose object is in the cache on disk is never parsed, built or lowered to
be called, only to be looked into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..backend.artifact import Binary
from ..backend.cache import default_cache
from ..backend.cuda.build import compiler_version, to_ptx
from ..backend.cuda.sass import disassemble
from ..backend.exclusive import once
from ..backend.lane.facts import Facts
from ..backend.lane.text import render
from ..backend.llvm.build import assembly, load
from ..backend.llvm.entry import make_function
from ..backend.llvm.pool import parallel_address
from ..backend.pipeline import Compiled, compile_program
from ..backend.report import report
from ..backend.simulated import simulate_on
from ..backend.target import Target
from ..backend.target import target as find_target
from ..vm.bits import pack
from ..vm.call_arguments import Argument, bind
from ..vm.diagnostic import Diagnostic, Problem
from ..vm.dtypes import Codebook
from ..vm.expr import evaluate
from ..vm.ir import Program
from ..vm.text import print_program
from .binary import binary_of, calling
from .build import ParameterValue, build
from .parse import parse, parse_function
from .syntax import Kernel as KernelSyntax


class Callable_(Protocol):
    """What tvm-ffi makes of a kernel's entry."""

    def __call__(self, *arguments: object) -> object: ...


@dataclass(frozen=True)
class KernelSource:
    """Program text, where it comes from, and which of its kernels is meant (None: the only one).

    `decorated` text is one Python function as it stands in the user's file, from line `first_line` on.
    """

    text: str
    origin: str = "<string>"
    kernel: str | None = None
    first_line: int = 1
    decorated: bool = False

    def syntax(self) -> KernelSyntax:
        if self.decorated:
            return parse_function(self.text, self.origin, self.first_line)
        module = parse(self.text, self.origin, self.first_line)
        names = [k.name for k in module.kernels]
        if self.kernel is None and len(names) == 1:
            return module.kernels[0]
        if self.kernel not in names:
            asked = f"there is no kernel {self.kernel!r}" if self.kernel else "there are several kernels"
            raise Diagnostic(
                Problem(f"{self.origin}: {asked}", f"choose one with kernel=…: {', '.join(names) or 'none'}")
            )
        return module.kernels[names.index(self.kernel)]


def text_of(value: object) -> str:
    """A parameter's value as text, the same for equal values: part of the cache key."""
    if isinstance(value, Codebook):
        return f"codebook {value.name}{value.values}"
    return f"{type(value).__name__}:{value}"


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel to call: `k(x, w, y)` with NumPy arrays, torch CPU tensors, or anything that speaks DLPack.

    A kernel for a GPU takes torch CUDA tensors, CuPy arrays and what else lies there, and runs on the stream that is
    current for the first of them; a call returns at once, and can be recorded into a CUDA graph (call the kernel once
    before).  A check of its own that fails is raised by a later call, or by `synchronize`.

    Arrays that the kernel writes are changed in place.  Integer and float scalars are passed by position like arrays;
    sizes that no array tells are passed by name (`k(x, w, y, K=4096)`).
    """

    source_text: KernelSource
    target: Target
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    multiples: Mapping[str, int] = field(default_factory=dict)

    @once
    def program(self) -> Program:
        """The tile program as it is written, before any stage."""
        return build(self.source_text.syntax(), self.parameters, self.multiples)

    @once
    def compiled(self) -> Compiled:
        """The program after every stage up to LLVM IR or CUDA C++."""
        return compile_program(self.program, self.target, until="emit")

    @once
    def code(self) -> bytes:
        """The object, or the cubin, from the cache if it is there."""
        cache, key = default_cache(), self._key()
        found = cache.get(key)
        if found is None:
            found = compile_program(self.program, self.target).code
            cache.put(key, found)
        return found

    @once
    def binary(self) -> Binary:
        """The code and how it is called, from the cache if both are there: what an artifact holds."""
        cache, key = default_cache(), default_cache().key("calling", self._key())
        found = cache.get(key)
        if found is None:
            found = calling(self.name, self.compiled)
            cache.put(key, found)
        return binary_of(found, self.code)

    def _key(self) -> str:
        s = self.source_text
        where = self.target
        parts = [s.text, s.kernel or "", where.triple, where.cpu, where.feature_string, str(where.lanes)]
        parts += [f"{k}={text_of(v)}" for k, v in sorted(self.parameters.items())]
        parts += [f"{k}%{v}" for k, v in sorted(self.multiples.items())]
        if where.kind == "cuda":
            parts.append(compiler_version())
        return default_cache().key("kernel", *parts)

    @once
    def function(self) -> Callable_:
        """What a call runs: of a CPU the tvm-ffi function, which TVM calls as a packed function; of a GPU a launch."""
        if not self.target.runs_here:
            raise Diagnostic(
                Problem(
                    f"this machine cannot run code for {self.target.name}",
                    'compile for target="cpu", run it elsewhere, or look at it run in bitwright.simulate',
                )
            )
        if self.target.kind == "cuda":
            return self.binary.load()
        return cast(Callable_, make_function(load(self.code, {"bw_parallel": parallel_address()})))

    def __call__(self, *arguments: object, **sizes: int) -> None:
        if sizes:
            arguments = (*arguments, *self._explicit(sizes))
        function = self.function  # what fails here is not about the arguments
        try:
            function(*arguments)
        except (BufferError, TypeError, ValueError) as error:
            plain = tuple(_plain(a) for a in arguments)
            if all(p is a for p, a in zip(plain, arguments, strict=True)):
                raise Diagnostic(Problem(f"{self.name}: {error}", self._usage())) from error
            self._again(plain)

    def _again(self, arguments: tuple[object, ...]) -> None:
        try:
            self.function(*arguments)
        except (BufferError, TypeError, ValueError) as error:
            raise Diagnostic(Problem(f"{self.name}: {error}", self._usage())) from error

    @property
    def name(self) -> str:
        return self.source_text.kernel or self.program.name

    def _usage(self) -> str:
        names = [str(a) for a in self.compiled.signature.arguments]
        return "call it with " + ", ".join(
            f"{a.name}: {text}" for a, text in zip(self.compiled.signature.arguments, names, strict=True)
        )

    def _explicit(self, sizes: Mapping[str, int]) -> list[int]:
        wanted = [v.name for v in self.compiled.signature.explicit]
        if set(wanted) != set(sizes):
            raise Diagnostic(
                Problem(
                    f"{self.name} takes the sizes {', '.join(wanted) or 'of its arrays only'}, got {', '.join(sizes)}",
                    "pass by name exactly the sizes that no array has as a dimension",
                )
            )
        return [sizes[name] for name in wanted]

    def source(self, stage: str = "tile") -> str:
        """The kernel as text: "tile" (the language), "lane"; on CPUs "llvm", "asm", on GPUs "cuda", "ptx", "sass"."""
        match self.target.kind, stage:
            case _, "tile":
                return print_program(self.program)
            case _, "lane":
                assert self.compiled.function is not None
                return render(self.compiled.function)
            case ("cpu", "llvm") | ("cuda", "cuda"):
                return self.compiled.ir
            case "cpu", "asm":
                return assembly(self.compiled.ir, self.target)
            case "cuda", "ptx":
                return to_ptx(self.compiled.ir, self.target)
            case "cuda", "sass":
                return disassemble(self.code)
            case _:
                pass
        own = "llvm or asm" if self.target.kind == "cpu" else "cuda, ptx or sass"
        raise ValueError(f"a kernel for {self.target.name} has no stage {stage!r}: choose tile, lane, {own}")

    def report(self) -> dict[str, int | float]:
        """What the code costs, by counting: see `backend/report/__init__.py`."""
        return report(self.compiled, self.code)

    def pack(self, name: str, codes: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The buffer that the array parameter `name` takes, for codes of the array's shape."""
        array = next((a for a in self.program.arrays if a.name == name), None)
        if array is None:
            known = ", ".join(a.name for a in self.program.arrays)
            raise ValueError(f"{self.name} has no array {name!r}: it has {known}")
        if array.storage is not None:
            return array.storage.pack(codes)
        return pack(codes.reshape(-1), array.dtype.bits)


def simulate(kernel: Kernel, *arguments: Argument, sizes: Mapping[str, int] = MappingProxyType({})) -> Facts:
    """Runs the kernel's lane code in the simulator: what `kernel(*arguments)` does, with every access checked.

    Works for targets that this machine cannot run.  Arrays are NumPy arrays, written in place.  Gives what was done:
    operations, bytes and, on GPUs, bank conflicts and sectors (`print` shows a table).

    Raises LaneError for accesses that leave an array, misalignment, and lanes that write one byte in one step; on GPUs
    also for accesses that no barrier orders, and for bytes that a copy is under way to.  Raises InterpretError for
    arguments that do not fit.  What blocks do to each other is for `interpret` to find.
    """
    program, function = kernel.program, kernel.compiled.function
    assert function is not None
    call = bind(program, arguments, sizes, set())
    plain = [_plain(a) for a in arguments]
    slots = [a if isinstance(a, np.ndarray | int | float) else 0 for a in plain]
    extents = [evaluate(n, call.scalars) for n in program.grid]
    return simulate_on(kernel.target, function, [*slots, *(call.scalars[v] for v in program.sizes)], prod(extents))


def _plain(argument: object) -> object:
    """An array that DLPack refuses as one that it takes: ml_dtypes as their codes, read-only memory as a copy."""
    if not isinstance(argument, np.ndarray):
        return argument
    if argument.dtype.kind == "V" or argument.dtype.type.__module__.startswith("ml_dtypes"):
        argument = argument.view(np.dtype(f"u{argument.dtype.itemsize}"))
    return argument if argument.flags.writeable else argument.copy()


def compile(
    source: str | Path, target: str | Target = "cpu", *, kernel: str | None = None,
    divisible: Mapping[str, int] | None = None, **parameters: ParameterValue | str,
) -> Kernel:  # fmt: skip
    """A kernel of program text (or of the `.bw` file at a path) for a target.

    Parameters are the kernel's compile-time parameters, and sizes that are to be constants (`K=4096`); a dtype may be
    given by name.  `divisible` states facts about sizes (`{"N": 64}`): calls that break them are refused.
    """
    path = Path(source) if isinstance(source, Path) or (source.endswith(".bw") and "\n" not in source) else None
    text = path.read_text(encoding="utf-8") if path else str(source)
    origin = KernelSource(text, str(path) if path else "<string>", kernel)
    where = find_target(target) if isinstance(target, str) else target
    return Kernel(origin, where, dict(parameters), dict(divisible or {}))

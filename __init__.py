"""bitwright: a tensor-compiler virtual machine for arbitrary bit widths.

import bitwright as bw

q = bw.quantize(w, "u3", group=128)      # w[N, K] -> QTensor
y = bw.linear(x, q)                      # x[M, K] -> y[M, N]
k = bw.compile("kernel.bw", W="u3")      # a kernel of your own; k(x, w, y)
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backend.artifact import Artifact, ArtifactError, load_artifact
    from .backend.cuda.launch import synchronize
    from .backend.lane.facts import Facts
    from .backend.lane.simulate import LaneError
    from .backend.llvm.pool import set_threads, threads
    from .backend.target import Target, target
    from .frontend import relax
    from .frontend.export import export
    from .frontend.importers.gguf import load_qtensor as load_gguf
    from .frontend.importers.safetensors import QTensorFileError, load
    from .frontend.jit import Jit, jit, tune
    from .frontend.kernel import Kernel, compile, simulate
    from .frontend.linear import LinearError, linear, linear_kernel
    from .frontend.quantize import quantize
    from .frontend.tensor import QTensor
    from .frontend.tune.session import Session
    from .vm.bits import pack, unpack
    from .vm.diagnostic import Diagnostic
    from .vm.dtypes import codebook, dtype, float_dtype
    from .vm.formats import Format
    from .vm.interpret import InterpretError, interpret
    from .vm.layout.text import layout

__version__ = "0.1.0"

__all__ = [
    "Artifact", "ArtifactError", "Diagnostic", "Facts", "Format", "InterpretError", "Jit", "Kernel", "LaneError",
    "LinearError", "QTensor", "QTensorFileError", "Session", "Target", "codebook", "compile", "dtype", "export",
    "float_dtype", "interpret", "jit", "layout", "linear", "linear_kernel", "load", "load_artifact", "load_gguf",
    "pack", "quantize", "relax", "set_threads", "simulate", "synchronize", "target", "threads", "tune", "unpack",
]  # fmt: skip

_PLACES = {
    ".backend.artifact": ("Artifact", "ArtifactError", "load_artifact"),
    ".backend.cuda.launch": ("synchronize",),
    ".backend.lane.facts": ("Facts",),
    ".backend.lane.simulate": ("LaneError",),
    ".backend.llvm.pool": ("set_threads", "threads"),
    ".backend.target": ("Target", "target"),
    ".frontend.export": ("export",),
    ".frontend.importers.safetensors": ("QTensorFileError", "load"),
    ".frontend.jit": ("Jit", "jit", "tune"),
    ".frontend.kernel": ("Kernel", "compile", "simulate"),
    ".frontend.linear": ("LinearError", "linear", "linear_kernel"),
    ".frontend.quantize": ("quantize",),
    ".frontend.tensor": ("QTensor",),
    ".frontend.tune.session": ("Session",),
    ".vm.bits": ("pack", "unpack"),
    ".vm.diagnostic": ("Diagnostic",),
    ".vm.dtypes": ("codebook", "dtype", "float_dtype"),
    ".vm.formats": ("Format",),
    ".vm.interpret": ("InterpretError", "interpret"),
    ".vm.layout.text": ("layout",),
}
"""Where each name comes from.  It is imported when it is first asked for: artifacts load without the compiler."""

_MODULES = {name: module for module, names in _PLACES.items() for name in names}

if not TYPE_CHECKING:  # type checkers know the names above, and no others

    def __getattr__(name: str) -> object:
        if name == "relax":
            return importlib.import_module(".frontend.relax", __name__)
        if name == "load_gguf":
            found = importlib.import_module(".frontend.importers.gguf", __name__).load_qtensor
        elif name in _MODULES:
            found = getattr(importlib.import_module(_MODULES[name], __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

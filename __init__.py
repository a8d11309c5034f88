"""bitwright: a tensor-compiler virtual machine for arbitrary bit widths.

import bitwright as bw

q = bw.quantize(w, "u3", group=128)      # w[N, K] -> QTensor
y = bw.linear(x, q)                      # x[M, K] -> y[M, N]
k = bw.compile("kernel.bw", W="u3")      # a kernel of your own; k(x, w, y)
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from .backend.lane.simulate import LaneError
from .backend.llvm.pool import set_threads, threads
from .backend.target import Target, target
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

if TYPE_CHECKING:
    from .frontend import relax


def __getattr__(name: str) -> ModuleType:
    """`bitwright.relax` is imported when it is first asked for."""
    if name == "relax":
        return importlib.import_module(".frontend.relax", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "Diagnostic", "Format", "InterpretError", "Jit", "Kernel", "LaneError", "LinearError", "QTensor",
    "QTensorFileError", "Session", "Target", "codebook", "compile", "dtype", "float_dtype", "interpret", "jit",
    "layout", "linear", "linear_kernel", "load", "load_gguf", "pack", "quantize", "relax", "set_threads", "simulate",
    "target", "threads", "tune", "unpack",
]  # fmt: skip

"""Which library kernel runs a quantised linear, and with which parameters: a choice by model, without measuring.

Kernels differ in the activations (f32, bf16 or bytes) and in the number of rows that share each decoded weight.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Literal

from ...backend.target import Target
from ...vm.dtypes import dtype
from ..build import ParameterValue
from ..kernel import Kernel, KernelSource
from .exact import fits_bf16
from .prepared import Activations, LinearError, Prepared, Shape, padded, prepare

__all__ = ["ROWS", "Activations", "LinearError", "Prepared", "Shape", "padded", "prepare", "prepared_kernel"]

Product = Literal["f32", "bf16", "int8"]

TABLE_BITS = 6  # widest codes that few permutes look up
ROWS = (6, 4, 2, 1)  # that one pass over the weights serves: the sums of 6 rows x 4 vectors leave 8 registers of 32


@lru_cache(maxsize=16)
def library(name: str) -> str:
    """The text of a library file."""
    return (files("bitwright.frontend.library") / name).read_text(encoding="utf-8")


def product(p: Prepared, activations: Activations, target: Target) -> Product:
    """What the kernel multiplies.

    bf16 numbers only where every weight is one, so that weights are never rounded; where an instruction multiplies
    them; and where a table gives them, since wider codes are decoded to f32 sooner.  Else rounded activations go into
    f32 products.
    """
    if activations == "int8":
        return "int8"
    pairs = target.has("avx512bf16") and p.element.bits <= TABLE_BITS and fits_bf16(p.element)
    return "bf16" if activations == "bf16" and pairs else "f32"


def prepared_kernel(p: Prepared, activations: Activations, rows: int, bias: bool, target: Target) -> Kernel:
    """The kernel for `rows` rows at a time."""
    kind = product(p, activations, target)
    key = (kind, rows, bias, target)
    if key not in p.kernels:
        p.kernels[key] = _kernel(p, kind, rows, bias, target)
    return p.kernels[key]


def _kernel(p: Prepared, kind: Product, rows: int, bias: bool, target: Target) -> Kernel:
    """K is a constant of the kernel (offsets of rows are then part of an instruction); N is not, so that layers of one
    depth share a kernel.
    """
    s, columns = p.shape, p.storage.tile_shape[1]
    parameters: dict[str, ParameterValue] = {
        "W": p.element, "L": p.storage, "S": p.scale_type, "Z": p.zero_type, "G": s.group, "ZERO": p.zero_mode,
        "BIAS": bias, "BM": rows, "BN": columns, "BK": s.run, "K": s.depth, "KG": s.depth // s.group,
    }  # fmt: skip
    name = "linear_float"
    if kind == "int8":
        name, parameters = "linear_int8", parameters | {"A": s.part, "SHIFT": p.shift}
    else:
        parameters["D"] = dtype(kind)
    return Kernel(KernelSource(library("linear.bw"), "linear.bw", name), target, parameters, {"M": rows, "P": columns})


@lru_cache(maxsize=64)
def activation_kernel(name: str, target: Target, **parameters: int) -> Kernel:
    """A kernel of activations.bw."""
    return Kernel(KernelSource(library("activations.bw"), "activations.bw", name), target, parameters)

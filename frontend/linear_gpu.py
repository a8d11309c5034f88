"""`linear` on a GPU: x @ w.T + bias on the caller's stream, by products of 16-bit floats or of bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import cast, get_args

import numpy as np

from ..backend.target import Target
from ..backend.target import target as find_target
from ..vm.dtypes import DType, dtype
from .gpu_arrays import GpuRows, gpu_rows
from .gpu_call import GpuCall, Place, Scratch, State, Sums, bias_of, kept_call, launch
from .kernel import Kernel
from .library.bytes_cuda import Bytes
from .library.plan_cuda import GpuSchedule, cuda_kernel, plan_cuda, shares_of, sums_kernel, width
from .library.prepared import Activations, Prepared
from .library.prepared_cuda import Product, prepare_cuda
from .linear_gpu_bytes import byte_call, linear_bytes_kernel
from .quantize import quantize
from .tensor import QTensor

__all__ = ["gpu_call", "linear_gpu", "linear_gpu_kernel"]


BYTES: tuple[Bytes, ...] = get_args(Bytes)

PARTS = 3
"""Numbers of bf16, of 8 bits each, that make up one of f32."""

SAMPLE = 512  # columns: with so many, blocks are as wide as with more


def linear_gpu(x: object, q: QTensor, bias: object, activations: str, where: Target | None = None) -> object:
    """y[..., N] for x[..., K] on a GPU, of the kind and dtype of x; see `linear`."""
    rows = gpu_rows(x, q.shape[1])
    n, kind, machine = q.shape[0], rows.kind, find_target("cuda") if where is None else where
    if not rows.count:
        return rows.shaped(rows.library.empty((0, n), kind), n)
    if activations in BYTES:
        rounded = byte_call(q, activations, kind, kind, rows.count, bias is not None, machine)
        return rows.shaped(launch(rounded, rows, bias, n, kind), n)
    if kind == "f32" and activations in ("auto", "f32"):
        return rows.shaped(_in_parts(rows, q, bias, machine), n)
    product = product_of(kind, activations)
    if kind != product:
        rows = replace(rows, rows=rows.library.convert(rows.rows, product), kind=product)
    call = gpu_call(q, product, kind, rows.count, bias is not None, machine)
    return rows.shaped(launch(call, rows, bias, n, kind), n)


def product_of(kind: str, activations: str) -> Product:
    """The type that x is multiplied in: its own if that has 16 bits, unless another is asked for."""
    wanted = kind if activations in ("auto", "f32") else activations
    return "bf16" if wanted == "bf16" else "f16"


def _in_parts(rows: GpuRows, q: QTensor, bias: object, machine: Target) -> object:
    """x of f32, without rounding it: as three times as many rows of bf16, whose products are added up."""
    library, n = rows.library, q.shape[0]
    parts = replace(rows, rows=library.parts(rows.rows), kind="bf16", leading=(PARTS * rows.count,))
    call = gpu_call(q, "bf16", "f32", parts.count, False, machine)
    y = launch(call, parts, None, n, "f32")
    return library.total(y, PARTS, None if bias is None else bias_of(library, bias, n))


def gpu_call(q: QTensor, product: Product, out: str, m: int, bias: bool, machine: Target) -> GpuCall:
    """How products of m rows are done: found once, and kept with the tensor."""
    p = prepare_cuda(q, product, machine)

    def make() -> tuple[Kernel, tuple[Place, ...]]:
        schedule = plan_cuda(p, m, machine)
        kernel = cuda_kernel(p, schedule, product, dtype(out), bias, machine)
        sums = sums_kernel(p, product, machine) if schedule.form == "prefill" else None
        return kernel, places_of(p, schedule, m, bias, sums)

    return kept_call(q, p, ("gpu", product, out, m, bias, machine), make)


def places_of(p: Prepared, s: GpuSchedule, m: int, bias: bool, sums: Kernel | None) -> tuple[Place, ...]:
    """The arguments of `library/linear_cuda.bw`."""
    given: tuple[Place, ...] = (p.weights, p.scales, p.zeros, "bias" if bias else NO_BIAS)
    x: tuple[Place, ...] = ("x",)
    if s.form == "prefill":
        x = ("x", Scratch((m, 0)) if sums is None else Sums(p.shape.depth // p.shape.group, sums))
    blocks, tiles = shares_of(p, s), p.shape.columns // width(p) * -(-m // s.rows)
    part = Scratch((blocks, m, p.shape.n) if blocks > 1 else (0, 0, p.shape.n))
    return (*x, *given, part, State((2, tiles if blocks > 1 else 0)), "y")


NO_BIAS = np.zeros(0, np.float32)


def linear_gpu_kernel(
    element: str | DType, group: int, m: int, activations: Activations, machine: Target, zero_point: bool | None,
    n: int, k: int,
) -> Kernel:  # fmt: skip
    """The kernel that `linear` runs on this GPU for m rows of x of the type that `activations` names."""
    if activations in BYTES:
        return linear_bytes_kernel(element, group, m, cast(Bytes, activations), machine, zero_point, n, k)
    parts = activations == "f32"
    product: Product = "bf16" if parts else product_of(activations, activations)
    weights = np.random.default_rng(0).standard_normal((min(n, SAMPLE), k), np.float32)
    p = prepare_cuda(quantize(weights, element, group=group, zero_point=zero_point), product, machine)
    p = p.planned_for(n)
    rows = PARTS * m if parts else m
    return cuda_kernel(p, plan_cuda(p, rows, machine), product, dtype(activations), False, machine)

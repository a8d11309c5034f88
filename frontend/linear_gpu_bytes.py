"""`linear` on a GPU by products of bytes: x is rounded to bytes there, and then multiplied."""

from __future__ import annotations

import numpy as np

from ..backend.target import Target
from ..vm.dtypes import DType, dtype
from .gpu_call import GpuCall, Made, Place, Scratch, State, kept_call
from .kernel import Kernel
from .library.bytes_cuda import Bytes, prepare_bytes
from .library.plan_bytes import ByteSchedule, bytes_kernel, plan_bytes, quantize_kernel
from .library.plan_cuda import width
from .library.prepared import Prepared
from .quantize import quantize
from .tensor import QTensor

__all__ = ["byte_call", "linear_bytes_kernel"]

NO_BIAS = np.zeros(0, np.float32)
SAMPLE = 512  # columns: with so many, blocks are as wide as with more


def byte_call(q: QTensor, kind: Bytes, source: str, out: str, m: int, bias: bool, machine: Target) -> GpuCall:
    """How products of m rows of x, of the type `source`, are done: found once, and kept with the tensor."""
    p = prepare_bytes(q, kind)

    def make() -> tuple[Kernel, tuple[Place, ...]]:
        schedule = plan_bytes(p, m, machine)
        kernel = bytes_kernel(p, schedule, kind, dtype(out), bias, machine)
        return kernel, _places(p, schedule, kind, m, bias, quantize_kernel(p, source, kind, machine))

    return kept_call(q, p, ("gpu", source, out, m, bias, machine), make)


def _places(p: Prepared, s: ByteSchedule, kind: Bytes, m: int, bias: bool, makes: Kernel) -> tuple[Place, ...]:
    """The arguments of `linear_bytes` in `library/bytes_cuda.bw`."""
    shape, rows = p.shape, -(-m // s.rows)
    side = ("f32", (shape.depth // shape.part, rows * s.rows))
    made = Made(makes, (("i8" if kind == "int8" else "u8", (m, shape.depth)), side, side))
    shared = s.splits > 1
    part = Scratch((s.splits, m, shape.n) if shared else (0, 0, shape.n))
    state = State((2, shape.columns // width(p), rows))
    return (made, p.weights, p.scales, p.zeros, "bias" if bias else NO_BIAS, part, state, "y")


def linear_bytes_kernel(
    element: str | DType, group: int, m: int, kind: Bytes, machine: Target, zero_point: bool | None, n: int, k: int
) -> Kernel:
    """The kernel that `linear` runs on this GPU for m rows of x as bytes, to f16."""
    weights = np.random.default_rng(0).standard_normal((min(n, SAMPLE), k), np.float32)
    p = prepare_bytes(quantize(weights, element, group=group, zero_point=zero_point), kind)
    p = p.planned_for(n)
    return bytes_kernel(p, plan_bytes(p, m, machine), kind, dtype("f16"), False, machine)

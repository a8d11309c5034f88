"""Linears of random weights for GPUs: the kernel, what it is called with, and how far its result may be off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

import bitwright as bw
from bitwright.frontend.kernel import Kernel
from bitwright.frontend.library.plan_cuda import GpuSchedule, cuda_kernel, plan_cuda, shares_of, sums_kernel, width
from bitwright.frontend.library.prepared import Prepared
from bitwright.frontend.library.prepared_cuda import Product, prepare_cuda

HOPPER = "cuda:sm_90a"
NUMPY = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}

SUMS = 2.0**-20
"""The most that a result may be off, as a part of the sum of |x| |w|: sums are in f32."""

ROUNDED = {"f16": 2.0**-11, "bf16": 2.0**-8}
"""The same where the type of x does not have every weight."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class GpuLinear:
    """A kernel of the library and its arguments, of which the last is y, [M, N] of NaN."""

    kernel: Kernel
    arguments: list[Array]
    schedule: GpuSchedule
    wanted: Array
    bound: Array

    def assert_close(self) -> None:
        """Holds y to what it may be off."""
        error = np.abs(self.arguments[-1] - self.wanted)
        assert (error <= self.bound).all(), np.max(error / self.bound)


def gpu_linear(
    element: str, product: Product, m: int, n: int, k: int, group: int | None = 128, zero: bool = False,
    schedule: GpuSchedule | None = None, target: str = HOPPER,
) -> GpuLinear:  # fmt: skip
    """One linear with random weights, x and bias, by a given schedule or the planner's."""
    random = np.random.default_rng([m, n, k])
    q = bw.quantize(random.standard_normal((n, k)).astype(np.float32), element, group=group, zero_point=zero)
    where = bw.target(target)
    p = prepare_cuda(q, product, where)
    s = schedule or plan_cuda(p, m, where)
    x = random.standard_normal((m, k)).astype(NUMPY[product])
    bias = random.standard_normal(n).astype(np.float32)
    y = np.full((m, n), np.nan, np.float32)
    codes = x if product == "f16" else x.view(np.uint16)
    real = x.astype(np.float64)
    return GpuLinear(
        kernel=cuda_kernel(p, s, product, bw.dtype("f32"), True, where),
        arguments=[codes, *sums_of(p, product, codes, s, where), p.weights, p.scales, p.zeros, bias,
                   *workspace(p, s, m), y],
        schedule=s,
        wanted=real @ q.dequantize().astype(np.float64).T + bias,
        bound=(SUMS if _exact(q, product) else ROUNDED[product]) * (np.abs(real) @ _largest(q) + np.abs(bias)),
    )  # fmt: skip


def sums_of(p: Prepared, product: Product, x: Array, s: GpuSchedule, where: bw.Target) -> tuple[Array, ...]:
    """What "prefill" wants to know of x before."""
    if s.form != "prefill":
        return ()
    kernel = sums_kernel(p, product, where)
    if kernel is None:
        return (np.zeros((len(x), 0), np.float32),)
    total = np.full((len(x), p.shape.depth // p.shape.group), np.nan, np.float32)
    bw.simulate(kernel, x, total)
    return (total,)


def workspace(p: Prepared, s: GpuSchedule, m: int) -> tuple[Array, ...]:
    """Partial sums and the state of their blocks, where there are several."""
    shares = shares_of(p, s)
    part = (shares, m, p.shape.n) if shares > 1 else (1, 1, p.shape.n)
    state = np.zeros((2, p.shape.columns // width(p) * -(-m // s.rows)), np.int32)
    return np.full(part, np.nan, np.float32), state


def _exact(q: bw.QTensor, product: Product) -> bool:
    """Whether the type of x has every value of the element type."""
    values = q.format.element.decode(np.unique(q.codes))
    return bool(np.array_equal(values.astype(NUMPY[product]).astype(np.float64), values.astype(np.float64)))


def _largest(q: bw.QTensor) -> Array:
    """[K, N]: the largest |weight| of each group, which is what biases and zero points are taken off of."""
    w = np.abs(q.dequantize().astype(np.float64))
    group = q.format.group or w.shape[1]
    padded = np.pad(w, ((0, 0), (0, -w.shape[1] % group)))
    peaks = padded.reshape(len(w), -1, group).max(axis=2).repeat(group, axis=1)[:, : w.shape[1]]
    return peaks.T

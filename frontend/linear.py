"""`linear`: x @ w.T + bias with a quantised weight, on the CPU."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..backend.target import Target
from ..backend.target import target as find_target
from ..vm.dtypes import DType
from .kernel import Kernel, KernelSource
from .library.plan import ROWS, Activations, Prepared, activation_group, library, prepare, prepared_kernel
from .quantize import quantize
from .tensor import QTensor

Floats = NDArray[np.float32]


class LinearError(ValueError):
    """Arguments that do not go together; the message says what to change."""


def linear(x: object, q: QTensor, bias: object = None, activations: Literal["auto", "f32", "int8"] = "auto") -> object:
    """y[M, N] = x[M, K] @ q[N, K].T + bias[N]; `x` may have more leading dimensions, and y then has them too.

    `x` is a NumPy array or a torch CPU tensor of f32, f16 or bf16, and y is of the same kind; sums are taken in f32.

    * "f32" takes the activations as they are: the error is that of f32 sums.
    * "int8" rounds them, for each row and group of at most 128 columns, to 8-bit integers first: each x is off by at
      most max|x| of its group / 254.
    * "auto" is "f32": the result never depends on a rounding that was not asked for.

    Raises LinearError when shapes or dtypes do not fit.
    """
    rows, restore = _rows(x, q.shape[1])
    offsets = _bias(bias, q.shape[0])
    mode: Activations = "f32" if activations == "auto" else activations
    if mode not in ("f32", "int8"):
        raise LinearError(f'activations={activations!r}: choose "auto", "f32" or "int8"')
    here = find_target("cpu")
    prepared = prepare(q, mode, here)
    y = np.empty((rows.shape[0], q.shape[0]), np.float32)
    if rows.shape[0]:
        run(prepared, mode, rows, offsets, y, here)
    return restore(y)


def run(p: Prepared, mode: Activations, x: Floats, bias: Floats | None, y: Floats, here: Target) -> None:
    """y = x @ w.T + bias for contiguous f32 arrays, with as few passes over the weights as the rows allow."""
    s = p.shape
    if s.depth != s.k:
        x = np.pad(x, ((0, 0), (0, s.depth - s.k)))
    inputs = _quantised(p, x, here) if mode == "int8" else _summed(p, x, here)
    offsets = np.zeros(0, np.float32) if bias is None else bias
    start, left = 0, x.shape[0]
    for step in ROWS:
        count = left // step * step
        if count:
            part = slice(start, start + count)
            kernel = prepared_kernel(p, mode, step, bias is not None, here)
            kernel.function(*(a[part] for a in inputs), p.weights, p.scales, p.zeros, offsets, y[part])
            start, left = start + count, left - count


def linear_kernel(
    element: str | DType, group: int = 128, m: int = 1, activations: Literal["f32", "int8"] = "f32",
    target: str = "cpu", zero_point: bool | None = None, n: int = 4096, k: int = 4096,
) -> Kernel:  # fmt: skip
    """The kernel that `linear` runs for `m` rows at a time (1, 2, 4 or 8) and weights [n, k] of this element type.

    To look at (`.source("asm")`, `.report()`) or to call by hand; its arguments are those of `library/linear.bw`.
    """
    if m not in ROWS:
        raise LinearError(f"m={m}: kernels take {', '.join(map(str, ROWS))} rows at a time")
    weights = np.random.default_rng(0).standard_normal((n, k), np.float32)
    where = find_target(target)
    q = quantize(weights, element, group=group, zero_point=zero_point)
    return prepared_kernel(prepare(q, activations, where), activations, m, False, where)


def _summed(p: Prepared, x: Floats, here: Target) -> tuple[NDArray[np.generic], ...]:
    if p.zero_mode == "none":
        return x, np.zeros((x.shape[0], 0), np.float32)
    group = p.shape.group
    total = np.empty((x.shape[0], p.shape.depth // group), np.float32)
    helper("group_sums", here, G=group, T=np.gcd(group, 128).item()).function(x, total)
    return x, total


def _quantised(p: Prepared, x: Floats, here: Target) -> tuple[NDArray[np.generic], ...]:
    group = activation_group(p.shape.group)
    groups = p.shape.depth // group
    q = np.empty(x.shape, np.int8)
    step, total = (np.empty((x.shape[0], groups), np.float32) for _ in range(2))
    helper("quantize_rows", here, A=group).function(x, q, step, total)
    return q, step, total


@lru_cache(maxsize=64)
def helper(name: str, here: Target, **parameters: int) -> Kernel:
    """A kernel of activations.bw."""
    return Kernel(KernelSource(library("activations.bw"), "activations.bw", name), here, parameters)


def _rows(x: object, k: int) -> tuple[Floats, _Restore]:
    restore = _Restore(x)
    array = restore.array
    if array.ndim == 0 or array.shape[-1] != k:
        raise LinearError(
            f"x has shape {list(array.shape)}, but the weight has K = {k} columns: x's last size must be {k}"
        )
    return np.ascontiguousarray(array.reshape(-1, k), np.float32), restore


def _bias(bias: object, n: int) -> Floats | None:
    if bias is None:
        return None
    array = _Restore(bias).array
    if array.shape != (n,):
        raise LinearError(
            f"bias has shape {list(array.shape)}, but the weight has N = {n} rows: give a bias of shape [{n}]"
        )
    return np.ascontiguousarray(array, np.float32)


class _Restore:
    """An array or torch tensor as an f32 array, and the way back: results of the same kind, dtype and leading sizes."""

    def __init__(self, x: object) -> None:
        self.like = x
        if type(x).__module__.split(".")[0] == "torch":
            import torch

            assert isinstance(x, torch.Tensor)
            if x.device.type != "cpu":
                raise LinearError(f"x is on {x.device}: linear runs on the CPU here, move x there with x.cpu()")
            self.array: NDArray[np.generic] = x.detach().to(torch.float32).contiguous().numpy()
            return
        self.array = np.asarray(x)
        if self.array.dtype.kind != "f" and self.array.dtype.name != "bfloat16":
            raise LinearError(f"x is an array of {self.array.dtype}: give f32, f16 or bf16")

    def __call__(self, y: Floats) -> object:
        shaped = y.reshape(*self.array.shape[:-1], y.shape[-1])
        if isinstance(self.like, np.ndarray) or type(self.like).__module__.split(".")[0] != "torch":
            return shaped.astype(self.array.dtype, copy=False)
        import torch

        assert isinstance(self.like, torch.Tensor)
        return torch.from_numpy(shaped).to(self.like.dtype)

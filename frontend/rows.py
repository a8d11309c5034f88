"""The arrays that callers of `linear` have as the f32 rows that kernels take, and results as the same kind of array."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .library.prepared import LinearError

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
F32 = np.dtype(np.float32)
FLOATS = ("float16", "bfloat16", "float32", "float64")


def as_rows(x: object, k: int) -> tuple[Floats, Callable[[Floats], object]]:
    """`x[..., K]` as contiguous f32 rows [M, K], and the way back: y[M, N] as the kind of x, with its leading sizes."""
    array = as_floats(x, "x")
    if array.ndim == 0 or array.shape[-1] != k:
        raise LinearError(
            f"x has shape {list(array.shape)}, but the weight has K = {k} columns: x's last size must be {k}"
        )
    leading = array.shape[:-1]

    def back(y: Floats) -> object:
        shaped = y if len(leading) == 1 else y.reshape(*leading, y.shape[-1])
        if not isinstance(x, np.ndarray):
            return _to_torch(shaped, x)
        if x.dtype is F32:
            return shaped
        with np.errstate(over="ignore"):  # beyond the largest f16 there is infinity
            return shaped.astype(x.dtype, copy=False)

    return array if len(leading) == 1 else array.reshape(-1, k), back


def as_floats(x: object, name: str) -> Floats:
    """The numbers of an array or tensor as a contiguous f32 array that a kernel can take; f64 is rounded."""
    if type(x).__module__.partition(".")[0] == "torch":
        x = _from_torch(x, name)
    elif not isinstance(x, np.ndarray):
        raise LinearError(f"{name} is a {type(x).__name__}: give a NumPy array or a torch tensor")
    if x.dtype is F32 and x.flags.carray and type(x) is np.ndarray:  # what most calls give
        return x
    if not _is_float(x.dtype):
        raise LinearError(
            f"{name} is an array of {x.dtype}: give f32, f16, bf16 or f64, for example {name}.astype('f4')"
        )
    with np.errstate(over="ignore"):
        # Writable, because DLPack knows no memory that may only be read.
        return np.require(x, np.float32, ["C", "ALIGNED", "WRITEABLE", "ENSUREARRAY"])


@lru_cache(maxsize=64)
def _is_float(kind: np.dtype[np.generic]) -> bool:
    return kind.name in FLOATS


def _from_torch(x: object, name: str) -> NDArray[np.generic]:
    import torch

    if not isinstance(x, torch.Tensor):
        raise LinearError(f"{name} is a {type(x).__name__}: give a NumPy array or a torch tensor")
    if x.dtype is torch.float32:
        with suppress(TypeError, RuntimeError):  # what stands in the way is found below
            seen: NDArray[np.generic] = x.numpy()
            return seen
    if x.device.type != "cpu":
        raise LinearError(
            f"{name} is on {x.device}: give all arrays on the CPU, or all on one GPU, for example {name}.cpu()"
        )
    if x.layout != torch.strided:
        raise LinearError(f"{name} is a tensor of layout {x.layout}: give a dense one, {name}.to_dense()")
    if x.requires_grad and torch.is_grad_enabled():
        raise LinearError(f"{name} asks for a gradient, which linear does not have: call it under torch.no_grad()")
    if str(x.dtype).removeprefix("torch.") not in FLOATS:
        raise LinearError(f"{name} is a tensor of {x.dtype}: give f32, f16, bf16 or f64, for example {name}.float()")
    plain: NDArray[np.generic] = x.detach().to(torch.float32).resolve_neg().numpy()
    return plain


def _to_torch(y: Floats, like: object) -> torch.Tensor:
    import torch

    assert isinstance(like, torch.Tensor)
    found = torch.from_numpy(y)
    return found if like.dtype is torch.float32 else found.to(like.dtype)

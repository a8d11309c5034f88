"""The arrays that callers of `linear` have on a GPU, PyTorch's or CuPy's, and new ones of the same library there."""

from __future__ import annotations

import importlib
from collections.abc import Hashable
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..backend.cuda.driver import open_driver
from ..backend.target import GPU_ALIGN
from .library.prepared import LinearError

if TYPE_CHECKING:
    import torch

__all__ = ["GpuLibrary", "GpuRows", "gpu_rows", "on_gpu"]

TYPES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}
"""Our names of the element types that x may have, by the libraries' names."""


class GpuLibrary(Protocol):
    """What making arrays takes of a library, on the device of some array."""

    def empty(self, shape: tuple[int, ...], kind: str) -> object:
        """An array of undefined contents, of an element type by our name."""

    def zeros(self, shape: tuple[int, ...], kind: str) -> object:
        """An array of zeros."""

    def put(self, data: NDArray[np.generic]) -> object:
        """A copy of an array of the CPU's; codes of types that the library lacks stay codes."""

    def convert(self, values: object, kind: str) -> object:
        """Numbers, of the library or the CPU's, as a contiguous array of an element type, on the device."""

    def parts(self, x: object) -> object:
        """x[M, K] of f32 as bf16 [3 M, K]: three arrays, one after another, whose sum it is.

        Each is the part before with its last 16 bits cut off; of f32's smallest numbers what is below 2^-133 is lost.
        """

    def total(self, y: object, parts: int, bias: object) -> object:
        """The sum of equal parts of y's rows, and of the bias if there is one."""

    def order(self) -> Hashable:
        """Equal for calls whose work comes one after another: the stream, and the graph that it records into."""


@dataclass(frozen=True)
class GpuRows:
    """`x[..., K]` on a GPU as contiguous rows [M, K].

    kind     our name of its element type
    device   the GPU's number
    leading  the sizes before K
    """

    rows: object
    kind: str
    device: int
    leading: tuple[int, ...]
    library: GpuLibrary

    @property
    def count(self) -> int:
        return prod(self.leading)

    def shaped(self, y: object, n: int) -> object:
        """y[M, N] with the leading sizes of x."""
        if len(self.leading) == 1:
            return y
        return y.reshape((*self.leading, n))  # type: ignore[attr-defined]  # an array of the library


def on_gpu(x: object) -> bool:
    """Whether x is an array of a library that we know, on a GPU."""
    root = type(x).__module__.partition(".")[0]
    if root == "cupy":
        return True
    return getattr(getattr(x, "device", None), "type", None) == "cuda"


def gpu_rows(x: object, k: int) -> GpuRows:
    """The rows of x; LinearError where it has not K columns, or is no array that the GPU's kernels take."""
    shape = tuple(getattr(x, "shape", ()))
    if not shape or shape[-1] != k:
        raise LinearError(f"x has shape {list(shape)}, but the weight has K = {k} columns: x's last size must be {k}")
    return _torch_rows(x, shape) if type(x).__module__.partition(".")[0] != "cupy" else _cupy_rows(x, shape)


def _kind(x: object) -> str:
    name = str(getattr(x, "dtype", "")).removeprefix("torch.")
    if name not in TYPES:
        raise LinearError(f"x is an array of {name} on a GPU: give f16, bf16 or f32, for example x.half()")
    return TYPES[name]


def _torch_rows(x: object, shape: tuple[int, ...]) -> GpuRows:
    import torch

    if not isinstance(x, torch.Tensor):
        raise LinearError(f"x is a {type(x).__name__} on a GPU: give a torch tensor or a CuPy array")
    if x.layout != torch.strided:
        raise LinearError(f"x is a tensor of layout {x.layout}: give a dense one, x.to_dense()")
    if x.requires_grad and torch.is_grad_enabled():
        raise LinearError("x asks for a gradient, which linear does not have: call it under torch.no_grad()")
    rows = _torch_aligned(x.detach().reshape(-1, shape[-1]).contiguous())
    return GpuRows(rows, _kind(x), x.device.index or 0, shape[:-1], _Torch(x.device))


def _torch_aligned(x: torch.Tensor) -> torch.Tensor:
    """The tensor, or a copy where it begins in the middle of what a kernel reads at a time: a row of another, say."""
    return x.clone() if x.data_ptr() % GPU_ALIGN else x


class _Torch:
    def __init__(self, device: object) -> None:
        self._device, self._torch = device, importlib.import_module("torch")

    def empty(self, shape: tuple[int, ...], kind: str) -> object:
        found: object = self._torch.empty(shape, dtype=self._type(kind), device=self._device)
        return found

    def zeros(self, shape: tuple[int, ...], kind: str) -> object:
        found: object = self._torch.zeros(shape, dtype=self._type(kind), device=self._device)
        return found

    def put(self, data: NDArray[np.generic]) -> object:
        found: object = self._torch.from_numpy(_plain(data)).to(self._device)
        return found

    def convert(self, values: object, kind: str) -> object:
        tensor = self._torch.as_tensor(values).detach()
        return _torch_aligned(tensor.to(device=self._device, dtype=self._type(kind)).contiguous())

    def parts(self, x: object) -> object:
        torch = self._torch
        found, rest = [], x
        for _ in range(3):
            cut = (rest.view(torch.int32) & -65536).view(torch.float32)  # type: ignore[attr-defined]  # a tensor
            found.append(cut.bfloat16())
            rest = torch.where(torch.isinf(rest), 0, rest - cut)
        whole: object = torch.cat(found)
        return whole

    def total(self, y: object, parts: int, bias: object) -> object:
        found: object = y.unflatten(0, (parts, -1)).sum(0)  # type: ignore[attr-defined]  # a tensor
        return found if bias is None else found + bias  # type: ignore[operator]  # tensors

    def order(self) -> Hashable:
        return _order(int(self._torch.cuda.current_stream(self._device).cuda_stream))

    def _type(self, kind: str) -> object:
        names = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "u8": "uint8", "i8": "int8", "i32": "int32"}
        found: object = getattr(self._torch, names[kind])
        return found


def _cupy_rows(x: object, shape: tuple[int, ...]) -> GpuRows:
    cupy = importlib.import_module("cupy")
    rows = cupy.ascontiguousarray(x).reshape(-1, shape[-1])
    return GpuRows(_cupy_aligned(rows), _kind(x), int(rows.device.id), shape[:-1], _Cupy(cupy))


class _CupyMemory(Protocol):
    @property
    def ptr(self) -> int:
        """An address."""


class _CupyArray(Protocol):
    @property
    def data(self) -> _CupyMemory:
        """Where it begins."""

    def copy(self) -> _CupyArray:
        """The same numbers elsewhere."""


def _cupy_aligned(x: _CupyArray) -> _CupyArray:
    return x.copy() if x.data.ptr % GPU_ALIGN else x


class _Cupy:
    def __init__(self, cupy: ModuleType) -> None:
        self._cupy = cupy

    def empty(self, shape: tuple[int, ...], kind: str) -> object:
        found: object = self._cupy.empty(shape, self._type(kind))
        return found

    def zeros(self, shape: tuple[int, ...], kind: str) -> object:
        found: object = self._cupy.zeros(shape, self._type(kind))
        return found

    def put(self, data: NDArray[np.generic]) -> object:
        found: object = self._cupy.asarray(_plain(data))
        self._cupy.cuda.get_current_stream().synchronize()  # other streams will read it
        return found

    def convert(self, values: object, kind: str) -> object:
        return _cupy_aligned(self._cupy.ascontiguousarray(self._cupy.asarray(values).astype(self._type(kind))))

    def parts(self, x: object) -> object:
        cupy = self._cupy
        found, rest = [], x
        for _ in range(3):
            high = rest.view(cupy.uint32) >> 16  # type: ignore[attr-defined]  # an array
            cut = (high << 16).view(cupy.float32)
            found.append(high.astype(cupy.uint16))
            rest = cupy.where(cupy.isinf(rest), cupy.float32(0), rest - cut)
        whole: object = cupy.concatenate(found)
        return whole

    def total(self, y: object, parts: int, bias: object) -> object:
        found: object = y.reshape(parts, -1, y.shape[-1]).sum(0)  # type: ignore[attr-defined]  # an array
        return found if bias is None else found + bias  # type: ignore[operator]  # arrays

    def order(self) -> Hashable:
        return _order(int(self._cupy.cuda.get_current_stream().ptr))

    def _type(self, kind: str) -> object:
        names = {"f16": "float16", "bf16": "uint16", "f32": "float32", "u8": "uint8", "i8": "int8", "i32": "int32"}
        if kind == "bf16":  # as codes, unless the dtype is there
            try:
                return importlib.import_module("ml_dtypes").bfloat16
            except ImportError:
                pass
        return names[kind]


def _order(stream: int) -> Hashable:
    return stream, open_driver().capture_of(stream)


def _plain(data: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array without gaps, writable, and codes of types that NumPy lacks as unsigned integers."""
    if data.dtype.kind == "V" or data.dtype.type.__module__.startswith("ml_dtypes"):
        data = data.view(np.dtype(f"u{data.dtype.itemsize}"))
    return np.require(data, None, ["C", "WRITEABLE", "ALIGNED"])

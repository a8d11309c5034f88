"""Arrays that callers have on a GPU: PyTorch's, CuPy's, and whatever speaks DLPack or CUDA's array interface.

A reader takes of an array the two things that a call needs, fast: a key on which all that is checked depends (dtype,
shape, strides, device) and the address.  Only for a key that is new the array is described, as a `Given`.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["CUDA", "Given", "Reader", "reader_of"]

CPU, CUDA, PINNED, MANAGED = 1, 2, 3, 13  # DLPack's types of devices

_CODES: dict[str, tuple[int, int]] = {
    "bool": (6, 8),
    **{f"{name}{bits}": (code, bits) for code, name in ((0, "int"), (1, "uint")) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": (2, bits) for bits in (16, 32, 64)},
    "bfloat16": (4, 16), "complex64": (5, 64), "complex128": (5, 128),
    "float8_e3m4": (7, 8), "float8_e4m3": (8, 8), "float8_e4m3b11fnuz": (9, 8), "float8_e4m3fn": (10, 8),
    "float8_e4m3fnuz": (11, 8), "float8_e5m2": (12, 8), "float8_e5m2fnuz": (13, 8), "float8_e8m0fnu": (14, 8),
}  # fmt: skip
"""DLPack's (type code, bits) by the names that NumPy, ml_dtypes and PyTorch give to dtypes."""

OTHER = (255, 0)
"""For an element type that no kernel takes."""


@dataclass(frozen=True)
class Given:
    """What is to be known of an array before a kernel may have it.

    element   DLPack's (type code, bits), or `OTHER`
    dtype     its name, for messages
    strides   in elements; None: row-major without gaps
    kind      DLPack's type of the device
    ordinal   the device's number; None: only the driver knows
    """

    element: tuple[int, int]
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    kind: int
    ordinal: int | None

    @property
    def elements(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count

    @property
    def contiguous(self) -> bool:
        """Row-major without gaps; the strides of dimensions of one element say nothing."""
        if self.strides is None or not self.elements:
            return True
        step = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and stride != step:
                return False
            step *= n
        return True


class Reader(Protocol):
    """How arrays of one library are read."""

    def read(self, array: object) -> tuple[Hashable, int]:
        """What all checks depend on, and the address of the first element."""

    def given(self, array: object) -> Given: ...

    def stream(self, array: object, device: int) -> int:
        """The stream that the caller works on: CUDA's handle; 0 is the default stream."""


class TorchReader:
    """`torch.Tensor`; the stream is `torch.cuda.current_stream()` of the tensor's device."""

    def __init__(self) -> None:
        torch = importlib.import_module("torch")
        raw = getattr(torch._C, "_cuda_getCurrentRawStream", None)
        self._stream: Callable[[int], int] = raw or (lambda device: int(torch.cuda.current_stream(device).cuda_stream))

    def read(self, array: object) -> tuple[Hashable, int]:
        x = array
        try:
            return (x.dtype, x.shape, x.stride(), x.device), x.data_ptr()  # type: ignore[attr-defined]  # a torch.Tensor
        except RuntimeError:  # one without strides or memory: `given` says what it is
            return None, 0

    def given(self, array: object) -> Given:
        torch = importlib.import_module("torch")
        x = array
        assert isinstance(x, torch.Tensor)
        if x.layout != torch.strided:
            raise TypeError(f"a tensor of layout {x.layout}; give a dense one, .to_dense()")
        if x.is_conj() or x.is_neg():
            raise TypeError("a tensor that is yet to be conjugated or negated; give .resolve_conj().resolve_neg()")
        name = str(x.dtype).removeprefix("torch.")
        kind = {"cpu": CPU, "cuda": CUDA}.get(x.device.type, 0)
        ordinal = x.device.index if x.device.index is not None else 0
        return Given(_CODES.get(name, OTHER), name, tuple(x.shape), tuple(x.stride()), kind, ordinal)

    def stream(self, array: object, device: int) -> int:
        return self._stream(device)


class CupyReader:
    """`cupy.ndarray`; the stream is `cupy.cuda.get_current_stream()`."""

    def read(self, array: object) -> tuple[Hashable, int]:
        x = array
        return (x.dtype, x.shape, x.strides, x.device.id), x.data.ptr  # type: ignore[attr-defined]  # a cupy.ndarray

    def given(self, array: object) -> Given:
        key, _ = self.read(array)
        assert isinstance(key, tuple)
        kind, shape, strides, ordinal = key
        return _of_numpy(np.dtype(kind), tuple(shape), tuple(strides), int(ordinal))

    def stream(self, array: object, device: int) -> int:
        cupy = sys.modules["cupy"]
        return int(cupy.cuda.get_current_stream().ptr)


class InterfaceReader:
    """`__cuda_array_interface__`, version 2 or 3: https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html"""

    def read(self, array: object) -> tuple[Hashable, int]:
        i = array.__cuda_array_interface__  # type: ignore[attr-defined]  # found there by `reader_of`
        return (i["typestr"], i["shape"], i.get("strides")), int(i["data"][0])

    def given(self, array: object) -> Given:
        i = array.__cuda_array_interface__  # type: ignore[attr-defined]  # found there by `reader_of`
        if i.get("mask") is not None:
            raise TypeError("an array with a mask, which kernels do not look at; give one without")
        return _of_numpy(np.dtype(i["typestr"]), tuple(i["shape"]), i.get("strides"), None)

    def stream(self, array: object, device: int) -> int:
        return int(array.__cuda_array_interface__.get("stream") or 0)  # type: ignore[attr-defined]  # as above


class _DLTensor(ctypes.Structure):
    """dlpack.h, any version."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("kind", ctypes.c_int32), ("ordinal", ctypes.c_int32), ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

_LEGACY_STREAM = 1  # as __dlpack__ names the default stream


class DlpackReader:
    """`__dlpack__`: the producer is asked to have the data ready on the default stream, where the kernel then runs."""

    def read(self, array: object) -> tuple[Hashable, int]:
        if array.__dlpack_device__()[0] not in (CUDA, MANAGED):  # type: ignore[attr-defined]  # found by `reader_of`
            return self.given(array), 0  # refused for its device
        return self._read(array, _LEGACY_STREAM)

    def given(self, array: object) -> Given:
        kind, ordinal = array.__dlpack_device__()  # type: ignore[attr-defined]  # found there by `reader_of`
        if kind not in (CUDA, MANAGED):
            return Given(OTHER, str(getattr(array, "dtype", "")), (), None, int(kind), int(ordinal))
        return self._read(array, -1)[0]  # -1: read already, nothing to wait for

    def stream(self, array: object, device: int) -> int:
        return 0

    def _read(self, array: object, stream: int) -> tuple[Given, int]:
        capsule = array.__dlpack__(stream=stream)  # type: ignore[attr-defined]  # found there by `reader_of`
        x = _DLTensor.from_address(_pointer(capsule, b"dltensor"))
        shape = tuple(x.shape[: x.rank])
        strides = tuple(x.strides[: x.rank]) if x.strides else None
        element = (x.code, x.bits) if x.lanes == 1 else OTHER
        names = {pair: name for name, pair in _CODES.items()}
        name = names.get(element, f"DLPack's type ({x.code}, {x.bits}, {x.lanes})")
        return Given(element, name, shape, strides, x.kind, x.ordinal), (x.data or 0) + x.byte_offset


def _of_numpy(
    kind: np.dtype[np.generic], shape: tuple[int, ...], strides: tuple[int, ...] | None, ordinal: int | None
) -> Given:
    """An array whose library describes it as NumPy does: strides in bytes."""
    steps = None if strides is None else tuple(s // kind.itemsize if s % kind.itemsize == 0 else 0 for s in strides)
    element = _CODES.get(kind.name, OTHER) if kind.isnative else OTHER
    return Given(element, kind.name, shape, steps, CUDA, ordinal)


_readers: dict[type, Reader] = {}


def reader_of(array: object) -> Reader | None:
    """How an array is read; None for what is no array on a GPU: a NumPy array, a number."""
    kind = type(array)
    found = _readers.get(kind)
    if found is None:
        found = _new_reader(array)
        if found is not None:
            _readers[kind] = found
    return found


def _new_reader(array: object) -> Reader | None:
    names = {(c.__module__.partition(".")[0], c.__name__) for c in type(array).__mro__}
    if ("torch", "Tensor") in names:
        return TorchReader()
    if ("cupy", "ndarray") in names:
        return CupyReader()
    if isinstance(array, np.ndarray):
        return None
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        return DlpackReader()
    return InterfaceReader() if hasattr(array, "__cuda_array_interface__") else None

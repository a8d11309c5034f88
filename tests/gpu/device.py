"""Memory of a real GPU and lane functions run there, by cuda-python alone; and the mark of tests that need one."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.cuda.block_memory import block_bytes
from bitwright.backend.cuda.build import assemble
from bitwright.backend.cuda.driver import open_driver
from bitwright.backend.cuda.emit import emit
from bitwright.backend.cuda.present import present_architecture
from bitwright.backend.lane.ir import Function
from bitwright.backend.target import Target, target

__all__ = ["DeviceArray", "here", "needs_gpu", "run_device"]

needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(present_architecture() is None, reason="there is no GPU here that we compile for"),
]


def here() -> Target:
    """The GPU of this machine; the newest that we compile for where there is none, to name tests by."""
    return target(f"cuda:{present_architecture() or 'sm_90a'}")


def _api() -> ModuleType:
    open_driver()
    return importlib.import_module("cuda.bindings.driver")


def _done(result: tuple[object, ...]) -> object:
    assert int(result[0]) == 0, result[0]  # type: ignore[call-overload]  # an enumeration of integers
    return result[1] if len(result) > 1 else None


class DeviceArray:
    """A copy of a NumPy array in the GPU's memory, in its primary context; `get` copies it back."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        api = _api()
        self._enter(api)
        self.array = np.ascontiguousarray(array)
        self.address = int(_done(api.cuMemAlloc(max(1, self.array.nbytes))))  # type: ignore[call-overload]  # a handle
        if self.array.nbytes:
            _done(api.cuMemcpyHtoD(self.address, self.array.ctypes.data, self.array.nbytes))

    @staticmethod
    def _enter(api: ModuleType) -> None:
        context = _done(api.cuDevicePrimaryCtxRetain(_done(api.cuDeviceGet(0))))
        _done(api.cuCtxSetCurrent(context))

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        kind = self.array.dtype.str if self.array.dtype.kind != "V" else f"|u{self.array.dtype.itemsize}"
        return {
            "version": 3, "shape": self.array.shape, "typestr": kind, "data": (self.address, False), "stream": None,
            "strides": None,
        }  # fmt: skip

    def get(self) -> NDArray[np.generic]:
        """What the GPU has there once all work on it has ended."""
        api = _api()
        _done(api.cuCtxSynchronize())
        found = np.empty_like(self.array)
        if found.nbytes:
            _done(api.cuMemcpyDtoH(found.ctypes.data, self.address, found.nbytes))
        return found

    def __del__(self) -> None:
        if hasattr(self, "address"):
            _api().cuMemFree(self.address)


def run_device(function: Function, slots: Sequence[NDArray[np.generic] | int | float], blocks: int) -> int:
    """Runs the blocks on arrays that are copied there and back; the number of the failure that it reports, or 0."""
    machine, driver = here(), open_driver()
    shared = block_bytes(function)
    code = assemble(emit(function, machine), machine)
    held = [DeviceArray(s) if isinstance(s, np.ndarray) else s for s in slots]
    words = [_word(s) for s in held]
    handle, failure = driver.load(0, code, machine.cpu, shared), driver.word(0)
    values = (ctypes.c_uint64 * (len(words) + 1))(*words, failure.address)
    start = ctypes.addressof(values)
    pointers = (ctypes.c_void_p * len(values))(*range(start, start + 8 * len(values), 8))
    driver.launch(0, handle, blocks, function.lanes, shared, 0, ctypes.addressof(pointers))
    driver.synchronize(0)
    for given, there in zip(slots, held, strict=True):
        if isinstance(given, np.ndarray) and isinstance(there, DeviceArray):
            given[...] = there.get()
    return failure.take()


def _word(slot: DeviceArray | int | float) -> int:
    if isinstance(slot, DeviceArray):
        return slot.address
    bits = np.float64(slot).view(np.int64) if isinstance(slot, float) else slot
    return int(bits) & ((1 << 64) - 1)

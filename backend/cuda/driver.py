"""NVIDIA's driver, as far as kernels need it: load a cubin, launch, wait, and a word that kernels report failures in.

    driver = open_driver()                       # DriverError where there is no GPU
    function = driver.load(device, cubin, shared)
    driver.launch(device, function, blocks, lanes, shared, stream, parameters)

Devices are numbers, as the driver counts them, and work is done in their primary contexts, which PyTorch, CuPy and
CUDA's runtime use as well.  Code that has been loaded stays loaded: a kernel that is no longer referred to may still be
running, or stand in a graph.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol, SupportsInt

from .architectures import ARCHITECTURES
from .driver_error import DriverError, driver_error
from .present import capability

__all__ = ["SYMBOL", "CudaDriver", "Driver", "Word", "open_driver"]

SYMBOL = b"bw_kernel"
"""Of the one kernel in a cubin."""

UNASKED_SHARED = 48 << 10
"""Bytes of dynamic shared memory that any kernel may use without asking; ours have no other."""

_PORTABLE, _MAPPED = 1, 2  # CU_MEMHOSTALLOC_*
_PAGE = 4096


class Word:
    """Four bytes of the CPU's memory that the GPU writes to."""

    def __init__(self, here: ctypes.c_int, address: int) -> None:
        self._here = here
        self.address = address  # on the GPU

    def take(self) -> int:
        """What was written since the last time, 0 for nothing."""
        value = self._here.value
        if value:
            self._here.value = 0
        return value


class Driver(Protocol):
    """What launching asks for.  Everything but `synchronize` returns without waiting for the GPU."""

    def current_device(self) -> int:
        """The device that this thread works on."""

    def device_of(self, address: int) -> int:
        """The device in whose memory an address lies."""

    def load(self, device: int, code: bytes, architecture: str, shared: int) -> object:
        """A handle of the kernel in a cubin, which may then use that many bytes of shared memory, all of it dynamic."""

    def word(self, device: int) -> Word:
        """A new word, 0 at first."""

    def launch(
        self, device: int, function: object, blocks: int, lanes: int, shared: int, stream: int, parameters: int
    ) -> None:
        """Puts a launch into a stream; `parameters` is the address of an array of the parameters' addresses."""

    def synchronize(self, device: int) -> None:
        """Waits until everything launched on the device has ended."""


class CudaDriver:
    """The driver behind `cuda.bindings.driver`, which is given as a module."""

    def __init__(self, api: ModuleType) -> None:
        self._api = api
        self._current, self._launch = api.cuCtxGetCurrent, api.cuLaunchKernel  # what every call needs
        self._contexts: dict[int, SupportsInt] = {}
        self._numbers: dict[int, int] = {}  # of each device, its context as the number that it is compared by
        self._words: dict[int, Iterator[Word]] = {}
        self._pages: list[ctypes.Array[ctypes.c_int]] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._do("starting the driver", "cuInit", 0)

    def current_device(self) -> int:
        if not int(self._do("asking for the current context", "cuCtxGetCurrent")):
            return 0
        return int(self._do("asking for the current device", "cuCtxGetDevice"))

    def device_of(self, address: int) -> int:
        kind = self._api.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(self._do("asking where an array lies", "cuPointerGetAttribute", kind, address))

    def load(self, device: int, code: bytes, architecture: str, shared: int) -> object:
        self._fits(device, architecture, shared)
        with self._in(device), self._while_capturing():
            module = self._do("loading a kernel", "cuModuleLoadData", code)
            function = self._do("looking for the kernel in its binary", "cuModuleGetFunction", module, SYMBOL)
            if shared > UNASKED_SHARED:
                wanted = self._api.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                self._do(f"asking for {shared} bytes of shared memory", "cuFuncSetAttribute", function, wanted, shared)
        return function

    def word(self, device: int) -> Word:
        with self._lock:
            words = self._words.get(device, iter(()))
            found = next(words, None)
            if found is None:
                words = self._words[device] = self._page(device)
                found = next(words)
        return found

    def launch(
        self, device: int, function: object, blocks: int, lanes: int, shared: int, stream: int, parameters: int
    ) -> None:
        code, current = self._current()
        if not code and int(current) == self._numbers.get(device):
            (code,) = self._launch(function, blocks, 1, 1, lanes, 1, 1, shared, stream, parameters, 0)
            if code:
                raise self._error(code, "launching a kernel")
            return
        with self._in(device):
            how = (function, blocks, 1, 1, lanes, 1, 1, shared, stream, parameters, 0)
            self._do("launching a kernel", "cuLaunchKernel", *how)

    def synchronize(self, device: int) -> None:
        with self._in(device):
            self._do("waiting for the GPU", "cuCtxSynchronize")

    def capture_of(self, stream: int) -> int:
        """The number of the graph that a stream is recording into; 0: none."""
        code, *found = self._api.cuStreamGetCaptureInfo(stream)
        if code:
            raise self._error(code, "asking whether a stream is recording a graph")
        return int(found[1]) if int(found[0]) else 0

    def _fits(self, device: int, architecture: str, shared: int) -> None:
        """The device runs code for the architecture, or the error names both."""
        kinds = self._api.CUdevice_attribute
        handle = self._do("looking for the GPU", "cuDeviceGet", device)
        wanted = (
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
        major, minor = (int(self._do("asking for the GPU's kind", "cuDeviceGetAttribute", k, handle)) for k in wanted)
        made = ARCHITECTURES[architecture]
        if not made.runs_on((major, minor)):
            raise DriverError(
                f"the kernel was compiled for {architecture}, but GPU {device} has compute capability {major}.{minor}: "
                "compile it for target='cuda' on that machine, or name the GPU's architecture",
                209,
            )
        if shared > made.shared_bytes:
            raise DriverError(
                f"a block of this kernel takes {shared} bytes of shared memory, but {architecture} has "
                f"{made.shared_bytes}: choose smaller tiles or fewer stages",
                701,
            )

    def _page(self, device: int) -> Iterator[Word]:
        """New words; they are never given back, because a graph may hold a launch for ever."""
        with self._in(device), self._while_capturing():
            here = self._do("allocating a page", "cuMemHostAlloc", _PAGE, _PORTABLE | _MAPPED)
            there = int(self._do("mapping a page", "cuMemHostGetDevicePointer", here, 0))
        words = (ctypes.c_int * (_PAGE // 4)).from_address(int(here))
        ctypes.memset(words, 0, _PAGE)
        self._pages.append(words)
        return (Word(ctypes.c_int.from_buffer(words, at), there + at) for at in range(0, _PAGE, 4))

    @contextmanager
    def _in(self, device: int) -> Iterator[None]:
        """Work in a device's primary context, and leave the thread's own as it was."""
        self._do("choosing a GPU", "cuCtxPushCurrent", self._context(device))
        try:
            yield
        finally:
            self._do("going back to the GPU before", "cuCtxPopCurrent")

    @contextmanager
    def _while_capturing(self) -> Iterator[None]:
        """Loading and allocating are no part of a graph that some stream may be recording just now."""
        relaxed = self._api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        before = self._do("relaxing a capture", "cuThreadExchangeStreamCaptureMode", relaxed)
        try:
            yield
        finally:
            self._do("restoring a capture's rules", "cuThreadExchangeStreamCaptureMode", before)

    def _context(self, device: int) -> SupportsInt:
        if os.getpid() != self._process:
            raise driver_error(3, "CUDA_ERROR_NOT_INITIALIZED", "choosing a GPU in a forked process")
        found = self._contexts.get(device)
        if found is None:
            handle = self._do("looking for the GPU", "cuDeviceGet", device)
            found = self._contexts[device] = self._do("opening the GPU", "cuDevicePrimaryCtxRetain", handle)
            self._numbers[device] = int(found)
        return found

    def _do(self, doing: str, name: str, *arguments: object) -> SupportsInt:
        """Calls a function of the driver: the value that follows its result code, else DriverError."""
        code, *values = getattr(self._api, name)(*arguments)
        if code:
            raise self._error(code, doing)
        value: SupportsInt = values[0] if values else 0
        return value

    def _error(self, code: SupportsInt, doing: str) -> DriverError:
        name = getattr(code, "name", str(code))
        return driver_error(int(code), name, doing)


@functools.cache
def open_driver() -> CudaDriver:
    """The driver of this machine; DriverError where there is none, or no GPU, or its Python package is missing."""
    if capability() is None:  # without a driver, calls of cuda.bindings may never return
        raise driver_error(100, "CUDA_ERROR_NO_DEVICE", "looking for a GPU")
    try:
        api = importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise DriverError("the package cuda-python is missing: pip install 'bitwright[cuda]'", 0) from error
    return CudaDriver(api)

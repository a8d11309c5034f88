"""The driver's functions in the right order with the right values, against a module that notes them down."""

from __future__ import annotations

import ctypes
import os
import types
from collections.abc import Iterator
from enum import IntEnum
from typing import cast

import pytest

from bitwright.backend.cuda.driver import CudaDriver, DriverError, open_driver
from bitwright.backend.cuda.driver_error import driver_error
from bitwright.backend.cuda.present import present_architecture


class Result(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_IMAGE = 200
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class Api:
    """`cuda.bindings.driver` as far as it is used: one GPU of compute capability 9.0, whose context is number 50."""

    CUpointer_attribute = types.SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL="ordinal")
    CUfunction_attribute = types.SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="shared")
    CUdevice_attribute = types.SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
    )
    CUstreamCaptureMode = types.SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED="relaxed")

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.stack: list[int] = []
        self.results: dict[str, Result] = {}
        self.capture = (0, 0)  # status, and the number of the graph
        self.page = (ctypes.c_int * 1024)(*range(1024))

    def __getattr__(self, name: str) -> object:
        values: dict[str, object] = {
            "cuDeviceGet": 7, "cuDevicePrimaryCtxRetain": 50, "cuModuleLoadData": "module",
            "cuModuleGetFunction": "function", "cuCtxGetDevice": 3, "cuThreadExchangeStreamCaptureMode": "global",
            "cuMemHostAlloc": ctypes.addressof(self.page), "cuMemHostGetDevicePointer": 1 << 40,
            "cuPointerGetAttribute": 4,
        }  # fmt: skip

        def call(*arguments: object) -> tuple[object, ...]:
            self.calls.append((name, *arguments))
            result = self.results.get(name, Result.CUDA_SUCCESS)
            if result:
                return (result,)
            if name == "cuCtxPushCurrent":
                self.stack.append(cast(int, arguments[0]))
            if name == "cuCtxPopCurrent":
                self.stack.pop()
            if name == "cuCtxGetCurrent":
                return result, self.stack[-1] if self.stack else 0
            if name == "cuStreamGetCaptureInfo":
                return result, self.capture[0], self.capture[1], "graph", [], [], 0
            if name == "cuDeviceGetAttribute":
                return result, {"major": 9, "minor": 0}[str(arguments[0])]
            return (result, values[name]) if name in values else (result,)

        return call

    def named(self, name: str) -> list[tuple[object, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


@pytest.fixture
def api() -> Iterator[Api]:
    found = Api()
    yield found
    assert found.stack == []  # the thread's context is what it was


def driver(api: Api) -> CudaDriver:
    return CudaDriver(cast(types.ModuleType, api))


def test_a_kernel_is_loaded_in_the_primary_context_while_captures_are_relaxed(api: Api) -> None:
    assert driver(api).load(0, b"cubin", "sm_90a", 100 << 10) == "function"
    names = [call[0] for call in api.calls if call[0] != "cuDeviceGetAttribute"]
    assert names == [
        "cuInit", "cuDeviceGet", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent",
        "cuThreadExchangeStreamCaptureMode", "cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute",
        "cuThreadExchangeStreamCaptureMode", "cuCtxPopCurrent",
    ]  # fmt: skip
    assert api.named("cuModuleLoadData") == [(b"cubin",)]
    assert api.named("cuModuleGetFunction") == [("module", b"bw_kernel")]
    assert api.named("cuFuncSetAttribute") == [("function", "shared", 100 << 10)]
    assert api.named("cuThreadExchangeStreamCaptureMode") == [("relaxed",), ("global",)]


def test_little_shared_memory_is_not_asked_for(api: Api) -> None:
    driver(api).load(0, b"cubin", "sm_90a", 4096)
    assert api.named("cuFuncSetAttribute") == []


def test_a_launch_in_another_context_goes_to_the_right_one_and_back(api: Api) -> None:
    d = driver(api)
    d.load(0, b"cubin", "sm_90a", 0)
    api.stack.append(999)
    d.launch(0, "function", 5, 128, 64, 33, 4096)
    launch = ("function", 5, 1, 1, 128, 1, 1, 64, 33, 4096, 0)
    assert [c[0] for c in api.calls[-4:]] == [
        "cuCtxGetCurrent",
        "cuCtxPushCurrent",
        "cuLaunchKernel",
        "cuCtxPopCurrent",
    ]
    assert api.stack == [999]
    api.stack[:] = [50]
    d.launch(0, "function", 5, 128, 64, 33, 4096)
    assert [c[0] for c in api.calls[-2:]] == ["cuCtxGetCurrent", "cuLaunchKernel"]
    assert api.named("cuLaunchKernel") == [launch, launch]
    api.stack.clear()


def test_words_share_pages_and_are_taken_once(api: Api) -> None:
    d = driver(api)
    words = [d.word(0) for _ in range(1025)]
    assert len(api.named("cuMemHostAlloc")) == 2
    assert [w.address - (1 << 40) for w in words[:3]] == [0, 4, 8]
    assert words[1].take() == 0
    api.page[1] = 6
    assert (words[1].take(), words[1].take(), api.page[1]) == (6, 0, 0)


def test_the_current_device(api: Api) -> None:
    d = driver(api)
    assert d.current_device() == 0
    api.stack.append(1)
    assert d.current_device() == 3
    api.stack.clear()
    assert d.device_of(1234) == 4
    assert api.named("cuPointerGetAttribute") == [("ordinal", 1234)]


def test_which_graph_a_stream_records_into(api: Api) -> None:
    d = driver(api)
    assert d.capture_of(5) == 0
    api.capture = (1, 44)
    assert d.capture_of(5) == 44
    api.results["cuStreamGetCaptureInfo"] = Result.CUDA_ERROR_INVALID_IMAGE
    with pytest.raises(DriverError, match="asking whether a stream is recording"):
        d.capture_of(5)


def test_a_kernel_for_another_gpu_is_refused_by_name(api: Api) -> None:
    with pytest.raises(DriverError, match=r"compiled for sm_100a, but GPU 0 has compute capability 9\.0: compile it"):
        driver(api).load(0, b"cubin", "sm_100a", 0)
    with pytest.raises(DriverError, match=r"takes 300000 bytes of shared memory, but sm_90a has 232448"):
        driver(api).load(0, b"cubin", "sm_90a", 300_000)


@pytest.mark.parametrize(
    ("name", "result", "text"),
    [
        ("cuModuleLoadData", Result.CUDA_ERROR_INVALID_IMAGE, r"loading a kernel: CUDA_ERROR_INVALID_IMAGE \(200\)"),
        ("cuModuleLoadData", Result.CUDA_ERROR_OUT_OF_MEMORY, "no memory left"),
        ("cuModuleGetFunction", Result.CUDA_ERROR_ILLEGAL_ADDRESS, "this process cannot use the GPU any more"),
    ],
)
def test_errors_say_what_was_done_and_what_to_do(api: Api, name: str, result: Result, text: str) -> None:
    d = driver(api)
    api.results[name] = result
    with pytest.raises(DriverError, match=text) as caught:
        d.load(0, b"cubin", "sm_90a", 0)
    assert caught.value.code == result
    assert len(api.named("cuThreadExchangeStreamCaptureMode")) == 2


def test_a_launch_that_the_driver_refuses_is_an_error_in_either_context(api: Api) -> None:
    d = driver(api)
    d.load(0, b"cubin", "sm_90a", 0)
    api.results["cuLaunchKernel"] = Result.CUDA_ERROR_ILLEGAL_ADDRESS
    for context in (50, 999):
        api.stack[:] = [context]
        with pytest.raises(DriverError, match="launching a kernel: CUDA_ERROR_ILLEGAL_ADDRESS"):
            d.launch(0, "function", 5, 128, 64, 33, 4096)
        assert api.stack == [context]
    api.stack.clear()


def test_a_forked_process_is_told_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    d = driver(api)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(DriverError, match="must be spawned instead"):
        d.synchronize(0)


def test_an_unknown_error_still_has_its_number() -> None:
    assert "CUDA_ERROR_NEW (4711)" in str(driver_error(4711, "CUDA_ERROR_NEW", "waiting"))


def test_every_function_and_constant_is_there_in_the_real_module() -> None:
    """Names only: without a driver nothing of the module may be called."""
    real = pytest.importorskip("cuda.bindings.driver")
    api = Api()
    d = driver(api)
    d.load(0, b"cubin", "sm_90a", 1 << 16)
    d.word(0)
    d.launch(0, "function", 1, 1, 0, 0, 0)
    d.synchronize(0)
    d.device_of(0)
    d.current_device()
    d.capture_of(0)
    assert {str(call[0]) for call in api.calls if not hasattr(real, str(call[0]))} == set()
    for group in ("CUpointer_attribute", "CUfunction_attribute", "CUdevice_attribute", "CUstreamCaptureMode"):
        for constant in vars(getattr(Api, group)):
            assert hasattr(getattr(real, group), constant)


@pytest.mark.skipif(present_architecture() is not None, reason="this machine has a GPU")
def test_without_a_gpu_opening_the_driver_says_so() -> None:
    with pytest.raises(DriverError, match="there is no GPU here: compile for one elsewhere"):
        open_driver()

"""Arrays of several libraries as kernels see them. PyTorch's are real tensors that say that they are on a GPU."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

from bitwright.backend.cuda.arrays import CPU, CUDA, OTHER, Given, reader_of
from bitwright.backend.cuda.launch import CudaFunction, Launch
from bitwright.backend.signature import ArrayArgument, Signature
from bitwright.tests.backend.cuda.fake_gpu import FakeGpu, OnGpu
from bitwright.vm.expr import Var, const

torch = pytest.importorskip("torch")


class OnCuda(torch.Tensor):  # type: ignore[misc]  # torch has no types here
    """A tensor in the CPU's memory that says it is on the second GPU."""

    device = torch.device("cuda", 1)


def on_cuda(tensor: object) -> object:
    return torch.Tensor._make_subclass(OnCuda, tensor)


def given(array: object) -> Given:
    reader = reader_of(array)
    assert reader is not None
    return reader.given(array)


@pytest.mark.parametrize(
    ("kind", "element"),
    [
        (torch.float16, (2, 16)),
        (torch.bfloat16, (4, 16)),
        (torch.float32, (2, 32)),
        (torch.uint8, (1, 8)),
        (torch.int32, (0, 32)),
        (torch.bool, (6, 8)),
        (torch.float8_e4m3fn, (10, 8)),
        (torch.float8_e5m2, (12, 8)),
    ],
)
def test_a_tensor_is_what_dlpack_says_it_is(kind: object, element: tuple[int, int]) -> None:
    x = on_cuda(torch.zeros((2, 3, 4), dtype=kind)[:, 1:])
    found = given(x)
    assert (found.element, found.shape, found.strides) == (element, (2, 2, 4), (12, 4, 1))
    assert (found.kind, found.ordinal, found.contiguous) == (CUDA, 1, False)
    assert given(on_cuda(torch.zeros((2, 3), dtype=kind))).contiguous


def test_tensors_on_the_cpu_sparse_and_lazy_ones_are_told_apart() -> None:
    assert given(torch.zeros(3)).kind == CPU
    with pytest.raises(TypeError, match=r"layout torch.sparse_coo; give a dense one"):
        given(on_cuda(torch.zeros(3).to_sparse()))
    reader = reader_of(torch.zeros(3))
    assert reader is not None
    assert reader.read(on_cuda(torch.zeros(3).to_sparse())) == (None, 0)  # to be described, and then refused
    with pytest.raises(TypeError, match="conjugated or negated"):
        given(on_cuda(torch.zeros(3, dtype=torch.complex64).conj()))


def test_kernels_take_tensors_on_their_gpu_and_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    size = Var("N", 0, None)
    signature = Signature((ArrayArgument("x", ((4, 16),), (size,), False, const(0), True, 2),), (size,), (const(1),))
    gpu = FakeGpu(3)
    function = CudaFunction(Launch("k", signature, "sm_80", 128, 0), b"", gpu)
    x = on_cuda(torch.zeros(5, dtype=torch.bfloat16))
    reader = reader_of(x)
    monkeypatch.setattr(reader, "_stream", lambda device: 1000 + device)
    function(x)
    assert (gpu.launches[0].device, gpu.launches[0].stream) == (1, 1001)
    assert gpu.launches[0].parameters == (x.data_ptr(), 5, 0)  # type: ignore[attr-defined]  # a tensor
    with pytest.raises(ValueError, match=r"x: expected bf16\[N\] in the GPU's memory, got one on another device"):
        function(torch.zeros(5, dtype=torch.bfloat16))


def test_a_cupy_array_and_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = types.ModuleType("cupy")

    class ndarray:  # as CuPy calls it
        dtype, shape, strides = np.dtype(ml_dtypes.bfloat16), (2, 3), (6, 2)
        device, data = types.SimpleNamespace(id=2), types.SimpleNamespace(ptr=4096)

    ndarray.__module__ = "cupy._core.core"
    cupy.cuda = types.SimpleNamespace(get_current_stream=lambda: types.SimpleNamespace(ptr=77))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    x = ndarray()
    assert given(x) == Given((4, 16), "bfloat16", (2, 3), (3, 1), CUDA, 2)
    reader = reader_of(x)
    assert reader is not None
    assert (reader.read(x)[1], reader.stream(x, 2)) == (4096, 77)


def test_cudas_array_interface() -> None:
    whole = np.zeros((4, 6), np.float32)
    found = given(OnGpu(whole[:, ::2]))
    assert (found.element, found.shape, found.strides, found.ordinal) == ((2, 32), (4, 3), (6, 2), None)
    assert given(OnGpu(whole)).contiguous
    masked = OnGpu(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnGpu, "__cuda_array_interface__", {**masked.__cuda_array_interface__, "mask": masked})
        with pytest.raises(TypeError, match="an array with a mask"):
            given(masked)


@dataclass
class OnDlpack:
    """NumPy's capsule, under the name of a GPU."""

    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
    kind: int = CUDA
    asked: int | None = None

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, stream: int | None = None) -> object:
        self.asked = stream
        return self.array.__dlpack__()


def test_dlpack_is_read_and_asked_to_be_ready_on_the_default_stream() -> None:
    whole = np.zeros((4, 6), np.int16)
    x = OnDlpack(whole[1:, ::2])
    reader = reader_of(x)
    assert reader is not None
    key, address = reader.read(x)
    assert x.asked == 1
    assert address == whole.ctypes.data + 12
    assert isinstance(key, Given)
    assert (key.element, key.shape, key.strides) == ((0, 16), (3, 3), (6, 2))
    assert given(OnDlpack(whole, kind=CPU)) == Given(OTHER, "", (), None, CPU, 0)


def test_what_is_no_array_on_a_gpu_has_no_reader() -> None:
    for thing in (np.zeros(3), 3, None, [1.0], "x"):
        assert reader_of(thing) is None


def test_the_strides_of_single_elements_and_of_empty_arrays_say_nothing() -> None:
    def contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
        return Given((2, 32), "float32", shape, strides, CUDA, 0).contiguous

    assert contiguous((1, 5), (99, 1))
    assert contiguous((5, 1), (1, 7))
    assert contiguous((0, 5), (3, 3))
    assert not contiguous((2, 5), (10, 1))
    assert not contiguous((2, 5), (1, 2))
    assert not contiguous((5,), (0,))

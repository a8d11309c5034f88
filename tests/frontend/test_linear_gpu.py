"""`linear` for arrays on a GPU, without one: kernels run in the simulator, on arrays of a library that NumPy plays."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.backend.target import target
from bitwright.frontend import linear_gpu
from bitwright.frontend.gpu_arrays import GpuRows, gpu_rows
from bitwright.frontend.gpu_call import launch
from bitwright.frontend.library.prepared import LinearError
from bitwright.vm.dtypes import dtype

MACHINE = target("cuda:sm_80")
TYPES = {"f16": np.float16, "bf16": np.uint16, "f32": np.float32, "i32": np.int32, "i8": np.int8, "u8": np.uint8}

Array = NDArray[np.generic]


class Numpy:
    """A library of arrays "on the GPU"; fresh memory is full of NaN."""

    def __init__(self) -> None:
        self.puts: list[Array] = []
        self.stream = 7

    def empty(self, shape: tuple[int, ...], kind: str) -> object:
        return np.full(shape, {"bf16": 0xFFFF, "i8": 99, "u8": 0x7F}.get(kind, np.nan), TYPES[kind])

    def zeros(self, shape: tuple[int, ...], kind: str) -> object:
        return np.zeros(shape, TYPES[kind])

    def put(self, data: Array) -> object:
        self.puts.append(data)
        return data.copy()

    def convert(self, values: object, kind: str) -> object:
        numbers = np.asarray(values)
        return codes(numbers, kind) if kind == "bf16" else np.ascontiguousarray(numbers, TYPES[kind])

    def parts(self, x: object) -> object:
        found, rest = [], np.asarray(x, np.float32)
        for _ in range(3):
            cut = (rest.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
            found.append((cut.view(np.uint32) >> 16).astype(np.uint16))
            rest = rest - cut
        return np.concatenate(found)

    def total(self, y: object, parts: int, bias: object) -> object:
        whole = np.asarray(y, np.float32)
        found = whole.reshape(parts, -1, whole.shape[-1]).sum(0)
        return found if bias is None else found + bias

    def order(self) -> Hashable:
        return self.stream


def codes(numbers: NDArray[np.generic], kind: str) -> Array:
    return dtype(kind).encode(numbers.astype(np.float32)).astype(np.uint16)


def rows_of(numbers: NDArray[np.float32], kind: str, library: Numpy) -> GpuRows:
    held = codes(numbers, kind) if kind == "bf16" else numbers.astype(TYPES[kind])
    return GpuRows(held, kind, 0, numbers.shape[:1], library)


def values(held: object, kind: str) -> NDArray[np.float64]:
    found = np.asarray(held)
    return found.view(ml_dtypes.bfloat16).astype(np.float64) if kind == "bf16" else found.astype(np.float64)


def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of kernels go to the simulator."""
    monkeypatch.setattr(bw.Kernel, "__call__", lambda kernel, *arguments: bw.simulate(kernel, *arguments))


def bound(x: NDArray[np.float64], q: bw.QTensor, kind: str) -> NDArray[np.float64]:
    """Rounding of y, and of sums in f32."""
    size = np.abs(x) @ np.abs(q.dequantize(np.float64)).T * 4 + 1e-6
    return size * {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-16}[kind]


@pytest.mark.parametrize(
    ("element", "kind", "m", "n", "k", "bias"),
    [
        ("u4", "f16", 1, 40, 256, False),
        ("u3", "bf16", 3, 72, 200, True),
        ("i4", "f32", 2, 16, 128, True),
        ("f4e2m1", "f16", 40, 24, 256, True),
        ("u2", "f16", 33, 16, 100, False),
    ],
)
def test_the_product_is_that_of_float64(
    monkeypatch: pytest.MonkeyPatch, element: str, kind: str, m: int, n: int, k: int, bias: bool
) -> None:
    simulated(monkeypatch)
    rng = np.random.default_rng(3)
    q = bw.quantize(rng.standard_normal((n, k), np.float32), element, group=64)
    library = Numpy()
    rows = rows_of(rng.standard_normal((m, k), np.float32), kind, library)
    offsets = rng.standard_normal(n).astype(np.float32) if bias else None
    monkeypatch.setattr(linear_gpu, "gpu_rows", lambda x, k: rows)
    y = linear_gpu.linear_gpu(None, q, offsets, "auto", MACHINE)
    x = values(rows.rows, kind)
    exact = x @ q.dequantize(np.float64).T + (0 if offsets is None else offsets)
    assert values(y, kind).shape == (m, n)
    assert (np.abs(values(y, kind) - exact) <= bound(x, q, kind) + (0 if not bias else 4e-3)).all()


def test_weights_are_copied_once_and_states_are_those_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated(monkeypatch)
    rng = np.random.default_rng(3)
    q = bw.quantize(rng.standard_normal((16, 1024), np.float32), "u4", group=128)
    library = Numpy()
    results = []
    for m in (1, 1, 2):
        rows = rows_of(np.ones((m, 1024), np.float32), "f16", library)
        call = linear_gpu.gpu_call(q, "f16", "f16", m, False, MACHINE)
        results.append(np.asarray(launch(call, rows, None, 16, "f16")))
    assert sorted(p.nbytes > 0 for p in library.puts) == [False, True, True, True]  # all but the bias
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0][0], results[2][1])
    call = linear_gpu.gpu_call(q, "f16", "f16", 1, False, MACHINE)
    assert call is linear_gpu.gpu_call(q, "f16", "f16", 1, False, MACHINE)
    assert len(call.states) == 1
    library.stream = 8
    launch(call, rows_of(np.ones((1, 1024), np.float32), "f16", library), None, 16, "f16")
    assert len(call.states) == 2
    assert all(not np.asarray(state).any() for state in call.states.values())


@pytest.mark.parametrize(
    ("activations", "kind", "m"), [("int8", "f16", 1), ("int8", "f32", 9), ("f8e4m3fn", "bf16", 2)]
)
def test_activations_of_bytes(monkeypatch: pytest.MonkeyPatch, activations: str, kind: str, m: int) -> None:
    """What x is rounded to differs from x by no more than is promised."""
    simulated(monkeypatch)
    rng = np.random.default_rng(3)
    q = bw.quantize(rng.standard_normal((40, 200), np.float32), "u4", group=64)
    rows = rows_of(rng.standard_normal((m, 200), np.float32), kind, Numpy())
    offsets = rng.standard_normal(40).astype(np.float32)
    monkeypatch.setattr(linear_gpu, "gpu_rows", lambda x, k: rows)
    y = linear_gpu.linear_gpu(None, q, offsets, activations, target("cuda:sm_90a"))
    x = values(rows.rows, kind)
    weights = q.dequantize(np.float64).T
    parts = np.pad(np.abs(x), ((0, 0), (0, 56))).reshape(m, 4, 64)
    peak = parts.max(axis=2).repeat(64, axis=1)[:, :200]
    off = 1.0001 * peak / 254 if activations == "int8" else 1.0001 * np.maximum(np.abs(x) / 16, peak * 2.0**-19)
    allowed = off @ np.abs(weights) + bound(x, q, kind) + 4e-3
    assert (np.abs(values(y, kind) - x @ weights - offsets) <= allowed).all()


def test_no_rows_launch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q = bw.quantize(np.ones((16, 64), np.float32), "u4", group=32)
    rows = replace(rows_of(np.ones((1, 64), np.float32), "f16", Numpy()), leading=(0,))
    monkeypatch.setattr(linear_gpu, "gpu_rows", lambda x, k: rows)
    assert np.asarray(linear_gpu.linear_gpu(None, q, None, "auto", MACHINE)).shape == (0, 16)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    q = bw.quantize(np.ones((16, 64), np.float32), "u4", group=32)
    rows = rows_of(np.ones((1, 64), np.float32), "f16", Numpy())
    monkeypatch.setattr(linear_gpu, "gpu_rows", lambda x, k: rows)
    with pytest.raises(LinearError, match="groups of 16 weights do not divide into 32s"):
        linear_gpu.linear_gpu(None, bw.quantize(np.ones((16, 64), np.float32), "u4", group=16), None, "int8", MACHINE)
    with pytest.raises(LinearError, match='f8e4m3fn" is for GPUs'):
        bw.linear(np.ones((1, 64), np.float32), q, activations="f8e4m3fn")
    with pytest.raises(LinearError, match=r"bias has shape \[15\], but the weight has N = 16 rows"):
        linear_gpu.linear_gpu(None, q, np.zeros(15), "auto", MACHINE)


def test_tensors_are_read_as_rows() -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(24, dtype=torch.float16).reshape(2, 3, 4)
    rows = gpu_rows(x, 4)
    assert (rows.kind, rows.leading, rows.count) == ("f16", (2, 3), 6)
    assert rows.shaped(torch.zeros(6, 5), 5).shape == (2, 3, 5)  # type: ignore[attr-defined]  # a tensor
    with pytest.raises(LinearError, match=r"x has shape \[2, 3, 4\], but the weight has K = 5 columns"):
        gpu_rows(x, 5)
    with pytest.raises(LinearError, match="x is an array of float64 on a GPU: give f16, bf16 or f32"):
        gpu_rows(x.double(), 4)
    with pytest.raises(LinearError, match="asks for a gradient"):
        gpu_rows(x.float().requires_grad_(), 4)


def test_numbers_of_f32_are_three_of_bf16() -> None:
    torch = pytest.importorskip("torch")
    library = gpu_rows(torch.zeros(1, 1), 1).library
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((5, 64)) * 2.0 ** rng.integers(-60, 100, (5, 64))).astype(np.float32)
    x[0, :3] = np.finfo(np.float32).max, 0, -1
    parts = library.parts(torch.from_numpy(x))
    assert parts.dtype == torch.bfloat16  # type: ignore[attr-defined]  # a tensor
    assert torch.equal(parts.double().unflatten(0, (3, 5)).sum(0), torch.from_numpy(x).double())  # type: ignore[attr-defined]  # as above
    inf = library.parts(torch.tensor([[torch.inf, -torch.inf, torch.nan]]))
    summed = library.total(inf.float(), 3, None)  # type: ignore[attr-defined]  # as above
    assert torch.equal(summed.nan_to_num(5.0, 1.0, 2.0), torch.tensor([[1.0, 2.0, 5.0]]))  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize("m", [1, 16, 200])
@pytest.mark.parametrize("activations", ["f16", "bf16", "f32", "int8"])
def test_kernels_can_be_looked_at_without_a_gpu(m: int, activations: str) -> None:
    kernel = bw.linear_kernel("u4", group=128, m=m, activations=activations, target="cuda:sm_90a", k=1024)  # type: ignore[arg-type]  # a mode
    assert kernel.target.name == "cuda:sm_90a"
    assert "dot" in kernel.source("tile")


def test_rows_that_begin_anywhere_are_read_from_where_they_may() -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(33, dtype=torch.float16)
    inside = x[1:33].reshape(4, 8)
    assert inside.data_ptr() % 16 == 2
    rows = gpu_rows(inside, 8)
    held, bias = rows.rows, rows.library.convert(x.float()[1:], "f32")
    for found, numbers in ((held, inside), (bias, x.float()[1:])):
        assert found.data_ptr() % 16 == 0  # type: ignore[attr-defined]  # a tensor
        assert torch.equal(found, numbers)
    assert gpu_rows(x[:32].reshape(4, 8), 8).rows.data_ptr() == x.data_ptr()  # type: ignore[attr-defined]  # a tensor

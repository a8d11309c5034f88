"""Kernels for GPUs through Python's door, on a fake driver: the whole way from program text to a launch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import bitwright as bw
from bitwright.backend import artifact
from bitwright.backend.cache import default_cache
from bitwright.backend.cuda import present
from bitwright.frontend import kernel as kernels
from bitwright.tests.backend.cuda.fake_gpu import FakeGpu, OnGpu
from bitwright.vm.diagnostic import Diagnostic

SCALE = """
def scale(x: f32[N], y: f32[N], a: f32, n: int, *, T: int = 64):
    i = grid((N, T))
    store(y, [i], load(x, [i], [T]) * a)
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGpu]:
    """An sm_90 GPU that notes launches down, and an empty cache."""
    found = FakeGpu(6)
    monkeypatch.setattr(present, "capability", lambda: (9, 0))
    monkeypatch.setattr(artifact, "open_driver", lambda: found)
    monkeypatch.setenv("BITWRIGHT_CACHE_DIR", str(tmp_path))
    default_cache.cache_clear()
    yield found
    default_cache.cache_clear()


def test_a_call_becomes_a_launch_and_a_second_process_would_not_compile(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = OnGpu(np.zeros(130, np.float32)), OnGpu(np.zeros(130, np.float32))
    bw.compile(SCALE, "cuda:sm_90a")(x, y, 2.0, 5)
    (launched,) = gpu.launches
    assert launched.blocks == 3
    assert launched.parameters[:2] == (x.array.ctypes.data, y.array.ctypes.data)
    assert launched.parameters[3:5] == (5, 130)
    assert gpu.loads[0][1][:4] == b"\x7fELF"

    def refuse(*_: object, **__: object) -> object:
        raise AssertionError("the program is compiled again")

    monkeypatch.setattr(kernels, "compile_program", refuse)
    monkeypatch.setattr(kernels, "build", refuse)
    bw.compile(SCALE, "cuda:sm_90a")(x, y, 2.0, 5)
    assert len(gpu.launches) == 2


def test_arrays_of_the_cpu_are_refused_with_what_to_do(gpu: FakeGpu) -> None:
    kernel = bw.compile(SCALE, "cuda:sm_90a")
    y = OnGpu(np.zeros(4, np.float32))
    with pytest.raises(Diagnostic, match=r"scale: x: expected f32\[N\] in the GPU.s memory, got a NumPy") as caught:
        kernel(np.zeros(4, np.float32), y, 2.0, 5)
    assert "call it with x: f32[N]" in str(caught.value)
    with pytest.raises(Diagnostic, match="dimension 0 must be N = 5, got 4"):
        kernel(OnGpu(np.zeros(5, np.float32)), y, 2.0, 5)
    assert gpu.launches == []


@pytest.mark.skipif(present.present_architecture() is not None, reason="this machine has a GPU")
def test_without_a_gpu_the_simulator_is_named() -> None:
    with pytest.raises(Diagnostic, match=r"cannot run code for cuda:sm_90a(.|\n)*bitwright.simulate"):
        bw.compile(SCALE, "cuda:sm_90a")(np.zeros(4, np.float32), np.zeros(4, np.float32), 2.0, 5)

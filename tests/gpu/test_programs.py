"""Whole programs on a GPU against the interpreter, called as users call them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bitwright as bw
from bitwright.backend.cuda.driver import open_driver
from bitwright.backend.cuda.launch import CudaFunction, Launch, synchronize
from bitwright.backend.pipeline import compile_program
from bitwright.tests.gpu.device import DeviceArray, here, needs_gpu
from bitwright.tests.samples import Sample, outputs
from bitwright.tests.test_every_instruction import Results, agree, arguments, interpreted, name_of, some

pytestmark = needs_gpu


def on_gpu(sample: Sample) -> Results:
    given = arguments(sample)
    compiled = compile_program(sample.program, here())
    function = compiled.function
    assert function is not None
    launch = Launch(sample.name, compiled.signature, here().cpu, function.lanes, compiled.shared_bytes)
    run = CudaFunction(launch, compiled.code, open_driver())
    there = [DeviceArray(a) if isinstance(a, np.ndarray) else a for a in given]
    run(*there, *(sample.sizes[v.name] for v in compiled.signature.explicit))
    synchronize()
    for a, b in zip(given, there, strict=True):
        if isinstance(a, np.ndarray) and isinstance(b, DeviceArray):
            a[...] = b.get()
    return outputs(sample, given)


@pytest.mark.parametrize("sample", some(11, 1), ids=name_of)
def test_a_gpu_does_what_the_interpreter_does(sample: Sample) -> None:
    agree(sample, on_gpu(sample), interpreted(sample))


SCALE = """
def scale(x: f32[N], y: f32[N], a: f32, *, T: int = 64):
    i = grid((N, T))
    v = load(x, [i], [T]) * a
    assert v >= 0.0, "no number is negative"
    store(y, [i], v)
"""


def test_an_artifact_runs(tmp_path: Path) -> None:
    bw.export(tmp_path, bw.compile(SCALE, "cuda"), bw.compile(SCALE))
    kernel = bw.load_artifact(tmp_path)
    assert kernel.target.startswith("cuda:")
    x, y = (DeviceArray(np.arange(1000, dtype=np.float32)) for _ in range(2))
    kernel(x, y, 2.5)
    np.testing.assert_array_equal(y.get(), np.arange(1000, dtype=np.float32) * np.float32(2.5))


def test_failures_are_raised_later() -> None:
    kernel = bw.compile(SCALE, "cuda")
    x, y = (DeviceArray(np.ones(1000, np.float32)) for _ in range(2))
    kernel(x, y, -1.0)
    with pytest.raises(RuntimeError, match="no number is negative"):
        bw.synchronize()
    kernel(x, y, 1.0)
    bw.synchronize()


def test_torch_tensors_streams_and_graphs() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch is built without CUDA")
    kernel = bw.compile(SCALE, "cuda")
    x = torch.arange(1000, device="cuda", dtype=torch.float32)
    y = torch.zeros_like(x)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x.mul_(2)
        kernel(x, y, 3.0)
    stream.synchronize()
    assert torch.equal(y.cpu(), torch.arange(1000, dtype=torch.float32) * 6)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel(y, x, 0.5)
    y.fill_(8)
    graph.replay()
    torch.cuda.synchronize()
    assert bool((x == 4).all())

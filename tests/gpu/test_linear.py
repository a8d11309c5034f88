"""`linear` on a GPU against float64: widths, types of x, numbers of rows, streams and recorded graphs."""

from __future__ import annotations

import numpy as np
import pytest

import bitwright as bw
from bitwright.tests.gpu.device import needs_gpu

torch = pytest.importorskip("torch")

pytestmark = [*needs_gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="this PyTorch has no CUDA")]

NEAR = {torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7, torch.float32: 2.0**-15}


def off_by(y: object, x: object, q: bw.QTensor) -> float:
    """The largest error, relative to the sum of the terms' sizes."""
    assert isinstance(x, torch.Tensor)
    assert isinstance(y, torch.Tensor)
    given, w = x.double().cpu().numpy(), q.dequantize(np.float64)
    exact, size = given @ w.T, np.abs(given) @ np.abs(w).T + 1e-9
    return float((np.abs(y.double().cpu().numpy() - exact) / size).max())


@pytest.mark.parametrize("kind", NEAR)
@pytest.mark.parametrize("m", [1, 7, 16, 32, 100, 513])
@pytest.mark.parametrize("element", ["u1", "u2", "u3", "u4", "i5", "u6", "u7", "u8", "f6e3m2", "f4e2m1"])
def test_products(element: str, m: int, kind: object) -> None:
    rng = np.random.default_rng(m)
    q = bw.quantize(rng.standard_normal((1000, 1056), np.float32), element, group=96)
    x = torch.randn((m, 1056), device="cuda").to(kind)
    assert off_by(bw.linear(x, q), x, q) < NEAR[kind]


def test_bias_leading_sizes_and_streams() -> None:
    q = bw.quantize(np.random.default_rng(0).standard_normal((256, 512), np.float32), "u4")
    bias = torch.randn(256, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x = torch.randn((2, 3, 512), device="cuda", dtype=torch.float16)
        y = bw.linear(x, q, bias)
        plain = bw.linear(x, q)
    stream.synchronize()
    assert y.shape == (2, 3, 256)
    assert torch.allclose(y.float(), plain.float() + bias, atol=0.05)


def test_the_same_bits_every_time_and_in_a_graph() -> None:
    q = bw.quantize(np.random.default_rng(0).standard_normal((512, 8192), np.float32), "u4")
    x = torch.randn((1, 8192), device="cuda", dtype=torch.float16)
    first = bw.linear(x, q)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one, two = bw.linear(x, q), bw.linear(x, q)
    for _ in range(3):
        one.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(one, first)
        assert torch.equal(two, first)
        assert torch.equal(bw.linear(x, q), first)

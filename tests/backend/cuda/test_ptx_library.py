"""The library's kernels for GPUs as PTX: what NVRTC makes of them is emulated, against float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bitwright as bw
from bitwright.backend.target import target
from bitwright.frontend import library
from bitwright.frontend.library.plan_cuda import GpuSchedule, cuda_kernel, plan_cuda
from bitwright.frontend.library.prepared_cuda import Product, prepare_cuda
from bitwright.tests.backend.cuda.emulated import emulate
from bitwright.tests.frontend.library.test_linear_cuda import (
    BOUNDS,
    NUMPY,
    ROUNDED,
    _exact,
    _largest,
    _sums,
    _workspace,
)

pytest.importorskip("cuda.bindings.nvrtc")
LIBRARY = Path(library.__file__).parent

CASES = [
    ("u1", "f16", 1, True, "cuda:sm_90a"),
    ("i2", "bf16", 3, False, "cuda:sm_90a"),
    ("u3", "f16", 3, True, "cuda:sm_90a"),
    ("u4", "f16", 1, True, "cuda:sm_90a"),
    ("u4", "bf16", 9, True, "cuda:sm_80"),
    ("i5", "f16", 2, False, "cuda:sm_80"),
    ("u6", "bf16", 1, True, "cuda:sm_90a"),
    ("i7", "f16", 5, False, "cuda:sm_90a"),
    ("u8", "bf16", 1, True, "cuda:sm_90a"),
    ("f6e3m2", "f16", 1, False, "cuda:sm_90a"),
    ("f4e2m1", "bf16", 2, False, "cuda:sm_90a"),
    ("f8e4m3fn", "f16", 1, False, "cuda:sm_90a"),
    ("nf4", "f16", 3, False, "cuda:sm_90a"),
]


@pytest.mark.parametrize(("element", "product", "m", "zero", "name"), CASES)
def test_decode(element: str, product: Product, m: int, zero: bool, name: str) -> None:
    assert close(element, product, m, 40, 256, zero, name).form == "decode"


def test_decode_of_long_rows() -> None:
    """A loop with a ring of tiles, a depth that fills no tile, and several blocks for one sum."""
    s = close("u4", "f16", 2, 24, 4100, True, "cuda:sm_90a")
    assert s.share % 33


@pytest.mark.parametrize(("element", "product", "name"), [("u4", "f16", "cuda:sm_80"), ("i3", "bf16", "cuda:sm_90a")])
def test_prefill(element: str, product: Product, name: str) -> None:
    assert close(element, product, 70, 40, 384, element == "u4", name).form == "prefill"


def close(element: str, product: Product, m: int, n: int, k: int, zero: bool, name: str) -> GpuSchedule:
    """Runs a linear and holds it to its bound."""
    random, where = np.random.default_rng(m), target(name)
    q = bw.quantize(random.standard_normal((n, k)).astype(np.float32), element, group=128, zero_point=zero)
    p = prepare_cuda(q, product, where)
    s = plan_cuda(p, m, where)
    x = random.standard_normal((m, k)).astype(NUMPY[product])
    bias = random.standard_normal(n).astype(np.float32)
    y = np.full((m, n), np.nan, np.float32)
    kernel = cuda_kernel(p, s, product, bw.dtype("f32"), True, where)
    codes = x if product == "f16" else x.view(np.uint16)
    sums = _sums(p, product, codes, s, where)
    emulate(kernel.program, where, [codes, *sums, p.weights, p.scales, p.zeros, bias, *_workspace(p, s, m), y], {})
    wanted = x.astype(np.float64) @ q.dequantize().astype(np.float64).T + bias
    size = np.abs(x.astype(np.float64)) @ _largest(q) + np.abs(bias)
    bound = BOUNDS[product] if _exact(q, product) else ROUNDED[product]
    assert (np.abs(y - wanted) <= bound * size).all(), np.max(np.abs(y - wanted) / size)
    return s


def test_softmax() -> None:
    x = np.random.default_rng(0).standard_normal((3, 300)).astype(np.float32)
    y = np.full_like(x, np.nan)
    kernel = bw.compile(LIBRARY / "norms.bw", "cuda:sm_90a", kernel="softmax")
    emulate(kernel.program, kernel.target, [x, y], {})
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(y, e / e.sum(axis=1, keepdims=True), rtol=1e-5)

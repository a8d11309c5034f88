"""The library's kernels for GPUs as PTX: what NVRTC makes of them is emulated, against float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bitwright as bw
from bitwright.frontend import library
from bitwright.frontend.library.plan_cuda import GpuSchedule
from bitwright.frontend.library.prepared_cuda import Product
from bitwright.tests.backend.cuda.emulated import emulate
from bitwright.tests.gpu_linears import gpu_linear

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
    """Runs a linear and holds it to its bound; the schedule that it took."""
    linear = gpu_linear(element, product, m, n, k, zero=zero, target=name)
    emulate(linear.kernel.program, linear.kernel.target, linear.arguments, {})
    linear.assert_close()
    return linear.schedule


def test_softmax() -> None:
    x = np.random.default_rng(0).standard_normal((3, 300)).astype(np.float32)
    y = np.full_like(x, np.nan)
    kernel = bw.compile(LIBRARY / "norms.bw", "cuda:sm_90a", kernel="softmax")
    emulate(kernel.program, kernel.target, [x, y], {})
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(y, e / e.sum(axis=1, keepdims=True), rtol=1e-5)

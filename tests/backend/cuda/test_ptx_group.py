"""wgmma as PTX: descriptors, swizzles and what is under way, by an emulator that is written from the PTX ISA."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.frontend.library.bytes_cuda import byte_storage
from bitwright.tests.backend.lower.test_wgmma import INTO, NUMPY, SUMS, kernel
from bitwright.tests.backend.lower.test_wgmma_bytes import FP8
from bitwright.tests.backend.lower.test_wgmma_bytes import SUMS as BYTES
from bitwright.tests.ptx.machine import run
from bitwright.tests.ptx.text import PtxError
from bitwright.vm.dtypes import dtype

pytest.importorskip("cuda.bindings.nvrtc")

CASES = [
    ("bf16", 256, 128, 128, INTO),  # two spans of 128 bytes
    ("f16", 384, 32, 256, INTO),  # two groups of four warps, spans of 64 bytes
    ("bf16", 192, 16, 128, INTO),  # spans of 32 bytes
    ("f16", 192, 48, 128, SUMS),
]
ROWS = 70


def launched(text: str, kind: str, bn: int, depth: int, lanes: int, shared: int) -> tuple[NDArray[np.generic], ...]:
    """Sums of small integers, which are exact: what the text gives, and what it should."""
    rng = np.random.default_rng(bn)
    w, x = (rng.integers(-8, 9, (rows, depth)).astype(NUMPY[kind]) for rows in (bn, ROWS))
    y = np.full((ROWS, bn), np.nan, np.float32)
    slots = [w.view(np.uint16), x.view(np.uint16), y, ROWS]
    assert run(text, slots, -(-ROWS // 64), lanes, shared) == (0, [])
    return y, x.astype(np.float64) @ w.astype(np.float64).T + 0.5


def text_of(kind: str, bn: int, bk: int, lanes: int, step: str) -> tuple[str, int]:
    made = kernel(step, D=kind, BN=bn, BK=bk, K=3 * bk, LANES=lanes)
    assert made.compiled.function is not None
    return made.source("ptx"), made.compiled.function.shared


@pytest.mark.parametrize(("kind", "bn", "bk", "lanes", "step"), CASES)
def test_products_of_four_warps(kind: str, bn: int, bk: int, lanes: int, step: str) -> None:
    text, shared = text_of(kind, bn, bk, lanes, step)
    assert "wgmma.mma_async" in text
    found, expected = launched(text, kind, bn, 3 * bk, lanes, shared)
    np.testing.assert_array_equal(found, expected)


def test_a_fence_that_is_left_out_is_noticed() -> None:
    text, shared = text_of(*CASES[2])
    broken = text.replace("fence.proxy.async.shared::cta;", "")
    assert broken != text
    with pytest.raises(PtxError, match=r"no fence\.proxy\.async"):
        launched(broken, "bf16", 192, 48, 128, shared)


def test_a_wait_that_is_left_out_is_noticed() -> None:
    """Sums hold nonsense until they are waited for."""
    text, shared = text_of(*CASES[2])
    broken = text.replace("wgmma.wait_group.sync.aligned 0;", "")
    assert broken != text
    found, _ = launched(broken, "bf16", 192, 48, 128, shared)
    assert np.isnan(found).any()


@pytest.mark.parametrize(
    ("of_x", "kind", "value", "bm"),
    [("i8", "u3", "u8", 64), ("i8", "i8", "i8", 64), ("f8e4m3fn", "f4e2m1", "f8e4m3fn", 8)],
)
def test_products_of_bytes(of_x: str, kind: str, value: str, bm: int) -> None:
    """Weights in registers, decoded or as they are; sums of integers begin at any word."""
    m, k, whole = bm - 3, 256, of_x == "i8"
    random = np.random.default_rng(bm)
    codes = random.integers(0, 1 << dtype(kind).bits, (k, 128)).astype(np.uint8)
    x = random.integers(-128, 128, (m, k)).astype(np.int8) if whole else random.integers(-4, 5, (m, k)).astype(FP8)
    c = random.integers(-100, 100, (128, m)).astype(np.int32 if whole else np.float32)
    y, z = np.full_like(c, 99), np.full((128, m), np.nan, np.float32)
    made = bw.compile(BYTES, target="cuda:sm_90a", X=of_x, W=kind, L=byte_storage(dtype(kind), dtype(value), 4, 4),
                      V=value, C="i32" if whole else "f32", BM=bm, M=m)  # fmt: skip
    assert made.compiled.function is not None
    text = made.source("ptx")
    assert f"wgmma.mma_async.sync.aligned.m64n{bm}k32" in text
    slots: list[NDArray[np.generic] | int] = [x.view(np.uint8), made.pack("w", codes), c, y, z]
    assert run(text, slots, 1, 128, made.compiled.function.shared) == (0, [])
    exact = dtype(kind).decode(codes).astype(np.float64).T @ x.astype(np.float64).T
    np.testing.assert_array_equal(y, exact + c)
    np.testing.assert_array_equal(z, exact)

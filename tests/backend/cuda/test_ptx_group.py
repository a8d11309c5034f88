"""wgmma as PTX: descriptors, swizzles and what is under way, by an emulator that is written from the PTX ISA."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.tests.backend.lower.test_wgmma import INTO, NUMPY, SUMS, kernel
from bitwright.tests.ptx.machine import run
from bitwright.tests.ptx.text import PtxError

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

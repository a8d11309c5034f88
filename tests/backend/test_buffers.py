"""Buffers for weights are aligned, writable, and hold what was put into them, small or large."""

from pathlib import Path

import numpy as np
import pytest

from bitwright.backend.buffers import ALIGN, HUGE, aligned_copy, aligned_empty


@pytest.mark.parametrize("size", [0, 1, 63, 4096, HUGE - 1, HUGE, 3 * HUGE + 17])
def test_a_copy_is_aligned_and_equal(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    out = aligned_copy(data)
    assert out.shape == (size,)
    assert not size or out.ctypes.data % ALIGN == 0  # of nothing, NumPy gives any address
    assert out.flags.writeable
    assert np.array_equal(out, data)


def test_large_buffers_begin_at_a_huge_page() -> None:
    assert aligned_empty(2 * HUGE).ctypes.data % HUGE == 0


def test_buffers_do_not_overlap() -> None:
    first, second = aligned_empty(HUGE + 5), aligned_empty(HUGE + 5)
    first[:], second[:] = 1, 2
    assert (first == 1).all()
    assert (second == 2).all()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux")
def test_large_buffers_are_of_the_kind_that_gets_huge_pages() -> None:
    """Private memory: what processes share is on small pages unless the whole system is set up otherwise."""
    buffer = aligned_empty(2 * HUGE)
    address = buffer.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        first, last = (int(x, 16) for x in span.split("-"))
        if first <= address < last:
            assert rights == "rw-p"
            return
    raise AssertionError("no mapping holds the buffer")

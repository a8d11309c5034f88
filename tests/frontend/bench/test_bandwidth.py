from __future__ import annotations

import time

import numpy as np
import pytest

from bitwright.frontend.bench import bandwidth
from bitwright.frontend.bench.bandwidth import BandwidthError, make_reader


def test_every_byte_is_read_and_the_faster_way_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = make_reader(3 << 20, threads=2)
    assert reader.buffer.nbytes == 3 << 20
    reader.buffer[1, 12345] += 7  # a change anywhere is seen by the kernel
    reader.kernel(reader.buffer, reader.sums)
    assert np.array_equal(reader.sums.sum(axis=1, dtype=np.int64), reader.buffer.sum(axis=1, dtype=np.int64))
    start = time.perf_counter()
    rate = reader.sample()
    assert rate >= reader.buffer.nbytes / (time.perf_counter() - start)


def test_a_kernel_that_skips_memory_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "PROGRAM", bandwidth.PROGRAM.replace("range(0, C, 256)", "range(256, C, 256)"))
    with pytest.raises(BandwidthError, match="wrong sums"):
        make_reader(1 << 20, threads=1)

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bitwright.frontend.bench import bandwidth
from bitwright.frontend.bench.bandwidth import BandwidthError, make_reader


def test_every_byte_is_read() -> None:
    reader = make_reader(3 << 20, threads=2)
    assert reader.buffer.nbytes == 3 << 20
    reader.buffer[1, 12345] += 7  # a change anywhere is seen by the kernel
    reader.kernel(reader.buffer, reader.sums)
    assert np.array_equal(reader.sums.sum(axis=1, dtype=np.int64), reader.buffer.sum(axis=1, dtype=np.int64))


def test_the_rate_is_that_of_the_faster_way(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = make_reader(20 << 20, threads=2)  # a part of 16 MiB, and one of 4
    ticks = iter([0.0, 1.0, 1.0, 2.0, 2.0, 2.5, 3.0, 3.125])
    monkeypatch.setattr(bandwidth, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert reader.sample() == (32 << 20)  # the kernel: 16 and 4 MiB a second; NumPy: 32 and 32


def test_a_kernel_that_skips_memory_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "PROGRAM", bandwidth.PROGRAM.replace("range(0, C, 256)", "range(256, C, 256)"))
    with pytest.raises(BandwidthError, match="wrong sums"):
        make_reader(1 << 20, threads=1)

"""Kernels called from several Python threads: results, errors, compiling at once, and other threads go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.tests.slow_kernel import SLOW, slow_result

FAIL_LATE = """
def f(x: f32[N]):
    i = grid((N, 16))
    assert i < N - 16, "the last block is refused"
    store(x, [i], load(x, [i], [16]) + 1)
"""


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    usual = bw.threads()
    bw.set_threads(4)
    yield
    bw.set_threads(usual)


def random_linear(bits: int, rows: int) -> tuple[bw.QTensor, NDArray[np.float32]]:
    random = np.random.default_rng(bits)
    q = bw.quantize(random.normal(size=(96, 256)).astype(np.float32), f"u{bits}", group=64)
    return q, random.normal(size=(rows, 256)).astype(np.float32)


def test_the_same_and_different_kernels_at_once() -> None:
    """Each of eight threads has its own x; pairs of them share a weight."""
    problems = [random_linear(bits, 1 + bits) for bits in (2, 3, 4, 5)]
    expected = [bw.linear(x, q) for q, x in problems]

    def calls(number: int) -> bool:
        q, x = problems[number % 4]
        return all((bw.linear(x, q) == expected[number % 4]).all() for _ in range(40))

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(calls, range(8)))


def test_the_first_call_from_many_threads_at_once() -> None:
    kernel = bw.compile(SLOW, TIMES=17)
    start = threading.Barrier(8)

    def first(number: int) -> NDArray[np.float32]:
        y = np.full(64, number, np.float32)
        start.wait(timeout=10)
        kernel(y)
        return y

    with ThreadPoolExecutor(8) as executor:
        for number, y in enumerate(executor.map(first, range(8))):
            np.testing.assert_array_equal(y, slow_result(np.full(64, number, np.float32), 17))


def test_other_python_threads_run_while_a_kernel_does() -> None:
    kernel = bw.compile(SLOW, TIMES=100_000_000)
    kernel.function  # noqa: B018  (compiled before the clock starts)
    y = np.zeros(16, np.float32)
    ended: list[float] = []

    def call() -> None:
        kernel(y)
        ended.append(time.monotonic())

    caller = threading.Thread(target=call)
    began = time.monotonic()
    caller.start()
    turns = []
    while not ended:
        time.sleep(0.001)
        turns.append(time.monotonic())
    caller.join()
    during = [t for t in turns if t < ended[0]]
    assert ended[0] - began > 0.05
    assert len(during) > 10


def test_a_failure_in_a_worker_is_raised_where_the_kernel_was_called() -> None:
    kernel = bw.compile(FAIL_LATE)
    x = np.zeros(64, np.float32)  # four blocks: the last is another thread's
    for _ in range(50):
        with pytest.raises(RuntimeError, match="the last block is refused"):
            kernel(x)


def test_failures_of_several_threads_do_not_mix() -> None:
    """Half of the threads call a kernel that fails, half one that does not."""
    bad, good = bw.compile(FAIL_LATE), bw.compile(FAIL_LATE.replace("i < N - 16", "i < N"))

    def calls(number: int) -> int:
        failures = 0
        for _ in range(100):
            try:
                (bad if number % 2 else good)(np.zeros(64, np.float32))
            except RuntimeError:
                failures += 1
        return failures

    with ThreadPoolExecutor(6) as executor:
        assert list(executor.map(calls, range(6))) == [0, 100] * 3


def test_the_number_of_threads_changes_while_kernels_run() -> None:
    kernel = bw.compile(SLOW, TIMES=50)
    stop = threading.Event()
    wrong: list[int] = []
    expected = slow_result(np.zeros(160, np.float32), 50)

    def calls() -> None:
        while not stop.is_set():
            y = np.zeros(160, np.float32)
            kernel(y)
            if (y != expected).any():
                wrong.append(1)

    callers = [threading.Thread(target=calls) for _ in range(2)]
    for caller in callers:
        caller.start()
    for count in [1, 3, 2, 16, 1, 4, 9] * 10:
        bw.set_threads(count)
        time.sleep(0.001)
    stop.set()
    for caller in callers:
        caller.join(timeout=10)
        assert not caller.is_alive()
    assert not wrong

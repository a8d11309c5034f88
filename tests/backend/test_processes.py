"""Kernels and processes: forks, signals, ends, processors, limits, and several processes with one cache.

Every script runs in a process of its own, and would be killed if it hung.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitwright.backend.llvm.processors import processors, quota

START = """
import os, signal, sys, threading, time
sys.modules["torch"] = None  # tvm-ffi would import it, which takes a second
import numpy as np
import bitwright as bw
from bitwright.tests.slow_kernel import SLOW, slow_result

def right(kernel, times, blocks=8):
    y = np.ones(16 * blocks, np.float32)
    kernel(y)
    return bool((y == slow_result(np.ones(16 * blocks, np.float32), times)).all())

def wait(child):
    for _ in range(1000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return "the child hangs"
"""


def start(script: str, threads: str = "4", **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "BITWRIGHT_NUM_THREADS": threads, **more}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", START + script],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended as it should."""
    try:
        output, errors = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"it hangs; {output} {errors}") from None
    assert process.returncode == 0, errors
    return output.strip()


def run(script: str, threads: str = "4", **more: str) -> str:
    return finish(start(script, threads, **more))


def test_forks_while_kernels_run_and_compile() -> None:
    """The parent calls a kernel in one thread and compiles in another; children compile and call."""
    output = run("""
kernel = bw.compile(SLOW, TIMES=20)
assert right(kernel, 20)
stop = []
def call():
    while not stop:
        right(kernel, 20)
def compile():
    n = 0
    while not stop:
        n += 1
        bw.compile(SLOW, TIMES=1000 + n).function
helpers = [threading.Thread(target=f) for f in (call, compile)]
for helper in helpers:
    helper.start()
seen = []
for n in range(8):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        fine = right(kernel, 20) and right(bw.compile(SLOW, TIMES=40 + n % 2), 40 + n % 2)
        os._exit(0 if fine else 1)
    seen.append(wait(child))
stop.append(1)
for helper in helpers:
    helper.join()
assert right(kernel, 20)
print(seen)
""")
    assert output == str([0] * 8)


def test_a_child_of_a_child_and_one_of_a_thread() -> None:
    output = run("""
kernel = bw.compile(SLOW, TIMES=20)
assert right(kernel, 20)
def descend(depth):
    child = os.fork()
    if child == 0:
        fine = right(kernel, 20) and bw.threads() == 4
        if depth:
            fine = fine and descend(depth - 1) == 0
        os._exit(0 if fine else 1)
    return wait(child)
seen = [descend(2)]
thread = threading.Thread(target=lambda: seen.append(descend(1)))
thread.start()
thread.join()
print(seen, right(kernel, 20))
""")
    assert output == "[0, 0] True"


def test_multiprocessing_by_fork() -> None:
    output = run("""
import multiprocessing
q = bw.quantize(np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32), "u3")
x = np.random.default_rng(1).normal(size=(3, 128)).astype(np.float32)
expected = bw.linear(x, q)
def work(n):
    return bool((bw.linear(x, q) == expected).all())
with multiprocessing.get_context("fork").Pool(3) as workers:
    print(all(workers.map_async(work, range(30)).get(timeout=20)))
""")
    assert output == "True"


def test_a_fork_before_anything_was_compiled() -> None:
    output = run("""
child = os.fork()
fine = right(bw.compile(SLOW, TIMES=20), 20)
if child == 0:
    os._exit(0 if fine else 1)
print(wait(child), fine)
""")
    assert output == "0 True"


def test_an_interrupt_comes_when_the_kernel_has_ended() -> None:
    """SIGINT during a call: KeyboardInterrupt, and kernels work as before."""
    process = start("""
long, short = bw.compile(SLOW, TIMES=300_000_000), bw.compile(SLOW, TIMES=20)
assert right(short, 20)
long.function
y = np.ones(64, np.float32)
print("ready", flush=True)
try:
    long(y)
except KeyboardInterrupt:
    print("interrupted", y[0] == y[-1] == 2, right(short, 20))
""")
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert finish(process) == "interrupted True True"


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "os._exit(0)"])
def test_a_process_ends_while_a_thread_is_in_a_kernel(end: str) -> None:
    began = time.monotonic()
    run(f"""
kernel = bw.compile(SLOW, TIMES=1 << 60)
kernel.function
thread = threading.Thread(target=kernel, args=(np.ones(64, np.float32),), daemon=True)
thread.start()
time.sleep(0.1)
assert thread.is_alive()
{end}
""")
    assert time.monotonic() - began < 20


def test_a_process_killed_in_a_kernel_leaves_nothing_behind() -> None:
    process = start("""
kernel = bw.compile(SLOW, TIMES=1 << 60)
kernel.function
print("ready", flush=True)
kernel(np.ones(64, np.float32))
""")
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    process.terminate()
    assert process.wait(timeout=10) == -signal.SIGTERM
    process.communicate()


def test_processes_that_share_an_empty_cache(tmp_path: Path) -> None:
    script = """
q = bw.quantize(np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32), "u5")
x = np.random.default_rng(1).normal(size=(1, 128)).astype(np.float32)
y = [bw.linear(x, q) for _ in range(100)]
exact = x.astype(np.float64) @ q.dequantize(np.float64).T
print(all((each == y[0]).all() for each in y), np.abs(y[0] - exact).max() < 1e-4)
"""
    processes = [start(script, BITWRIGHT_CACHE_DIR=str(tmp_path)) for _ in range(3)]
    assert [finish(p) for p in processes] == ["True True"] * 3


@pytest.mark.parametrize("first", [True, False])
def test_one_processor_is_enough(first: bool) -> None:
    """Bound to one processor before the first kernel, or after it."""
    bind = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    warm = "" if first else "assert right(bw.compile(SLOW, TIMES=10), 10)"
    output = run(f"""
{warm}
{bind}
kernel = bw.compile(SLOW, TIMES=20)
began = time.monotonic()
fine = all(right(kernel, 20) for _ in range(20))
print(fine, time.monotonic() - began < 3)
""")
    assert output == "True True"


def test_processors_decide_how_many_threads_there_are() -> None:
    one = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(bw.threads())"
    assert run(one, threads="") == "1"
    assert run("print(bw.threads())", threads="") == str(processors())


def test_many_more_threads_than_processors() -> None:
    output = run(
        """
kernel = bw.compile(SLOW, TIMES=20)
print(all(right(kernel, 20, blocks=100) for _ in range(20)), bw.threads())
""",
        threads="64",
    )
    assert output == "True 64"


def test_a_system_that_gives_no_more_threads() -> None:
    """Memory for a thread's stack is refused: the calling thread does the work, until there is some."""
    output = run(
        """
import resource
kernel = bw.compile(SLOW, TIMES=20)
bw.set_threads(1)
assert right(kernel, 20)
bw.set_threads(4)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
y = np.ones(128, np.float32)
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), limits[1]))
kernel(y)
alone = len(os.listdir("/proc/self/task"))
resource.setrlimit(resource.RLIMIT_AS, limits)
fine = bool((y == slow_result(np.ones(128, np.float32), 20)).all())
print(fine, alone, right(kernel, 20), len(os.listdir("/proc/self/task")) - alone)
""",
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
    )
    assert output == "True 1 True 3"


WRONG_NUMBER = """
try:
    bw.compile(SLOW, TIMES=20)(np.ones(64, np.float32))
except ValueError as error:
    print(error)
bw.set_threads(3)
print(right(bw.compile(SLOW, TIMES=20), 20), bw.threads())
"""


def test_a_wrong_number_in_the_environment_can_be_put_right() -> None:
    said, fine = run(WRONG_NUMBER, threads="lots").splitlines()
    assert said == "BITWRIGHT_NUM_THREADS is 'lots'; set it to a number from 1 to 256"
    assert fine == "True 3"


def test_the_last_word_on_threads() -> None:
    """The environment counts when the first kernel runs; what the program says counts more, before and after."""
    output = run("""
before = bw.threads()
os.environ["BITWRIGHT_NUM_THREADS"] = "3"
changed = bw.threads()
bw.set_threads(2)
said = bw.threads()
kernel = bw.compile(SLOW, TIMES=20)
fine = right(kernel, 20)
started = bw.threads()
bw.set_threads(5)
print(before, changed, said, started, bw.threads(), fine and right(kernel, 20))
""")
    assert output == "4 3 2 2 5 True"


def groups(root: Path, listed: str, **files: str) -> Path:
    """A system whose control groups hold these files."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(listed)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("listed", "files", "share"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 0.5),
        ("0::/../../gone\n", {"cpu.max": "300000 100000\n"}, 3.0),
        ("4:cpu,cpuacct:/d\n", {"cpu/d/cpu.cfs_quota_us": "200000\n", "cpu/d/cpu.cfs_period_us": "100000\n"}, 2.0),
        ("4:cpu:/d\n", {"cpu/d/cpu.cfs_quota_us": "-1\n", "cpu/d/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpuset:/d\n0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("", {}, None),
    ],
)
def test_what_a_container_may_spend(tmp_path: Path, listed: str, files: dict[str, str], share: float | None) -> None:
    assert quota(groups(tmp_path, listed, **files)) == share


def test_no_system_tells() -> None:
    assert quota(Path("/nowhere")) is None


@pytest.mark.parametrize(("share", "count"), [(0.2, 1), (1.0, 1), (1.5, 2), (10_000.0, None), (None, None)])
def test_a_part_of_a_processor_counts_as_one(
    monkeypatch: pytest.MonkeyPatch, share: float | None, count: int | None
) -> None:
    monkeypatch.setattr("bitwright.backend.llvm.processors.quota", lambda root: share)
    allowed = len(os.sched_getaffinity(0))
    assert processors() == (allowed if count is None else min(count, allowed))

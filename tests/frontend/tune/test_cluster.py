"""Sessions on a Dask cluster: several workers, several kinds of devices, workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import distributed
import pytest

from bitwright.frontend.tune.cluster import connect
from bitwright.frontend.tune.kernel_problem import KernelProblem
from bitwright.frontend.tune.places import SessionError, winners_file
from bitwright.frontend.tune.session import Session
from bitwright.frontend.tune.table import Table
from bitwright.frontend.tune.worker import Limits

PROGRAM = """
def scale(x: f32[M, N], y: f32[M, N], *, BM: int = tune(1, 2, 4), BN: int = tune(16, 32, 64)):
    m, n = grid((M, BM), (N, BN))
    store(y, [m, n], load(x, [m, n], [BM, BN]) * 2.0)
"""
LIMITS = Limits(cold=1 << 20, timed_seconds=0.01, compile_seconds=30.0)


def problem() -> KernelProblem:
    return KernelProblem.of(PROGRAM, {"M": 8, "N": 256})


@contextmanager
def scheduler() -> Iterator[str]:
    """A scheduler in a process of its own; its address."""
    command = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "Scheduler at:" in line:
                yield line.split()[-1]
                break
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@contextmanager
def workers(address: str, *threads: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Workers whose kernels run on so many threads: another number is another kind of device."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    command += ["--no-dashboard", "--local-directory", os.environ["BITWRIGHT_DATA_DIR"]]
    started = [
        subprocess.Popen(command, env=os.environ | {"BITWRIGHT_NUM_THREADS": str(count)}, stderr=subprocess.DEVNULL)
        for count in threads
    ]
    try:
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(len(threads), timeout=30)
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BITWRIGHT_LOCK_FILE", str(tmp_path / "lock"))


def test_each_kind_of_device_has_its_search_and_a_worker_may_die(tmp_path: Path) -> None:
    session = Session("kinds", f"sqlite:///{tmp_path}/studies.db")
    with scheduler() as address, workers(address, 1, 2, 2) as processes, closing(connect(address, LIMITS)) as cluster:
        going = session.tune(problem(), trials=6, host=cluster)
        results = [next(going)]
        processes[2].send_signal(signal.SIGKILL)
        results += going
    assert {r.outcome.kind for r in results} == {"ok"}
    devices = {r.outcome.device for r in results}
    assert len(devices) == 2
    for task in session.tasks():
        assert {o.device for o in task.outcomes} == {task.device}
        assert len({o.candidate.key for o in task.outcomes}) == len(task.outcomes) == 6
    assert {w.device for w in Table(winners_file()).winners()} == devices


def test_what_is_wrong_with_a_cluster_is_said() -> None:
    start = time.monotonic()
    with pytest.raises(SessionError, match=r"there is no Dask scheduler at tcp://127.0.0.1:1"):
        connect("tcp://127.0.0.1:1", LIMITS)
    assert time.monotonic() - start < 40
    with (
        scheduler() as address,
        closing(connect(address, LIMITS)) as cluster,
        pytest.raises(SessionError, match="the cluster has no workers"),
    ):
        next(Session("none").tune(problem(), trials=1, host=cluster))

"""The executor beside failures: what is measured at all, when, against what, and what comes of being interrupted."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bitwright.frontend.tune.kernel_problem import KernelProblem
from bitwright.frontend.tune.lock import MachineLock
from bitwright.frontend.tune.outcome import Outcome
from bitwright.frontend.tune.problem import ProblemError
from bitwright.frontend.tune.space import Candidate
from bitwright.frontend.tune.trial import Job, Result, chosen
from bitwright.frontend.tune.worker import Executor
from bitwright.tests.frontend.tune.kernels import QUICK, scale


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> MachineLock:
    return MachineLock(tmp_path_factory.mktemp("lock") / "machine.lock")


def test_what_needs_no_measurement_is_not_measured(lock: MachineLock) -> None:
    """Rules, the compiler's refusal, and code that is known already."""
    problem = scale("RAISE")
    with Executor(problem, QUICK, lock=lock) as executor:
        start = [problem.default, Candidate.of("tune", {"B": 65, "R": 1}), Candidate("nobody")]
        found = {str(o.candidate): o for o in executor.run(start)}
        assert found["tune B=65 R=1"].kind == "pruned"
        assert found["tune B=65 R=1"].message == "B is 65: the choices are 64, 128, 256"
        assert found["nobody"].message == "there is no strategy nobody: the space has tune, raise"
        again = list(executor.run([problem.default]))
        assert again[0].message == "the same code as tune B=64 R=1"
        assert again[0].times == found["tune B=64 R=1"].times
        assert executor.incumbent == found["tune B=64 R=1"]
    with Executor(problem, QUICK, history=found.values(), lock=lock) as resumed:
        assert resumed.incumbent == found["tune B=64 R=1"]


def test_the_compilers_refusal_prunes(lock: MachineLock) -> None:
    text = """
def copy(x: f32[M, N], y: f32[M, N], *, B: int = tune(64, 48)):
    m, n = grid(M, (N, B))
    t = reshape(load(x, [m, n], [1, B]), [B // 32, 32])
    store(y, [m, n], reshape(t, [1, B]))
"""
    problem = KernelProblem.of(text, {"M": 2, "N": 192})
    with Executor(problem, QUICK, lock=lock) as executor:
        kinds = {o.candidate["B"]: (o.kind, o.message) for o in executor.run(list(problem.space()))}
    assert kinds[64][0] == "ok"
    assert kinds[48][0] == "pruned"
    assert kinds[48][1].startswith("the compiler refuses it: ")


@pytest.mark.parametrize(
    ("strategies", "says"),
    [(("NO_STRATEGY",), "is no strategy"), (("NOWHERE",), "has no NOWHERE")],
)
def test_strategies_that_cannot_be_used(strategies: tuple[str, ...], says: str, lock: MachineLock) -> None:
    with pytest.raises(ValueError, match=says):
        Executor(scale(*strategies), QUICK, lock=lock)


@pytest.mark.parametrize(
    ("reference", "says"),
    [("triple", None), ("slender", "must return a mapping of the numbers of y"), ("missing", "is not found")],
)
def test_a_reference_of_ones_own(reference: str, says: str | None, lock: MachineLock) -> None:
    """The wrong one makes every candidate wrong; one that cannot be used ends the search."""
    problem = scale(reference=f"bitwright.tests.frontend.tune.kernels:{reference}")
    with Executor(problem, QUICK, lock=lock) as executor:
        if says is None:
            assert [o.kind for o in executor.run([problem.default])] == ["wrong"]
        else:
            with pytest.raises(ProblemError, match=says):
                list(executor.run([problem.default]))


def test_a_reference_that_takes_too_long_is_given_up(lock: MachineLock, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = scale(reference="bitwright.tests.frontend.tune.kernels:slow")
    with Executor(problem, replace(QUICK, prepare_seconds=0.5), lock=lock) as executor:
        monkeypatch.setattr("bitwright.frontend.tune.fork.GRACE", 0.5)
        with pytest.raises(ProblemError, match=r"not made \(no answer within 1 seconds\); take smaller"):
            executor.measure(problem.default)


def test_without_a_cache_candidates_are_compiled_again(
    lock: MachineLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    problem = scale()
    with Executor(problem, QUICK, lock=lock) as executor:
        monkeypatch.setenv("BITWRIGHT_CACHE_DIR", str(tmp_path / "file" / "cache"))  # for the processes to come
        executor.close()
        assert [o.kind for o in executor.run(list(problem.space())[:2])] == ["ok", "ok"]


def test_what_is_broken_off_is_forgotten(lock: MachineLock) -> None:
    """Ctrl-C in the middle of a measurement: the next answer is that of the next candidate."""
    problem = scale("HANG")
    with Executor(problem, QUICK, lock=lock) as executor:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 2.0)
        with pytest.raises(KeyboardInterrupt):
            list(executor.run([Candidate("hang")]))
        found = list(executor.run([problem.default]))
        assert [(o.kind, o.candidate) for o in found] == [("ok", problem.default)]


def test_candidates_wait_for_the_machine(lock: MachineLock) -> None:
    """While another session has it, nothing is compiled or measured."""
    problem = scale()
    with Executor(problem, QUICK, lock=lock) as executor, ThreadPoolExecutor(1) as pool:
        with MachineLock(lock.path).held():
            found = pool.submit(lambda: list(executor.run([problem.default])))
            time.sleep(1.0)
            assert not found.done()
            assert executor.server_pid is None, "not even begun"
        assert [o.kind for o in found.result(60)] == ["ok"]


def test_the_hopeless_are_not_measured(lock: MachineLock) -> None:
    """A history in which reading takes three times as long as it should, and very little is read: 64 KiB cannot win."""
    problem, past = scale(), Candidate.of("tune", {"B": 64, "R": 2})
    with Executor(problem, QUICK, lock=lock) as executor:
        second = 1 / executor.machine.bandwidth
    history = [
        Outcome(past, "ok", score=3 * size * second, code=str(size), figures={"call.bytes": float(size)})
        for size in range(100, 2100, 100)
    ]
    with Executor(problem, replace(QUICK, prune=True), history, lock) as executor:
        assert executor.incumbent == history[0]
        outcome = next(iter(executor.run([problem.default])))
        assert outcome.kind == "pruned", outcome.message
        assert re.search("the cost model expects [1-9].* µs, and the best takes 0 µs", outcome.message)
    with Executor(problem, QUICK, history, lock) as executor:
        assert next(iter(executor.run([problem.default]))).kind == "ok"


def test_lucky_times_do_not_add_up(lock: MachineLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every candidate seems to take half the incumbent's time at first, and takes as long as the default."""
    problem = scale()
    with Executor(problem, QUICK, lock=lock) as executor:
        first = replace(next(iter(executor.run([problem.default]))), score=1.0)
        rivals: list[Outcome | None] = []

    def asked(executor: Executor, job: Job, seconds: float) -> Result:
        lucky = job.timed_seconds == QUICK.timed_seconds
        rivals.append(executor.incumbent if lucky else first)
        assert rivals[-1] is not None
        assert chosen(job.incumbent) == rivals[-1].candidate
        return Result("ok", times=(0.5 if lucky else 1.0,), against=(1.0,))

    with Executor(problem, QUICK, [first], lock) as executor:
        compiled = Result("ok")
        monkeypatch.setattr(Executor, "_prepare", lambda self: None)
        monkeypatch.setattr(Executor, "_asked", asked)
        found = [executor._measured(c, compiled) for c in problem.space() if c != problem.default]
        assert [o.score for o in found] == [1.0] * len(found)
        assert len(rivals) == 2 * len(found)
        assert executor.incumbent == first


def test_a_strategy_of_the_past_is_no_incumbent(lock: MachineLock) -> None:
    """Results of a strategy that is no longer given count for nothing when others are measured."""
    history = [Outcome(Candidate("past"), "ok", score=1e-9)]
    with Executor(scale(), QUICK, history, lock) as executor:
        assert executor.incumbent is None
        outcome = next(iter(executor.run([executor.problem.default])))
        assert (outcome.kind, outcome.against) == ("ok", ())


PINNED = """
import os
from pathlib import Path
from bitwright.frontend.tune.trial import check, pin_threads
from bitwright.tests.frontend.tune.kernels import QUICK, scale
problem = scale()
data = problem.data(0)
check(problem.build(problem.default).bind(data, 0), data, 1)
pin_threads()
print([len(os.sched_getaffinity(int(p.name))) for p in Path("/proc/self/task").iterdir()])
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
def test_every_thread_gets_one_processor() -> None:
    counts = subprocess.run([sys.executable, "-c", PINNED], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(counts)) == {1}

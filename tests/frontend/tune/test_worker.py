"""Real crashes, hangs, wrong results and exhausted memory: each costs the candidate that is to blame, and no other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bitwright.frontend.tune.kernel_problem import KernelProblem
from bitwright.frontend.tune.lock import MachineLock
from bitwright.frontend.tune.outcome import Outcome
from bitwright.frontend.tune.problem import ProblemError
from bitwright.frontend.tune.space import Candidate
from bitwright.frontend.tune.worker import Executor, Limits
from bitwright.tests.frontend.tune.bad_strategies import PIDS
from bitwright.tests.frontend.tune.kernels import scale

QUICK = Limits(
    measure_seconds=20.0, compile_seconds=20.0, memory=1 << 29, cold=1 << 20, timed_seconds=0.02, prune=False
)
NAMES = (
    "WRONG", "NOTHING", "LATER", "CRASH", "CRASH_EARLY", "ABORT", "KILLED", "MEMORY", "RAISE", "EXIT", "LOUD",
)  # fmt: skip


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> MachineLock:
    return MachineLock(tmp_path_factory.mktemp("lock") / "machine.lock")


@pytest.fixture(scope="module")
def outcomes(lock: MachineLock) -> dict[str, Outcome]:
    """All bad candidates between two good ones, in one session, by their strategies."""
    problem = scale(*NAMES)
    with Executor(problem, QUICK, lock=lock) as executor:
        first = list(executor.run([problem.default]))
        bad_ones = list(executor.run([Candidate(name.lower()) for name in NAMES]))
        last = list(executor.run([Candidate.of("tune", {"B": 128, "R": 2})]))
    return {"first": first[0], "last": last[0]} | {o.candidate.strategy: o for o in bad_ones}


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("first", "ok", ""),
        ("wrong", "wrong", r"y is .* at \[0, 7\], not .* \(allowed"),
        ("nothing", "wrong", "y is .* not"),
        ("later", "wrong", "right at first, but after .* calls y is"),
        ("crash", "crashed", "ended by SIGSEGV"),
        ("crash_early", "crashed", "(?s)ended by SIGSEGV.*string_at"),
        ("abort", "crashed", "(?s)ended by SIGABRT.*last words"),
        ("killed", "out_of_memory", "SIGKILL, as the system does when memory runs out"),
        ("memory", "out_of_memory", "memory"),
        ("raise", "failed", "ZeroDivisionError: on purpose"),
        ("exit", "crashed", "ended without a result"),
        ("loud", "failed", "File too large"),
        ("last", "ok", ""),
    ],
)
def test_each_failure_is_told_apart(outcomes: dict[str, Outcome], name: str, kind: str, says: str) -> None:
    outcome = outcomes[name]
    assert outcome.kind == kind, outcome.message
    assert re.search(says, outcome.message)
    assert (outcome.score is not None) == bool(outcome.times) == (kind == "ok")
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_a_right_candidate_is_timed_against_the_incumbent(outcomes: dict[str, Outcome]) -> None:
    first, last = outcomes["first"], outcomes["last"]
    assert first.score == first.seconds
    assert first.against == ()
    assert first.ratio is None
    assert last.ratio is not None
    assert first.score is not None
    assert last.score == pytest.approx(first.score * last.ratio)
    assert first.error is not None
    assert first.error <= 1
    assert first.figures["object_bytes"] > 0
    assert first.device == last.device != ""
    assert 0 < first.seconds_to_compile < first.seconds_in_all


def test_who_hangs_is_killed(lock: MachineLock) -> None:
    """While compiling and while running; those beside it are none the worse."""
    problem = scale("HANG", "HANG_EARLY")
    with Executor(problem, replace(QUICK, measure_seconds=1.5, compile_seconds=3.0), lock=lock) as executor:
        found = {o.candidate.strategy: o for o in executor.run([Candidate("hang"), Candidate("hang_early")])}
        assert {name: o.kind for name, o in found.items()} == {"hang": "timeout", "hang_early": "timeout"}
        assert found["hang"].message == "not done after 1.5 seconds"
        assert found["hang_early"].message == "not done after 3 seconds"


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


def test_the_server_is_replaced_when_it_dies(lock: MachineLock) -> None:
    problem = scale()
    with Executor(problem, QUICK, lock=lock) as executor:
        assert [o.kind for o in executor.run([problem.default])] == ["ok"]
        process = executor.server_pid
        assert process is not None
        os.kill(process, signal.SIGKILL)
        rest = [Candidate.of("tune", {"B": b, "R": 2}) for b in (64, 128, 256)]
        found = list(executor.run(rest))
        assert {o.kind for o in found} <= {"ok", "crashed"}
        assert [o.kind for o in found].count("crashed") <= 2, "what was in flight"
        assert [o.kind for o in executor.run([rest[0]])] == ["ok"]
        assert executor.server_pid not in (None, process)


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


SCRIPT = """
from bitwright.frontend.tune.lock import MachineLock
from bitwright.frontend.tune.space import Candidate
from bitwright.frontend.tune.worker import Executor, Limits
from bitwright.tests.frontend.tune.kernels import scale
from pathlib import Path
with Executor(scale({name!r}), Limits(cold=1 << 20, prune=False), lock=MachineLock(Path({lock!r}))) as executor:
    print(list(executor.run([Candidate({name!r}.lower())])))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
@pytest.mark.parametrize("name", ["HANG", "CHILD"])
def test_a_killed_session_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    """No process, and no lock, a moment after kill -9."""
    pids, path = tmp_path / "pids", tmp_path / "lock"
    script = textwrap.dedent(SCRIPT).format(name=name, lock=str(path))
    session = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {PIDS: str(pids)})
    try:
        assert eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2, 30)
        child, server = map(int, pids.read_text().split())
        assert alive(child)
        assert alive(server)
    finally:
        session.kill()
        session.wait()
    assert eventually(lambda: not alive(server) and not alive(child))
    start = time.monotonic()
    with MachineLock(path).held():
        assert time.monotonic() - start < 5

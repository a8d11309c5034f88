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

from bitwright.frontend.tune.lock import MachineLock
from bitwright.frontend.tune.outcome import Outcome
from bitwright.frontend.tune.space import Candidate
from bitwright.frontend.tune.worker import Executor
from bitwright.tests.frontend.tune.bad_strategies import PIDS
from bitwright.tests.frontend.tune.kernels import QUICK, scale

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

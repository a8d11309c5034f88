"""Sessions on a made-up device: what is tried, stored and chosen, and that nothing is lost by an end at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("filelock")

from bitwright.frontend.tune.outcome import Outcome
from bitwright.frontend.tune.places import SessionError, winners_file
from bitwright.frontend.tune.session import Session, session_names
from bitwright.frontend.tune.table import Table
from bitwright.tests.made_up_host import MadeUp, fate, formula, problem

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path / "data"))


def tried(session: Session) -> list[str]:
    return [str(o.candidate) for task in session.tasks() for o in task.outcomes]


def known(outcome: Outcome) -> tuple[object, ...]:
    return outcome.candidate.key, outcome.kind, outcome.times, outcome.score


def test_the_default_comes_first_and_no_candidate_twice() -> None:
    session, posed = Session("one"), problem()
    results = list(session.tune(posed, trials=60, host=MadeUp()))
    assert results[0].outcome.candidate == posed.default
    assert [r.number for r in results] == list(range(1, 61))
    assert len({r.outcome.candidate.key for r in results}) == 60
    for result in results:
        assert result.outcome.kind == fate(result.outcome.candidate)
        scores = [r.outcome.score for r in results[: result.number] if r.outcome.score is not None]
        assert result.best is not None
        assert result.best.score == min(scores)
    assert session_names() == ["one"]


def test_a_third_of_the_space_is_enough_to_find_the_best() -> None:
    everything = [formula(c) for c in problem().space() if fate(c) == "ok"]
    for seed in range(3):
        *_, last = Session(f"seed{seed}", seed=seed).tune(problem(), trials=60, host=MadeUp())
        assert last.best is not None
        assert last.best.score == min(everything)


def test_an_exhaustive_search_tries_everything() -> None:
    session = Session("all")
    results = list(session.tune(problem(), trials=5, exhaustive=True, host=MadeUp()))
    assert {r.outcome.candidate.key for r in results} == {c.key for c in problem().space()}
    assert not list(session.resume(MadeUp()))


def test_a_stopped_session_goes_on_as_if_it_had_not_stopped() -> None:
    whole, broken = Session("whole"), Session("broken")
    expected = {r.outcome.candidate.key for r in whole.tune([problem(), problem(4)], trials=40, host=MadeUp())}
    for count in (3, 1, 17, 9, 30):
        going = broken.tune([problem(), problem(4)], trials=40, host=MadeUp())
        for _ in range(count):
            next(going)
        going.close()
    list(broken.tune([problem(), problem(4)], trials=40, host=MadeUp()))
    for one, other in zip(whole.tasks(), broken.tasks(), strict=True):
        assert {known(o) for o in one.outcomes} == {known(o) for o in other.outcomes}
        assert one.final == other.final
    assert len(expected) <= 80


def test_more_trials_add_to_what_is_there() -> None:
    session = Session("more")
    first = list(session.tune(problem(), trials=20, host=MadeUp()))
    assert [r.number for r in session.tune(problem(), trials=30, host=MadeUp())] == list(range(21, 31))
    assert len(first) == 20
    (task,) = session.tasks()
    assert task.trials == 30
    assert not list(session.resume(MadeUp()))


def test_the_winner_enters_the_table_with_its_gain() -> None:
    session, posed = Session("winner"), problem()
    *_, last = session.tune(posed, trials=60, host=MadeUp())
    (winner,) = Table(winners_file()).winners()
    assert last.best is not None
    assert winner.candidate == last.best.candidate
    assert winner.gain == pytest.approx(formula(posed.default) / formula(winner.candidate))
    assert (winner.device, winner.session) == ("made-up", "winner")
    assert session.winners() == [winner]


GOOD = """
def scale(
    x: f32[M, N], y: f32[M, N],
    *, BM: int = tune(4, 1), BN: int = tune(32, 128), R: int = tune(1, 2), S: int = tune(1, 0),
):
    m, n = grid((M, BM), (N, BN))
    store(y, [m, n], load(x, [m, n], [BM, BN]) * 3.0)
"""


def test_the_default_stays_when_nothing_is_faster() -> None:
    posed = problem(text=GOOD)
    list(Session("stay").tune(posed, trials=20, host=MadeUp()))
    (winner,) = Table(winners_file()).winners()
    assert winner.candidate == posed.default
    assert winner.gain == 1.0


KILLED = """
import sys
from bitwright.frontend.tune.session import Session
from bitwright.tests.made_up_host import MadeUp, problem
for result in Session("killed").tune(problem(), trials=100, host=MadeUp(0.004)):
    print(result.outcome.candidate, flush=True)
"""


def killed_after(seconds: float) -> list[str]:
    """The candidates that a session said were stored, until it was killed; it has that long after its first word."""
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline().strip()]
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines()
    process.wait()
    return [line for line in lines if line]


def test_a_session_that_is_killed_at_any_moment_loses_nothing() -> None:
    draw, session, said = random.Random(1), Session("killed"), list[str]()
    for _ in range(4):
        lines = killed_after(draw.uniform(0.0, 0.12))
        assert lines, "it did not even begin"
        said += lines
        stored = tried(session)
        assert set(said) <= set(stored)
        assert len(set(stored)) == len(stored)
        assert len(stored) <= len(said) + 4  # at most one more for each time: stored, but not said any more
    whole = Session("unkilled")
    list(whole.tune(problem(), trials=100, host=MadeUp()))
    list(session.tune(problem(), trials=100, host=MadeUp()))
    assert set(tried(session)) == set(tried(whole))
    assert session.tasks()[0].final == whole.tasks()[0].final


def test_a_record_that_was_cut_short_is_dropped() -> None:
    session = Session("torn")
    list(session.tune(problem(), trials=10, host=MadeUp()))
    journal = session.folder / "study.journal"
    content = journal.read_bytes()
    before = tried(session)
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    for cut in random.Random(2).sample(range(last + 1, len(content)), 5):
        journal.write_bytes(content[:cut])
        again = Session("torn")
        list(again.tune(problem(), trials=10, host=MadeUp()))
        assert set(tried(again)) == set(before)
        assert journal.read_bytes().endswith(b"\n")


def test_two_processes_do_not_work_on_one_session() -> None:
    session = Session("shared")
    going = session.tune(problem(), trials=10, host=MadeUp())
    next(going)
    with pytest.raises(SessionError, match="another process works on the session shared"):
        next(Session("shared").tune(problem(), trials=10, host=MadeUp()))
    going.close()
    assert len(list(session.tune(problem(), trials=10, host=MadeUp()))) == 9


def test_two_kinds_of_device_share_a_session() -> None:
    session = Session("kinds")
    slow, fast = MadeUp(key="slow"), MadeUp(key="fast", speed=2.0)
    list(session.tune(problem(), trials=12, host=slow))
    results = list(session.resume(fast))
    assert len(results) == 12
    assert [t.device for t in session.tasks()] == ["slow", "fast"]
    assert {w.device for w in Table(winners_file()).winners()} == {"slow", "fast"}


def test_a_session_can_be_removed() -> None:
    session = Session("gone")
    list(session.tune(problem(), trials=2, host=MadeUp()))
    session.remove()
    assert session_names() == []
    with pytest.raises(SessionError, match="there is no session gone: none has been begun"):
        session.tasks()


def test_sqlite_by_url_holds_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    one, other = Session("journal"), Session("base", url)
    list(one.tune(problem(), trials=20, host=MadeUp()))
    list(other.tune(problem(), trials=20, host=MadeUp()))
    assert tried(one) == tried(Session("base"))  # which remembers its storage
    assert {known(o) for o in one.tasks()[0].outcomes} == {known(o) for o in other.tasks()[0].outcomes}
    with pytest.raises(SessionError, match="began with sqlite"):
        next(Session("base", "sqlite:///other.db").tune(problem(), trials=21, host=MadeUp()))
    other.remove()
    list(Session("base", url).tune(problem(), trials=3, host=MadeUp()))
    assert len(tried(Session("base"))) == 3


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "x" * 65, "../.up"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(SessionError, match="is no name for a session"):
        next(Session(name).tune(problem(), trials=1, host=MadeUp()))


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(SessionError, match=r"cannot be written: Not a directory.*set BITWRIGHT_DATA_DIR"):
        next(Session("nowhere").tune(problem(), trials=1, host=MadeUp()))


def test_a_damaged_session_says_so() -> None:
    session = Session("bad")
    list(session.tune(problem(), trials=2, host=MadeUp()))
    journal = session.folder / "study.journal"
    journal.write_bytes(journal.read_bytes().replace(b"{", b"[", 1))
    with pytest.raises(SessionError, match=r"study.journal is damaged"):
        Session("bad").tasks()
    (session.folder / "session.json").write_text("{}")
    with pytest.raises(SessionError, match="does not describe a session"):
        Session("bad").tasks()


FULL = """
import resource, signal
from bitwright.frontend.tune.session import Session
from bitwright.tests.made_up_host import MadeUp, problem
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for result in Session("full").tune(problem(), trials=100, host=MadeUp()):
    print(result.outcome.candidate, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits on the size of files are of Unix")
def test_a_disk_that_is_full_stops_a_session_which_can_go_on_later() -> None:
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written: File too large. Make room" in done.stderr
    said, session = done.stdout.splitlines(), Session("full")
    assert 5 < len(said) < 100
    assert tried(session) == said
    list(session.tune(problem(), trials=100, host=MadeUp()))
    assert len(tried(session)) == 100

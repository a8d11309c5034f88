"""`bitwright tune`: a real session from the command line, and what the other commands make of sessions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bitwright.frontend.cli.main import app
from bitwright.frontend.tune.device import compiler_version, device
from bitwright.frontend.tune.places import winners_file
from bitwright.frontend.tune.session import Session
from bitwright.frontend.tune.table import Table, Winner
from bitwright.tests.made_up_host import MadeUp, problem

RUN = CliRunner()

PROGRAM = """
def scale(x: f32[M, N], y: f32[M, N], *, BM: int = tune(1, 2), BN: int = tune(16, 32)):
    m, n = grid((M, BM), (N, BN))
    store(y, [m, n], load(x, [m, n], [BM, BN]) * 2.0)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BITWRIGHT_LOCK_FILE", str(tmp_path / "lock"))
    monkeypatch.chdir(tmp_path)


def tune(*words: str) -> str:
    """What the command prints."""
    result = RUN.invoke(app, ["tune", *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*words: str) -> str:
    result = RUN.invoke(app, ["tune", *words])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def made_up(name: str, trials: int = 12, seed: int = 0) -> Session:
    session = Session(name, seed=seed)
    list(session.tune(problem(), trials=trials, host=MadeUp()))
    return session


def test_a_session_from_the_command_line() -> None:
    Path("scale.bw").write_text(PROGRAM)
    said = tune("scale.bw", "--shape", "M=8,N=256", "--trials", "9", "--plot", "found.png")
    lines = [line for line in said.splitlines() if line.lstrip().startswith(tuple("1234"))]
    assert len(lines) == 4  # no more than there are
    assert "best" in lines[-1]
    assert "`linear`" not in said
    assert "for scale M=8 N=256, compile with -p BM=" in said
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")
    assert "/4" not in tune("resume", "scale")  # nothing that is tried
    (winner,) = json.loads(tune("best", "scale", "--json"))
    assert winner["seconds"] <= winner["default_seconds"]
    assert winner["candidate"]["strategy"] == "tune"
    assert "yes" in tune("best")


def test_the_view_on_a_terminal_and_ctrl_c() -> None:
    Path("scale.bw").write_text(PROGRAM)
    program = """
import os, signal, sys
from rich.console import Console
from bitwright.frontend.cli import tune_run
from bitwright.frontend.tune.session import Session
from bitwright.tests.made_up_host import MadeUp, problem
class Slow(MadeUp):
    def run(self, candidates):
        for outcome in super().run(candidates):
            if len(Session("view").tasks()[0].outcomes) == 20:
                os.kill(os.getpid(), signal.SIGINT)
            yield outcome
tune_run.run(Session("view"), [problem()], 40, False, Slow(), None)
"""
    environment = {"FORCE_COLOR": "1", "COLUMNS": "150", "TTY_COMPATIBLE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert "stopped; nothing is lost: `bitwright tune resume view` goes on" in done.stderr
    assert "20 of 40 tried" in done.stdout
    assert "best so far" in done.stdout
    assert len(list(Session("view").resume(MadeUp()))) == 20


def test_list_and_show() -> None:
    assert tune("list") == "no session has been begun\n"
    made_up("one", 60)
    assert tune("list").splitlines()[1].split()[:4] == ["one", "1", "60", "1/1"]
    shown = tune("show", "one", "--count", "3", "--plot", "one.png")
    assert "double M=8 N=256 on a made-up device" in shown
    assert Path("one.png").exists()
    (task,) = Session("one").tasks()
    assert task.best is not None
    assert str(task.best.candidate) in shown.splitlines()[3]
    failed = [o for o in task.outcomes if not o.ok]
    listed = tune("show", "one", "--failures")
    assert failed
    for o in failed:
        assert str(o.candidate) in listed


def test_compare_and_rm() -> None:
    made_up("few", 10)
    made_up("many", 100)
    line = tune("compare", "few", "many").splitlines()[1]
    few, many = (Session(name).tasks()[0].final for name in ("few", "many"))
    assert few is not None
    assert many is not None
    assert f"{few.seconds / many.seconds:.2f}x as fast" in line
    assert tune("rm", "few") == "removed few\n"
    assert "there is no session few: there are many" in refused("show", "few")
    assert len(Table(winners_file()).winners()) == 1
    tune("rm", "many", "--winners")
    assert Table(winners_file()).winners() == ()


def real_winner() -> Winner:
    """Of this device and compiler: the kernel above, with its default."""
    Path("scale.bw").write_text(PROGRAM)
    tune("scale.bw", "--shape", "M=8,N=256", "--trials", "1", "--session", "real")
    (winner,) = Table(winners_file()).winners()
    assert (winner.device, winner.compiler) == (device().key, compiler_version())
    return winner


def test_winners_travel_and_are_validated() -> None:
    winner = real_winner()
    tune("export", "winners.json")
    winners_file().unlink()
    assert "1 of 1 winners are in force" in tune("import", "winners.json")
    assert Table(winners_file()).winners() == (winner,)

    winners_file().unlink()
    Table(winners_file()).put([replace(winner, compiler="older", seconds=1e-9)])
    assert "after `tune validate`" in tune("best")
    assert "1 of 1 winners are in force" in tune("validate")
    (checked,) = Table(winners_file()).winners()
    assert checked.compiler == compiler_version()
    assert checked.seconds > 1e-8  # measured, not believed


def test_winners_that_are_refused() -> None:
    winner = real_winner()
    gone = replace(winner.candidate, values=(("BM", 1), ("BN", 48)))
    foreign = {**winner.spec, "strategies": ["os:system"]}
    called = {**winner.spec, "reference": "os:getcwd"}
    cases = [
        (replace(winner, device="cpu-other"), "another kind of device"),
        (replace(winner, compiler="older", candidate=gone), "this version has no such candidate"),
        (replace(winner, spec=foreign), "code that does not come with bitwright (os:system)"),
        (replace(winner, spec=called), "code that does not come with bitwright (os:getcwd)"),
        (replace(winner, compiler="older", problem="linear u4"), "for another problem than it was measured on"),
    ]
    for case, message in cases:
        Table(Path("case.json")).put([case])
        said = tune("import", "case.json")
        assert message in said
        assert "0 of 1 winners are in force" in said
        Path("case.json").unlink()
    Path("bad.json").write_text("{}")
    assert "is no table of winners" in refused("import", "bad.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["linear", "--shape", "4096x4096"], "must be MxNxK"),
        (["linear", "--shape", "0x64x64"], "must be MxNxK, each at least 1"),
        (["linear", "--shape", "1x64x64", "--weights", "u33"], "u33"),
        (["linear", "--shape", "1x64x64", "--activations", "u8"], "not 'u8'"),
        (["linear", "--shape", "1x64x64", "--session", "a/../b c"], "is no name for a session"),
        (["linear", "--shape", "1x64x64", "--strategy", "nowhere:x"], "cannot be imported"),
        (["linear", "--shape", "1x64x64", "--plot", "x.jpg"], "PNG"),
        (["missing.bw", "--shape", "M=1"], "missing.bw: No such file"),
        (["scale.bw", "--shape", "M1"], "must give each size"),
        (["scale.bw", "--shape", "M=8"], "scale needs a size: give --shape N=..."),
        (["resume", "nobody"], "there is no session nobody"),
        (["export", "x.json"], "there is nothing to export"),
        (["compare", "a", "b"], "there is no session a"),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    Path("scale.bw").write_text(PROGRAM)
    assert message in refused(*words)
    assert tune("list") == "no session has been begun\n"


def test_bench_measures_what_a_session_gained() -> None:
    real_winner()
    result = RUN.invoke(app, ["bench", "linear", "--session", "real", "--cold", "1", "--json", "gain.json"])
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(Path("gain.json").read_text())["rows"]
    assert row["problem"] == "scale M=8 N=256"
    assert row["gain"] == pytest.approx(row["planner_microseconds"] / row["tuned_microseconds"])
    result = RUN.invoke(app, ["bench", "linear", "--session", "real", "--widths", "3"])
    assert "--session times what the session tuned" in result.stderr

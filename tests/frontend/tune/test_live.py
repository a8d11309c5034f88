"""What is shown of a session: lines without a terminal, a table on one, and pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bitwright.frontend.tune.live import Board, follow, line
from bitwright.frontend.tune.outcome import Outcome
from bitwright.frontend.tune.places import SessionError
from bitwright.frontend.tune.plots import importances, plot
from bitwright.frontend.tune.search import Result
from bitwright.frontend.tune.session import Session
from bitwright.tests.made_up_host import MadeUp, problem


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path))
    return list(Session("seen").tune(problem(), trials=80, host=MadeUp()))


def shown(board: Board, results: list[Result], terminal: bool) -> str:
    text = io.StringIO()
    follow(results, board, Console(file=text, force_terminal=terminal, width=160))
    return text.getvalue()


def test_a_line_for_each_result_without_a_terminal(results: list[Result]) -> None:
    lines = shown(Board(80), results, terminal=False).splitlines()
    assert lines == [line(r) for r in results]
    last = results[-1]
    assert last.best is not None
    assert last.default is not None
    assert last.best.score is not None
    assert last.default.score is not None
    assert f"{last.default.score / last.best.score:.2f}x the default" in lines[-1]
    failed = [r for r in results if r.outcome.kind == "crashed"]
    assert all("crashed" in line(r) and "made up" in line(r) for r in failed)


def test_the_table_says_how_far_it_is_and_what_failed(results: list[Result]) -> None:
    clock = iter(float(i) for i in range(1000))
    board = Board(160, lambda: next(clock))
    text = shown(board, results, terminal=True)
    wrong = sum(r.outcome.kind == "wrong" for r in results)
    assert "80/80" in text
    assert "80 of 160 tried" in text
    assert f"{wrong} wrong" in text
    assert board.seconds_left is not None
    assert board.done == 80


def test_the_time_left_is_that_of_this_run(results: list[Result]) -> None:
    now = [100.0]
    board = Board(100, lambda: now[0])
    assert board.seconds_left is None
    for number in (51, 52):  # fifty were there before
        now[0] += 3.0
        board.add(replace(results[0], number=number))
    assert board.seconds_left == pytest.approx(3.0 * 48)


def test_the_parameter_that_decides_is_found() -> None:
    space = problem().space()
    outcomes = [Outcome(c, "ok", score=1e-6 * (10 + int(c["BN"]) + int(c["S"]) / 10)) for c in space]
    found = importances(outcomes, space)
    assert max(found, key=lambda name: found[name]) == "BN"
    assert found["BM"] + found["R"] < 0.05
    assert sum(found.values()) == pytest.approx(1.0)
    assert importances(outcomes[:1], space) == {}


def test_pictures(results: list[Result], tmp_path: Path) -> None:
    plot(Session("seen").tasks(), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text.count("<svg") == 1
    with pytest.raises(SessionError, match="nothing to draw yet"):
        plot([], tmp_path / "b.png")

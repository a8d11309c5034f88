"""The table of winners: what is put in is found again, whoever else writes, and damage is said."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from bitwright.frontend.tune.places import SessionError
from bitwright.frontend.tune.space import Candidate
from bitwright.frontend.tune.table import Table, TableError, Winner, parsed, render

ONE = Winner(
    "cpu-1", "linear u4 f32 1x64x64 cpu", Candidate("schedule", (("rows", 1), ("form", "direct"), ("fast", True))),
    "c1", 1e-6, 2.5e-6, "s", "2026-01-02T00:00:00+00:00", {"kind": "linear", "strategies": ["a:b"]},
)  # fmt: skip


def test_winners_come_back_as_they_were(tmp_path: Path) -> None:
    table = Table(tmp_path / "deep" / "winners.json")
    assert table.winners() == ()
    others = [replace(ONE, device="cpu-2"), replace(ONE, problem="kernel f 1"), replace(ONE, compiler="c2")]
    table.put([ONE, *others])
    assert set(map(str, table.winners())) == set(map(str, [ONE, *others]))
    assert ONE.gain == pytest.approx(2.5)


def test_a_newer_winner_replaces_an_older_one_and_not_the_other_way(tmp_path: Path) -> None:
    table = Table(tmp_path / "winners.json")
    newer = replace(ONE, seconds=3e-6, when="2026-01-03T00:00:00+00:00")
    table.put([ONE])
    table.put([newer])
    table.put([ONE])
    assert table.winners() == (newer,)
    table.remove([ONE.place])
    assert table.winners() == ()


def _put(path: str, name: str) -> None:
    for i in range(10):
        Table(Path(path)).put([replace(ONE, device=name, problem=f"p{i}")])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path, spawn = tmp_path / "winners.json", multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_put, args=(str(path), f"cpu-{i}")) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert {w.place for w in Table(path).winners()} == {
        (f"cpu-{d}", f"p{i}", "c1") for d in range(3) for i in range(10)
    }
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": "fast"}, "seconds is 'fast', not a time"),
        ({"seconds": -1.0}, "seconds is -1.0, not a time"),
        ({"device": 3}, "device is 3, not a text"),
        ({"candidate": {"strategy": "s", "values": {"a": [1]}}}, "choices are numbers"),
        ({"candidate": None}, "candidate and a spec are objects"),
    ],
)
def test_damage_is_said(change: dict[str, object], message: str) -> None:
    content = json.loads(render([ONE]))
    content["winners"][0].update(change)
    with pytest.raises(TableError, match=message):
        parsed(json.dumps(content), "t.json")


@pytest.mark.parametrize(("text", "message"), [("", "no table"), ("[]", "no table"), ("{}", "no table")])
def test_other_files_are_no_tables(text: str, message: str) -> None:
    with pytest.raises(TableError, match=rf"t.json is {message} of winners .*: remove it"):
        parsed(text, "t.json")
    with pytest.raises(TableError, match="of version 2; this bitwright reads version 1"):
        parsed('{"bitwright_winners": 2}', "t.json")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionError, match="cannot be written: File exists"):
        Table(tmp_path / "file" / "winners.json").put([ONE])

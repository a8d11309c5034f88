from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bitwright.backend.llvm.pool import threads
from bitwright.frontend.bench import timing
from bitwright.frontend.cli.main import app

RUN = CliRunner()
SMALL = ["--n", "64", "--k", "128", "--group", "64", "--cold", "1", "--seconds", "0.001"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)


def test_every_width_and_number_of_rows_has_its_line(tmp_path: Path) -> None:
    before, path = threads(), tmp_path / "bench.json"
    options = ["--widths", "3-4,7", "--m", "1,2", "--no-peers", "--threads", "1", "--json", str(path)]
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options])
    assert result.exit_code == 0, result.stderr
    assert threads() == before
    facts = json.loads(path.read_text())
    assert facts["threads"] == 1
    rows = facts["rows"]
    wanted = [(m, bits, f"bitwright {a}") for m in (1, 2) for bits in (3, 4, 7) for a in ("f32", "int8")]
    assert [(row["m"], row["bits"], row["name"]) for row in rows] == wanted
    lines = result.stdout.splitlines()[2:]
    assert [line.split()[:4] for line in lines] == [[str(m), str(bits), *name.split()] for m, bits, name in wanted]
    for row in rows:
        seconds = row["microseconds"] / 1e6
        stored = row["gigabytes_per_second"] * 1e9 * seconds
        assert stored == pytest.approx(64 * 128 * row["bits"] / 8 + 64 * 2 * (2 + 1), rel=1e-6)
        assert row["of_bandwidth"] == pytest.approx(
            row["gigabytes_per_second"] / row["bandwidth_gigabytes_per_second"], rel=1e-9
        )
        assert row["gigaoperations_per_second"] * 1e9 * seconds == pytest.approx(2 * row["m"] * 64 * 128, rel=1e-6)
        assert 0 < row["relative_error"] < 0.03


def test_peers_stand_beside(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    options = ["--widths", "4", "--m", "1", "--activations", "int8"]
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options])
    assert result.exit_code == 0, result.stderr
    for name in ("numpy f32", "bitwright int8", "onnxruntime int8"):
        assert name in result.stdout
    assert "bitwright f32" not in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--widths", "0-8"], "numbers are from 1 to 8"),
        (["--widths", "4-3"], "ranges rise"),
        (["--widths", "x"], "write numbers and ranges"),
        (["--m", "-1"], "write numbers and ranges"),
        (["--activations", "int8,u8"], "'u8' is none of f32, "),
        (["--threads", "1000"], "from 1 to 256"),
    ],
)
def test_mistakes(options: list[str], message: str) -> None:
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options])
    assert result.exit_code == 1
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)

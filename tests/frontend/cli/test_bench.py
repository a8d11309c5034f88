from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from bitwright.backend.llvm.pool import threads
from bitwright.frontend.bench import linear as bench
from bitwright.frontend.bench import timing
from bitwright.frontend.bench.rows import Row
from bitwright.frontend.bench.timing import Facts
from bitwright.frontend.cli.main import app

RUN = CliRunner()
SMALL = ["--n", "64", "--k", "128", "--group", "64", "--cold", "1", "--seconds", "0.001"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)


def test_every_width_and_number_of_rows_has_its_line(tmp_path: Path) -> None:
    before, path = threads(), tmp_path / "bench.json"
    options = ["--widths", "3-4,7", "--m", "1,2", "--no-peers", "--threads", "1", "--activations", "f32,int8"]
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options, "--json", str(path)])
    assert result.exit_code == 0, result.stderr
    assert threads() == before
    facts = json.loads(path.read_text())
    assert facts["threads"] == 1
    rows = facts["rows"]
    wanted = [(m, bits, f"bitwright {a}") for bits in (3, 4, 7) for m in (1, 2) for a in ("f32", "int8")]
    assert [(row["m"], row["bits"], row["name"]) for row in rows] == wanted
    lines = [line for line in result.stdout.splitlines() if line.startswith("M=")]
    assert [line.split()[:4] for line in lines] == [[f"M={m}", f"u{bits}", *name.split()] for m, bits, name in wanted]
    for row in rows:
        seconds = row["microseconds"] / 1e6
        stored = row["gigabytes_per_second"] * 1e9 * seconds
        assert stored == pytest.approx(row["nbytes"], rel=1e-6)
        assert stored == pytest.approx(64 * 128 * row["bits"] / 8 + 64 * 2 * (2 + 1), rel=1e-6)
        assert row["gigaoperations_per_second"] * 1e9 * seconds == pytest.approx(2 * row["m"] * 64 * 128, rel=1e-6)
        assert row["of_peak"] == pytest.approx(
            row["gigaoperations_per_second"] / row["peak_gigaoperations_per_second"], rel=1e-9
        )
        assert 0 < row["error"] < 0.03


def test_tables_put_peers_beside_ours() -> None:
    pytest.importorskip("onnxruntime")
    options = ["--widths", "3", "--m", "1", "--activations", "int8", "--n", "256", "--k", "512"]
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options])
    assert result.exit_code == 0, result.stderr
    table = result.stdout.split("M = 1")[1].splitlines()[1:]
    (ours,) = [line.split() for line in table if "bitwright" in line]
    assert ours[:4] == ["3", "u3", "bitwright", "int8"]
    assert ours[-1] == "x"
    assert float(ours[-2]) > 0
    peers = {tuple(line.split()[:3]) for line in table if line.strip() and "bitwright" not in line}
    assert ("4", "u4", "onnxruntime") in peers
    assert ("32", "f32", "numpy") in peers


def test_other_types_are_named_by_formats() -> None:
    options = ["--types", "nf4, i5,f6e3m2:g32:bf16", "--m", "1", "--no-peers", "--activations", "f32"]
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options])
    assert result.exit_code == 0, result.stderr
    lines = [line.split()[:2] for line in result.stdout.splitlines() if line.startswith("M=")]
    assert lines == [["M=1", "nf4"], ["M=1", "i5"], ["M=1", "f6e3m2"]]


def test_a_run_is_drawn_at_once_or_later(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    record, one, two = tmp_path / "run.json", tmp_path / "one.png", tmp_path / "two.png"
    options = ["--widths", "2", "--m", "1,4", "--no-peers", "--json", str(record), "--plot", str(one)]
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options])
    assert result.exit_code == 0, result.stderr
    result = RUN.invoke(app, ["bench", "plot", str(record), str(two)])
    assert result.exit_code == 0, result.stderr
    assert one.read_bytes()[:4] == two.read_bytes()[:4] == b"\x89PNG"


def test_wrong_products_of_ours_end_with_an_error() -> None:
    wrong = Row(Facts("bitwright f32", "u4", 4, "f32", 10, ours=True), 1, 64, 128, 0.5, None)

    def run(plan: bench.Plan) -> Iterator[tuple[Row, ...]]:
        yield (wrong,)

    with patch.object(bench, "run_plan", run):
        result = RUN.invoke(app, ["bench", "linear", *SMALL, "--widths", "4", "--m", "1"])
    assert result.exit_code == 1
    assert "WRONG" in result.stdout
    assert "1 of our own products are wrong" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--widths", "0-8"], "numbers are from 1 to 8"),
        (["--widths", "4-3"], "ranges rise"),
        (["--widths", "x"], "write numbers and ranges"),
        (["--m", "-1"], "write numbers and ranges"),
        (["--activations", "int8,u8"], "'u8' is none of f32, "),
        (["--threads", "1000"], "from 1 to 256"),
        (["--types", "u3,elephant"], "elephant"),
        (["--types", "u3:g64"], "is not a tensor format"),
        (["--plot", "roofline.pdf"], "let its name end in .png"),
    ],
)
def test_mistakes(options: list[str], message: str) -> None:
    result = RUN.invoke(app, ["bench", "linear", *SMALL, *options])
    assert result.exit_code == 1
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_plot_without_its_package_names_the_extra() -> None:
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "matplotlib" else real(name, package)

    with patch.object(importlib.util, "find_spec", without):
        result = RUN.invoke(app, ["bench", "linear", *SMALL, "--plot", "roofline.png"])
    assert result.exit_code == 1
    assert "pip install 'bitwright[bench]'" in result.stderr


def test_text_that_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("{}")
    result = RUN.invoke(app, ["bench", "plot", str(path), str(tmp_path / "x.png")])
    assert result.exit_code == 1
    assert "no record of a run" in result.stderr

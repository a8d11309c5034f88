from __future__ import annotations

import os
import stat
from pathlib import Path

from typer.testing import CliRunner

from bitwright.frontend.cli.main import app

RUN = CliRunner()

UGLY = "def f( x:f32[N] ) :   # why\n  y=(x)\n"
CANONICAL = "def f(x: f32[N]):  # why\n    y = x\n"


def test_a_file_is_formatted_in_place_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.bw"
    path.write_text(UGLY)
    path.chmod(0o640)
    result = RUN.invoke(app, ["fmt", str(path)])
    assert result.exit_code == 0
    assert path.read_bytes() == CANONICAL.encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.bw"]


def test_a_link_still_leads_to_the_formatted_file(tmp_path: Path) -> None:
    (tmp_path / "real.bw").write_text(UGLY)
    (tmp_path / "link.bw").symlink_to("real.bw")
    assert RUN.invoke(app, ["fmt", str(tmp_path / "link.bw")]).exit_code == 0
    assert (tmp_path / "link.bw").is_symlink()
    assert (tmp_path / "real.bw").read_text() == CANONICAL


def test_check_changes_nothing_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    ugly, fine = tmp_path / "a.bw", tmp_path / "b.bw"
    ugly.write_text(UGLY)
    fine.write_text(CANONICAL)
    result = RUN.invoke(app, ["fmt", "--check", str(ugly), str(fine)])
    assert result.exit_code == 1
    assert result.stdout == f"{ugly} would change\n"
    assert ugly.read_text() == UGLY
    assert RUN.invoke(app, ["fmt", "--check", str(fine)]).exit_code == 0


def test_diff_shows_the_change(tmp_path: Path) -> None:
    path = tmp_path / "a.bw"
    path.write_text(UGLY.rstrip("\n"))
    result = RUN.invoke(app, ["fmt", "--diff", str(path)])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("-") and not line.startswith("---")] == [
        "-def f( x:f32[N] ) :   # why",
        "-  y=(x)",
    ]
    assert "+    y = x" in lines
    assert path.read_text() == UGLY.rstrip("\n")


def test_standard_input_goes_to_standard_output() -> None:
    result = RUN.invoke(app, ["fmt", "-"], input=UGLY)
    assert result.exit_code == 0
    assert result.stdout == CANONICAL


def test_a_mistake_in_one_file_does_not_keep_the_others_from_being_formatted(tmp_path: Path) -> None:
    broken, ugly = tmp_path / "a.bw", tmp_path / "b.bw"
    broken.write_text("def f(\n")
    ugly.write_text(UGLY)
    result = RUN.invoke(app, ["fmt", str(broken), str(ugly)])
    assert result.exit_code == 1
    assert "a.bw:1:" in result.stderr
    assert broken.read_text() == "def f(\n"
    assert ugly.read_text() == CANONICAL

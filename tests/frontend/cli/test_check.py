from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bitwright.frontend.cli.main import app

RUN = CliRunner()

GOOD = """
def double(x: D[N], y: D[N], *, D: dtype = f32, T: int = 64):
    i = grid((N, T))
    store(y, [i], load(x, [i], [T]) * 2)
"""
NEEDS = GOOD.replace("double", "needs").replace("D: dtype = f32", "D: dtype")


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_good_program_is_built(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["check", write(tmp_path, "a.bw", GOOD)])
    assert result.exit_code == 0
    assert "1 of 1 kernel built, no mistakes" in result.stdout


def test_mistakes_of_every_kernel_and_file_are_shown_with_their_place(tmp_path: Path) -> None:
    wrong = GOOD.replace("load(x", "load(z") + GOOD.replace("double", "second").replace("* 2)", "* missing)")
    broken = "def f(:\n    pass\n"
    files = [write(tmp_path, "a.bw", wrong), write(tmp_path, "b.bw", broken), write(tmp_path, "c.bw", GOOD)]
    result = RUN.invoke(app, ["check", *files])
    assert result.exit_code == 1
    assert f"{files[0]}:4:24: error: " in result.stderr
    assert f"{files[0]}:8:39: error: " in result.stderr
    assert f"{files[1]}:1:" in result.stderr
    assert "no mistakes" in result.stdout  # the third file is looked at all the same
    assert "\x1b" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_kernel_with_a_parameter_that_has_no_value_is_only_read(tmp_path: Path) -> None:
    file = write(tmp_path, "a.bw", GOOD + NEEDS)
    result = RUN.invoke(app, ["check", file])
    assert result.exit_code == 0
    assert "needs was only read; to build it give -p D=..." in result.stdout
    assert "1 of 2 kernels built" in result.stdout
    result = RUN.invoke(app, ["check", file, "-p", "D=f16"])
    assert "2 of 2 kernels built" in result.stdout


def test_values_are_read_as_the_kind_that_the_kernel_declares(tmp_path: Path) -> None:
    text = """
def f(x: f32[N], y: f32[N], *, S: float, B: bool, T: int = 64):
    i = grid((N, T))
    v = load(x, [i], [T])
    if B:
        v = v * S
    store(y, [i], v)
"""
    file = write(tmp_path, "a.bw", text)
    good = ["check", file, "-p", "S=2", "-p", "B=True", "-p", "T=0x20", "-p", "N=4096"]
    assert RUN.invoke(app, good).exit_code == 0
    for wrong, message in (("B=2", "B is a bool"), ("T=1.5", "T is an integer"), ("S=x", "S is a number")):
        values = {"S": "S=2", "B": "B=true", wrong[0]: wrong}
        result = RUN.invoke(app, ["check", file, *(part for text in values.values() for part in ("-p", text))])
        assert result.exit_code == 1
        assert message in result.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [("U=1", "no kernel takes the parameter U"), ("T", "write -p NAME=VALUE"), ("T=", "write -p NAME=VALUE")],
)
def test_a_parameter_that_cannot_be_used_is_refused(tmp_path: Path, option: str, message: str) -> None:
    result = RUN.invoke(app, ["check", write(tmp_path, "a.bw", GOOD), "-p", option])
    assert result.exit_code == 1
    assert message in result.stderr


def test_the_same_parameter_twice_is_refused(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["check", write(tmp_path, "a.bw", GOOD), "-p", "T=32", "-p", "T=64"])
    assert result.exit_code == 1
    assert "-p T is given twice" in result.stderr


def test_folders_standard_input_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "a.bw", GOOD)
    assert "a.bw: 1 of 1" in RUN.invoke(app, ["check", str(tmp_path)]).stdout
    assert "<stdin>: 1 of 1" in RUN.invoke(app, ["check", "-"], input=GOOD).stdout
    missing = RUN.invoke(app, ["check", str(tmp_path / "none.bw")])
    assert missing.exit_code == 1
    assert "none.bw: No such file or directory" in missing.stderr
    (tmp_path / "latin.bw").write_bytes(b"# one\n# \xe9\n")
    latin = RUN.invoke(app, ["check", str(tmp_path / "latin.bw")])
    assert latin.exit_code == 1
    assert "latin.bw:2: this file is not UTF-8" in latin.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no .bw file in the folder" in RUN.invoke(app, ["check", str(empty)]).stderr

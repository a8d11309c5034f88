from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bitwright.backend.artifact import load_artifact
from bitwright.frontend.cli.main import app
from bitwright.frontend.parse import parse

RUN = CliRunner()

TWO = """
def double(x: f32[N], y: f32[N], *, T: int = 64):
    i = grid((N, T))
    store(y, [i], load(x, [i], [T]) * 2)


def halve(x: D[N], y: D[N], *, D: dtype, T: int = 64):
    i = grid((N, T))
    store(y, [i], cast(cast(load(x, [i], [T]), f32) * 0.5, D))
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "two.bw"
    path.write_text(TWO)
    return str(path)


def test_every_stage_is_text_of_its_kind(program: str) -> None:
    base = ["compile", program, "--kernel", "double", "-p", "T=32"]
    text = {}
    for stage in ("tile", "lane", "llvm", "asm"):
        result = RUN.invoke(app, [*base, "--emit", stage])
        assert result.exit_code == 0, result.stderr
        text[stage] = result.stdout
    assert parse(text["tile"]).kernels[0].name == "double"
    assert "32" in text["tile"]
    assert "lanes=" in text["lane"]
    assert re.search(r"^define .*@bw_entry\(", text["llvm"], re.MULTILINE)
    assert re.search(r"^bw_entry:", text["asm"], re.MULTILINE)


def test_every_stage_of_a_gpu_is_text_of_its_kind(program: str) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    base = ["compile", program, "--kernel", "double", "-p", "T=32", "--target", "cuda:sm_90a", "--emit"]
    text = {}
    for stage in ("tile", "lane", "cuda", "ptx", "sass"):
        result = RUN.invoke(app, [*base, stage])
        assert result.exit_code == 0, result.stderr
        text[stage] = result.stdout
    assert parse(text["tile"]).kernels[0].name == "double"
    assert 'extern "C" __global__ void __launch_bounds__' in text["cuda"]
    assert ".target sm_90a" in text["ptx"]
    assert re.search(r"\bSTG\.E\S* ", text["sass"])


def test_a_cubin_is_written_as_a_whole(program: str, tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    base = ["compile", program, "--kernel", "double", "--target", "cuda:sm_80"]
    for more in ([], ["--emit", "cubin"]):
        out = tmp_path / "double.cubin"
        result = RUN.invoke(app, [*base, *more, "-o", str(out)])
        assert result.exit_code == 0, result.stderr
        assert b"\0bw_kernel\0" in out.read_bytes()
    report = RUN.invoke(app, base)
    assert re.search(r"^registers +\d+$", report.stdout, re.MULTILINE), report.stderr


def test_an_object_is_written_as_a_whole(program: str, tmp_path: Path) -> None:
    out = tmp_path / "double.o"
    result = RUN.invoke(app, ["compile", program, "--kernel", "double", "-o", str(out)])
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert b"bw_entry" in out.read_bytes()
    same = RUN.invoke(app, ["compile", program, "--kernel", "double", "--emit", "object", "-o", "-"])
    assert same.stdout_bytes == out.read_bytes()


def test_the_report_is_printed_alone_or_beside_a_stage(program: str, tmp_path: Path) -> None:
    base = ["compile", program, "--kernel", "halve", "-p", "D=f16"]
    alone = RUN.invoke(app, base)
    assert alone.exit_code == 0, alone.stderr
    assert int(re.search(r"object_bytes +([\d,]+)", alone.stdout)[1].replace(",", "")) > 0
    piped = RUN.invoke(app, [*base, "--emit", "tile", "--report"])
    assert "object_bytes" in piped.stderr
    assert "object_bytes" not in piped.stdout
    filed = RUN.invoke(app, [*base, "--emit", "tile", "-o", str(tmp_path / "a.bw"), "--report"])
    assert "object_bytes" in filed.stdout
    assert parse((tmp_path / "a.bw").read_text()).kernels[0].name == "halve"


def test_the_target_decides_the_code(program: str) -> None:
    base = ["compile", program, "--kernel", "double", "--emit", "lane", "--target"]
    assert "lanes=4 " in RUN.invoke(app, [*base, "cpu:baseline"]).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "holds 2 kernels: choose one with --kernel, of double, halve"),
        (["--kernel", "duble"], "did you mean double?"),
        (["--kernel", "halve"], "`D` of halve has no value"),
        (["--kernel", "double", "--target", "gpu"], "unknown target 'gpu'"),
        (["--kernel", "double", "-p", "T=ten"], "T is an integer"),
        (["--kernel", "double", "-p", "Q=1"], "no compile-time parameter `Q`"),
        (["--kernel", "double", "--emit", "object"], "say where it goes with -o"),
        (["--kernel", "double", "--emit", "sass"], "cpu has no sass: --emit tile, lane, llvm, asm, object"),
        (["--kernel", "double", "--target", "cuda:sm_80", "--emit", "asm"], "has no asm: --emit tile, lane, cuda, ptx"),
        (["--kernel", "double", "--target", "cuda:sm_80", "--emit", "cubin"], "a cubin is no text"),
        (["--kernel", "double", "--divisible", "N=0"], "an integer of at least 1"),
    ],
)
def test_mistakes(program: str, arguments: list[str], message: str) -> None:
    result = RUN.invoke(app, ["compile", program, *arguments])
    assert result.exit_code == 1
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_an_artifact_for_several_targets_is_exported(program: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    base = ["compile", program, "--kernel", "double", "--export", str(folder)]
    result = RUN.invoke(app, [*base, "--target", "cpu, cuda:sm_90a,cuda:sm_80"])
    assert result.exit_code == 0, result.stderr
    suffixes = sorted(path.suffix for path in folder.iterdir())
    assert suffixes == [".cubin", ".cubin", ".json", ".o"]
    assert load_artifact(folder, "cuda:sm_80").binary.architecture == "sm_80"
    x, y = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
    load_artifact(folder, "cpu")(x, y)
    np.testing.assert_array_equal(y, 2 * x)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--emit", "lane"], "leave out --emit"),
        (["--target", "cpu,cpu"], "two kernels are for cpu"),
        (["--target", "cpu,"], "unknown target ''"),
    ],
)
def test_what_an_artifact_cannot_be_made_of_is_said(program: str, tmp_path: Path, more: list[str], text: str) -> None:
    folder = tmp_path / "out"
    result = RUN.invoke(app, ["compile", program, "--kernel", "double", "--export", str(folder), *more])
    assert result.exit_code == 1
    assert text in result.stderr
    assert not folder.exists()

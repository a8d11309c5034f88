from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from bitwright.frontend.cli.main import app
from bitwright.frontend.cli.run_results import difference
from bitwright.vm.dtypes import dtype
from bitwright.vm.expr import Var
from bitwright.vm.ir import Array

RUN = CliRunner()

LAYOUT = 'tiled("local(32, 1) * spatial(1, 16)", container=8)'

AXPY = """
def axpy(x: f32[N], y: f32[N], a: f32, *, T: int = 64):
    i = grid((N, T))
    store(y, [i], load(x, [i], [T]) * a + load(y, [i], [T]))
"""
CODES = """
def codes(w: W[K, N] @ L, c: u8[K, N], *, W: dtype, L: layout):
    k0, n0 = grid((K, 32), (N, 16))
    store(c, [k0, n0], cast(load(w, [k0, n0], [32, 16]), u8))
"""
WIDEN = """
def widen(x: D[N], y: f32[N], *, D: dtype):
    i = grid((N, 64))
    store(y, [i], cast(load(x, [i], [64]), f32))
"""
NARROW = """
def narrow(x: f32[N], y: D[N], *, D: dtype):
    i = grid((N, 64))
    store(y, [i], cast(load(x, [i], [64]), D))
"""


def run(folder: Path, text: str, *arguments: object) -> Result:
    path = folder / "k.bw"
    path.write_text(text)
    return RUN.invoke(app, ["run", str(path), *map(str, arguments)])


def test_arrays_from_files_are_changed_and_saved(tmp_path: Path) -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 100)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    files = ["--input", f"x={tmp_path}/x.npy", "--input", f"y={tmp_path}/y.npy", "--output", f"y={tmp_path}/out.npy"]
    result = run(tmp_path, AXPY, *files, "--input", "a=0.5", "--check")
    assert result.exit_code == 0, result.stderr
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, x * 0.5 + y, rtol=1e-6)
    assert f"min {found.min():.6g}, max {found.max():.6g}" in result.stdout
    assert "y: identical" in result.stdout or "y: largest error" in result.stdout
    assert np.array_equal(np.load(tmp_path / "y.npy"), y)


@pytest.mark.parametrize("bits", range(1, 9))
def test_packed_weights_of_any_width_hold_the_numbers_of_the_file(tmp_path: Path, bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (64, 48)).astype(np.int64)
    np.save(tmp_path / "w.npy", codes)
    result = run(
        tmp_path, CODES, "-p", f"W=u{bits}", "-p", f"L={LAYOUT}", "--input", f"w={tmp_path}/w.npy",
        "--output", f"c={tmp_path}/c.npy", "--check",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "c: identical to the interpreter's" in result.stdout
    assert np.array_equal(np.load(tmp_path / "c.npy"), codes)


def test_random_numbers_follow_the_seed_and_fills_are_what_they_say(tmp_path: Path) -> None:
    base = ["-p", "D=f32", "--shape", "N=100"]
    first, again, other = (run(tmp_path, NARROW, *base, "--seed", seed).stdout for seed in (1, 1, 2))
    assert first == again != other
    assert "min 0, max 0, mean 0" in run(tmp_path, NARROW, *base, "--input", "x=zeros").stdout
    assert "min 1, max 1, mean 1" in run(tmp_path, NARROW, *base, "--input", "x=ones").stdout
    assert "min 0, max 99, mean 49.5" in run(tmp_path, NARROW, *base, "--input", "x=arange").stdout


def test_what_is_left_out_shows_in_an_array_that_is_only_written(tmp_path: Path) -> None:
    """It begins as zeros; a hint at it reads nothing."""
    text = """
def f(y: f32[N]):
    prefetch(y, [0], [64])
    store(y, [N - 1], full(f32, [1], 8))
"""
    assert "min 0, max 8, mean 2" in run(tmp_path, text, "--shape", "N=4").stdout


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "f8e4m3fn", "f6e3m2", "i3", "nf4", "i16"])
def test_numbers_of_any_type_are_rounded_packed_and_shown_as_numbers(tmp_path: Path, kind: str) -> None:
    x = np.linspace(-3, 3, 96)
    np.save(tmp_path / "x.npy", x)
    files = ["--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy", "--output", f"x={tmp_path}/seen.npy"]
    result = run(tmp_path, WIDEN, "-p", f"D={kind}", *files, "--check")
    assert result.exit_code == 0, result.stderr
    assert "y: identical" in result.stdout
    nearest = np.asarray(dtype(kind).round(x), np.float64)
    assert np.array_equal(np.load(tmp_path / "y.npy"), nearest)
    assert np.array_equal(np.load(tmp_path / "seen.npy"), nearest)


def test_results_of_types_that_numpy_lacks_are_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([0.3, -1.7, 3.0, 500.0], np.float32))
    files = ["--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy"]
    result = run(tmp_path, NARROW, "-p", "D=bf16", *files, "--check")
    assert result.exit_code == 0, result.stderr
    assert np.load(tmp_path / "y.npy").tolist() == [0.30078125, -1.703125, 3.0, 500.0]


def test_time_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitwright.frontend.cli.run.TIMED_SECONDS", 0.01)
    result = run(tmp_path, NARROW, "-p", "D=f16", "--shape", "N=64", "--time")
    assert "time: median" in result.stdout


def test_what_is_out_of_bounds_is_reported_before_it_happens(tmp_path: Path) -> None:
    beyond = NARROW.replace("store(y, [i]", "store(y, [i + N]")
    result = run(tmp_path, beyond, "-p", "D=f32", "--shape", "N=64", "--check")
    assert result.exit_code == 1
    assert "out of bounds" in result.stderr


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_an_assertion_that_fails_is_told(tmp_path: Path, check: list[str]) -> None:
    text = NARROW + '    assert i < 64, "only one block may run"\n'
    result = run(tmp_path, text, "-p", "D=f32", "--shape", "N=200", *check)
    assert result.exit_code == 1
    assert "only one block may run" in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "a=1"], "axpy needs a size: give --shape N=..."),
        (["--shape", "N=8"], "give --input a=1.0"),
        (["--shape", "N=8", "--input", "a=b"], "a is a number"),
        (["--shape", "M=8"], "no size M; it has N"),
        (["--shape", "N=-1"], "an integer of at least 0"),
        (["--shape", "N=8", "--input", "a=1", "--input", "z=ones"], "no such parameter"),
        (["--shape", "N=8", "--input", "a=1", "--input", "x=full"], "give a .npy file, or one of random"),
        (["--shape", "N=8", "--input", "a=1", "--input", "x=none.npy"], "none.npy: No such file"),
        (["--shape", "N=8", "--input", "a=1", "--output", "q=o.npy"], "--output q: axpy has no such array"),
        (["--shape", "N=8", "--input", "a=1", "--output", "y=o.txt"], "end in .npy"),
        (["--shape", "N=8", "--input", "a=1", "--tolerance", "1"], "add --check"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(tmp_path, AXPY, *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 4)))
    result = run(tmp_path, AXPY, "--input", f"x={tmp_path}/x.npy", "--shape", "N=16", "--input", "a=1")
    assert result.exit_code == 1
    assert "the array has the shape [N] = [16], the file [4, 4]" in result.stderr


def test_differences_are_judged_by_the_precision_of_the_array() -> None:
    def judge(kind: str, wrong: float, tolerance: float | None = None) -> bool:
        array = Array("y", dtype(kind), (Var("N", 0, None, 1),))
        right = np.array([1.0, -8.0, 0.5])
        return difference(array, right + np.array([wrong, 0, 0]), right, tolerance).good

    assert judge("f32", 0)
    assert judge("f32", 1e-5)
    assert not judge("f32", 1e-3)
    assert judge("bf16", 0.05)
    assert not judge("bf16", 0.5)
    assert not judge("i32", 1)
    assert judge("i32", 1, 0.2)
    assert not judge("f32", np.nan)
    assert not judge("f32", np.inf, 1e9)

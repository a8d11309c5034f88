"""The measurements on GPUs: without one nothing is measured, and nothing is claimed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitwright.backend.cuda.present import present_architecture

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmarks" / "gpu_linear.py"
SMALL = ["--shapes", "256x512", "--formats", "u4,u3", "--rows", "1,16"]


@pytest.mark.skipif(present_architecture() is not None, reason="this machine has a GPU")
def test_without_a_gpu_it_says_what_it_would_measure() -> None:
    ended = subprocess.run([sys.executable, str(SCRIPT), *SMALL], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "There is no GPU here: nothing is measured." in ended.stdout
    assert len(re.findall(r"weights \[256, 512\], (1|16) rows", ended.stdout)) == 4
    assert "bitwright: installed" in ended.stdout
    assert "µs" not in ended.stdout


@pytest.mark.gpu
@pytest.mark.skipif(present_architecture() is None, reason="there is no GPU here that we compile for")
def test_with_a_gpu_it_measures(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, str(SCRIPT), *SMALL, "--json", str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    ours = [r for r in json.loads(out.read_text())["rows"] if r["contender"] == "bitwright"]
    assert len(ours) == 4
    assert all(r["microseconds"] > 0 and r["error"] < 5e-3 for r in ours)

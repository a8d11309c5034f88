from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from bitwright.frontend.cli import doctor
from bitwright.frontend.cli.main import app
from typer.testing import CliRunner

RUN = CliRunner()


def test_it_tells_versions_and_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITWRIGHT_CACHE_DIR", str(tmp_path))
    result = RUN.invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["python"].startswith(platform.python_version())
    assert facts["numpy"] == importlib.metadata.version("numpy")
    assert facts["vector"].split()[0] in ("4", "8", "16")
    assert int(facts["threads"].split()[0]) >= 1
    assert not [answer for answer in facts.values() if "could not be found out" in answer]
    table = RUN.invoke(app, ["doctor"])
    assert table.exit_code == 0
    assert facts["processor"] in table.stdout


def test_whatever_is_broken_the_rest_is_told() -> None:
    program = (
        "import sys; sys.modules['llvmlite'] = None; sys.modules['numpy'] = None\n"
        "from bitwright.frontend.cli.main import main; sys.argv = ['bitwright', 'doctor', '--json']; main()"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    facts = json.loads(found.stdout)
    assert facts["LLVM"].startswith("could not be found out: ")
    assert facts["threads"].startswith("could not be found out: ")
    assert facts["python"].startswith(platform.python_version())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", nothing)
    facts = json.loads(RUN.invoke(app, ["doctor", "--json"]).stdout)
    assert facts["torch"] == "not installed (optional)"
    assert facts["llvmlite"] == "missing: pip install bitwright"

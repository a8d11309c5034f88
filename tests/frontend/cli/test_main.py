from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bitwright.frontend.cli.errors import styled
from bitwright.frontend.cli.main import app

RUN = CliRunner()


def test_version() -> None:
    result = RUN.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"bitwright {importlib.metadata.version('bitwright')}"


@pytest.mark.parametrize(
    "command", ["check", "fmt", "compile", "run", "layout", "quantize", "doctor", "cache", "bench linear"]
)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = RUN.invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"Example: bitwright {command}" in " ".join(result.stdout.split())


def test_an_error_shows_a_traceback_only_when_asked(tmp_path: Path) -> None:
    program = "from bitwright.frontend.cli.main import main; main()"
    arguments = ["layout", "spatial(0)"]
    plain = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert plain.returncode == 1
    assert plain.stderr.startswith("error: ")
    assert "Traceback" not in plain.stderr
    asked = subprocess.run(
        [sys.executable, "-c", program, "--traceback", *arguments], capture_output=True, text=True, check=False
    )
    assert asked.returncode == 1
    assert "Traceback" in asked.stderr


def test_colours_change_no_character() -> None:
    message = "a.bw:3:5: error: `x` is missing\n    y = x\n        ^\nnote: look here\nhelp: define it"
    text = styled(message)
    assert text.plain == message
    assert {(message[s.start : s.end], str(s.style)) for s in text.spans} >= {
        ("error:", "bold red"),
        ("        ^", "bold red"),
        ("help:", "bold cyan"),
    }

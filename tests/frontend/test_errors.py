"""Every mistake in tests/errors is told in exactly the words beside it.

Each `<name>.bw` begins with `# error: <part of a message>` lines, and perhaps `# parameters: W=u3, G=128`; `<name>.txt`
holds the whole diagnostic. `BITWRIGHT_GOLDEN=write pytest tests/frontend/test_errors.py` writes those texts anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bitwright.frontend.build import ParameterValue, build
from bitwright.frontend.parse import parse
from bitwright.vm.diagnostic import NOWHERE, Diagnostic

FOLDER = Path(__file__).parent.parent / "errors"
FILES = sorted(FOLDER.glob("*.bw"))
WRITE = os.environ.get("BITWRIGHT_GOLDEN") == "write"


def value(text: str) -> ParameterValue:
    if text in ("True", "False"):
        return text == "True"
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def parameters(text: str) -> dict[str, ParameterValue]:
    line = re.search(r"^# parameters: (.*)$", text, re.MULTILINE)
    pairs = (part.split("=", 1) for part in line[1].split(", ")) if line else []
    return {name.strip(): value(given.strip()) for name, given in pairs}


def compile_all(text: str, name: str) -> None:
    for kernel in parse(text, name).kernels:
        build(kernel, parameters(text))


def diagnose(path: Path) -> Diagnostic:
    with pytest.raises(Diagnostic) as caught:
        compile_all(path.read_text(), path.name)
    return caught.value


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_mistake_is_told_in_these_words(path: Path) -> None:
    found = diagnose(path)
    wanted = re.findall(r"^# error: (.*)$", path.read_text(), re.MULTILINE)
    assert wanted, "the file names no error"
    messages = [problem.message for problem in found.problems]
    assert len(messages) == len(wanted), messages
    for message, part in zip(messages, wanted, strict=True):
        assert part in message
    golden = path.with_suffix(".txt")
    if WRITE:
        golden.write_text(f"{found}\n")
    assert f"{found}\n" == golden.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_each_mistake_has_a_place_and_a_way_out(path: Path) -> None:
    for problem in diagnose(path).problems:
        assert problem.span is not NOWHERE
        assert problem.span.source.name == path.name
        line = problem.span.source.line(problem.span.line)
        assert line is not None
        assert problem.span.column <= len(line) + 1
        assert problem.hint, "it says nothing about what to do"
        assert "%0" not in str(problem), "it shows a name that no one wrote"


def test_there_are_many_kinds_of_mistakes() -> None:
    assert len(FILES) >= 40
    assert {p.stem for p in FILES} == {p.stem for p in FOLDER.glob("*.txt")}

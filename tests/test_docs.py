"""The pages say what is so: their code runs, prints what they show, and generated pages are current."""

import contextlib
import doctest
import importlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import bitwright as bw

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?P<to>[^)\s]+)\)|(?:src|href)=\"(?P<source>[^\"]+)\"")
WITH_EXAMPLES = [
    ".".join(("bitwright", *path.relative_to(ROOT).with_suffix("").parts))
    for folder in ("vm", "frontend", "backend")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the mark before it, and its text."""

    language: str
    mark: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["language"], m["mark"] or "", m["text"]) for m in found]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_snippets_run_and_print_what_the_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "snippet"}
    printed = ""
    for number, block in enumerate(blocks(page)):
        if block.mark == "output":
            assert printed.strip() == block.text.strip()
        elif block.mark.startswith("kernel"):
            assert bw.compile(block.text, **parameters(block.mark)).program.body
        elif block.mark.startswith("fails"):
            printed = failure(block.text, names, tmp_path / f"snippet{number}.py")
        elif block.language == "python":
            printed = run(block.text, names, tmp_path / f"snippet{number}.py")
        elif block.language == "console":
            printed = "".join(shell(line) for line in block.text.splitlines() if line.startswith("$ "))
        else:
            assert block.language in ("bash", "text"), f"a block of {block.language!r} is not tested"


def parameters(mark: str) -> dict[str, str | int]:
    """`kernel W=u3 K=512` as compile-time parameters."""
    pairs = (word.split("=") for word in mark.split()[1:])
    return {key: int(value) if value.isdecimal() else value for key, value in pairs}


def run(text: str, names: dict[str, object], file: Path) -> str:
    """What Python text prints; it is read from a file, since `jit` looks for its own source."""
    file.write_text(text, encoding="utf-8")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, str(file), "exec"), names)
    return out.getvalue()


def failure(text: str, names: dict[str, object], file: Path) -> str:
    """The message of the mistake that the text makes."""
    with pytest.raises((bw.Diagnostic, ValueError)) as caught:
        run(text, names, file)
    return str(caught.value).replace(str(file.parent) + os.sep, "")


def shell(line: str) -> str:
    """What a command prints that begins with `$ bitwright`, run in the root of the project."""
    words = shlex.split(line.removeprefix("$ "))
    assert words[0] == "bitwright"
    words[0] = str(Path(sysconfig.get_path("scripts")) / "bitwright")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for match in LINK.finditer(text):
        to = match["to"] or match["source"]
        if to.startswith(("http://", "https://")):
            continue
        path, _, anchor = to.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{to} does not exist"
        assert not anchor or anchor in anchors(target), f"{to}: {path or 'this page'} has no such heading"


def anchors(page: Path) -> set[str]:
    """The names that headings have in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def script(stem: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{stem}", ROOT / "docs" / f"{stem}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_pages_and_pictures_are_current() -> None:
    stale = [
        path
        for path, text in script("generate").generated().items()
        if not (ROOT / "docs" / path).exists() or (ROOT / "docs" / path).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run: python docs/generate.py"


@pytest.mark.parametrize("element", ["u4", "f6e3m2"])
def test_issue_slots_are_those_that_the_page_shows(element: str) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    row = script("slots").slot_row(element)
    assert row in (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8").splitlines(), "run: python docs/slots.py"


def test_pictures_are_drawings_or_plots_and_are_used() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        if picture.suffix == ".png":
            assert picture.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        assert f"pictures/{picture.name}" in pages


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.name == "index.md" or f"({page.relative_to(ROOT / 'docs').as_posix()})" in index


def test_the_language_page_names_every_statement_and_function() -> None:
    from bitwright.vm.vocabulary import CONSTANTS, FUNCTIONS, KINDS

    pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("language.md", "functions.md"))
    words = set(re.findall(r"\w+", pages))
    statements = {"assert", "if", "elif", "else", "for", "while", "pass", "return"}
    assert (FUNCTIONS | CONSTANTS | KINDS | statements) - words == set()


def test_the_readme_and_ci_run_the_same_commands() -> None:
    commands = [block.text.strip() for block in blocks(ROOT / "README.md") if block.language == "bash"]
    assert len(commands) == 2
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in commands] == commands
    assert lines[-1] == commands[1]  # pytest's closing line comes last
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_in_docstrings(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted
    assert found.failed == 0

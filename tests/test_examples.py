"""Every example runs, without a GPU and without a network, and says what it showed."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples"
LESSONS = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py"))

# What a lesson must have said: a few words of its results, not of its headings.
SAID = {
    "01_first_kernel": (
        "y = [1. 3. 5. 7.] ... 1999.0",
        "dimension 0 must be N = 1000, got 10",
        "identical",
    ),
    "02_layouts": ("a lane reads 4 at once", "a lane reads 1 at once", "3.0 bits each"),
    "03_any_width": ("which mean [ 0.3125", "88 c6 fa", "u8       98,304 bytes, 8.0 bits each"),
    "04_jit": ("softmax of 7 rows of 500", "rms_norm in float16", "T=512: the same"),
    "05_look_inside": ("w: u5[4096, 4096]", "lane", "instructions_per_weight"),
    "07_interpreter_and_simulator": ("two blocks clash", "out of bounds", "put barrier() between them", "8128.0"),
    "08_gpu_without_a_gpu": ("issue slots per weight", "976 sectors of memory, 976 needed", "448 conflicts", "a race"),
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's weights as they are without a network."""
    smollm2 = load("smollm2")
    monkeypatch.setattr(smollm2, "model_path", refuse)
    monkeypatch.setitem(sys.modules, "smollm2", smollm2)


def refuse(folder: Path | None = None) -> Path:
    raise OSError("this test has no network")


@pytest.fixture(autouse=True)
def unchanged_path() -> Iterator[None]:
    """Examples put their own folder on the path."""
    before = list(sys.path)
    yield
    sys.path[:] = before


def load(stem: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{stem}", FOLDER / f"{stem}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_lessons_are_numbered_without_gaps() -> None:
    assert [int(stem[:2]) for stem in LESSONS] == list(range(len(LESSONS)))


@pytest.mark.parametrize("stem", LESSONS[1:])
def test_lesson(stem: str, capsys: pytest.CaptureFixture[str]) -> None:
    if stem == "06_relax_mlp":
        pytest.importorskip("tvm")
    load(stem).main()
    printed = capsys.readouterr().out
    assert printed.count("\n") >= 2
    for words in SAID.get(stem, ()):
        assert words in printed


@pytest.mark.usefixtures("offline")
def test_the_real_layer(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("00_quantise_a_real_layer")
    results = example.main(budget=0.0)
    printed = capsys.readouterr().out
    assert "SYNTHETIC stand-in" in printed
    assert len(results) == len(example.FORMATS)
    for r in results:
        assert r.tensor.format.name in printed
        assert r.arithmetic < 1e-5  # the kernel adds nothing to speak of to the error of the format
        assert all(0 < s < 10 for s in r.seconds)
    loss = {r.tensor.format.element.name: r.loss for r in results}
    widths = [loss[f"u{bits}"] for bits in range(1, 9)]
    assert widths == sorted(widths, reverse=True)
    # Each further bit halves the error of a uniform grid; the ends of the range move a little as well.
    assert np.allclose(np.array(widths[3:]) / widths[2:-1], 0.5, atol=0.08)
    assert loss["f4e2m1"] < loss["u3"]
    assert 0.7 * loss["u4"] < loss["nf4"] < loss["u4"]

"""What is installed is what is here: a wheel holds every file of the package and works by itself."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import bitwright

ROOT = Path(__file__).parents[1]
FOLDERS = ("vm", "frontend", "backend")
ENDINGS = {".py", ".bw", ".lark", ".typed"}
LAYERS = {"vm": ("vm",), "backend": ("vm", "backend"), "frontend": ("vm", "backend", "frontend")}
# How a distribution is imported, where its name does not say it.
MODULES = {"apache-tvm-ffi": "tvm_ffi", "apache-tvm": "tvm", "cuda-python": "cuda"}


def modules(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that leftovers of other builds in the checkout neither help nor harm."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "__init__.py", "py.typed"):
        shutil.copy(ROOT / name, copy / name)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(copy))
    (built,) = out.glob("bitwright-*.whl")
    return built


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    expected = {"bitwright/__init__.py", "bitwright/py.typed"}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in ENDINGS and "__pycache__" not in path.parts:
                expected.add(f"bitwright/{path.relative_to(ROOT).as_posix()}")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected


def test_the_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(tmp_path / "site"), str(wheel))
    program = """
import numpy as np, bitwright as bw
x, y = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
bw.compile("def f(x: f32[N], y: f32[N]):\\n    i = grid((N, 16))\\n    store(y, [i], load(x, [i], [16]) + 1)\\n")(x, y)
q = bw.quantize(np.eye(32, dtype=np.float32), "u4", group=32)
print(bw.__file__, y.tolist(), bw.linear(q.dequantize(), q).shape)
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == [
        str(tmp_path / "site" / "bitwright" / "__init__.py"),
        "[1.0, 2.0, 3.0, 4.0, 5.0] (32, 32)\n",
    ]


def test_the_console_script_runs(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "bitwright"
    done = subprocess.run([str(script), "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"bitwright {bitwright.__version__}\n")


def test_versions_agree() -> None:
    assert project()["project"]["version"] == bitwright.__version__
    assert f"## {bitwright.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_public_name_exists() -> None:
    assert sorted(bitwright.__all__) == sorted(set(bitwright.__all__))
    assert [name for name in bitwright.__all__ if not hasattr(bitwright, name)] == []


def declared() -> set[str]:
    """The modules that the project's dependencies, the optional ones included, provide."""
    table = project()["project"]
    required, optional = table["dependencies"], table["optional-dependencies"]
    assert isinstance(required, list)
    assert isinstance(optional, dict)
    named: set[str] = set()
    for line in [*required, *(line for lines in optional.values() for line in lines)]:
        name = line.split("[")[0].split("=")[0].split(">")[0].split("<")[0].strip()
        named.add(MODULES.get(name, name))
    return named | {"torch"}  # taken when the caller brings it, never asked for


def outside(path: Path) -> Iterator[str]:
    """The packages outside the standard library that a module names in its imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        yield from (top for name in names if (top := name.partition(".")[0]) not in sys.stdlib_module_names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_are_declared_and_the_machine_needs_numpy_only(folder: str) -> None:
    allowed = {"numpy"} if folder == "vm" else declared()
    strangers = {
        f"{p.relative_to(ROOT)}: {name}" for p in modules(folder) for name in outside(p) if name not in allowed
    }
    assert strangers == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    wrong = []
    for path in modules(folder):
        depth = len(path.relative_to(ROOT).parts) - 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                target = (node.module or "").partition(".")[0]
                if node.level == depth + 1 and target in LAYERS[folder]:
                    continue
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: from {'.' * node.level}{node.module or ''}")
    assert wrong == []


def test_the_package_is_imported_once() -> None:
    copies = [name for name, m in sys.modules.items() if getattr(m, "__file__", None) == str(ROOT / "__init__.py")]
    assert copies == ["bitwright"]

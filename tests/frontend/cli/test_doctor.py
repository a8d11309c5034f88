from __future__ import annotations

import ctypes
import importlib.metadata
import json
import platform
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bitwright.frontend.cli import doctor
from bitwright.frontend.cli.main import app

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
    assert "cuda:sm_90a" in facts["kernels for GPUs"]
    assert facts["GPU's machine code"].endswith(("nvdisasm", "nvdisasm.exe"))
    assert not [answer for answer in facts.values() if "could not be found out" in answer]
    table = RUN.invoke(app, ["doctor"])
    assert table.exit_code == 0
    assert facts["processor"] in table.stdout


def test_whatever_is_broken_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitwright.backend.llvm.pool", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    monkeypatch.setenv("BITWRIGHT_CACHE_DIR", "relative/nowhere")
    result = RUN.invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["threads"].startswith("could not be found out: ")
    assert facts["LLVM"].startswith("could not be found out: ")
    assert facts["python"].startswith(platform.python_version())
    assert RUN.invoke(app, ["doctor"]).exit_code == 0


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (0, "CUDA 12.4: Tiny GPU (compute capability 9.0)"),
        (100, "libcuda.so.1 is there, but it does not start (error 100)"),
    ],
)
def test_what_the_driver_answers_is_told(monkeypatch: pytest.MonkeyPatch, code: int, answer: str) -> None:
    class Driver:
        """The five functions of the driver that are asked, with the contracts of cuda.h."""

        def cuInit(self, flags: int) -> int:
            return code

        def cuDriverGetVersion(self, version: object) -> int:
            return put(version, 12040)

        def cuDeviceGetCount(self, count: object) -> int:
            return put(count, 1)

        def cuDeviceGet(self, device: object, index: int) -> int:
            return put(device, 7 + index)

        def cuDeviceGetName(self, name: ctypes.Array[ctypes.c_char], size: int, device: ctypes.c_int) -> int:
            assert device.value == 7
            name.value = b"Tiny GPU"
            return 0

        def cuDeviceGetAttribute(self, value: object, attribute: int, device: ctypes.c_int) -> int:
            return put(value, {75: 9, 76: 0}[attribute])

    def put(where: object, value: int) -> int:
        ctypes.cast(where, ctypes.POINTER(ctypes.c_int))[0] = value
        return 0

    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: Driver())
    assert doctor._cuda() == answer


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", nothing)
    facts = json.loads(RUN.invoke(app, ["doctor", "--json"]).stdout)
    assert facts["torch"] == "not installed (optional)"
    assert facts["llvmlite"] == "missing: pip install bitwright"


def test_what_gpus_need_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitwright.backend.cuda.build.compiler_version", lambda: "NVRTC none")
    monkeypatch.setattr("bitwright.backend.cuda.sass.disassembler", lambda: None)
    facts = json.loads(RUN.invoke(app, ["doctor", "--json"]).stdout)
    assert facts["kernels for GPUs"].startswith("cannot be compiled: pip install")
    assert "nvdisasm is missing" in facts["GPU's machine code"]

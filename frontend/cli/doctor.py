"""`bitwright doctor`: what this machine and this installation offer. It has an answer whatever is broken."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

PACKAGES = ("bitwright", "numpy", "llvmlite", "apache-tvm-ffi", "ml_dtypes", "lark", "safetensors")
OPTIONAL_PACKAGES = ("torch", "apache-tvm", "gguf", "onnxruntime", "cuda-python")

FEATURES = (
    *("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512vnni", "avx512bf16", "avx512vbmi", "avx512fp16"),
    *("avxvnni", "gfni", "amx-int8", "neon", "dotprod", "i8mm", "bf16", "sve"),
)
"""Instruction sets that decide how fast kernels are, by LLVM's names."""


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what this installation and this machine offer: versions, processor, threads, cache, GPU.

    Example: `bitwright doctor --json`
    """
    findings = {title: _answer(probe) for title, probe in _probes().items()}
    if as_json:
        typer.echo(json.dumps(findings))
        return
    table = Table.grid(padding=(0, 2))
    for title, answer in findings.items():
        table.add_row(title, answer)
    width = None if sys.stdout.isatty() else max(80, 24 + max(len(answer) for answer in findings.values()))
    Console(highlight=False, markup=False, width=width).print(table)


def _probes() -> dict[str, Callable[[], str]]:
    packages = {name: lambda name=name: _version(name, "missing: pip install bitwright") for name in PACKAGES}
    optional = {name: lambda name=name: _version(name, "not installed (optional)") for name in OPTIONAL_PACKAGES}
    return {
        "python": lambda: f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})",
        **packages,
        "LLVM": _llvm,
        **optional,
        "system": platform.platform,
        "processor": _processor,
        "LLVM's name": _llvm_processor,
        "instruction sets": _features,
        "vector": _lanes,
        "threads": _threads,
        "cache": _cache,
        "huge pages": _huge_pages,
        "CUDA driver": _cuda,
        "kernels for GPUs": _gpu_compiler,
        "GPU's machine code": _disassembler,
    }


def _answer(probe: Callable[[], str]) -> str:
    """What a probe finds. Whatever it raises is a finding too: this command must work where nothing else does."""
    try:
        return probe()
    except Exception as error:
        return f"could not be found out: {type(error).__name__}: {error}"


def _version(name: str, missing: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return missing


def _llvm() -> str:
    import llvmlite.binding as llvm

    return ".".join(map(str, llvm.llvm_version_info))


def _processor() -> str:
    cores = f"{os.cpu_count()} logical processors"
    if hasattr(os, "sched_getaffinity"):
        cores += f", {len(os.sched_getaffinity(0))} for this process"
    return f"{_model()}, {cores}"


def _model() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _llvm_processor() -> str:
    from ...backend.target import target

    return target("cpu").cpu


def _features() -> str:
    from ...backend.target import target

    here = target("cpu")
    return " ".join(name for name in FEATURES if here.has(name)) or "none of those that matter"


def _lanes() -> str:
    from ...backend.target import target

    lanes = target("cpu").lanes
    return f"{lanes} lanes of 32 bits ({lanes * 32}-bit registers)"


def _threads() -> str:
    from ...backend.llvm.pool import threads

    chosen = os.environ.get("BITWRIGHT_NUM_THREADS")
    return f"{threads()}" + (" (from BITWRIGHT_NUM_THREADS)" if chosen else "")


def _cache() -> str:
    from ...backend.cache import default_cache

    found = default_cache().stats()
    nearest = next(path for path in (found.directory, *found.directory.parents) if path.exists())
    writable = "" if os.access(nearest, os.W_OK) else ", cannot be written: set BITWRIGHT_CACHE_DIR"
    return f"{found.directory}: {found.entries} entries, {found.nbytes / 2**20:.1f} MiB{writable}"


def _huge_pages() -> str:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists():
        return "this system has no setting for transparent huge pages"
    text = setting.read_text().strip()
    chosen = text.partition("[")[2].partition("]")[0]
    advice = " (weights are read up to 1.4 times faster with `madvise`)" if chosen == "never" else ""
    return f"{chosen}{advice}"


def _cuda() -> str:
    """Asks the driver's own library, which needs neither CUDA's toolkit nor a Python package."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return f"none ({name} is not there)"
    code = driver.cuInit(0)
    if code != 0:
        return f"{name} is there, but it does not start (error {code})"
    number, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    driver.cuDeviceGetCount(ctypes.byref(count))
    names = ", ".join(_gpu(driver, index) for index in range(count.value)) or "no GPU"
    return f"CUDA {number.value // 1000}.{number.value % 1000 // 10}: {names}"


def _gpu_compiler() -> str:
    """NVRTC, which needs no driver, and which of the GPUs that it compiles for is here."""
    from ...backend.cuda.architectures import ARCHITECTURES
    from ...backend.cuda.build import compiler_version
    from ...backend.cuda.present import present_architecture

    found = compiler_version()
    if found == "NVRTC none":
        return "cannot be compiled: pip install 'bitwright[cuda]'"
    present = present_architecture()
    here = f"for the GPU here: cuda:{present}" if present else "no GPU here to run them"
    return f"{found}, cuda:{' cuda:'.join(ARCHITECTURES)}; {here}"


def _disassembler() -> str:
    from ...backend.cuda.sass import disassembler

    return disassembler() or "nvdisasm is missing, reports need it: pip install 'bitwright[cuda]'"


def _gpu(driver: ctypes.CDLL, index: int) -> str:
    """A GPU's name and compute capability (attributes 75 and 76 of cuda.h)."""
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    if driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetName(name, len(name), device):
        return f"GPU {index} (no name)"
    driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
    return f"{name.value.decode(errors='replace')} (compute capability {major.value}.{minor.value})"

"""CUDA C++ to machine code by NVRTC, which needs neither a GPU nor a driver.

    cubin = assemble(text, target("cuda:sm_90a"))    # an ELF image that the driver loads
    text = to_ptx(text, target("cuda:sm_90a"))       # what NVRTC made of it before it chose registers

Multiplications and additions are not contracted and subnormals are kept: the code computes what the lane IR says.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from ...vm.diagnostic import Diagnostic, Problem
from ..build_error import BuildError
from ..exclusive import exclusive
from ..target import Target
from .resources import resources

__all__ = ["assemble", "compiler_version", "to_ptx"]

_FILE = "kernel.cu"
_WHEEL = "nvidia_cuda_nvrtc"
_OPTIONS = ("-std=c++17", "-fmad=false", "-default-device", "-minimal")
_AROUND = 2  # lines shown before and after one that is wrong
_MOST = 5  # messages shown


@exclusive
def assemble(text: str, target: Target) -> bytes:
    """The cubin of the text for the target's GPU; BuildError when NVRTC rejects the text.

    NVRTC spares registers, for more blocks at once than shared memory may have room for, until some are spilled.  Told
    that one block is enough it rarely spills: that code is taken where it keeps less in local memory.
    """
    nvrtc = _nvrtc()
    cubin = _compile(nvrtc, text, target, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
    local = resources(cubin).local_bytes
    if not local:
        return cubin
    roomy = re.sub(r"__launch_bounds__\((\d+)\)", r"__launch_bounds__(\1, 1)", text, count=1)
    other = _compile(nvrtc, roomy, target, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
    return other if resources(other).local_bytes < local else cubin


@exclusive
def to_ptx(text: str, target: Target) -> str:
    """The text as PTX, the assembly language that all GPUs share, for the target's GPU."""
    nvrtc = _nvrtc()
    return _compile(nvrtc, text, target, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX).rstrip(b"\0 \n").decode() + "\n"


@functools.cache
def compiler_version() -> str:
    """Which NVRTC compiles: of its wheel, which is taken first, or of the library that the system has; or ``none``.

    Looking for the wheel's folder takes a millisecond, asking importlib.metadata thirty, loading the library a hundred.
    """
    for folder in map(Path, sys.path):
        for found in folder.glob(f"{_WHEEL}-*.dist-info"):
            return f"NVRTC {found.stem.removeprefix(_WHEEL + '-')}"
    try:
        _, major, minor = _nvrtc().nvrtcVersion()
    except Diagnostic:
        return "NVRTC none"
    return f"NVRTC {major}.{minor}"


@functools.cache
def _nvrtc() -> ModuleType:
    """cuda-python's binding of NVRTC with the library loaded; a Diagnostic where either is missing."""
    hint = "install them with: pip install 'bitwright[cuda]'"
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise Diagnostic(Problem(f"code for GPUs needs cuda-python, which is missing: {error}", hint)) from error
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:  # what pathfinder raises: the library is nowhere
        raise Diagnostic(Problem(f"the library of NVRTC, NVIDIA's compiler, does not load: {error}", hint)) from error
    module: ModuleType = nvrtc
    return module


def _compile(
    nvrtc: ModuleType, text: str, target: Target, size: Callable[[object], tuple[object, int]],
    get: Callable[[object, bytes], tuple[object]],
) -> bytes:  # fmt: skip
    """What `get` gives of the compiled text."""
    good = nvrtc.nvrtcResult.NVRTC_SUCCESS
    status, program = nvrtc.nvrtcCreateProgram(text.encode(), _FILE.encode(), 0, [], [])
    _check(status == good, f"NVRTC does not start: {status}")
    try:
        options = [option.encode() for option in (f"--gpu-architecture={target.cpu}", *_OPTIONS)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != good:
            raise BuildError(_explained(text, _log(nvrtc, program) or str(status)))
        status, count = size(program)
        _check(status == good, f"NVRTC gives no code: {status}")
        result = bytes(count)  # the binding writes into it
        (status,) = get(program, result)
        _check(status == good, f"NVRTC gives no code: {status}")
        return result
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise BuildError(message)


def _log(nvrtc: ModuleType, program: object) -> str:
    _, count = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytes(count)
    nvrtc.nvrtcGetProgramLog(program, log)
    return log.rstrip(b"\0 \n").decode(errors="replace")


def _explained(text: str, log: str) -> str:
    """NVRTC's messages, each with the lines of the text that it is about."""
    lines = text.splitlines()
    found = re.findall(rf"^{re.escape(_FILE)}\((\d+)\): (.*error.*)$", log, re.MULTILINE)
    if not found:
        return f"NVRTC rejects the text: {log}"
    parts = []
    for number, message in found[:_MOST]:
        at = int(number)
        near = range(max(1, at - _AROUND), min(len(lines), at + _AROUND) + 1)
        shown = (f"{'>' if n == at else ' '} {n:5} | {lines[n - 1]}" for n in near)
        parts.append("\n".join((f"line {number}: {message}", *shown)))
    more = f"\nand {len(found) - _MOST} more" if len(found) > _MOST else ""
    return "NVRTC rejects the text\n" + "\n".join(parts) + more

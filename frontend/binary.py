"""How a compiled kernel is called, as bytes that the cache keeps: with these and its code, it is called unparsed."""

from __future__ import annotations

import importlib
import json

import llvmlite.binding as llvm

from ..backend.artifact import Binary, binary_of_json
from ..backend.cuda.build import compiler_version
from ..backend.pipeline import Compiled
from ..backend.target import Target

__all__ = ["binary_of", "calling"]


def calling(name: str, compiled: Compiled) -> bytes:
    """All of a kernel's `Binary` but the code."""
    where, function = compiled.target, compiled.function
    assert function is not None
    gpu = where.kind == "cuda"
    architecture, features = (where.cpu, ()) if gpu else (where.triple, tuple(sorted(where.features)))
    found = Binary(
        name, where.kind, where.name, architecture, features, compiled.signature, function.lanes, compiled.shared_bytes,
        _compiler(where), b"",
    )  # fmt: skip
    return json.dumps(found.describe()).encode()


def binary_of(described: bytes, code: bytes) -> Binary:
    """The binary of which `calling` wrote."""
    return binary_of_json(json.loads(described), code)


def _compiler(where: Target) -> str:
    version: str = importlib.import_module("bitwright").__version__
    tool = compiler_version() if where.kind == "cuda" else f"LLVM {'.'.join(map(str, llvm.llvm_version_info))}"
    return f"bitwright {version}, {tool}"

"""LLVM IR text to machine code: optimise, emit an object, and load objects into this process.

    code = assemble("define i32 @answer() { ret i32 42 }", target("cpu"))    # bytes of a relocatable object
    library = load(code)
    library.address("answer")                                                # where the function lies in memory

Objects are position-independent (small code model); they may be stored and loaded later by another process. What an
object refers to but does not define comes from the C library and the mathematics library, or from `symbols`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import itertools
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import llvmlite.binding as llvm

from ..build_error import BuildError
from ..exclusive import exclusive
from ..target import Target
from .features import start_llvm

__all__ = ["BuildError", "Library", "assemble", "assembly", "load"]

_names = itertools.count()
_RAISE = "TVMFFIErrorSetRaisedFromCStr"


class Library:
    """Loaded machine code. It stays in memory as long as this object lives, so whoever calls into it keeps it."""

    def __init__(self, name: str, tracker: llvm.ResourceTracker) -> None:
        self._name = name
        self._trackers = [tracker]
        self._addresses: dict[str, int] = {}

    @exclusive
    def address(self, symbol: str) -> int:
        """Where a function or global of the object lies; BuildError when the object does not define it."""
        if symbol not in self._addresses:
            try:
                tracker = _jit().lookup(self._name, symbol)
            except RuntimeError as error:
                hint = "or it calls a function that exists nowhere, which LLVM then names on standard error"
                raise BuildError(f"the loaded code has no symbol {symbol!r}, {hint}: {error}") from error
            self._trackers.append(tracker)
            self._addresses[symbol] = int(tracker[symbol])
        return self._addresses[symbol]

    def keep_forever(self) -> None:
        """Never unload the code, not even when the process ends: for code that threads of its own may be executing."""
        for tracker in self._trackers:
            tracker.detach()


@exclusive
def assemble(ir: str, target: Target) -> bytes:
    """The relocatable object for a module given as LLVM IR text; BuildError when LLVM rejects the text."""
    module, machine, externals = _optimised(ir, target)
    code: bytes = machine.emit_object(module)
    for name in sorted(externals):
        # The object's string table holds the names of what it calls; a real intrinsic has become instructions.
        if name.startswith("llvm.") and re.search(rb"\0_?" + re.escape(name.encode()) + rb"\0", code):
            raise BuildError(f"LLVM {llvm.llvm_version_info[0]} has no intrinsic {name!r}: it became an external call")
    return code


@exclusive
def assembly(ir: str, target: Target, comments: bool = False) -> str:
    """The assembly text for a module given as LLVM IR text, as `assemble` would encode it.

    LLVM's comments tell loops, and instructions that save a register to the stack or bring it back.
    """
    module, machine, _ = _optimised(ir, target)
    machine.set_asm_verbosity(comments)
    return str(machine.emit_assembly(module))


@exclusive
def load(code: bytes, symbols: Mapping[str, int] | None = None) -> Library:
    """Load an object into this process.

    `symbols` gives addresses of what the object needs from elsewhere, by name; they win over the C library's. The code
    behind them must outlive the library.
    """
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    extra = dict(symbols or {})
    if _RAISE.encode() in code and _RAISE not in extra:
        extra[_RAISE] = _raise_address()
    for name, address in extra.items():
        builder.import_symbol(name, address)
    name = f"bitwright.{next(_names)}"
    try:
        return Library(name, builder.link(_jit(), name))
    except RuntimeError as error:
        raise BuildError(f"the object does not load: {error}") from error


def _optimised(ir: str, target: Target) -> tuple[llvm.ModuleRef, llvm.TargetMachine, set[str]]:
    """The optimised module, the machine to emit it with, and the names of the functions that the text only declares."""
    start_llvm()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.feature_string, opt=3, reloc="pic", codemodel="small"
    )
    try:
        module = llvm.parse_assembly(ir)
        module.triple = target.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise BuildError(f"LLVM rejects the text: {error}") from error
    externals = {function.name for function in module.functions if function.is_declaration}
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    # The text is written in vectors already. What is scalar is addressing, which these passes would only bloat.
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module, machine, externals


@functools.cache
def _jit() -> llvm.LLJIT:
    """The one just-in-time linker of this process. It is never torn down: when the process ends, threads may still be
    inside its code.

    JITLink puts all sections of an object next to each other.  The older linker maps them one by one, and where free
    memory is scattered they come to lie further apart than instructions reach, which ends the process.
    """
    start_llvm()
    return llvm.create_lljit_compiler(use_jit_link=True)


@functools.cache
def _raise_address() -> int:
    """Where tvm-ffi's function that records an error lies.

    Its shared library is loaded by path: importing the Python package would import PyTorch too, which takes seconds.
    The import, when it comes, finds the same library loaded.
    """
    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise BuildError("the package apache-tvm-ffi is missing; install it with: pip install apache-tvm-ffi")
    names = {"win32": "tvm_ffi.dll", "darwin": "libtvm_ffi.dylib"}
    path = Path(spec.origin).parent / "lib" / names.get(sys.platform, "libtvm_ffi.so")
    mode = os.RTLD_GLOBAL if hasattr(os, "RTLD_GLOBAL") else ctypes.DEFAULT_MODE
    library = ctypes.CDLL(str(path), mode=mode)
    return int(ctypes.cast(getattr(library, _RAISE), ctypes.c_void_p).value or 0)

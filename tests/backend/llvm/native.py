"""Runs a lane function as native code for the tests."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.backend.lane.ir import Function
from bitwright.backend.llvm.build import assemble, load
from bitwright.backend.llvm.emit import emit
from bitwright.backend.llvm.feature_names import is_arm
from bitwright.backend.target import Target, target

# (target, lanes): wide and narrow, more and fewer lanes than the vectors have, and a number that is no power of two;
# those for ARM run in an emulator elsewhere
PLACES = [("cpu", 16), ("cpu", 32), ("cpu", 6), ("cpu:x86-64-v3", 8), ("cpu:baseline", 4), ("cpu:baseline", 1)]
PLACES += [("cpu:neoverse-n1", 4), ("cpu:aarch64", 8)]


def run_native(function: Function, name: str, slots: Sequence[NDArray[np.generic] | int | float], blocks: int) -> int:
    """Runs the blocks on the arrays in place; the code of the failure that it reports, or 0."""
    machine = target(name)
    if is_arm(machine.triple) and not machine.runs_here:
        return _emulated(function, machine, slots, blocks)
    if not machine.runs_here:
        machine = target("cpu:baseline")
    library = load(assemble(emit(function, machine), machine))
    words = []
    for slot in slots:
        if isinstance(slot, np.ndarray):
            words.append(slot.ctypes.data)
        else:
            words.append(int(np.float64(slot).view(np.int64)) if isinstance(slot, float) else int(slot))
    held = np.array([*words, 0], np.int64)
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(library.address("body"))
    body(held.ctypes.data, 0, blocks)
    return int(held[-1])


def _emulated(
    function: Function, machine: Target, slots: Sequence[NDArray[np.generic] | int | float], blocks: int
) -> int:
    from .emulated import Object  # here: the emulator is optional

    words = [int(np.float64(s).view(np.int64)) if isinstance(s, float) else s for s in slots]
    return Object(assemble(emit(function, machine), machine)).body(words, blocks)

"""Runs a program's CUDA text: compiled to PTX by NVRTC, emulated."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod

import numpy as np

from bitwright.backend.cuda.build import to_ptx
from bitwright.backend.pipeline import compile_program
from bitwright.backend.target import Target
from bitwright.tests.ptx.machine import run
from bitwright.vm.call_arguments import Argument, bind
from bitwright.vm.expr import evaluate
from bitwright.vm.ir import Program

__all__ = ["emulate"]


def emulate(program: Program, target: Target, arguments: list[Argument], sizes: Mapping[str, int]) -> list[str]:
    """Changes the arrays among the arguments as a launch would; returns what was printed."""
    compiled = compile_program(program, target, until="emit")
    function = compiled.function
    assert function is not None
    call = bind(program, tuple(arguments), sizes, set())
    slots = [a if isinstance(a, np.ndarray) else _bits(a) for a in arguments]
    slots += [call.scalars[v] for v in program.sizes]
    blocks = prod(evaluate(n, call.scalars) for n in program.grid)
    failure, printed = run(to_ptx(compiled.ir, target), slots, blocks, function.lanes, compiled.shared_bytes)
    if failure:
        raise RuntimeError(function.failures[failure - 1])
    return printed


def _bits(value: Argument) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0] if isinstance(value, float) else int(value)  # type: ignore[arg-type]

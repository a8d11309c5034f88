"""Lane functions that do one thing to many inputs: `rows` rows in, one row of words out for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Function, Read, Reg, Write
from bitwright.backend.lane.simulate import simulate
from bitwright.tests.backend.llvm.native import run_native

Words = NDArray[np.uint32]
Step = Callable[[Builder, Sequence[Reg]], Reg]

# (target, lanes, the widest code that a table decodes there)
MACHINES = [("cpu", 16, 6), ("cpu:x86-64-v3", 8, 3), ("cpu:baseline", 4, 0)]


def lane_function(
    steps: Sequence[Step], inputs: int, count: int, lanes: int, table_bits: int, slow_to_float: bool = False
) -> Function:
    """Slot 0: words [steps, count, inputs]; slot 1: words [steps, count].  Each lane gives its words to every step."""
    b = Builder(lanes, table_bits, slow_to_float=slow_to_float)
    lane = np.arange(lanes, dtype=np.int64)
    for row, step in enumerate(steps):
        first = b.apply("add", b.apply("mul", b.block(), b.i64(lanes)), b.i64(row * count))
        source = b.apply("add", b.slot(0), b.apply("mul", first, b.i64(4 * inputs)))
        words = b.read(Read(source, b.i32(lane * 4 * inputs), 32, inputs, None, 4))
        result = step(b, words)
        result = b.apply("bits", result) if result.type == "f32" else result
        target = b.apply("add", b.slot(1), b.apply("mul", first, b.i64(4)))
        b.effect(Write(target, b.i32(lane * 4), 32, (result,), None, 4))
    return Function("steps", lanes, 2, 0, b.body)


def run_simulated(steps: Sequence[Step], words: Words, table_bits: int, slow_to_float: bool = False) -> Words:
    """All of a row's words at once, each in a lane of its own."""
    _, count, inputs = words.shape
    out = np.zeros(words.shape[:2], np.uint32)
    simulate(lane_function(steps, inputs, count, count, table_bits, slow_to_float), [words, out], 1)
    return out


def run_on(machine: tuple[str, int, int], steps: Sequence[Step], words: Words) -> Words:
    """The same by native code."""
    name, lanes, table_bits = machine
    _, count, inputs = words.shape
    out = np.zeros(words.shape[:2], np.uint32)
    function = lane_function(steps, inputs, count, lanes, table_bits)
    assert run_native(function, name, [words, out], count // lanes) == 0
    return out

"""Lesson 7: finding mistakes. The interpreter is the specification and refuses what has no meaning; the simulator runs
the compiled lanes one by one, for processors that this machine does not have too.

    python examples/07_interpreter_and_simulator.py
"""

from __future__ import annotations

import numpy as np

import bitwright as bw

RACE = """
def total(x: f32[N], y: f32[1], *, T: int = 64):
    i = grid((N, T))
    part = sum(load(x, [i], [T]), keepdim=True)
    store(y, [0], load(y, [0], [1]) + part)
"""

OUT_OF_BOUNDS = """
def shift(x: f32[N], y: f32[N], *, T: int = 64):
    i = grid((N, T))
    store(y, [i], load(x, [i + T], [T]))
"""

NO_BARRIER = """
def swap_halves(x: f32[N], y: f32[N], *, T: int = 64):
    i = grid((N, T))
    tile = shared(f32, [T])
    store(tile, [0], load(x, [i], [T]))
    store(y, [i], load(tile, [T // 2], [T // 2]))
    store(y, [i + T // 2], load(tile, [0], [T // 2]))
"""

LOCKED = """
def total(x: f32[N], y: f32[1], turn: i32[1], *, T: int = 64):
    i = grid((N, T))
    part = sum(load(x, [i], [T]), keepdim=True)
    lock(turn, [0])
    store(y, [0], load(y, [0], [1]) + part)
    release(turn, [0])
"""


def main() -> None:
    x = np.arange(128, dtype=np.float32)
    for name, text, size in (
        ("a race", RACE, 1),
        ("out of bounds", OUT_OF_BOUNDS, 128),
        ("no barrier", NO_BARRIER, 128),
    ):
        program = bw.compile(text).program
        try:
            bw.interpret(program, x, np.zeros(size, np.float32))
        except bw.InterpretError as problem:
            print(f"--- {name}\n{problem}\n")
        else:
            raise AssertionError(f"{name} was not found")

    # The race mended: the blocks take turns. Now all three ways to run it agree.
    kernel = bw.compile(LOCKED)
    totals = {}
    for way in ("interpreted", "simulated", "native"):
        y, turn = np.zeros(1, np.float32), np.zeros(1, np.int32)
        if way == "interpreted":
            bw.interpret(kernel.program, x, y, turn)
        elif way == "simulated":
            bw.simulate(kernel, x, y, turn)
        else:
            kernel(x, y, turn)
        totals[way] = float(y[0])
    print(f"--- with a lock: {totals}; NumPy: {x.sum()}\n")
    assert set(totals.values()) == {float(x.sum())}

    # The lanes of a processor without AVX, run here, in NumPy.
    other = bw.compile(LOCKED, target="cpu:baseline")
    y, turn = np.zeros(1, np.float32), np.zeros(1, np.int32)
    bw.simulate(other, x, y, turn)
    assert y[0] == x.sum()
    print(f"--- simulated for {other.target.name} with {other.target.lanes} lanes: {y[0]}")


if __name__ == "__main__":
    main()

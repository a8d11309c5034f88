"""What is put off until it is used: computed once, in the right scope, however long the program is."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.backend.lane.ir import Reg
from bitwright.backend.lower.tile import Later
from bitwright.tests.backend.lower.three_ways import Case, agree

X = np.arange(16, dtype=np.int32)


def program(step: str, times: int) -> str:
    lines = "\n".join(f"    v = {step}" for _ in range(times))
    return f"def f(x: i32[N], y: i32[N]):\n    v = load(x, [0], [16])\n{lines}\n    store(y, [0], v)\n"


@pytest.mark.parametrize("step", ["v * 3 + 1", "v * v + v"])
def test_programs_of_many_steps(step: str) -> None:
    """Neither as deep as calls may be nested, nor computed over for every use."""
    right = agree(Case(program(step, 500), (X, np.zeros_like(X))), machine=True)
    value = X.astype(np.int64)
    for _ in range(500):
        value = (value * 3 + 1 if "3" in step else value * value + value).astype(np.int32).astype(np.int64)
    np.testing.assert_array_equal(right["y"], value)


def test_values_from_before_a_branch_are_there_after_it() -> None:
    text = """
def f(x: i32[N], y: i32[N], n: int):
    v = load(x, [0], [16]) * 7
    w = v
    if n > 3:
        w = v + 1
        for i in range(0, n):
            w = w + v * i
    store(y, [0], w - v)
"""
    for n in (0, 3, 4, 9):
        right = agree(Case(text, (X, np.zeros_like(X), n)), machine=True)
        np.testing.assert_array_equal(right["y"], 0 if n <= 3 else 1 + X * 7 * (n * (n - 1) // 2))


def test_each_register_is_made_once() -> None:
    made: list[int] = []

    def make(register: int) -> Reg:
        made.append(register)
        return Reg("i32", False)

    later = Later(4, make)
    assert not made
    assert later[-1] is later[3]
    assert later[1:3] == (later[1], later[2])
    assert made == [3, 1, 2]
    with pytest.raises(IndexError):
        later[4]

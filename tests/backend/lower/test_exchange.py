"""On GPUs registers change warps through shared memory: conversions and reductions over all lanes of a block."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.backend.lane.ir import Barrier, Function, Let, Operation, Read, Shuffle, Write
from bitwright.backend.simulated import simulate_on
from bitwright.backend.target import target
from bitwright.tests.backend.lower.three_ways import Case, interpreted, lowered, written
from bitwright.tests.samples import array, zeros
from bitwright.vm.call_arguments import bind
from bitwright.vm.expr import evaluate

GPU = "cuda:sm_80"


def check(case: Case) -> Function:
    """The simulator finds no race, and what the interpreter finds."""
    program, given = case.program(), case.copies()
    call = bind(program, tuple(given), case.sizes, set())
    function = lowered(case, GPU)
    simulate_on(target(GPU), function, given, prod(evaluate(n, call.scalars) for n in program.grid))
    found, right = written(case, program, given), interpreted(case)
    for name, values in right.items():
        np.testing.assert_array_equal(found[name], values, err_msg=case.text)
    return function


def converting(kind: str, shape: tuple[int, ...], chain: list[str], lanes: int) -> Case:
    size, at = ", ".join(map(str, shape)), ", ".join("0" for _ in shape)
    value = f'load(x, [{at}], [{size}], layout="{chain[0]}")'
    for layout in chain[1:]:
        value = f'convert({value}, "{layout}")'
    text = f"def f(x: {kind}[{size}], y: {kind}[{size}]):\n    i = grid(1, lanes={lanes})\n"
    text += f"    store(y, [{'i' if len(shape) == 1 else 'i, 0'}], {value})\n"
    return Case(text, (array(np.random.default_rng(1), kind, *shape), zeros(kind, *shape)))


@st.composite
def layouts(draw: st.DrawFn, lanes: int) -> str:
    """All lanes and 16 registers over 64 x (lanes / 4) elements, in any order."""
    along = draw(st.sampled_from([n for n in range(1, lanes + 1) if lanes % n == 0 and 64 % n == 0]))
    across = lanes // along
    rows, columns = 64 // along, 16 // (64 // along) if 64 // along <= 16 else 0
    if not columns or columns * across != lanes // 4:
        return f"spatial(16, {lanes // 16}) * local(4, 4)"
    spread, kept = f"spatial({along}, {across})", f"local({rows}, {columns})"
    return draw(st.sampled_from([f"{spread} * {kept}", f"{kept} * {spread}", f"column_{spread} * {kept}"]))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_layout_becomes_any_other(data: st.DataObject) -> None:
    lanes = data.draw(st.sampled_from([64, 128]))
    chain = [data.draw(layouts(lanes)) for _ in range(data.draw(st.integers(2, 3)))]
    check(converting(data.draw(st.sampled_from(["f32", "i64", "u8", "bool"])), (64, lanes // 4), chain, lanes))


def operations(function: Function) -> Iterator[Operation]:
    return (s.op for s in function.body if isinstance(s, Let))


def test_more_registers_than_the_scratch_holds_go_in_rounds() -> None:
    chain = ["spatial(128, 1) * local(1, 80)", "local(16, 1) * spatial(8, 16) * local(1, 5)"]
    function = check(converting("f32", (128, 80), chain, 128))
    assert function.shared <= 17 << 10
    assert sum(isinstance(op, Barrier) for op in operations(function)) == 6  # 80 registers, at most 32 at a time


def test_exchanges_share_one_scratch() -> None:
    one, other = "spatial(64, 1) * local(1, 8)", "spatial(8, 8) * local(8, 1)"
    once = check(converting("f32", (64, 8), [one, other], 64)).shared
    assert check(converting("f32", (64, 8), [one, other, one, other], 64)).shared == once


def test_within_warps_there_is_no_memory() -> None:
    chain = ["spatial(4, 1) * spatial(8, 4) * local(1, 2)", "spatial(4, 1) * spatial(4, 8) * local(2, 1)"]
    function = check(converting("f32", (32, 8), chain, 128))
    assert function.shared == 0
    assert sum(isinstance(op, Shuffle) for op in operations(function)) == 2


def test_many_shuffles_within_a_warp_go_through_memory_instead() -> None:
    """A transposed tile: each lane wants one register of every lane, and each of them another one."""
    chain = ["spatial(32, 1) * local(1, 32)", "spatial(1, 32) * local(32, 1)"]
    function = check(converting("f32", (32, 32), chain, 32))
    found = list(operations(function))
    assert not any(isinstance(op, Shuffle) for op in found)
    assert sum(isinstance(op, Read | Write) and op.space == "shared" for op in found) == 64


REDUCTIONS = [
    ("i32", (4, 128), "spatial(1, 128) * local(4, 1)", 128, "sum"),
    ("i64", (4, 128), "spatial(1, 128) * local(4, 1)", 128, "max"),
    ("u8", (8, 64), "spatial(2, 64) * local(4, 1)", 128, "min"),
    ("f16", (4, 256), "spatial(4, 64) * local(1, 4)", 256, "max"),
    ("bool", (64, 4), "spatial(64, 1) * local(1, 4)", 64, "any"),
    ("i32", (96, 2), "spatial(96, 1) * local(1, 2)", 96, "sum"),
    ("i32", (12, 16), "spatial(12, 16)", 192, "sum"),
]


@pytest.mark.parametrize(("kind", "shape", "layout", "lanes", "how"), REDUCTIONS)
def test_reductions_over_all_lanes(kind: str, shape: tuple[int, int], layout: str, lanes: int, how: str) -> None:
    m, n = shape
    text = f"""
def f(x: {kind}[{m}, {n}], y: {kind}[{n}], z: {kind}[{m}]):
    i = grid(1, lanes={lanes})
    v = load(x, [i, 0], [{m}, {n}], layout="{layout}")
    store(y, [i], {how}(v, dim=0))
    store(z, [i], {how}(v, dim=1))
"""
    check(Case(text, (array(np.random.default_rng(2), kind, m, n), zeros(kind, n), zeros(kind, m))))


def test_warps_reduce_before_they_meet() -> None:
    """128 lanes: five shuffles for the 32 of a warp, and one exchange of what the four warps have."""
    text = """
def f(x: i32[1, 128], z: i32[1]):
    i = grid(1, lanes=128)
    store(z, [i], sum(load(x, [i, 0], [1, 128], layout="spatial(1, 128)"), dim=1))
"""
    function = check(Case(text, (array(np.random.default_rng(3), "i32", 1, 128), zeros("i32", 1))))
    found = list(operations(function))
    shared = [op for op in found if isinstance(op, Read | Write) and op.space == "shared"]
    assert sum(isinstance(op, Shuffle) for op in found) == 5
    assert [type(op) for op in shared] == [Write, Read, Read, Read, Read]
    assert sum(isinstance(op, Barrier) for op in found) == 2

"""Conversions between any two layouts: by renaming registers where lanes agree, by shuffles where they do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.backend.lane.ir import Function, Let, Read, Shuffle, Write
from bitwright.tests.backend.lower.random_access import layouts
from bitwright.tests.backend.lower.three_ways import Case, agree, lowered
from bitwright.tests.samples import array, zeros

SHAPES = ((4, 8), (6, 4), (3, 5), (12,), (16,), (2, 3, 4), (1, 24), (9, 2))
KINDS = ("f32", "u8", "f16", "i64", "bool", "bf16", "i16")


def _text(kind: str, shape: tuple[int, ...], chain: list[str]) -> str:
    at, size = ", ".join("0" for _ in shape), ", ".join(map(str, shape))
    value = f'load(x, [{at}], [{size}], layout="{chain[0]}")'
    for layout in chain[1:]:
        value = f'convert({value}, "{layout}")'
    return f"def f(x: {kind}[{size}], y: {kind}[{size}]):\n    store(y, [{at}], {value})\n"


@st.composite
def chains(draw: st.DrawFn) -> Case:
    """A tile goes through up to four layouts; later ones also take elements from the copies in earlier ones."""
    kind, shape = draw(st.sampled_from(KINDS)), draw(st.sampled_from(SHAPES))
    chain = [draw(layouts(shape, 24))[0] for _ in range(draw(st.integers(2, 4)))]
    if draw(st.booleans()):
        last = chain[-1].replace("local", "column_local")
        chain.append(last)
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    return Case(_text(kind, shape, chain), (array(rng, kind, *shape), zeros(kind, *shape)))


@settings(max_examples=40, deadline=None)
@given(chains())
def test_any_layout_becomes_any_other(case: Case) -> None:
    right = agree(case)
    np.testing.assert_array_equal(right["y"], right["x"])


@settings(max_examples=6, deadline=None)
@given(chains())
def test_native_code_agrees(case: Case) -> None:
    agree(case, machine=True, targets=("cpu", "cpu:baseline"))


def _shuffles(function: Function) -> list[Shuffle]:
    return [s.op for s in function.body if isinstance(s, Let) and isinstance(s.op, Shuffle)]


RENAMED = [
    ("spatial(4, 4) * local(2, 2)", "spatial(4, 4) * column_local(2, 2)"),
    ("spatial(2, 8) * local(4, 1)", "spatial(2, 8) * local(4, 1)"),
    ("local(2, 2) * spatial(4, 4)", "column_local(2, 2) * spatial(4, 4)"),
    ("{8: d0 + reg, 8: d1 + lane}", "{2: reg, 8: d0 + 2*reg, 8: d1 + lane}"),
]


@pytest.mark.parametrize(("source", "target"), RENAMED)
def test_registers_of_one_lane_are_only_renamed(source: str, target: str) -> None:
    x = np.arange(64, dtype=np.int32).reshape(8, 8)
    case = Case(_text("i32", (8, 8), [source, target]), (x, np.zeros_like(x)))
    assert not _shuffles(lowered(case))
    agree(case)


def test_a_shuffle_per_register_is_enough() -> None:
    x = np.arange(64, dtype=np.int32).reshape(8, 8)
    case = Case(
        _text(
            "i32", (8, 8), ["spatial(4, 4) * local(2, 2)", "spatial(4, 4) * local(1, 2) * spatial(1, 1) * local(2, 1)"]
        ),
        (x, x * 0),
    )
    assert not _shuffles(lowered(case))
    case = Case(_text("i32", (8, 8), ["spatial(8, 2) * local(1, 4)", "spatial(2, 8) * local(4, 1)"]), (x, x * 0))
    assert len(_shuffles(lowered(case))) == 4
    agree(case)


def test_a_value_that_is_the_same_everywhere_stays_one_register() -> None:
    text = """
def f(y: i32[8, 8], n: int):
    v = expand(full(i32, [1, 1], 1) * n, [8, 8])
    store(y, [0, 0], convert(convert(v, "spatial(8, 2) * local(1, 4)"), "spatial(2, 8) * local(4, 1)"))
"""
    case = Case(text, (np.zeros((8, 8), np.int32), 5))
    assert not _shuffles(lowered(case))
    agree(case)


def _memory(function: Function) -> Iterator[Read | Write]:
    return (s.op for s in function.body if isinstance(s, Let) and isinstance(s.op, Read | Write))


def test_conversions_touch_no_memory() -> None:
    x = np.arange(64, dtype=np.int32).reshape(8, 8)
    layouts = ["spatial(8, 2) * local(1, 4)", "spatial(2, 8) * local(4, 1)", "local(8, 1) * spatial(1, 8)"]
    case = Case(_text("i32", (8, 8), layouts), (x, x * 0))
    assert {op.space for op in _memory(lowered(case))} == {"global"}
    assert sum(isinstance(op, Read) for op in _memory(lowered(case))) <= 4

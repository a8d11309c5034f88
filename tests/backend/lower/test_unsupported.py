"""What cannot be lowered is refused where it stands in the text, with what to do about it."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.backend.lower.memory import UnsupportedAccess
from bitwright.backend.lower.unsupported import Unsupported, UnsupportedLayout
from bitwright.frontend.kernel import compile
from bitwright.vm.diagnostic import Diagnostic, Source, Span

STREAM = """
def f(x: u3[M, N], y: u3[M, N]):
    p, q = grid((M, 4), (N, 16))
    v = load(x, [p, q], [4, 16])
    if p == 0:
        store(y, [p, q], v)
"""


def _refused(text: str, *texts: str) -> Diagnostic:
    with pytest.raises(Diagnostic) as caught:
        compile(text).source("lane")
    for part in texts:
        assert part in str(caught.value)
    return caught.value


def test_a_store_that_tears_a_byte_is_refused_where_it_stands() -> None:
    refused = _refused(STREAM, "<string>:6:9", "u3 to y would make two lanes write one byte", "assume(N % 8 == 0)")
    assert isinstance(refused, UnsupportedAccess)


def test_its_advice_helps() -> None:
    told = compile(STREAM.replace("    p, q", "    assume(N % 8 == 0)\n    p, q"))
    assert compile(STREAM, divisible={"N": 8}).source("lane") == told.source("lane")
    x, y = np.arange(24, dtype=np.uint8), np.zeros(24, np.uint8)
    told(x, y, M=2, N=32)
    np.testing.assert_array_equal(y, x)


def test_layouts_that_do_not_divide_the_block() -> None:
    text = """
def f(x: f32[16], y: f32[16]):
    p = grid(1, lanes=6)
    for i in range(0, 2):
        store(y, [0], load(x, [0], [16], layout="local(4) * spatial(4)"))
"""
    assert isinstance(_refused(text, "<string>:5:23", "4 lanes", "the block's 6", "lanes="), UnsupportedLayout)


def test_storage_that_does_not_divide_the_block() -> None:
    text = """
def f(x: u4[M, N] @ L, y: f32[M, N], *, L: layout = tiled("local(32, 1) * spatial(1, 16)")):
    m0, n0 = grid((M, 32), (N, 16), lanes=24)
    store(y, [m0, n0], cast(load(x, [m0, n0], [32, 16]), f32))
"""
    assert isinstance(_refused(text, "<string>:4:29", "16 lanes", "the block's 24"), UnsupportedLayout)


def test_layouts_that_need_too_many_lanes_together() -> None:
    text = """
def f(x: f32[97], y: f32[89]):
    a = load(x, [0], [97], layout="spatial(97)")
    b = load(y, [0], [89], layout="spatial(89)")
    store(y, [0], b)
"""
    _refused(text, "<string>:4:9", "a block of 8633 lanes", "divide one another")


@pytest.mark.parametrize(
    "layout", ["{4: d0 + lane, 4: 4*d0 + lane}", "{16: d0 + lane + reg}", "{16: d0}", "{2: d0 + reg, 15: d0 + 2*reg}"]
)
def test_layouts_that_are_none(layout: str) -> None:
    text = f"""
def f(x: f32[16], y: f32[16]):
    store(y, [0], load(x, [0], [16], layout="{layout}"))
"""
    _refused(text, "<string>:3:45", "the layout", "lane and reg")


def test_a_place_that_is_known_stays() -> None:
    inner = Unsupported("what", "hint").at(_span(3))
    assert inner.at(_span(7)).span.line == 3
    assert Unsupported("what", "hint").at(None).problems[0].message == "what"


def _span(line: int) -> Span:
    return Span(Source("f", ""), line, 1, line, 2)

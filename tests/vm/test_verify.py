"""The verifier takes what the builder makes, and refuses each way in which a stage could break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bitwright.frontend.build import build
from bitwright.frontend.parse import parse
from bitwright.vm import ops
from bitwright.vm.dtypes import dtype
from bitwright.vm.expr import Const, Var
from bitwright.vm.ir import (
    Array,
    Binding,
    Bound,
    Carried,
    For,
    If,
    Let,
    Merge,
    Op,
    Program,
    Statement,
    TileType,
    Value,
    While,
)
from bitwright.vm.layout.relation import Digit, Layout
from bitwright.vm.layout.storage import Packing, Tiled
from bitwright.vm.layout.text import layout
from bitwright.vm.verify import VerifyError, verify

F32, F16, I32 = dtype("f32"), dtype("f16"), dtype("i32")
TILE = TileType(F32, (4, 8))
X = Array("x", F32, (Const(64), Const(64)))
Make = Callable[[], tuple[Statement, ...]]


def value(name: str = "t", kind: TileType = TILE) -> Value:
    return Value(name, kind)


def let(result: Binding | None, op: Op | None = None) -> Let:
    assert op is not None or isinstance(result, Value)
    return Let(result, op or ops.Full(1.0, result.type.dtype, result.type.shape))  # type: ignore[union-attr]  # a Value


def store(x: Value) -> Let:
    return Let(None, ops.Store(X, (Const(0), Const(0)), x))


def loop(before: Bound, inside: Binding, after_body: Bound, after: Binding, *body: Statement) -> For:
    carried = (Carried(before, inside, after_body, after),)
    return For(Var("k"), Const(0), Const(4), 1, carried, body)


def program(*body: Statement) -> Program:
    return Program("p", (X,), (), (), (), body)


def test_what_the_builder_makes_is_well_formed() -> None:
    text = """
def f(x: f32[M, K], w: u3[K, N] @ tiled("local(32, 1) * spatial(1, 16)", container=8), y: i32[N], n: int, e: f32):
    assume(n < K)
    m0, n0 = grid((M, 4), (N, 16))
    t = load(x, [m0, 0], [4, 8], layout="spatial(4, 8)")
    a = 0
    while a < n and item(max(load(y, [0], [8]))) > a:
        for k in range(0, K, 32):
            u = sum(cast(load(w, [k, n0], [32, 16]), f32), dim=0)
            t = t * e
            a = a + k
        if a > 3:
            t = t + t
        else:
            a = 5
    store(x, [m0, a], t)
"""
    verify(build(parse(text).kernels[0], {}))


def undefined() -> tuple[Statement, ...]:
    return (store(value()),)


def defined_later() -> tuple[Statement, ...]:
    t = value()
    return store(t), let(t)


def defined_twice() -> tuple[Statement, ...]:
    t = value()
    return let(t), let(t)


def defined_in_a_loop() -> tuple[Statement, ...]:
    t = value()
    return For(Var("k"), Const(0), Const(4), 1, (), (let(t),)), store(t)


def defined_in_one_branch() -> tuple[Statement, ...]:
    t = value()
    return If(Const(1), (let(t),), (), ()), store(t)


def other_branch() -> tuple[Statement, ...]:
    t = value()
    return (If(Const(1), (let(t),), (store(t),), ()),)


def unknown_variable() -> tuple[Statement, ...]:
    t = value()
    return let(t), Let(None, ops.Store(X, (Var("n"), Const(0)), t))


def counter_after_its_loop() -> tuple[Statement, ...]:
    t, k = value(), Var("k")
    return let(t), For(k, Const(0), Const(4), 1, (), ()), Let(None, ops.Store(X, (k, Const(0)), t))


def unknown_bound() -> tuple[Statement, ...]:
    return (For(Var("k"), Const(0), Var("n"), 1, (), ()),)


def unknown_condition() -> tuple[Statement, ...]:
    return (If(Var("n"), (), (), ()),)


def foreign_array() -> tuple[Statement, ...]:
    t = value()
    return let(t), Let(None, ops.Store(Array("z", F32, (Const(9), Const(9))), (Const(0), Const(0)), t))


def wrong_shape() -> tuple[Statement, ...]:
    return (let(value(), ops.Full(1.0, F32, (8, 4))),)


def wrong_dtype() -> tuple[Statement, ...]:
    return (let(value(), ops.Full(1.0, F16, (4, 8))),)


def operands_that_do_not_fit() -> tuple[Statement, ...]:
    t, u = value(), value("u", TileType(F16, (4, 8)))
    return let(t), let(u), let(value("v"), ops.Binary("add", t, u))


def result_of_a_store() -> tuple[Statement, ...]:
    t = value()
    return let(t), let(value("u"), ops.Store(X, (Const(0), Const(0)), t))


def nameless_result() -> tuple[Statement, ...]:
    return (let(None, ops.Full(1.0, F32, (4, 8))),)


def nameless_item() -> tuple[Statement, ...]:
    t = value("t", TileType(I32, (1,)))
    return let(t), let(None, ops.Item(t))


def scalar_of_a_tile() -> tuple[Statement, ...]:
    return (let(Var("n"), ops.Full(1.0, F32, (4, 8))),)


def carried_of_another_type() -> tuple[Statement, ...]:
    t, u = value(), value("u", TileType(F32, (8, 4)))
    return let(t), loop(t, u, u, value("v", TileType(F32, (8, 4))))


def next_of_another_type() -> tuple[Statement, ...]:
    t, u, v = value(), value("u"), value("v", TileType(F32, (8, 4)))
    return let(t), loop(t, u, v, value("w"), let(v))


def after_of_another_type() -> tuple[Statement, ...]:
    t, u = value(), value("u")
    return let(t), loop(t, u, u, value("w", TileType(F16, (4, 8))))


def carried_tile_becomes_a_scalar() -> tuple[Statement, ...]:
    t, u = value(), value("u")
    return let(t), loop(t, u, Const(3), value("w"))


def next_from_outside_the_body() -> tuple[Statement, ...]:
    t, u = value(), value("u")
    return let(t), loop(t, u, value("v"), value("w"))


def inside_after_the_loop() -> tuple[Statement, ...]:
    t, u = value(), value("u")
    return let(t), loop(t, u, u, value("w")), store(u)


def merge_of_two_types() -> tuple[Statement, ...]:
    t, u = value(), value("u", TileType(F16, (4, 8)))
    return (If(Const(1), (let(t),), (let(u),), (Merge(t, u, value("w")),)),)


def merge_of_the_wrong_branch() -> tuple[Statement, ...]:
    t, u = value(), value("u")
    return (If(Const(1), (let(t),), (let(u),), (Merge(u, t, value("w")),)),)


def head_of_a_while_is_read_after_it() -> tuple[Statement, ...]:
    t = value("t", TileType(I32, (1,)))
    n = Var("n")
    return let(t), While((Let(n, ops.Item(t)),), n, (), ()), Let(None, ops.Store(X, (n, n), value()))


def step_of_zero() -> tuple[Statement, ...]:
    return (For(Var("k"), Const(0), Const(4), 0, (), ()),)


def laid_out(text: str | Layout) -> tuple[Statement, ...]:
    placed = layout(text) if isinstance(text, str) else text
    return (let(value("t", replace(TILE, layout=placed))),)


def layout_too_small() -> tuple[Statement, ...]:
    return laid_out("spatial(4, 4)")


def layout_with_holes() -> tuple[Statement, ...]:
    return laid_out(Layout((Digit.make(2, {"d0": 3, "lane": 1}), Digit.make(8, {"d1": 1, "reg": 1}))))


def layout_that_reaches_memory() -> tuple[Statement, ...]:
    return laid_out("dense(4, 8)")


def layout_with_two_elements_in_a_register() -> tuple[Statement, ...]:
    return laid_out(Layout((Digit.make(4, {"d0": 1, "lane": 1}), Digit.make(8, {"d1": 1}))))


BROKEN: list[tuple[Make, str]] = [
    (undefined, "no value"), (defined_later, "no value"), (defined_twice, "twice"), (defined_in_a_loop, "no value"),
    (defined_in_one_branch, "no value"), (other_branch, "no value"), (unknown_variable, "n is used"),
    (counter_after_its_loop, "k is used"), (unknown_bound, "n is used"), (unknown_condition, "n is used"),
    (foreign_array, "z is no parameter"),
    (wrong_shape, "its instruction gives"), (wrong_dtype, "its instruction gives"),
    (operands_that_do_not_fit, "dtypes differ"), (result_of_a_store, "has none"), (nameless_result, "has no name"),
    (nameless_item, "has no name"), (scalar_of_a_tile, "gives no scalar"), (carried_of_another_type, "follows it"),
    (next_of_another_type, "follows it"), (after_of_another_type, "follows it"),
    (carried_tile_becomes_a_scalar, "a tile and a scalar"), (next_from_outside_the_body, "v is used"),
    (inside_after_the_loop, "u is used"), (merge_of_two_types, "follows it"), (merge_of_the_wrong_branch, "no value"),
    (head_of_a_while_is_read_after_it, "no value"), (step_of_zero, "the step"), (layout_too_small, "covers"),
    (layout_with_holes, "leaves elements out"), (layout_that_reaches_memory, "axes"),
    (layout_with_two_elements_in_a_register, "two elements into one register"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BROKEN, ids=lambda p: p.__name__ if callable(p) else "")
def test_what_is_broken_is_refused(make: Make, message: str) -> None:
    with pytest.raises(VerifyError, match=message) as caught:
        verify(program(*make()))
    assert "p, statement" in str(caught.value)


def test_the_message_names_the_place_in_the_text() -> None:
    text = "def f(x: f32[N]):\n    t = load(x, [0], [4])\n    store(x, [0], t)\n"
    built = build(parse(text, "here.bw").kernels[0], {})
    with pytest.raises(VerifyError, match=r"f, statement 0 `Store` \(here.bw:3:5\): t is used where it has no value"):
        verify(replace(built, body=built.body[1:]))


@pytest.mark.parametrize(
    "text",
    ["spatial(4, 8)", "local(4, 8)", "replicate(2) * spatial(4, 4) * local(1, 2)", "{4: d0 + lane, 8: d1 + reg}"],
)
def test_layouts_that_cover_the_tile_are_taken(text: str) -> None:
    verify(program(*laid_out(text)))


def test_parameters_are_defined_once_and_fit_their_storage() -> None:
    with pytest.raises(VerifyError, match="twice"):
        verify(Program("p", (X, X), (), (), (), ()))
    with pytest.raises(VerifyError, match="N is used"):
        verify(Program("p", (Array("y", F32, (Var("N"),)),), (), (), (), ()))
    with pytest.raises(VerifyError, match="differ in number"):
        verify(Program("p", (), (), (Const(4),), (), ()))
    stored = Tiled(layout("local(32, 1) * spatial(1, 16)"), Packing(4, 8, (4,)))
    with pytest.raises(VerifyError, match="storage"):
        verify(Program("p", (Array("w", dtype("u3"), (Const(64), Const(64)), stored),), (), (), (), ()))

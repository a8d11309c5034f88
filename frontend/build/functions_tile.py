"""Functions of the language that make tiles, or show a tile in another way."""

from __future__ import annotations

from typing import cast as typed
from typing import get_args

from ...vm import ops
from ...vm.dtypes import Bool, Codebook, Float, Int, Overflow, Rounding
from ...vm.dtypes import codebook as make_codebook
from ...vm.expr import Const
from ...vm.ir import Value
from ...vm.layout.relation import Layout
from ...vm.text_op import default_overflow
from .calls import Arguments
from .operators import number
from .scope import EXPRS, Entity, Mistake, Storage, describe
from .values import I32, as_items, fit_layout, literal, scalar_tile


def _layout(a: Arguments, shape: tuple[int, ...]) -> Layout | None:
    return fit_layout(a.layout("layout"), shape, a.b, a.where("layout"))


def filled(a: Arguments, value: int) -> Entity:
    """`zeros(f32, [BM, BN])`, `ones(...)`"""
    shape, kind = a.shape("shape"), a.dtype("dtype")
    number = literal(Const(value), kind, a.where("dtype"))
    return a.b.emit(ops.Full(number, kind, shape, _layout(a, shape)), a.span)


def full(a: Arguments) -> Entity:
    """`full(f32, [BM, BN], 0.5)`; the value may also be an integer or a scalar tile that is known later."""
    shape, kind, given = a.shape("shape"), a.dtype("dtype"), a.any("value")
    layout = _layout(a, shape)
    if isinstance(given, bool | float | Const):
        return a.b.emit(ops.Full(literal(given, kind, a.where("value")), kind, shape, layout), a.span)
    value = scalar_tile(given, kind, a.b, a.span) if isinstance(given, EXPRS) else a.tile("value")
    if value.type.shape or value.type.dtype != kind:
        hint = "repeat a tile with expand(…), change its dtype with cast(…)"
        raise Mistake(f"{a.what('value')} must be one {kind}, but it is {describe(value)}", hint, a.where("value"))
    made = a.b.emit(ops.Expand(value, shape), a.span)
    return made if layout is None else a.b.emit(ops.Convert(made, layout), a.span)


def iota(a: Arguments) -> Entity:
    """`iota(i32, [BM, BN], 1)`: each element is its position along a dimension."""
    shape = a.shape("shape")
    return a.b.emit(ops.Iota(a.dtype("dtype"), shape, a.constant("dim"), _layout(a, shape)), a.span)


def arange(a: Arguments) -> Entity:
    """`arange(n)`: 0, 1, … n - 1 as i32."""
    shape = a.shape("n")
    if len(shape) != 1:
        raise Mistake("arange takes one length", "use iota(i32, [..], dim) for more dimensions", a.where("n"))
    return a.b.emit(ops.Iota(I32, shape, 0, _layout(a, shape)), a.span)


def random(a: Arguments) -> Entity:
    """`random(seed, offset, [BM, BN])`: 32 random bits per element."""
    shape = a.shape("shape")
    return a.b.emit(ops.Random(a.expr("seed"), a.expr("offset"), shape, _layout(a, shape)), a.span)


def cast(a: Arguments) -> Entity:
    """`cast(x, f16, rounding="rne", overflow="sat", random=bits)`; a number becomes a scalar tile."""
    x, kind = a.any("x"), a.dtype("dtype")
    rounding = typed(Rounding, a.choice("rounding", get_args(Rounding), "rne"))
    overflow = typed(Overflow, a.choice("overflow", get_args(Overflow), default_overflow(kind)))
    if isinstance(x, Value):
        bits = a.tile("random") if "random" in a else None
        return a.b.emit(ops.Cast(x, kind, rounding, overflow, bits), a.span)
    if any(name in a for name in ("rounding", "overflow", "random")):
        message = f"a cast of {describe(x)} takes no rounding, overflow or random"
        raise Mistake(message, "cast it to i32 or f32 first, then cast that tile", a.span)
    if isinstance(x, bool | float | Const) and isinstance(kind, Float | Codebook):
        return a.b.emit(ops.Full(literal(x, kind, a.where("x")), kind, ()), a.span)
    if isinstance(x, Const):
        literal(x, kind, a.where("x"))
    if isinstance(x, float):
        message = f"the number {x} is known now and needs no cast to {kind}"
        raise Mistake(message, "write it as an integer", a.where("x"))
    e = a.expr("x")
    if isinstance(kind, Int | Bool):
        return a.b.emit(ops.Scalar(e, kind), a.span)
    return scalar_tile(e, kind, a.b, a.span)


def view(a: Arguments) -> Entity:
    """`view(x, u8, layout="…")`: the same bits as another dtype."""
    x, kind = a.tile("x"), a.dtype("dtype")
    with a.b.checked(a.span):
        shape = ops.View(x, kind).infer().shape
    return a.b.emit(ops.View(x, kind, _layout(a, shape)), a.span)


def convert(a: Arguments) -> Entity:
    """`convert(x, "spatial(8, 4) * local(2, 2)")`: the same tile in another layout."""
    x = a.tile("x")
    layout = _layout(a, x.type.shape)
    assert layout is not None, "convert requires its layout"
    return a.b.emit(ops.Convert(x, layout), a.span)


def reshape(a: Arguments) -> Entity:
    """`reshape(x, [4, 8])`: the same elements in row-major order."""
    return a.b.emit(ops.Reshape(a.tile("x"), a.shape("shape")), a.span)


def transpose(a: Arguments) -> Entity:
    """`transpose(x, order=[1, 0])`; without an order the dimensions are reversed."""
    x = a.tile("x")
    order = tuple(reversed(range(len(x.type.shape))))
    if "order" in a:
        items = a.indices("order")
        if not all(isinstance(e, Const) for e in items):
            raise Mistake(f"{a.what('order')} must be known when the kernel is compiled", "", a.where("order"))
        order = tuple(e.value for e in items if isinstance(e, Const))
    return a.b.emit(ops.Transpose(x, order), a.span)


def expand(a: Arguments) -> Entity:
    """`expand(x, [BM, BN])`: repeats x along its dimensions of size 1."""
    return a.b.emit(ops.Expand(a.tile("x"), a.shape("shape")), a.span)


def item(a: Arguments) -> Entity:
    """`item(x)`: the one integer of a tile, as a scalar."""
    x = a.tile("x")
    kind, low, high = x.type.dtype, None, None
    if isinstance(kind, Int | Bool) and kind.bits < 64:
        low, high = int(kind.min), int(kind.max)
    return a.b.scalar(ops.Item(x), low, high, a.span)


# What is known when the kernel is compiled


def tiled(a: Arguments) -> Entity:
    """`tiled("local(32, 1) * spatial(1, 16)", container=8, planes=[2, 1], vector=1)`: how an array is stored."""
    layout = a.layout("layout")
    assert layout is not None, "tiled requires its layout"
    planes = _places(a, "planes") if "planes" in a else None
    fields = _places(a, "fields") if "fields" in a else ()
    container, unit, vector = (
        a.constant(name, usual) for name, usual in (("container", 32), ("unit", 0), ("vector", 1))
    )
    return Storage(layout, container, planes, unit, vector, fields)


def _places(a: Arguments, name: str) -> tuple[int, ...]:
    items = as_items(a.any(name), a.where(name), a.what(name))
    if not all(isinstance(e, Const) for e in items):
        raise Mistake(f"{a.what(name)} must be integers", f"for example {name}=[2, 1]", a.where(name))
    return tuple(e.value for e in items if isinstance(e, Const))


def codebook(a: Arguments) -> Entity:
    """`codebook([-1, 0, 1], "signs")`: a dtype whose code c stands for value number c."""
    items = as_items(a.any("values"), a.where("values"), a.what("values"))
    if not all(isinstance(e, float | Const) for e in items):
        raise Mistake(f"{a.what('values')} must be numbers", "for example [-1.0, 0.0, 1.0]", a.where("values"))
    with a.b.checked(a.span):
        return make_codebook([number(e) for e in items], a.text("name"))

"""Functions of the language that compute."""

from __future__ import annotations

from typing import Literal

from ...vm import expr as ex
from ...vm import ops
from ...vm.expr import Const
from ...vm.ir import Value
from ...vm.ops.elementwise import UnaryKind
from ...vm.ops.matmul import accumulator
from ...vm.ops.reduction import ReduceKind
from .calls import Arguments
from .operators import apply, number, pair
from .scope import Entity, Mistake, describe
from .values import F32, as_expr, is_scalar, level, tile_like


def one_number(a: Arguments, kind: UnaryKind) -> Entity:
    """`exp(x)` and its like."""
    return apply(kind, a.any("x"), a.b, a.span)


def extreme(a: Arguments, kind: Literal["min", "max"]) -> Entity:
    """`min(a, b)` of two tiles or scalars; `min(x, dim=1)` along a dimension."""
    if "y" not in a:
        return reduced(a, kind)
    if "dim" in a or "keepdim" in a:
        message = f"{kind} takes two operands, or one and a dimension"
        raise Mistake(message, f"write {kind}(a, b), or {kind}(x, dim=1)", a.span)
    x, y = a.any("x"), a.any("y")
    if not (is_scalar(x) and is_scalar(y)):
        if not (isinstance(x, Value) or isinstance(y, Value)):
            wrong = y if is_scalar(x) else x
            raise Mistake(f"{kind} does not take {describe(wrong)}", "load a tile of it first", a.span)
        return a.b.emit(ops.Binary(kind, *pair(x, y, a.b, a.span, kind)), a.span)
    if isinstance(x, float) or isinstance(y, float):
        if all(isinstance(e, bool | float | Const) for e in (x, y)):
            return (min if kind == "min" else max)(number(x), number(y))
        return a.b.emit(ops.Binary(kind, *(tile_like(e, F32, a.b, a.span) for e in (x, y))), a.span)
    with a.b.checked(a.span):
        return ex.binary(kind, as_expr(x, a.where("x")), as_expr(y, a.where("y")))


def reduced(a: Arguments, kind: ReduceKind) -> Entity:
    """`sum(x, dim=1, keepdim=False)` and its like."""
    given = a.any("x")
    if not isinstance(given, Value):
        hint = f"write {kind}(a, b) for two numbers" if kind in ("min", "max") else "load a tile first"
        raise Mistake(f"{kind} folds a tile, not {describe(given)}", hint, a.where("x"))
    rank = len(given.type.shape)
    if "dim" not in a and rank != 1:
        message = f"{kind} needs the dimension that it folds; the tile is {given.type}"
        raise Mistake(
            message, f"write {kind}(…, dim=0) up to dim={rank - 1}" if rank else "use the scalar itself", a.span
        )
    dim = a.constant("dim")
    return a.b.emit(ops.Reduce(kind, given, dim + rank if -rank <= dim < 0 else dim, a.flag("keepdim")), a.span)


def where(a: Arguments) -> Entity:
    """`where(c, x, y)`: x where c holds, else y."""
    condition, x, y = a.tile("condition"), a.any("x"), a.any("y")
    if isinstance(x, Value) or isinstance(y, Value):
        first, second = pair(x, y, a.b, a.span, "where")
    elif is_scalar(x) and is_scalar(y):
        kind = F32 if isinstance(x, float) or isinstance(y, float) else None
        first, second = (tile_like(e, kind, a.b, a.span) if kind else a.tile(n) for e, n in ((x, "x"), (y, "y")))
    else:
        wrong = y if is_scalar(x) else x
        raise Mistake(f"where does not take {describe(wrong)}", "load a tile of it first", a.span)
    return a.b.emit(ops.Where(*level([condition, first, second], a.b, a.span)), a.span)


def fma(a: Arguments) -> Entity:
    """`fma(x, y, z)`: x * y + z of f32 tiles, rounded once."""
    return a.b.emit(ops.Fma(*level([a.tile(n) for n in ("x", "y", "z")], a.b, a.span)), a.span)


def dot(a: Arguments) -> Entity:
    """`dot(a, b, acc)`: acc + a · b; without acc it starts from zeros."""
    x, y = a.tile("a"), a.tile("b")
    if "acc" in a:
        return a.b.emit(ops.Dot(x, y, a.tile("acc")), a.span)
    into = accumulator(x.type.dtype, y.type.dtype) or F32
    if len(x.type.shape) != 2 or len(y.type.shape) != 2:
        raise Mistake(f"dot takes matrices, not {x.type} and {y.type}", "reshape to two dimensions", a.span)
    acc = a.b.emit(ops.Full(0, into, (x.type.shape[0], y.type.shape[1])), a.span)
    return a.b.emit(ops.Dot(x, y, acc), a.span)


def ceildiv(a: Arguments) -> Entity:
    """`ceildiv(x, y)`: x / y rounded up."""
    x, y = a.expr("x"), a.expr("y")
    with a.b.checked(a.span):
        return ex.ceildiv(x, y)

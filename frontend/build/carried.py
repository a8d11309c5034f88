"""Values that change in a loop or a branch: what may follow what, under one name.

Numbers that are known when the kernel is compiled stop being known where they change: an integer becomes a scalar that
the program computes, a float an f32 scalar tile.
"""

from __future__ import annotations

from ...vm.diagnostic import NOWHERE, Note, Span
from ...vm.expr import Const, Var
from ...vm.ir import Binding, Bound, Value
from .block import Builder
from .scope import EXPRS, Entity, Mistake, describe
from .values import F32, tile_like


def bound_value(entity: Entity, b: Builder, name: str, span: Span) -> Bound:
    """What enters: a tile or a scalar. Mistake for what cannot change while a program runs."""
    if isinstance(entity, bool):
        return Const(int(entity))
    if isinstance(entity, float):
        return b.christen(tile_like(entity, F32, b, span), name, 0)
    if isinstance(entity, (Value, *EXPRS)):
        return entity
    message = f"`{name}` is {describe(entity)}, which cannot change in a loop or a branch"
    raise Mistake(message, "use another name inside", span)


def binding(name: str, like: Bound) -> Binding:
    """A fresh definition of the same kind."""
    return Value(name, like.type) if isinstance(like, Value) else Var(name)


def follow(entity: Entity, like: Bound, b: Builder, name: str, span: Span, since: Span = NOWHERE) -> Bound:
    """What `name` becomes, where it was `like` before; instructions go to the current block.

    The dtype and the shape stay: a Mistake that names both types otherwise.
    """
    after: Bound | None = None
    if isinstance(like, Value):
        if isinstance(entity, Value):
            after = entity
        elif isinstance(entity, bool | float | Const) and not like.type.shape:
            after = tile_like(entity, like.type.dtype, b, span)
    elif isinstance(entity, bool):
        after = Const(int(entity))
    elif isinstance(entity, EXPRS):
        after = entity
    if after is not None and type_of(after) == type_of(like):
        return after
    was, becomes = describe(like) if isinstance(like, Value) else "an integer", describe(entity)
    notes = (Note("it has the first type here", since),) if since is not NOWHERE else ()
    hint = "a name keeps its dtype and shape through a loop or a branch: cast or reshape, or use another name"
    raise Mistake(f"`{name}` is {was} before, and becomes {becomes} here", hint, span, notes)


def type_of(value: Bound) -> object:
    return (value.type.dtype, value.type.shape) if isinstance(value, Value) else "scalar"


def same(x: Entity, y: Entity) -> bool:
    """Whether two ways bring the same thing, so that there is nothing to merge."""
    if isinstance(x, bool):
        x = Const(int(x))
    if isinstance(y, bool):
        y = Const(int(y))
    return x is y or (type(x) is type(y) and not isinstance(x, Value) and x == y)

"""What an expression of the text means, in program order; instructions it needs go to the current block."""

from __future__ import annotations

from typing import assert_never

from ...vm import expr as ex
from ...vm import ops
from ...vm.expr import Const
from ...vm.ir import Array, Shared, Value
from .. import syntax
from ..syntax import Expression
from .block import Builder
from .calls import call
from .grid import grid_ranges
from .operators import binary, compare, truth, unary
from .scope import DTYPES, Entity, Mistake, Nothing, describe
from .values import as_expr, is_scalar


def evaluate(node: Expression, b: Builder) -> Entity:
    """The meaning of an expression. Mistake where it has none."""
    match node:
        case syntax.Number(value):
            return value if isinstance(value, float) else _integer(node, b)
        case syntax.Text(value) | syntax.Boolean(value):
            return value
        case syntax.Name(name):
            return b.scope.find(name, node.span)
        case syntax.Tuple_(elements) | syntax.List_(elements):
            return tuple(_value(e, b) for e in elements)
        case syntax.Attribute():
            return _attribute(node, b)
        case syntax.Call():
            return call(node, b, evaluate)
        case syntax.Subscript():
            return _subscript(node, b)
        case syntax.Unary(op, operand):
            return unary(op, _value(operand, b), b, node.span)
        case syntax.Binary(op, left, right):
            return binary(op, _value(left, b), _value(right, b), b, node.span)
        case syntax.Compare():
            return _compare(node, b)
        case syntax.Logical():
            return _logical(node, b)
        case syntax.Conditional():
            return _conditional(node, b)
        case _:
            assert_never(node)


def _value(node: Expression, b: Builder) -> Entity:
    """The meaning of an expression that something is done with."""
    found = evaluate(node, b)
    if isinstance(found, Nothing):
        raise Mistake(f"`{found.function}` gives no value", "write it as a statement of its own", node.span)
    return found


def _integer(node: syntax.Number, b: Builder) -> Entity:
    assert isinstance(node.value, int)
    with b.checked(node.span):
        return Const(node.value)


def _attribute(node: syntax.Attribute, b: Builder) -> Entity:
    owner = _value(node.value, b)
    match owner, node.name:
        case (Value(), "shape"):
            return tuple(Const(n) for n in owner.type.shape)
        case (Value(), "dtype"):
            return owner.type.dtype
        case (Array() | Shared(), "shape"):
            return tuple(ex.lift(n) for n in owner.shape)
        case (Array() | Shared(), "dtype"):
            return owner.dtype
    if isinstance(owner, DTYPES):
        if node.name == "bits":
            return Const(owner.bits)
        if node.name == "name":
            return owner.name
        hint = "a dtype has .bits and .name"
    else:
        hint = "tiles and arrays have .shape and .dtype"
    raise Mistake(f"{describe(owner)} has no `.{node.name}`", hint, node.span)


def _subscript(node: syntax.Subscript, b: Builder) -> Entity:
    if isinstance(node.value, syntax.Name) and node.value.name == "grid" and "grid" not in b.scope.names:
        return grid_ranges(node, b, evaluate)
    owner = _value(node.value, b)
    if isinstance(owner, tuple):
        return _element(owner, node, b)
    if isinstance(owner, Value):
        return _new_axes(owner, node, b)
    if isinstance(owner, Array | Shared):
        hint = f"load a tile of it: load({owner.name}, [i, j], [BM, BN])"
        raise Mistake(f"`{owner.name}` is memory and has no elements to take", hint, node.span)
    if isinstance(owner, DTYPES):
        raise Mistake("an array type stands only behind a parameter's name", "make tiles with zeros(…)", node.span)
    raise Mistake(f"{describe(owner)} has no elements", "", node.span)


def _element(owner: tuple[Entity, ...], node: syntax.Subscript, b: Builder) -> Entity:
    if len(node.indices) != 1 or isinstance(node.indices[0], syntax.Slice):
        raise Mistake("a tuple takes one index", "write t[0]", node.span)
    index = as_expr(_value(node.indices[0], b), node.indices[0].span, "an index")
    if not isinstance(index, Const) or not -len(owner) <= index.value < len(owner):
        message = f"`{index}` is no index of a tuple of {len(owner)}"
        raise Mistake(message, f"use 0 to {len(owner) - 1}", node.indices[0].span)
    return owner[index.value]


def _new_axes(owner: Value, node: syntax.Subscript, b: Builder) -> Entity:
    """`t[:, None]`: `:` keeps a dimension, `None` puts in one of size 1."""
    shape: list[int] = []
    kept = list(owner.type.shape)
    hint = "take one number with item(…), a part of an array with load(…), other shapes with reshape(…)"
    for index in node.indices:
        if isinstance(index, syntax.Name) and index.name == "None":
            shape.append(1)
        elif isinstance(index, syntax.Slice) and index == syntax.Slice(None, None, None):
            if not kept:
                message = f"{describe(owner)} has {len(owner.type.shape)} dimensions; this names more"
                raise Mistake(message, "remove a `:`", node.span)
            shape.append(kept.pop(0))
        else:
            raise Mistake("the elements of a tile have no names", hint, index.span)
    return b.emit(ops.Reshape(owner, (*shape, *kept)), node.span)


def _compare(node: syntax.Compare, b: Builder) -> Entity:
    values = [_value(e, b) for e in (node.left, *node.rights)]
    if len(node.ops) > 1 and any(isinstance(v, Value) for v in values):
        raise Mistake("comparisons of tiles cannot be chained", "write (a < b) & (b < c)", node.span)
    links = [compare(op, x, y, b, node.span) for op, x, y in zip(node.ops, values[:-1], values[1:], strict=True)]
    if len(links) == 1:
        return links[0]
    if all(isinstance(link, bool) for link in links):
        return all(links)
    with b.checked(node.span):
        result = as_expr(links[0], node.span)
        for link in links[1:]:
            result = ex.and_(result, as_expr(link, node.span))
    return result


def _logical(node: syntax.Logical, b: Builder) -> Entity:
    """`and`, `or`: what is decided when the kernel is compiled leaves the rest unread."""
    result: ex.Expr | None = None
    for part in node.values:
        value = _value(part, b)
        if isinstance(value, Value) and value.type.shape:
            sign = "&" if node.op == "and" else "|"
            raise Mistake(f"`{node.op}` is for scalars; this is {describe(value)}", f"use {sign} on tiles", part.span)
        e = truth(value, b, part.span, f"an operand of `{node.op}`")
        with b.checked(node.span):
            if isinstance(e, Const) and (e.value != 0) == (node.op == "or"):
                return Const(int(node.op == "or"))
            joined = e if result is None else (ex.and_ if node.op == "and" else ex.or_)(result, e)
            result = ex.ne(joined, 0) if result is None else joined
    assert result is not None
    return result


def _conditional(node: syntax.Conditional, b: Builder) -> Entity:
    condition = _value(node.test, b)
    if isinstance(condition, Value) and condition.type.shape:
        message = f"the condition must be a scalar, but it is {describe(condition)}"
        raise Mistake(message, "choose element by element: where(c, a, b)", node.test.span)
    test = truth(condition, b, node.test.span, "the condition")
    if isinstance(test, Const):
        return evaluate(node.then if test.value else node.orelse, b)
    then, orelse = _value(node.then, b), _value(node.orelse, b)
    for value, where in ((then, node.then.span), (orelse, node.orelse.span)):
        if not is_scalar(value) or isinstance(value, float):
            message = f"`a if c else b` chooses between integers; this is {describe(value)}"
            raise Mistake(message, "use an `if` statement, or where(c, a, b) on tiles", where)
    with b.checked(node.span):
        return ex.select(test, as_expr(then, node.then.span), as_expr(orelse, node.orelse.span))

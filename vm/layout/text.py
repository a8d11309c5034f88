"""The text of layouts and of storage. The text is read as one Python expression and never run.

layout    spatial(8, 4)  local(2, 1)  column_spatial(4, 8)  column_local(2, 2)  dense(4, 6)  replicate(4)
          {8: d0 + 4*lane, 2: 8*d0 + reg}      one digit per entry: its extent, and its stride on each axis
          a * b (product)   a @ b (join)   (a)
storage   tiled("local(32, 1) * spatial(1, 16)", container=8, planes=(2, 1), vector=1)
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from math import prod

from .packing import Packing, default_planes
from .relation import Digit, Layout, LayoutError
from .storage import Tiled
from .views import column_local, column_spatial, dense, local, replicate, spatial

_TEXT_LIMIT = 4000
_SIZE_LIMIT = 2**40

_VIEWS: dict[str, Callable[..., Layout]] = {
    "spatial": spatial,
    "local": local,
    "column_spatial": column_spatial,
    "column_local": column_local,
    "dense": dense,
}


class LayoutTextError(LayoutError):
    """A text that describes no layout; the message holds the position."""


def layout(text: str) -> Layout:
    """The layout, of up to 2**40 points, that `text` describes; `layout(str(x)) == x`.

    LayoutTextError says where the text goes wrong, and why.
    """
    text = text.strip()
    return _layout(_expression(text), text)


def storage(text: str, bits: int) -> Tiled:
    """The storage of `bits`-bit elements that `text` describes.

    The default container is 32 and the default planes are `default_planes(bits)` (none beside `fields`); `planes=()` is
    dense. The error
    (LayoutTextError, or StorageError for numbers that mean no storage) says what is wrong.
    """
    text = text.strip()
    call = _expression(text)
    known = ("container", "planes", "unit", "vector", "fields")
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "tiled"):
        raise _wrong(text, call, 'storage is written tiled("<layout>", container=.., planes=(..), vector=..)')
    if len(call.args) != 1:
        raise _wrong(text, call, f"tiled takes one layout, not {len(call.args)}")
    given = {k.arg: k.value for k in call.keywords}
    if unknown := [k for k in call.keywords if k.arg not in known]:
        raise _wrong(text, unknown[0], f"tiled has no option '{unknown[0].arg}', only {', '.join(known)}")
    first = call.args[0]
    quoted = isinstance(first, ast.Constant) and isinstance(first.value, str)
    tile = layout(ast.literal_eval(first)) if quoted else _layout(first, text)
    container = _integer(given["container"], text) if "container" in given else 32
    fields = _integers(given["fields"], text, 0) if "fields" in given else ()
    planes = _integers(given["planes"], text) if "planes" in given else () if fields else default_planes(bits)
    unit = _integer(given["unit"], text) if "unit" in given else 0
    vector = _integer(given["vector"], text) if "vector" in given else 1
    return Tiled(tile, Packing(bits, container, planes, unit, fields), vector)


def _expression(text: str) -> ast.expr:
    if len(text) > _TEXT_LIMIT:
        raise LayoutTextError(f"the text is {len(text)} characters long; at most {_TEXT_LIMIT} are read")
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise LayoutTextError(f"{text!r}, character {error.offset or 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise LayoutTextError(f"{text[:80]!r} cannot be read: {error}") from None


def _layout(node: ast.expr, text: str) -> Layout:
    try:
        found = _value(node, text)
    except RecursionError:
        raise _wrong(text, node, "nested too deeply") from None
    return found


def _value(node: ast.expr, text: str) -> Layout:
    match node:
        case ast.BinOp(left, ast.Mult() | ast.MatMult() as sign, right):
            one, other = _value(left, text), _value(right, text)
            try:
                return _bounded(one * other if isinstance(sign, ast.Mult) else one @ other, node, text)
            except LayoutTextError:
                raise
            except LayoutError as error:
                raise _wrong(text, node, str(error)) from None
        case ast.Call(ast.Name(name), args, []) if name in _VIEWS:
            return _bounded(_VIEWS[name](*(_integer(a, text) for a in args)), node, text)
        case ast.Call(ast.Name("replicate"), [copies], []):
            return replicate(_integer(copies, text))
        case ast.Dict(keys, values):
            digits = tuple(_digit(k, v, text) for k, v in zip(keys, values, strict=True))
            if prod(d.extent for d in digits) > _SIZE_LIMIT:  # before the canonical form costs time
                raise _wrong(text, node, f"the digits have more than {_SIZE_LIMIT} points")
            return _bounded(Layout(digits), node, text)
    names = ", ".join((*_VIEWS, "replicate"))
    raise _wrong(text, node, f"not a layout: write {names} with sizes, digits in braces, or a product of them")


def _digit(extent: ast.expr | None, steps: ast.expr, text: str) -> Digit:
    if extent is None:
        raise _wrong(text, steps, "a digit is written <extent>: <strides>, without stars")
    strides: dict[str, int] = {}
    for term in _terms(steps):
        match term:
            case ast.Name(axis):
                stride = 1
            case ast.BinOp(ast.Constant() as factor, ast.Mult(), ast.Name(axis)):
                stride = _integer(factor, text)
            case _:
                raise _wrong(text, term, "a stride is written <axis> or <number>*<axis>")
        if axis in strides:
            raise _wrong(text, term, f"the axis '{axis}' has two strides in one digit")
        strides[axis] = stride
    count = _integer(extent, text)
    try:
        return Digit.make(count, strides)
    except LayoutError as error:
        raise _wrong(text, steps, str(error)) from None


def _terms(steps: ast.expr) -> list[ast.expr]:
    found: list[ast.expr] = []
    while isinstance(steps, ast.BinOp) and isinstance(steps.op, ast.Add):
        found.append(steps.right)
        steps = steps.left
    return [steps, *reversed(found)]


def _integer(node: ast.expr, text: str, least: int = 1) -> int:
    if not (isinstance(node, ast.Constant) and type(node.value) is int):
        raise _wrong(text, node, "a positive integer is expected here")
    if not least <= node.value <= _SIZE_LIMIT:
        raise _wrong(text, node, f"{node.value} is not between {least} and {_SIZE_LIMIT}")
    return node.value


def _integers(node: ast.expr, text: str, least: int = 1) -> tuple[int, ...]:
    if not isinstance(node, ast.Tuple):
        raise _wrong(text, node, "a tuple of integers is expected here, such as (2, 1)")
    return tuple(_integer(e, text, least) for e in node.elts)


def _bounded(found: Layout, node: ast.expr, text: str) -> Layout:
    if found.count > _SIZE_LIMIT or any(found.size(a) > 2**62 for a in found.axes):
        raise _wrong(text, node, f"the layout has {found.count} points; at most {_SIZE_LIMIT} are allowed")
    return found


def _wrong(text: str, node: ast.expr | ast.keyword, reason: str) -> LayoutTextError:
    return LayoutTextError(f"{text!r}, character {node.col_offset + 1}: {reason}")

"""Turning what an expression means into what an instruction takes: tiles, index expressions, constants, shapes."""

from __future__ import annotations

from math import isfinite

from ...vm.diagnostic import Span
from ...vm.dtypes import Bool, Codebook, DType, Float, Int, dtype
from ...vm.expr import Const, Expr, bounds, lift
from ...vm.ir import Array, Shared, Value
from ...vm.layout.relation import Layout
from ...vm.layout.text import layout as parse_layout
from ...vm.ops import Cast, Full, Reshape, Scalar
from ...vm.text_op import default_overflow
from .block import Builder
from .scope import EXPRS, Entity, Mistake, describe

BOOL, I32, F32 = Bool(), dtype("i32"), dtype("f32")


def is_scalar(entity: Entity) -> bool:
    """A number that is no tile."""
    return isinstance(entity, (bool, float, *EXPRS))


def as_expr(entity: Entity, span: Span, what: str = "this") -> Expr:
    """An index expression."""
    if isinstance(entity, bool):
        return Const(int(entity))
    if isinstance(entity, EXPRS):
        return entity
    hint = "use an integer"
    if isinstance(entity, Value):
        hint = "take it out of the tile with item(…); it must be one integer"
    elif isinstance(entity, float):
        hint = "write it without a point, or divide with //"
    raise Mistake(f"{what} must be an integer, but it is {describe(entity)}", hint, span)


def as_constant(entity: Entity, span: Span, what: str = "this") -> int:
    """An integer that is known when the kernel is compiled."""
    e = as_expr(entity, span, what)
    if not isinstance(e, Const):
        hint = "make it a compile-time parameter (after `*`), for example `BM: int = 64`"
        raise Mistake(f"{what} must be known when the kernel is compiled, but `{e}` is not", hint, span)
    return e.value


def as_flag(entity: Entity, span: Span, what: str) -> bool:
    if isinstance(entity, bool):
        return entity
    if isinstance(entity, Const):
        return entity.value != 0
    raise Mistake(f"{what} is True or False, not {describe(entity)}", "write True or False", span)


def as_text(entity: Entity, span: Span, what: str) -> str:
    if isinstance(entity, str):
        return entity
    raise Mistake(f"{what} must be a text, but it is {describe(entity)}", 'write it in quotes: "…"', span)


def as_dtype(entity: Entity, span: Span, what: str = "this") -> DType:
    if isinstance(entity, Int | Float | Codebook | Bool):
        return entity
    hint = "name an element type such as f16, i8 or u3"
    raise Mistake(f"{what} must be a dtype, but it is {describe(entity)}", hint, span)


def as_memory(entity: Entity, span: Span, what: str = "this") -> Array | Shared:
    if isinstance(entity, Array | Shared):
        return entity
    hint = "only parameters like `x: f16[M, K]` and `shared(...)` tiles are memory"
    raise Mistake(f"{what} must be an array or a shared tile, but it is {describe(entity)}", hint, span)


def as_items(entity: Entity, span: Span, what: str) -> tuple[Entity, ...]:
    """The parts of a list; one thing alone is a list of one."""
    if isinstance(entity, tuple):
        return entity
    if is_scalar(entity):
        return (entity,)
    raise Mistake(f"{what} must be a list of integers, but it is {describe(entity)}", "write [a, b]", span)


def as_indices(entity: Entity, span: Span, what: str) -> tuple[Expr, ...]:
    return tuple(as_expr(e, span, what) for e in as_items(entity, span, what))


def as_shape(entity: Entity, span: Span, what: str = "the shape") -> tuple[int, ...]:
    """Extents of a tile: integers of at least 1, known when the kernel is compiled."""
    shape = tuple(as_constant(e, span, f"a size in {what}") for e in as_items(entity, span, what))
    for n in shape:
        if n < 1:
            raise Mistake(f"a size in {what} is {n}", "sizes of tiles are at least 1", span)
    return shape


def as_layout(entity: Entity, b: Builder, span: Span) -> Layout:
    if isinstance(entity, Layout):
        return entity
    text = as_text(entity, span, "a layout")
    with b.checked(span):
        return parse_layout(text)


def fit_layout(found: Layout | None, shape: tuple[int, ...], b: Builder, span: Span) -> Layout | None:
    """The layout, if it places a tile of this shape on lanes and registers; else a Mistake."""
    if found is None:
        return None
    extra = sorted(found.axes - {"lane", "reg", *(f"d{k}" for k in range(len(shape)))})
    if extra:
        message = f"the layout {found} has the axes {', '.join(extra)}, which a tile of shape {list(shape)} has not"
        raise Mistake(message, "a tile's layout links its dimensions d0, d1, … with lane and reg", span)
    covered = tuple(found.size(f"d{k}") for k in range(len(shape)))
    if covered != shape:
        message = f"the layout covers {list(covered)}, the tile has the shape {list(shape)}"
        raise Mistake(message, "the extents along each dimension must multiply to the tile's", span)
    dims = [f"d{k}" for k in range(len(shape))]
    logical = Layout(tuple(d for d in found.digits if d.axes & set(dims)))
    if not (logical.fills(*dims) and found.fills("lane", "reg")):
        message = f"the layout {found} does not give each register of each lane one element, and each element a place"
        hint = (
            "let every digit step along one dimension at most, and along one of lane and reg, without gaps or overlaps"
        )
        raise Mistake(message, hint, span)
    if b.grid is not None and b.grid.lanes is not None and found.size("lane") > b.grid.lanes:
        message = f"the layout uses {found.size('lane')} lanes, the block has {b.grid.lanes}"
        raise Mistake(message, "use fewer lanes, or a larger `lanes=` in grid(...)", span)
    return found


def as_tile(entity: Entity, b: Builder, span: Span, what: str = "this") -> Value:
    """A tile; an integer that is no tile becomes a scalar i32."""
    if isinstance(entity, Value):
        return entity
    if isinstance(entity, bool):
        return b.emit(Full(int(entity), BOOL, ()), span)
    if isinstance(entity, float):
        return b.emit(Full(entity, F32, ()), span)
    if isinstance(entity, Const):
        literal(entity, I32, span)
    if isinstance(entity, EXPRS):
        return b.emit(Scalar(entity, I32), span)
    hint = "load it first" if isinstance(entity, Array | Shared) else "use a tile"
    raise Mistake(f"{what} must be a tile, but it is {describe(entity)}", hint, span)


def literal(entity: bool | float | Const, kind: DType, span: Span) -> float:
    """The number that a literal is in a dtype; Mistake if the dtype does not reach it."""
    value = entity.value if isinstance(entity, Const) else entity
    if isinstance(kind, Bool):
        if value not in (0, 1):
            raise Mistake(f"{value} is no truth value", "compare the other side with something first", span)
        return int(value)
    if isinstance(kind, Int) and isinstance(value, float):
        hint = "write an integer, or cast the tile to a float: cast(…, f32)"
        raise Mistake(f"the number {value} meets a tile of integers ({kind})", hint, span)
    reaches = kind.min <= value <= kind.max
    if isinstance(value, float) and not isfinite(value):
        reaches = isinstance(kind, Float) and (kind.has_nan if value != value else kind.has_infinity)
    if not reaches:
        message = f"{value} is outside {kind}, which goes from {kind.min} to {kind.max}"
        raise Mistake(message, "use a wider dtype, or a number inside the range", span)
    return int(value) if isinstance(kind, Int) else float(value)


def tile_like(entity: Entity, kind: DType, b: Builder, span: Span) -> Value:
    """A scalar as a tile of no dimensions that can meet a tile of dtype `kind`; a tile as it is."""
    if isinstance(entity, bool | float | Const):
        return b.emit(Full(literal(entity, kind, span), kind, ()), span)
    if isinstance(entity, EXPRS):
        return scalar_tile(entity, kind, b, span)
    return as_tile(entity, b, span)


def scalar_tile(e: Expr, kind: DType, b: Builder, span: Span) -> Value:
    """An index expression as a scalar tile: integers wrap, floats are rounded from i32."""
    if isinstance(kind, Int):
        return b.emit(Scalar(e, kind), span)
    if isinstance(kind, Bool):
        low, high = bounds(lift(e))
        if low is None or high is None or low < 0 or high > 1:
            raise Mistake(f"`{e}` is an integer, not a truth value", f"write `{e} != 0`", span)
        return b.emit(Scalar(e, kind), span)
    return b.emit(Cast(b.emit(Scalar(e, I32), span), kind, "rne", default_overflow(kind)), span)


def level(values: list[Value], b: Builder, span: Span) -> list[Value]:
    """Tiles of fewer dimensions get leading dimensions of size 1 (scalars stay scalars): NumPy's rule."""
    rank = max(len(v.type.shape) for v in values)
    return [v if not v.type.shape else raised(v, rank, b, span) for v in values]


def raised(value: Value, rank: int, b: Builder, span: Span) -> Value:
    shape = value.type.shape
    if len(shape) >= rank:
        return value
    return b.emit(Reshape(value, (1,) * (rank - len(shape)) + shape), span)

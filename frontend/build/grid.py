"""`grid`: how many blocks run, and which part of the work each of them has."""

from __future__ import annotations

from ...vm.diagnostic import Span
from ...vm.expr import Const, Expr, Var, bounds, ceildiv
from .. import syntax
from .block import Builder, Grid
from .calls import Arguments, Evaluate
from .scope import Entity, Mistake
from .values import as_constant, as_expr

MAX_AXES = 3
MAX_LANES = 1024

Axis = tuple[Expr, int | None]
"""How far an axis reaches, and the size of its tiles (None: one block for each index)."""


def grid(a: Arguments) -> Entity:
    """`grid(n)`, `grid((M, BM), (N, BN))`: block indices, or the origins of the blocks' tiles."""
    axes: list[Axis] = []
    for value, span in a.rest:
        if isinstance(value, tuple):
            if len(value) != 2:
                raise Mistake(f"an axis of the grid is (size, tile), not {len(value)} things", "write (M, BM)", span)
            axes.append((as_expr(value[0], span, "the size of an axis"), _tile(value[1], span)))
        else:
            axes.append((as_expr(value, span, "the size of an axis"), None))
    lanes = a.constant("lanes") if "lanes" in a else None
    if lanes is not None and not 1 <= lanes <= MAX_LANES:
        raise Mistake(f"a block has 1 to {MAX_LANES} lanes, not {lanes}", "use 32, 64, 128 …", a.where("lanes"))
    return _open(axes, lanes, a.b, a.span)


def grid_ranges(node: syntax.Subscript, b: Builder, evaluate: Evaluate) -> Entity:
    """`grid[M : BM, N : BN]`."""
    axes: list[Axis] = []
    for index in node.indices:
        if not isinstance(index, syntax.Slice):
            axes.append((as_expr(evaluate(index, b), index.span, "the size of an axis"), None))
            continue
        if index.lower is None or index.upper is None or index.step is not None:
            raise Mistake("an axis of the grid is written size : tile", "write grid[M : BM, N : BN]", index.span)
        reach = as_expr(evaluate(index.lower, b), index.lower.span, "the size of an axis")
        axes.append((reach, _tile(evaluate(index.upper, b), index.upper.span)))
    return _open(axes, None, b, node.span)


def _tile(value: Entity, span: Span) -> int:
    tile = as_constant(value, span, "the tile of an axis")
    if tile < 1:
        raise Mistake(f"the tile of an axis is {tile}", "it must be at least 1", span)
    return tile


def _open(axes: list[Axis], lanes: int | None, b: Builder, span: Span) -> Entity:
    if b.grid is not None:
        raise Mistake("there is a second grid", "one call names all axes: grid((M, BM), (N, BN))", span)
    if b.nested:
        raise Mistake("the grid stands inside a loop or a branch", "call grid once, at the top of the kernel", span)
    if b.touched is not None:
        raise Mistake("the grid comes after a first use of memory", "call grid at the top of the kernel", span)
    if not 1 <= len(axes) <= MAX_AXES:
        raise Mistake(f"a grid has 1 to {MAX_AXES} axes, not {len(axes)}", "for example grid((M, BM), (N, BN))", span)
    counts, blocks, origins = [], [], []
    for number, (reach, tile) in enumerate(axes):
        with b.checked(span):
            count = reach if tile is None else ceildiv(reach, tile)
            if isinstance(count, Const) and count.value < 1:
                raise Mistake(f"axis {number} of the grid has {count} blocks", "there must be at least one", span)
            high = bounds(count)[1]
            block = Var(_name(number, tile, b), 0, None if high is None else max(high - 1, 0))
            origins.append(block if tile is None else block * tile)
        counts.append(count)
        blocks.append(block)
    b.grid = Grid(tuple(counts), tuple(blocks), lanes, span)
    return origins[0] if len(origins) == 1 else tuple(origins)


def _name(number: int, tile: int | None, b: Builder) -> str:
    """What an axis' block index is called: as the text calls it, or after the origin that the text names."""
    if number >= len(b.targets):
        return f"block{number}"
    return b.targets[number] if tile is None else f"{b.targets[number]}_block"

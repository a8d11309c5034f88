"""The functions of the language: their arguments, and where their meaning is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

from ...vm.ops.elementwise import UnaryKind
from . import functions_effect as effect
from . import functions_math as maths
from . import functions_memory as memory
from . import functions_tile as tile
from .calls import Arguments, Function
from .grid import grid
from .scope import Entity

Run = Callable[[Arguments], Entity]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _row(name: str, run: Run, required: str = "", optional: str = "", named: str = "", rest: bool = False) -> Function:
    return Function(name, run, _words(required), _words(optional), _words(named), rest)


_ONE_NUMBER = tuple(kind for kind in get_args(UnaryKind) if kind not in ("neg", "not"))

_ROWS = (
    _row("grid", grid, named="lanes", rest=True),
    _row("assume", effect.misplaced_assume, "condition"),
    # memory
    _row("load", memory.load, "source at shape", named="other layout"),
    _row("store", memory.store, "target at value"),
    _row("shared", memory.shared, "dtype shape"),
    _row("copy_async", memory.copy_async, "source at target to shape"),
    _row("prefetch", memory.prefetch, "source at shape"),
    _row("commit", memory.commit),
    _row("wait", memory.wait, optional="pending"),
    _row("barrier", memory.barrier),
    _row("lock", memory.lock, "array at"),
    _row("release", memory.release, "array at"),
    # new tiles
    _row("zeros", partial(tile.filled, value=0), "dtype shape", named="layout"),
    _row("ones", partial(tile.filled, value=1), "dtype shape", named="layout"),
    _row("full", tile.full, "dtype shape value", named="layout"),
    _row("iota", tile.iota, "dtype shape", "dim", "layout"),
    _row("arange", tile.arange, "n", named="layout"),
    _row("random", tile.random, "seed offset shape", named="layout"),
    # tiles seen otherwise
    _row("cast", tile.cast, "x dtype", named="rounding overflow random"),
    _row("view", tile.view, "x dtype", named="layout"),
    _row("convert", tile.convert, "x layout"),
    _row("reshape", tile.reshape, "x shape"),
    _row("transpose", tile.transpose, "x", "order"),
    _row("expand", tile.expand, "x shape"),
    _row("item", tile.item, "x"),
    # arithmetic
    *(_row(kind, partial(maths.one_number, kind=kind), "x") for kind in _ONE_NUMBER),
    _row("min", partial(maths.extreme, kind="min"), "x", "y dim keepdim"),
    _row("max", partial(maths.extreme, kind="max"), "x", "y dim keepdim"),
    _row("sum", partial(maths.reduced, kind="sum"), "x", "dim keepdim"),
    _row("any", partial(maths.reduced, kind="any"), "x", "dim keepdim"),
    _row("all", partial(maths.reduced, kind="all"), "x", "dim keepdim"),
    _row("where", maths.where, "condition x y"),
    _row("fma", maths.fma, "x y z"),
    _row("dot", maths.dot, "a b", "acc"),
    _row("ceildiv", maths.ceildiv, "x y"),
    # what is known when the kernel is compiled
    _row("tiled", tile.tiled, "layout", named="container planes unit vector fields"),
    _row("codebook", tile.codebook, "values name"),
    # finding out
    _row("print", effect.show, "label", "x"),
)

FUNCTIONS = {row.name: row for row in _ROWS}

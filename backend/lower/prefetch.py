"""Software prefetch: `prefetch` of a tile, and what `stages` of a loop means on a CPU.

A loop with `stages=s` keeps the memory of s iterations in flight: each iteration hints at the cache lines that the
loads of iteration i + s - 1 will read.  A hint past the end of an array does nothing.

Arrays in tiles are taken to begin with a cache line, as `storage.pack` makes them; others begin anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Literal

import numpy as np

from ...vm import ops as tile_ops
from ...vm.expr import Expr, Var, const, modular, substitute, variables
from ...vm.ir import Array, For, If, Let, While, walk
from ...vm.ops import CopyAsync, Load
from ..lane.ir import Prefetch
from .access import Window, element_bits
from .context import Context
from .stored import tile_extents, tile_pitches

LINE = 64
"""Bytes of a cache line."""

MOST = 64
"""The most lines that are hinted at for one load: beyond what a core keeps in flight, hints only cost issue slots."""


def prefetch_ahead(c: Context, loop: For) -> None:
    """Hints for the loads that stand in the loop itself and move with its counter; the counter has its register."""
    ahead = {loop.var: loop.var + (loop.stages - 1) * loop.step}
    unknown = set(bound(loop))
    for s in loop.body:
        op = s.op if isinstance(s, Let) else None
        if not (isinstance(op, Load | CopyAsync) and isinstance(op.source, Array)):
            continue
        at = tuple(substitute(a, ahead) for a in op.at)
        if at == op.at or unknown.intersection(v for a in at for v in variables(a)):
            continue
        left, later = MOST, tuple(substitute(a, {loop.var: loop.var + loop.step}) for a in at)
        for run in _runs(c, op.source, at, op.shape, goes_on=later == (*at[:-1], at[-1] + op.shape[-1])):
            _hint(c, op.source, _Run(run.start, run.lines[:left]), 1)
            left -= len(run.lines)
            if left <= 0:
                break


def bound(loop: For) -> Iterator[Var]:
    """The scalars that have no value yet, or one of this iteration only, where the loop's body begins."""
    names: list[object] = [x.inside for x in loop.carried]
    for s in walk(loop.body):
        match s:
            case Let():
                names.append(s.result)
            case For():
                names += [s.var, *(y for x in s.carried for y in (x.inside, x.after))]
            case While():
                names += [y for x in s.carried for y in (x.inside, x.after)]
            case If():
                names += [m.after for m in s.merged]
    return (n for n in names if isinstance(n, Var))


def prefetch(c: Context, op: tile_ops.Prefetch) -> None:
    """Hints for every line of a tile, to the second-level cache."""
    for run in _runs(c, op.source, op.at, op.shape):
        _hint(c, op.source, run, 2)


def _hint(c: Context, array: Array, run: _Run, level: Literal[1, 2]) -> None:
    """Each lane hints at a line, as long as there are some."""
    base = c.b.apply("add", c.address(array), c.index(run.start))
    lines = np.array(run.lines)
    for first in range(0, len(lines), c.lanes):
        c.b.effect(Prefetch(base, c.b.i32(lines[np.minimum(first + np.arange(c.lanes), len(lines) - 1)]), level))


@dataclass(frozen=True)
class _Run:
    """Memory without gaps, from byte `start` of an array; `lines` are bytes from there, at least one of each line."""

    start: Expr
    lines: tuple[int, ...]


def _runs(
    c: Context, array: Array, at: tuple[Expr, ...], shape: tuple[int, ...], goes_on: bool = False
) -> Iterator[_Run]:
    """The memory of a tile: storage tiles, those along the first dimension next to each other, or rows.

    `goes_on`: the next hints are at what follows each row; they begin with the line that the row may end in.
    """
    if array.storage is not None:
        extents, size = tile_extents(array), array.storage.tile_bytes
        for tile in np.ndindex(1, *(n // t for n, t in zip(shape[1:], extents[1:], strict=True))):
            parts = zip(at, extents, tile, tile_pitches(array), strict=True)
            number = sum(((a // t + i) * pitch for a, t, i, pitch in parts), const(0))
            yield _Run(number * size, _lines(shape[0] // extents[0] * size, size % LINE != 0))
        return
    bits = element_bits(array)
    window = Window(c, array, at, shape, np.zeros((c.lanes, 1, len(shape)), np.int64))
    for row in np.ndindex(*shape[:-1]):
        begin = sum((pitch * i for pitch, i in zip(window.pitches, row, strict=False)), window.start) * bits
        unit = gcd(*modular(begin), 8)  # the row's first byte may have up to 8 - unit bits before the row
        yield _Run(begin // 8, _lines(-(-(8 - unit + shape[-1] * bits) // 8), not goes_on))


def _lines(length: int, last: bool) -> tuple[int, ...]:
    """Bytes a line apart, and the `last` one, which may be in a line of its own: all may begin in the middle of one."""
    return tuple(sorted({*range(0, length, LINE), *([length - 1] if last else [])}))

"""Software prefetch: what `stages` of a loop means on a CPU.

A loop with `stages=s` keeps the memory of s iterations in flight: each iteration hints at the cache lines that the
loads of iteration i + s - 1 will read.  A hint past the end of an array does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...vm.expr import Expr, Var, const, substitute, variables
from ...vm.ir import Array, For, If, Let, While, walk
from ...vm.layout.spread import cover, repeat
from ...vm.ops import CopyAsync, Load
from ..lane.ir import Prefetch
from .access import Window, element_bits
from .context import Context
from .stored import places

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
        _prefetch(c, op.source, at, op.shape)


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


def _prefetch(c: Context, array: Array, at: tuple[Expr, ...], shape: tuple[int, ...]) -> None:
    """Hints for every line of a tile, in memory order, up to `MOST`."""
    b = c.b
    if array.storage is not None:
        size, layout = array.storage.tile_bytes, cover(repeat(array.storage.tile, shape, c.lanes), c.lanes)
        found = places(c, array, at, layout, len(shape))
        hints = [(place.base, byte) for place in found for byte in range(0, size, LINE)]
    else:
        bits = element_bits(array)
        window = Window(c, array, at, shape, np.zeros((c.lanes, 1, len(shape)), np.int64))
        length = -(-shape[-1] * bits // 8)
        steps = sorted({*range(0, length, LINE), length - 1})  # a row may begin in the middle of a line
        starts = []
        for row in list(np.ndindex(*shape[:-1]))[:MOST]:
            linear: Expr = const(0)
            for start, step, pitch in zip(at, (*row, 0), window.pitches, strict=True):
                linear = linear + (start + int(step)) * pitch
            starts.append(b.apply("add", c.address(array), c.index(linear * bits // 8)))
        hints = [(start, step) for start in starts for step in steps]
    for base, byte in hints[:MOST]:
        b.effect(Prefetch(base, b.i32(byte)))

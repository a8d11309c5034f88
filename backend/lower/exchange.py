"""Registers that change lanes: by shuffles within a warp, through shared memory between the warps of a block.

Within a warp, too, many registers go through memory if that takes fewer instructions.

Through memory every lane writes its registers to a scratch, all wait, each reads what it wants, and all wait again, so
that the next exchange may use the same scratch.  It holds a few registers of every lane: more go in rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...vm.dtypes import dtype
from ...vm.ir import Shared
from ...vm.layout.swizzle import bank_conflicts
from ..lane.build import Builder
from ..lane.ir import Barrier, Read, Reg, Write
from .context import Context

__all__ = ["Taken", "crosses", "shuffled"]

MOST_BYTES = 16 << 10
"""Of the scratch."""

_BARRIERS = 8
"""What two barriers cost, in shuffles."""

_NAME = "scratch of exchanges"  # no name in a program has spaces


class Taken(NamedTuple):
    """One new register: lane l takes what lane `lane[l]` holds in `sources[source[l]]`."""

    sources: tuple[Reg, ...]
    source: tuple[int, ...]
    lane: tuple[int, ...]

    def uses(self) -> list[Reg]:
        return [self.sources[k] for k in dict.fromkeys(self.source)]


def crosses(c: Context, lane: Sequence[int]) -> bool:
    """Whether some lane takes from one that it cannot shuffle with."""
    warp = c.target.warp
    return warp is not None and any(k // warp != frm // warp for k, frm in enumerate(lane))


def shuffled(c: Context, wanted: Sequence[Taken]) -> list[Reg]:
    """The new registers, all of one type."""
    far = [t for t in wanted if crosses(c, t.lane) and not _one_for_all(t)]
    if c.target.warp and not far and _memory_is_faster(wanted):
        far = list(wanted)
    through = dict(zip(map(id, far), _through_memory(c, far), strict=True)) if far else {}
    return [through[id(t)] if id(t) in through else c.b.shuffle(t.sources, t.source, t.lane) for t in wanted]


def _memory_is_faster(wanted: Sequence[Taken]) -> bool:
    """Whether there are more shuffles to do than writes, reads and the two barriers.

    A lane offers one register in a shuffle: there are as many as any lane is asked for different ones.
    """
    shuffles = 0
    for t in wanted:
        asked = Counter(lane for lane, _ in set(zip(t.lane, t.source, strict=True)))
        shuffles += max(asked.values()) if any(k != lane for k, lane in enumerate(t.lane)) else 0
    return shuffles > len({x for t in wanted for x in t.uses()}) + len(wanted) + _BARRIERS


def _one_for_all(taken: Taken) -> bool:
    """Whether the value is one uniform register."""
    used = taken.uses()
    return len(used) == 1 and used[0].uniform


def _through_memory(c: Context, wanted: Sequence[Taken]) -> list[Reg]:
    b = c.b
    sources = list(dict.fromkeys(x for t in wanted for x in t.uses()))
    kind = sources[0].type
    size = 8 if kind == "i64" else 4
    words = {x: _as_word(b, x) for x in sources}
    pitch = _pitch(c.lanes, wanted, sources, size)
    most = max(1, MOST_BYTES // (pitch * size))
    base = _scratch(c, min(most, len(sources)) * pitch * size)
    found: list[Reg | None] = [None] * len(wanted)
    for first in range(0, len(sources), most):
        chunk = {x: place for place, x in enumerate(sources[first : first + most])}
        for x, place in chunk.items():
            offset = b.i32((place * pitch + np.arange(c.lanes)) * size)
            b.effect(Write(base, offset, 8 * size, (words[x],), None, size, "shared"))
        b.effect(Barrier())
        for k, taken in enumerate(wanted):
            part = _read(c, base, taken, chunk, pitch, size)
            before = found[k]
            found[k] = part if before is None else before if part is None else b.apply("or", before, part)
        b.effect(Barrier())
    return [_from_word(b, x, kind) for x in found if x is not None]


def _scratch(c: Context, size: int) -> Reg:
    """Where so many bytes of shared memory are: a scratch that an exchange before used, if it is large enough."""
    for memory in c.shared:
        if memory.name == _NAME and memory.shape[0] >= size:
            return c.address(memory)
    return c.address(Shared(_NAME, dtype("u8"), (size,)))


def _read(c: Context, base: Reg, taken: Taken, chunk: dict[Reg, int], pitch: int, size: int) -> Reg | None:
    """What the lanes want of these registers; 0 in lanes that want another."""
    places = np.array([chunk.get(taken.sources[k], -1) for k in taken.source], np.int64)
    here = places >= 0
    if not here.any():
        return None
    offset = c.b.i32(np.where(here, (places * pitch + np.array(taken.lane)) * size, 0))
    mask = None if here.all() else c.b.constant("i1", here.astype(np.int64))
    return c.b.read(Read(base, offset, 8 * size, 1, mask, size, "shared"))[0]


def _as_word(b: Builder, x: Reg) -> Reg:
    if x.type == "f32":
        return b.apply("bits", x)
    return b.apply("select", x, b.i32(1), b.i32(0)) if x.type == "i1" else x


def _from_word(b: Builder, x: Reg, kind: str) -> Reg:
    if kind == "f32":
        return b.apply("float", x)
    return b.apply("ne", x, b.i32(0)) if kind == "i1" else x


def _pitch(lanes: int, wanted: Sequence[Taken], sources: Sequence[Reg], size: int) -> int:
    """How many places a register's row has: of a few lengths the one with which lanes meet in the fewest banks."""
    place = {x: k for k, x in enumerate(sources)}

    def passes(pitch: int) -> int:
        total = 0
        for t in wanted[:8]:  # the others are like them
            at: NDArray[np.int64] = np.array([place[t.sources[k]] for k in t.source], np.int64) * pitch
            at = (at + np.array(t.lane)) * size
            total += sum(bank_conflicts(at[k : k + 32], size) for k in range(0, lanes, 32))
        return total

    return min((lanes + pad for pad in (0, 1, 2, 4, 8, 16)), key=lambda pitch: (passes(pitch), pitch))

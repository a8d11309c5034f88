"""PTX's instructions by which threads learn of each other: shuffles, votes and barriers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .formats import Mask, Words
from .text import Instruction, Name, PtxError, Vector

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["barrier", "shuffle", "vote"]

WARP = 32


def shuffle(m: Machine, i: Instruction, active: Mask) -> None:
    """Lanes of a warp read each other's registers.  All lanes that the mask names must have come here."""
    to, source, place, limit, mask = i.operands
    _everyone(m, m.value(mask, 32), active)
    value = m.value(source, 32)
    own, clamp = m.lane % WARP, m.value(limit, 32).astype(np.int64)
    segment, top = clamp >> 8 & 31, clamp & 31
    number = m.value(place, 32).astype(np.int64) & 31
    first = own & segment
    last = first | top & ~segment
    match i.words[2]:
        case "up":
            wanted, inside = own - number, own - number >= last
        case "down":
            wanted, inside = own + number, own + number <= last
        case "bfly":
            wanted, inside = own ^ number, (own ^ number) <= last
        case "idx":
            wanted = first | number & ~segment
            inside = wanted <= last
        case _:
            raise PtxError("what shuffle?")
    taken = m.lane - own + np.where(inside, wanted, own)
    if (taken[active] >= m.threads).any() or not active[taken[active]].all():
        raise PtxError("a lane is asked that is not here")
    result = value[np.minimum(taken, m.threads - 1)]
    if isinstance(to, Vector):
        m.define(to.items[1], inside.astype(bool), active)  # type: ignore[arg-type]  # booleans
        to = to.items[0]
    m.define(to, result, active)


def _everyone(m: Machine, mask: Words, active: Mask) -> None:
    """The lanes that the mask names are those that are here (and alive)."""
    named = (mask >> (m.lane % WARP).astype(np.uint32) & np.uint32(1)).astype(bool)
    if (active & ~named).any():
        raise PtxError("a lane that its mask does not name")
    for first in range(0, m.threads, WARP):
        warp = slice(first, first + WARP)
        if active[warp].any() and (named & m.live & ~active)[warp].any():
            raise PtxError("lanes that the mask names are elsewhere")


def barrier(m: Machine, i: Instruction, active: Mask) -> None:
    if "warp" in i.words:
        return
    if not np.array_equal(active, m.live):
        raise PtxError("some threads are not at the barrier")
    if "red" in i.words:
        operand = i.operands[-1]
        assert isinstance(operand, Name)
        holds = m.predicate(operand)[active]
        if "popc" in i.words:
            result: Words = np.full(m.threads, holds.sum(), np.uint32)
        else:
            result = np.full(m.threads, holds.any() if "or" in i.words else holds.all())  # type: ignore[assignment]
        m.define(i.operands[0], result, active)


def vote(m: Machine, i: Instruction, active: Mask) -> None:
    if i.name == "activemask":
        m.define(i.operands[0], _ballot(m, active, active), active)
        return
    to, source, mask = i.operands
    assert isinstance(source, Name)
    _everyone(m, m.value(mask, 32), active)
    count = _ballot(m, m.predicate(source) & active, active)
    whole = _ballot(m, active, active)
    kinds: dict[str, Words] = {"ballot": count, "any": count != 0, "all": count == whole}  # type: ignore[dict-item]
    m.define(to, next(kinds[k] for k in kinds if k in i.words), active)


def _ballot(m: Machine, holds: Mask, active: Mask) -> Words:
    bits = (holds & active).astype(np.uint64) << (m.lane % WARP).astype(np.uint64)
    sums = np.add.reduceat(bits, np.arange(0, m.threads, WARP))
    return np.repeat(sums, WARP)[: m.threads].astype(np.uint32)

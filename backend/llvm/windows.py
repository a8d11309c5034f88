"""Where the lanes of one access lie in memory, as windows: short stretches that one vector load or store covers.

The offset of every lane is brought to the form  constant + sum of (coefficient of the lane) * (uniform register).
Lanes that agree in all coefficients lie at constant distances, whatever the registers hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..lane.ir import Apply, Reg
from .values import Values

__all__ = ["Linear", "Window", "linear", "windows"]


@dataclass(frozen=True)
class Linear:
    """Byte offset of lane l: fixed[l] + the sum over terms of coefficient[l] * the term's register."""

    fixed: tuple[int, ...]
    terms: tuple[tuple[Reg, tuple[int, ...]], ...] = ()

    def plus(self, other: Linear, sign: int) -> Linear:
        terms = dict(self.terms)
        for reg, coefficients in other.terms:
            had = terms.get(reg, (0,) * len(self.fixed))
            terms[reg] = tuple(a + sign * b for a, b in zip(had, coefficients, strict=True))
        return Linear(tuple(a + sign * b for a, b in zip(self.fixed, other.fixed, strict=True)), tuple(terms.items()))

    def key(self, lane: int) -> tuple[int, ...]:
        return tuple(coefficients[lane] for _, coefficients in self.terms)


def linear(values: Values, offset: Reg) -> Linear | None:
    """The offset in that form, or None where it depends on what the lanes hold."""
    known = values.constant(offset)
    if known is not None:
        return Linear(tuple(known))
    lanes = values.lanes
    if offset.uniform:
        return Linear((0,) * lanes, ((offset, (1,) * lanes),))
    op = values.made(offset)
    if not isinstance(op, Apply):
        return None
    if op.kind == "select" and op.operands[1] is op.operands[2]:
        return linear(values, op.operands[1])
    if offset.type != "i64":
        return None  # sums of 32 bits may wrap, and so do not distribute over the sign extension
    if op.kind in ("add", "sub"):
        x, y = (linear(values, o) for o in op.operands)
        return None if x is None or y is None else x.plus(y, 1 if op.kind == "add" else -1)
    if op.kind == "mul":
        for one, other in (op.operands, op.operands[::-1]):
            factors = values.constant(one)
            if factors is not None and other.uniform:
                return Linear((0,) * lanes, ((other, tuple(factors)),))
    return None


@dataclass(frozen=True)
class Window:
    """`size` consecutive fields from byte `start` past the base (and the terms' part, `key`).

    `owners[e]` lists who uses field e: pairs (lane, field of the lane).  `near` is the offset, in bytes, of the
    window's beginning from where some lane's access begins.
    """

    key: tuple[int, ...]
    start: int
    size: int
    owners: tuple[tuple[tuple[int, int], ...], ...]
    near: int

    @property
    def gaps(self) -> bool:
        return not all(self.owners)


def windows(form: Linear, count: int, bytes: int, active: Sequence[bool], gaps: bool) -> list[Window]:
    """The fewest windows of at most as many fields as there are lanes that cover every field of the active lanes.

    Without `gaps` a window ends where a field is missing.
    """
    groups: dict[tuple[tuple[int, ...], int], dict[int, list[tuple[int, int]]]] = {}
    for lane, is_active in enumerate(active):
        if not is_active:
            continue
        first, rest = divmod(form.fixed[lane], bytes)
        fields = groups.setdefault((form.key(lane), rest), {})
        for field in range(count):
            fields.setdefault(first + field, []).append((lane, field))
    out = []
    for (key, rest), fields in groups.items():
        for cut in _cuts(sorted(fields), len(form.fixed), gaps):
            owners = tuple(tuple(fields.get(e, ())) for e in range(cut[0], cut[-1] + 1))
            out.append(Window(key, cut[0] * bytes + rest, len(owners), owners, owners[0][0][1] * bytes))
    return out


def _cuts(places: Sequence[int], width: int, gaps: bool) -> list[list[int]]:
    cuts: list[list[int]] = []
    for place in places:
        if not cuts or place - cuts[-1][0] >= width or (not gaps and place != cuts[-1][-1] + 1):
            cuts.append([])
        cuts[-1].append(place)
    return cuts

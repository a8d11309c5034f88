"""Where two bags of digits meet: the common digits of a join.

Both sides are cut at the strides of the other until they count the shared axes by the same strides. Then equal strides
meet, with the smaller extent, and a digit without a partner stays at 0. This is exactly the intersection if all digits
together count each shared axis without overlap (no stride lies inside the reach of the smaller ones).
"""

from __future__ import annotations

from .canonical import Strides, times

_Digits = list[tuple[int, Strides]]

_ROUNDS = 64
"""More than any sensible pair of layouts needs; each round leaves the meaning as it is, so stopping early is safe."""


def meet(mine: _Digits, theirs: _Digits, shared: frozenset[str]) -> list[tuple[int, dict[str, int]]] | None:
    """The digits of the join, without the shared axes; None if the common part is no set of digits."""
    mine, theirs = _refine(mine, theirs, shared)
    here, there = _by_place(mine, shared), _by_place(theirs, shared)
    if here is None or there is None or not _without_overlap(here, there, shared):
        return None
    met = [
        (min(extent, there[place][0]), rest | there[place][1])
        for place, (extent, rest) in here.items()
        if place in there
    ]
    alone = [(e, dict(s)) for e, s in (*mine, *theirs) if not any(a in shared for a, _ in s)]
    return met + alone


def _refine(mine: _Digits, theirs: _Digits, shared: frozenset[str]) -> tuple[_Digits, _Digits]:
    """Cut until nothing changes: a digit on several shared axes makes new strides on each of them."""
    for _ in range(_ROUNDS):
        before = len(mine) + len(theirs)
        for axis in sorted(shared):
            cuts = sorted({s for _, strides in (*mine, *theirs) for a, s in strides if a == axis})
            mine, theirs = _cut(mine, axis, cuts, _reach(theirs, axis)), _cut(theirs, axis, cuts, _reach(mine, axis))
        if len(mine) + len(theirs) == before:
            break
    return mine, theirs


def _reach(digits: _Digits, axis: str) -> int:
    """One more than the largest coordinate."""
    return 1 + sum((extent - 1) * dict(strides).get(axis, 0) for extent, strides in digits)


def _cut(digits: _Digits, axis: str, cuts: list[int], reach: int) -> _Digits:
    """Split every digit at each cut that divides it; `cuts` rise.

    The other side has no coordinate from `reach` on. So a digit that gets there is open: its extent may be any that
    does, because the steps in excess meet nothing. This lets a tile meet an array whose size it does not divide.
    """
    pieces: _Digits = []
    for extent, strides in digits:
        stride = dict(strides).get(axis, 0)
        is_open = stride * extent >= reach
        if is_open:
            extent = -(-reach // stride)
        for cut in cuts:
            inner = cut // stride if stride else 0
            if 1 < inner < extent and cut % stride == 0 and (is_open or extent % inner == 0):
                pieces.append((inner, strides))
                extent, strides, stride = -(-extent // inner), times(strides, inner), cut
        pieces.append((extent, strides))
    return pieces


def _by_place(digits: _Digits, shared: frozenset[str]) -> dict[Strides, tuple[int, dict[str, int]]] | None:
    """Digits by their strides on the shared axes, with the rest; None if two are at one place."""
    found: dict[Strides, tuple[int, dict[str, int]]] = {}
    for extent, strides in digits:
        place = tuple((a, s) for a, s in strides if a in shared)
        if place in found:
            return None
        if place:
            found[place] = (extent, {a: s for a, s in strides if a not in shared})
    return found


def _without_overlap(
    here: dict[Strides, tuple[int, dict[str, int]]],
    there: dict[Strides, tuple[int, dict[str, int]]],
    shared: frozenset[str],
) -> bool:
    for axis in shared:
        extents: dict[Strides, int] = {}
        for place, (extent, _) in (*here.items(), *there.items()):
            if axis in dict(place):
                extents[place] = max(extent, extents.get(place, 1))
        reach = 1
        for stride, extent in sorted((dict(place)[axis], e) for place, e in extents.items()):
            if stride < reach:
                return False
            reach += stride * (extent - 1)
    return True

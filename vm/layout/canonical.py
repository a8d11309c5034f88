"""The canonical form of a bag of digits: equal points, equal digits.

The points of a digit (extent e, stride vector w) have the generating function 1 + x^w + .. + x^((e-1)w), which is
(1 - x^(ew)) / (1 - x^w). So a bag of digits is a product of factors (1 - x^v): its *ends* ew above, its *starts* w
below. Such factors are multiplicatively independent, so after cancelling equal ends and starts, what is left is
determined by the points alone. Cancelling an end with a start is what merges two touching digits. Pairing the rest
again by one fixed rule (the largest start first, with the smallest end that leaves the others a partner) gives the
unique form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import gcd

Strides = tuple[tuple[str, int], ...]
"""(axis, stride) pairs, sorted by axis, each stride at least 1."""


def times(strides: Strides, factor: int) -> Strides:
    """The stride vector, scaled."""
    return tuple((a, s * factor) for a, s in strides)


def canonical_strides(digits: Iterable[tuple[int, Strides]]) -> list[tuple[int, Strides]]:
    """The unique sorted digits, as (extent, strides), with the same points as `digits`; idle digits are dropped."""
    balance: Counter[Strides] = Counter()
    for extent, strides in digits:
        if strides:
            balance[times(strides, extent)] += 1
            balance[strides] -= 1
    rays: dict[Strides, tuple[list[int], list[int]]] = {}
    for vector, count in balance.items():
        scale = gcd(*(s for _, s in vector))
        ray = tuple((a, s // scale) for a, s in vector)
        starts, ends = rays.setdefault(ray, ([], []))
        (ends if count > 0 else starts).extend([scale] * abs(count))
    found = ((end // start, times(ray, start)) for ray, sides in rays.items() for start, end in _pairs(*sides))
    return sorted(found, key=lambda d: (d[1], d[0]))


def _pairs(starts: list[int], ends: list[int]) -> list[tuple[int, int]]:
    """Give every start an end that it divides. One exists: digits merged into chains have one."""
    left, free, pairs = sorted(starts), sorted(ends), []
    while left:
        start = left.pop()
        for k, end in enumerate(free):
            rest = free[:k] + free[k + 1 :]
            if end % start == 0 and _can_pair(left, rest):
                pairs.append((start, end))
                free = rest
                break
    return pairs


def _can_pair(starts: list[int], ends: list[int]) -> bool:
    """Whether a perfect matching of starts to multiples exists (augmenting paths)."""
    owner: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j, end in enumerate(ends):
            if end % starts[i] == 0 and j not in seen:
                seen.add(j)
                if j not in owner or place(owner[j], seen):
                    owner[j] = i
                    return True
        return False

    return all(place(i, set()) for i in range(len(starts)))

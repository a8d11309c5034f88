"""Storage for codes that become 16-bit operands: each bit lies where few instructions bring it to its place in a half.

A half of an operand's word takes a code's bits at certain places (`fragments.py`).  What stands at its place in storage
costs one masked read; what is some way off costs a shift too, which others share that are as far off.  So whole codes
are put where their bits need no shift, then where several need the same, and the bits of the rest go into what is left,
in as few pieces as a search with some luck finds.

Instructions per weight that bring operands to their places then, counted in machine code with 4 rows of a lane (a
masked piece, a shift or a permute is one, for two weights):

    f16    u1 .65   u2 .59   u3 .81   u4 .65   u5 .93   u6 1.03   u7 1.12   u8 .53
           f3e1m1 1.21   f4e2m1 1.15   f5e2m2 1.24   f6e3m2 1.21   f8e4m3fn .50 (conversions)   f8e5m2 .53
    bf16   u1 .65   u2 .58   u3 .83   u4 .65   u5 1.09   u6 1.03   u7 1.18   u8 .53
           f3e1m1 1.43   f4e2m1 1.40   f5e2m2 1.43   f6e3m2 1.34   f8e4m3fn 1.28   f8e5m2 1.78
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import lcm

__all__ = ["arranged"]

_TRIES = 60
_ROUNDS = 4  # one without shifts, and for so many shifts of a half less one whole codes are looked for

Target = tuple[int, ...]
"""The place in a slot of each bit of a code."""


@lru_cache(maxsize=256)
def arranged(choices: tuple[tuple[Target, ...], ...], width: int = 16) -> tuple[int, ...]:
    """Where the bits of codes lie in slots of `width` bits (`Packing.fields`).

    Code i of them comes to the places of one of choices[i % len(choices)], the same for all such i.
    """
    bits = len(choices[0][0])
    codes = lcm(lcm(bits, width) // bits, len(choices))
    luck = random.Random(0)  # any would do; the same one always, so that builds repeat
    best: _Attempt | None = None
    for _ in range(_TRIES):
        attempt = _Attempt([luck.choice(c) for c in choices], codes, luck, width)
        attempt.place_whole()
        attempt.place_rest()
        if best is None or attempt.cost < best.cost:
            best = attempt
    assert best is not None
    return best.fields()


@lru_cache(maxsize=1024)
def _masks(target: Target, width: int) -> dict[int, int]:
    """For each shift to the left the bits of a slot that come to the target by it; 0 where some would lie outside."""
    found = {}
    for shift in range(1 - width, width):
        places = [x - shift for x in target]
        found[shift] = sum(1 << p for p in places) if min(places) >= 0 and max(places) < width else 0
    return found


@dataclass
class _Attempt:
    """One way to place the codes; `found`: for each kind the places of each of its codes."""

    targets: list[Target]
    codes: int
    luck: random.Random
    width: int
    cost: int = 0
    masks: list[dict[int, int]] = field(init=False)
    free: list[int] = field(init=False)
    shifts: list[set[int]] = field(init=False)
    left: list[int] = field(init=False)
    found: list[list[Target]] = field(init=False)

    def __post_init__(self) -> None:
        kinds = len(self.targets)
        halves = self.codes * len(self.targets[0]) // self.width
        self.masks = [_masks(target, self.width) for target in self.targets]
        self.free = [(1 << self.width) - 1] * halves
        self.shifts = [{0} for _ in range(halves)]
        self.left = [self.codes // kinds] * kinds
        self.found = [[] for _ in range(kinds)]

    def place_whole(self) -> None:
        """Codes that come to their places by one shift, as many at a time as fit."""
        for turn in range(_ROUNDS):
            for half in range(len(self.free)):
                shifts = range(1 - self.width, self.width) if turn else (0,)
                fits = [(self._fitting(half, s), s) for s in shifts if not turn or s not in self.shifts[half]]
                (kinds, used), shift = max(fits, key=lambda f: (len(f[0][0]), self.luck.random()))
                if not kinds:
                    continue
                self.cost += len(kinds) + (shift != 0)
                self.shifts[half].add(shift)
                self.free[half] &= ~used
                for kind in kinds:
                    self.left[kind] -= 1
                    self.found[kind].append(tuple(half * self.width + x - shift for x in self.targets[kind]))

    def _fitting(self, half: int, shift: int) -> tuple[list[int], int]:
        """Kinds of codes of which one each has room in a half, shifted left by `shift` later, and the bits used."""
        free, found = self.free[half], []
        kinds = [k for k in range(len(self.targets)) if self.left[k]]
        self.luck.shuffle(kinds)
        for kind in kinds:
            mask = self.masks[kind][shift]
            if mask and mask & free == mask:
                free &= ~mask
                found.append(kind)
        return found, self.free[half] & ~free

    def place_rest(self) -> None:
        for kind, count in enumerate(self.left):
            for _ in range(count):
                self.found[kind].append(self._scattered(self.targets[kind]))

    def _scattered(self, target: Target) -> Target:
        """Places for a code's bits wherever there is room: each time the most bits for an instruction."""
        need, where = dict(enumerate(target)), dict[int, int]()
        while need:
            half, shift, bits = max(self._some(need), key=lambda s: (self._worth(*s), self.luck.random()))
            self.cost += 1 + (shift not in self.shifts[half])
            self.shifts[half].add(shift)
            for bit in bits:
                place = need.pop(bit) - shift
                where[bit] = half * self.width + place
                self.free[half] &= ~(1 << place)
        return tuple(where[bit] for bit in range(len(target)))

    def _some(self, need: dict[int, int]) -> list[tuple[int, int, list[int]]]:
        """For each half and shift the bits that find room there."""
        found = []
        wanted = sum({1 << x for x in need.values()}) << self.width
        for half, free in enumerate(self.free):
            for shift in range(1 - self.width, self.width) if free else ():
                if not wanted >> (shift + self.width) & free:
                    continue
                bits = [b for b, x in need.items() if 0 <= x - shift < self.width and free >> (x - shift) & 1]
                found.append((half, shift, bits))
        return found

    def _worth(self, half: int, shift: int, bits: Sequence[int]) -> float:
        return len(bits) / (1 + (shift not in self.shifts[half]))

    def fields(self) -> tuple[int, ...]:
        kinds = len(self.targets)
        rows = (self.found[i % kinds][i // kinds] for i in range(self.codes))
        return tuple(place for row in rows for place in row)

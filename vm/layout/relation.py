"""A layout is a finite linear relation between named axes.

A `Digit` counts 0 .. extent-1 and moves by its stride on every axis that it touches. A `Layout` is the bag of points
that its digits reach together. Logical dimensions ("d0", "d1"), places ("lane", "reg"), addresses ("mem") and the
bits of an element ("bit") are all just axes, so that no direction is special:

    register tile   digits link d* with lane and reg        memory tile   digits link d* with mem
    copies          a digit on lane, but on no d*           broadcast     a digit on d*, but on no place

The primitives are product, join, forget and canonical; `views.py` builds everything else from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product as cartesian
from keyword import iskeyword
from math import prod

import numpy as np
import numpy.typing as npt

from .canonical import Strides, canonical_strides
from .meeting import meet

_DIMENSION = re.compile(r"d[0-9]+")

ENUMERATION_LIMIT = 2**26
"""The largest number of points, or of cells of a table, that is ever listed."""


class LayoutError(ValueError):
    """The relation that was asked for does not exist, or has no representation by digits."""


@dataclass(frozen=True)
class Digit:
    """One counter: 0 .. extent-1, with a stride of at least 1 on each axis it touches, sorted by the axis' name."""

    extent: int
    strides: Strides

    def __post_init__(self) -> None:
        if self.extent < 1:
            raise LayoutError(f"a digit has an extent of at least 1, not {self.extent}")
        for axis, stride in self.strides:
            if stride < 1:
                raise LayoutError(f"the stride on axis '{axis}' must be at least 1, not {stride}")
            if not axis.isidentifier() or iskeyword(axis) or _misnumbered(axis):
                raise LayoutError(
                    f"'{axis}' is no name for an axis: use d0 .. d63, or a word such as lane, reg, mem, bit"
                )
        if list(self.strides) != sorted(dict(self.strides).items()):
            raise LayoutError(f"the strides {self.strides} name an axis twice or are not sorted: use Digit.make")

    @staticmethod
    def make(extent: int, strides: Mapping[str, int]) -> Digit:
        """The digit with these strides; an axis with stride 0 is not touched."""
        return Digit(extent, tuple(sorted((a, s) for a, s in strides.items() if s)))

    def on(self, axis: str) -> int:
        """The stride on `axis`, 0 if the digit does not touch it."""
        return next((s for a, s in self.strides if a == axis), 0)

    @property
    def axes(self) -> frozenset[str]:
        return frozenset(a for a, _ in self.strides)

    def __str__(self) -> str:
        return f"{self.extent}: " + " + ".join(a if s == 1 else f"{s}*{a}" for a, s in self.strides)


@dataclass(frozen=True)
class Layout:
    """The bag of points reached by `digits`, up to a common factor of all counts.

    The digits are always kept in the canonical form, which is unique: two layouts are equal (and hash equal) exactly
    when they have the same points. `Layout()` is the single point 0.
    """

    digits: tuple[Digit, ...] = ()

    def __post_init__(self) -> None:
        unique = canonical_strides((d.extent, d.strides) for d in self.digits)
        object.__setattr__(self, "digits", tuple(Digit(e, s) for e, s in unique))

    # What it is

    @property
    def axes(self) -> frozenset[str]:
        """The axes on which some point is not 0."""
        return frozenset(a for d in self.digits for a, _ in d.strides)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the logical dimensions d0, d1, .. up to the last one that is touched."""
        touched = [int(a[1:]) for a in self.axes if _DIMENSION.fullmatch(a)]
        return tuple(self.size(f"d{k}") for k in range(max(touched, default=-1) + 1))

    @property
    def count(self) -> int:
        """The number of points."""
        return prod(d.extent for d in self.digits)

    def size(self, axis: str) -> int:
        """One more than the largest coordinate on `axis`."""
        return 1 + sum((d.extent - 1) * d.on(axis) for d in self.digits)

    def fills(self, *axes: str) -> bool:
        """Whether every digit touches one of `axes`, and each cell of the box size(a) x .. is reached once."""
        if any(sum(d.on(a) > 0 for a in axes) != 1 for d in self.digits):
            return False
        return self.count == prod(self.size(a) for a in axes) and all(self._counts(a) for a in axes)

    def _counts(self, axis: str) -> bool:
        reach = 1
        for digit in sorted((d for d in self.digits if d.on(axis)), key=lambda d: d.on(axis)):
            if digit.on(axis) != reach:
                return False
            reach *= digit.extent
        return True

    # Its points

    def points(self, *axes: str) -> Iterator[tuple[int, ...]]:
        """Every point, as coordinates on `axes`. This is the layout's meaning; the laws are tested against it."""
        for count in cartesian(*(range(d.extent) for d in self.digits)):
            yield tuple(sum(c * d.on(a) for c, d in zip(count, self.digits, strict=True)) for a in axes)

    def table(self, *axes: str) -> npt.NDArray[np.int64]:
        """The same points in the same order, as an array [count, len(axes)]."""
        _listable(self.count, self)
        columns = np.zeros((self.count, len(axes)), np.int64)
        for k, axis in enumerate(axes):
            column = np.zeros(1, np.int64)
            for digit in self.digits:
                steps = np.arange(digit.extent, dtype=np.int64) * digit.on(axis)
                column = (column[:, None] + steps).reshape(-1)
            columns[:, k] = column
        return columns

    def places(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """The layout as a function: an array of shape (size(inputs[0]), .., len(outputs)).

        LayoutError if some input has no output, or more than one.
        """
        kept = self.forget(*(self.axes - {*inputs, *outputs}))
        sizes = tuple(self.size(a) for a in inputs)
        _listable(max(prod(sizes), kept.count), self)
        rows = kept.table(*inputs, *outputs)
        cells = np.zeros(len(rows), np.int64)
        for k, size in enumerate(sizes):
            cells = cells * size + rows[:, k]
        values = rows[:, len(inputs) :]
        found = np.full((prod(sizes), len(outputs)), -1, np.int64)
        hit = np.zeros(prod(sizes), bool)
        found[cells], hit[cells] = values, True
        for wrong, reason in ((~hit, "is nowhere"), (_clashes(found, cells, values), "is at several places")):
            if wrong.any():
                at = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), sizes))
                raise LayoutError(f"{self} gives no function {inputs} -> {outputs}: {at} {reason}")
        return found.reshape(*sizes, len(outputs))

    # The primitives

    def __mul__(self, inner: Layout) -> Layout:
        """Product: every point of self holds a whole copy of `inner`."""
        outer = (Digit(d.extent, tuple((a, s * inner.size(a)) for a, s in d.strides)) for d in self.digits)
        return Layout((*outer, *inner.digits))

    def __matmul__(self, other: Layout) -> Layout:
        """Join: points that agree on all shared axes meet; the shared axes are forgotten (composition of relations).

        Where one side reaches further, only the common part meets. LayoutError if that part is no set of digits.
        """
        shared = self.axes & other.axes
        mine, theirs = ([(d.extent, d.strides) for d in x.digits] for x in (self, other))
        met = meet(mine, theirs, shared)
        if met is None:
            names = ", ".join(sorted(shared))
            raise LayoutError(
                f"{self} and {other} cut the axes {names} differently, and no common digits exist: "
                "choose extents that divide one another, or convert through memory"
            )
        return Layout(tuple(Digit.make(e, s) for e, s in met))

    def forget(self, *axes: str) -> Layout:
        """Project the axes away. A lane digit of a forgotten dimension stays: its lanes now hold copies."""
        gone = frozenset(axes)
        return Layout(tuple(Digit(d.extent, tuple((a, s) for a, s in d.strides if a not in gone)) for d in self.digits))

    def rename(self, **names: str) -> Layout:
        """The same points on axes of other names, all renamed at once: rename(d0="d1", d1="d0") exchanges them."""
        renamed = {a: names.get(a, a) for a in self.axes}
        if len(set(renamed.values())) != len(renamed):
            raise LayoutError(f"renaming {names} makes two axes of {self} one; rename both or forget one first")
        return Layout(tuple(Digit.make(d.extent, {renamed[a]: s for a, s in d.strides}) for d in self.digits))

    def __str__(self) -> str:
        return "{" + ", ".join(str(d) for d in self.digits) + "}"


def is_logical(axis: str) -> bool:
    """Whether the axis names a part of the data (d0, d1, .. or bit) rather than a place."""
    return axis == "bit" or _DIMENSION.fullmatch(axis) is not None


def _misnumbered(axis: str) -> bool:
    """d01 and d64: two names for one dimension, and far more dimensions than any array has."""
    return _DIMENSION.fullmatch(axis) is not None and axis not in {f"d{k}" for k in range(64)}


def _listable(count: int, layout: Layout) -> None:
    if count > ENUMERATION_LIMIT or any(layout.size(a) > 2**62 for a in layout.axes):
        raise LayoutError(f"{layout} is too large to list: {count} points, at most {ENUMERATION_LIMIT} are listed")


def _clashes(
    found: npt.NDArray[np.int64], cells: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    clash = np.zeros(len(found), bool)
    clash[cells[(found[cells] != values).any(axis=1)]] = True
    return clash

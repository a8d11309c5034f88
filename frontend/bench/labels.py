"""Labels of a picture that do not cover each other: each takes the first free place beside its point, or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import atan2, degrees
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS_PER_INCH = 72
LETTER = 0.56
"""Width of a letter, as a part of the font's size: about that of most sans serif fonts."""

PLACES = ((1, 0), (-1, 0), (1, 0.9), (1, -0.9), (-1, 0.9), (-1, -0.9), (0, 1.4), (0, -1.4))
"""Directions from a point in which a label is tried, in distances of its own height above and below."""


@dataclass(frozen=True)
class Box:
    """A rectangle in points from the lower left corner of the picture."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether the two share any of their area."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top


@dataclass
class Labels:
    """The labels of one pair of axes, whose scales must not change any more."""

    axes: Axes
    dpi: float
    taken: list[Box] = field(default_factory=list)

    def keep_clear(self, x: float, y: float, size: float) -> None:
        """No label shall cover the marker of that size at a point."""
        across, up = self._points(x, y)
        half = size / 2
        self.taken.append(Box(across - half, up - half, across + half, up + half))

    def beside(self, x: float, y: float, text: str, colour: str, size: float) -> bool:
        """Writes text beside a point where there is room; whether there was."""
        across, up = self._points(x, y)
        inside = self._frame()
        width, height, gap = LETTER * size * len(text), 1.15 * size, 6.5
        for side, rise in PLACES:
            left = across + gap if side > 0 else across - gap - width if side < 0 else across - width / 2
            middle = up + rise * height
            box = Box(left, middle - height / 2, left + width, middle + height / 2)
            if box.left < inside.left or box.right > inside.right or any(box.meets(other) for other in self.taken):
                continue
            self.taken.append(box)
            self.axes.annotate(
                text, (x, y), (left - across, middle - up), textcoords="offset points", fontsize=size, color=colour,
                va="center_baseline", zorder=6,
            )  # fmt: skip
            return True
        return False

    def at_right(self, x: float, y: float, text: str, colour: str) -> None:
        """Writes text above a line, so that it ends at a point."""
        across, up = self._points(x, y)
        self.taken.append(Box(across - LETTER * 9 * len(text), up, across, up + 13))
        self.axes.annotate(text, (x, y), (-2, 3), textcoords="offset points", fontsize=9, color=colour, ha="right")

    def along(self, x: float, y: float, text: str) -> None:
        """Writes text along the line through a point on which y grows as x does."""
        (left, bottom), (right, top) = self._points(x, y), self._points(2 * x, 2 * y)
        # The text's own rotation follows the scales of the axes.
        self.axes.annotate(
            text, (x, y), (0, 4), textcoords="offset points", fontsize=9, rotation_mode="anchor",
            rotation=degrees(atan2(top - bottom, right - left)),
        )  # fmt: skip
        length = LETTER * 9 * len(text)
        slope = (top - bottom) / (right - left)
        for part in range(8):  # small boxes along the slant
            across = 0.7 * length * part / 8
            self.taken.append(
                Box(left + across, bottom + across * slope, left + across + 9, bottom + across * slope + 14)
            )

    def _points(self, x: float, y: float) -> tuple[float, float]:
        scale = POINTS_PER_INCH / self.dpi
        across, up = self.axes.transData.transform((x, y))
        return float(across * scale), float(up * scale)

    def _frame(self) -> Box:
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        return Box(*self._points(left, bottom), *self._points(right, top))

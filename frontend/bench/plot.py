"""A run as a roofline: operations per second over operations per byte, under what memory and instructions allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .labels import Labels
from .rows import Figures, Row, microseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"int8": "#0072B2", "bf16": "#D55E00", "f16": "#CC79A7", "f32": "#009E73"}
"""Of activations: Okabe and Ito's, which people with any kind of colour vision tell apart."""

GREY = "#8A8A8A"

OUR_SIZE, PEER_SIZE = 11.0, 3.5
"""Of markers, in points."""

INCHES, DPI = (12.5, 8.0), 160


class PlotError(ValueError):
    """A run that cannot be drawn."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Writes the picture as a PNG file. PlotError when no row was timed."""
    from matplotlib.figure import Figure

    timed = [row for row in rows if row.figures is not None]
    if not timed:
        raise PlotError("nothing was timed, so there is nothing to draw")
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _frame(axes, timed)
    figure.draw_without_rendering()  # fixes the scales, which the places of labels depend on
    labels = Labels(axes, DPI)
    _limits(axes, timed, labels)
    for row in timed:
        y = _figures(row).gigaoperations_per_second
        labels.keep_clear(row.operations_per_byte, y, OUR_SIZE if row.facts.ours else PEER_SIZE)
    _ours(axes, [row for row in timed if row.facts.ours], labels)
    _peers(axes, [row for row in timed if not row.facts.ours], labels)
    figure.savefig(path, format="png")


def _figures(row: Row) -> Figures:
    assert row.figures is not None
    return row.figures


def _frame(axes: Axes, rows: Sequence[Row]) -> None:
    """Logarithmic scales around everything that is drawn, and what the axes mean."""
    x = [row.operations_per_byte for row in rows]
    y = [_figures(row).gigaoperations_per_second for row in rows]
    y += [_figures(row).peak_gigaoperations_per_second for row in rows]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(x) / 1.6, max(x) * 2.2)
    axes.set_ylim(min(y) / 1.5, max(y) * 1.7)
    axes.set_xlabel("operations per byte of stored weights")
    axes.set_ylabel("GOP/s (a multiplication and an addition are two)")
    sizes = sorted({f"{row.n} x {row.k}" for row in rows})
    axes.set_title(
        f"x @ w.T with weights {', '.join(sizes)}: ours as the number of bits of a weight, other libraries in grey",
        loc="left",
        fontsize=11,
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.6g}")
    axes.grid(True, which="major", color="#E6E6E6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _limits(axes: Axes, rows: Sequence[Row], labels: Labels) -> None:
    """The slope of memory, and a ceiling for each instruction that multiplies, at their best in the run."""
    bandwidth = max(_figures(row).bandwidth_gigabytes_per_second for row in rows)
    left, right = axes.get_xlim()
    peaks: dict[str, float] = {}
    for kind in COLOURS:
        found = [_figures(row).peak_gigaoperations_per_second for row in rows if row.facts.activations == kind]
        if found:
            peaks[kind] = max(found)
    top = max(peaks.values())
    axes.plot([left, top / bandwidth], [left * bandwidth, top], color="black", linewidth=1.2)
    start = 1.1 * max(left, axes.get_ylim()[0] / bandwidth)
    labels.along(start, start * bandwidth, f"memory: {bandwidth:.0f} GB/s")
    for kind, peak in peaks.items():
        axes.plot([peak / bandwidth, right], [peak, peak], color=COLOURS[kind], linewidth=1.2)
        labels.at_right(right, peak, f"{kind} activations: {peak:,.0f} GOP/s", COLOURS[kind])


def _ours(axes: Axes, rows: Sequence[Row], labels: Labels) -> None:
    """One marker per type of weights and M, the fastest way of rounding activations, with the width in it."""
    fastest: dict[tuple[str, int], Row] = {}
    for row in sorted(rows, key=microseconds, reverse=True):
        fastest[row.facts.weights, row.m] = row
    for row in fastest.values():
        x, y = row.operations_per_byte, _figures(row).gigaoperations_per_second
        colour = COLOURS[row.facts.activations]
        axes.plot([x], [y], "o", markersize=OUR_SIZE, color=colour, markeredgecolor="white", zorder=4)
        number = axes.annotate(str(row.facts.bits), (x, y), color="white", fontsize=7.5, fontweight="bold", zorder=5)
        number.set(ha="center", va="center_baseline")
    for m in sorted({m for _, m in fastest}):
        group = [row for (_, own), row in fastest.items() if own == m]
        first = min(group, key=lambda row: row.operations_per_byte)
        labels.beside(first.operations_per_byte, _figures(first).gigaoperations_per_second, f"M = {m}", "#222222", 9.5)
    others = {name: row for (name, m), row in fastest.items() if not name.removeprefix("u").isdecimal()}
    for name, row in others.items():
        labels.beside(row.operations_per_byte, _figures(row).gigaoperations_per_second, name, "#222222", 7.5)


def _peers(axes: Axes, rows: Sequence[Row], labels: Labels) -> None:
    """Small markers; the fastest get their names first, and those that find no room stay without."""
    for row in sorted(rows, key=microseconds):
        x, y = row.operations_per_byte, _figures(row).gigaoperations_per_second
        axes.plot([x], [y], "s", markersize=PEER_SIZE, color=GREY, zorder=3)
    for row in sorted(rows, key=microseconds):
        name = f"{row.facts.name} {row.facts.weights}"
        if row.facts.activations not in ("int8", row.facts.weights):
            name += f", x {row.facts.activations}"
        labels.beside(row.operations_per_byte, _figures(row).gigaoperations_per_second, name, "#666666", 6.0)

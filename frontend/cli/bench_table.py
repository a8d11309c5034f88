"""A run's figures as tables: one for each number of activations' rows, contenders by width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ..bench.rows import Comparison, Row, compare, microseconds

COLUMNS = (
    "bits", "weights", "by", "x as", "µs", "GB/s", "of DRAM", "GOP/s", "of peak", "error", "best peer", "ours is",
    "peer as exact", "ours is",
)  # fmt: skip


def line(row: Row) -> str:
    """One row as a line of text, for output that is no terminal."""
    facts, figures = row.facts, row.figures
    head = f"M={row.m:<4} {facts.weights:9} {facts.name:17} {facts.activations:5}"
    if figures is None:
        return f"{head} WRONG: its relative error is {row.error:.1e}"
    return (
        f"{head} {figures.microseconds:10,.1f} µs {figures.gigabytes_per_second:6.1f} GB/s "
        f"({figures.of_bandwidth:4.0%} of {figures.bandwidth_gigabytes_per_second:.1f}) "
        f"{figures.gigaoperations_per_second:7.1f} GOP/s ({figures.of_peak:4.0%} of "
        f"{figures.peak_gigaoperations_per_second:.0f})"
    )


def tables(rows: Sequence[Row]) -> list[Table]:
    """A table for each M: rows by width, ours first, and beside each of ours the best peer."""
    return [_table(m, [row for row in rows if row.m == m]) for m in sorted({row.m for row in rows})]


def _table(m: int, rows: Sequence[Row]) -> Table:
    table = Table(title=f"M = {m}", title_justify="left", title_style="bold", box=None, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("weights", "by", "x as") else "right", no_wrap=True)
    widths = sorted({row.facts.bits for row in rows})
    for bits in widths:
        group = [row for row in rows if row.facts.bits == bits]
        group.sort(key=lambda row: (not row.facts.ours, row.facts.weights if row.facts.ours else "", microseconds(row)))
        for index, row in enumerate(group):
            last = index == len(group) - 1 and bits != widths[-1]
            _add(table, row, compare(row, rows) if row.facts.ours else None, last)
    return table


def _add(table: Table, row: Row, comparison: Comparison | None, last: bool) -> None:
    facts, figures = row.facts, row.figures
    style = "" if facts.ours else "dim"
    names = [str(facts.bits), facts.weights, facts.name, facts.activations]
    if figures is None:
        cells = ["WRONG", "", "", "", "", f"{row.error:.1e}"]
    else:
        cells = [
            f"{figures.microseconds:,.1f}", f"{figures.gigabytes_per_second:.1f}", f"{figures.of_bandwidth:.0%}",
            f"{figures.gigaoperations_per_second:.0f}", f"{figures.of_peak:.0%}", f"{row.error:.1e}",
        ]  # fmt: skip
    against = _against(comparison)
    table.add_row(*names, *cells, *against, style=style, end_section=last)


def _against(comparison: Comparison | None) -> list[Text]:
    if comparison is None:
        return [Text()] * 4
    return [
        *_pair(comparison.best, comparison.ratio),
        *(_pair(comparison.alike, comparison.alike_ratio) if comparison.alike != comparison.best else [Text()] * 2),
    ]


def _pair(peer: Row | None, ratio: float | None) -> list[Text]:
    if peer is None or ratio is None:
        return [Text(), Text()]
    style = "green" if ratio >= 1 else "red"
    return [Text(f"{peer.facts.name} {peer.facts.weights}"), Text(f"{ratio:.2f} x", style)]

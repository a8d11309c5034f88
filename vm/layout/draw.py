"""Pictures of layouts: which lane and which register holds each element."""

from __future__ import annotations

from collections.abc import Iterator
from colorsys import hls_to_rgb
from html import escape

from .relation import Layout, LayoutError
from .spell import spell

_ROWS, _COLUMNS, _COPIES = 32, 32, 4
_CELL, _MARGIN = 46, 34


def table(layout: Layout) -> str:
    """A grid of text: in row i and column j the `lane:reg` of element (i, j), several where there are copies.

    Layouts of one or two dimensions; at most 32 x 32 elements are shown and a note counts the others.
    """
    cells, rows, columns = _cells(layout)
    texts = [[_holders(cells[i, j]) for j in range(columns)] for i in range(rows)]
    width = max(len(t) for row in texts for t in row)
    head = " " * 4 + "  ".join(str(j).rjust(width) for j in range(columns))
    lines = [str(i).rjust(3) + " " + "  ".join(t.rjust(width) for t in row) for i, row in enumerate(texts)]
    return "\n".join(line.rstrip() for line in (_title(layout), head, *lines, *_note(layout, rows, columns)))


def svg(layout: Layout) -> str:
    """The same grid as a picture: a cell is coloured by its (first) lane, and a legend names the lanes."""
    cells, rows, columns = _cells(layout)
    lanes = sorted({held[0][0] for held in cells.values() if held})
    legend_lines = -(-len(lanes) // max(columns, 8))
    width = 2 * _MARGIN + _CELL * max(columns, 8)
    height = 3 * _MARGIN + _CELL * rows + 24 * legend_lines + 20
    notes = _note(layout, rows, columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="ui-monospace, monospace" font-size="12" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="16" text-anchor="start" fill="#222222">{escape(_title(layout))}</text>',
        *_axis_labels(rows, columns),
        *(_cell(i, j, held) for (i, j), held in cells.items()),
        *_legend(lanes, max(columns, 8), 2 * _MARGIN + _CELL * rows),
        *(
            f'<text x="{_MARGIN}" y="{height - 10}" text-anchor="start" fill="#666666">{escape(n)}</text>'
            for n in notes
        ),
        "</svg>",
    ]
    return "\n".join(parts)


_Cells = dict[tuple[int, int], list[tuple[int, int]]]


def _cells(layout: Layout) -> tuple[_Cells, int, int]:
    """The (lane, reg) places of every shown element, and the shown rows and columns."""
    if len(layout.shape) > 2 or layout.axes - {"d0", "d1", "lane", "reg"}:
        raise LayoutError(
            f"only tiles of d0 and d1 over lane and reg can be drawn, not {layout}: forget other axes first"
        )
    tall, wide = _size(layout)
    rows, columns = min(tall, _ROWS), min(wide, _COLUMNS)
    row, column = ("d0", "d1") if len(layout.shape) == 2 else ("d1", "d0")
    cells: _Cells = {(i, j): [] for i in range(rows) for j in range(columns)}
    points = layout.table(row, column, "lane", "reg")
    shown = (points[:, 0] < rows) & (points[:, 1] < columns)
    for i, j, lane, reg in points[shown].tolist():
        cells[i, j].append((lane, reg))
    return {at: sorted(held) for at, held in cells.items()}, rows, columns


def _size(layout: Layout) -> tuple[int, int]:
    """Rows and columns; a layout of one dimension is one row."""
    shape = layout.shape
    return (shape[0], shape[1]) if len(shape) == 2 else (1, shape[0] if shape else 1)


def _title(layout: Layout) -> str:
    tall, wide = _size(layout)
    return (
        f"{spell(layout)}   {tall} x {wide} elements, {layout.size('lane')} lanes, {layout.size('reg')} registers each"
    )


def _holders(held: list[tuple[int, int]]) -> str:
    if not held:
        return "-"
    more = f"+{len(held) - _COPIES}" if len(held) > _COPIES else ""
    return ",".join(f"{lane}:{reg}" for lane, reg in held[:_COPIES]) + more


def _note(layout: Layout, rows: int, columns: int) -> list[str]:
    tall, wide = _size(layout)
    if (rows, columns) == (tall, wide):
        return []
    return [f"shown: the first {rows} x {columns} of {tall} x {wide} elements"]


def _colour(lane: int) -> str:
    """Neighbouring lanes get distant hues (steps of the golden angle), all light enough for dark text."""
    hue, lightness = lane * 0.381966 % 1, (0.80, 0.72, 0.86)[lane % 3]
    return "#" + "".join(f"{round(255 * part):02x}" for part in hls_to_rgb(hue, lightness, 0.62))


def _axis_labels(rows: int, columns: int) -> Iterator[str]:
    for j in range(columns):
        x = _MARGIN + _CELL * j + _CELL // 2
        yield f'<text x="{x}" y="{2 * _MARGIN - 8}" font-size="10" fill="#888888">{j}</text>'
    for i in range(rows):
        y = 2 * _MARGIN + _CELL * i + _CELL // 2 + 4
        yield f'<text x="{_MARGIN // 2 + 4}" y="{y}" font-size="10" fill="#888888">{i}</text>'


def _cell(i: int, j: int, held: list[tuple[int, int]]) -> str:
    x, y = _MARGIN + _CELL * j, 2 * _MARGIN + _CELL * i
    fill = _colour(held[0][0]) if held else "#f4f4f4"
    lane, reg = (str(held[0][0]), str(held[0][1])) if held else ("-", "")
    more = f" +{len(held) - 1}" if len(held) > 1 else ""
    hint = escape(f"({i}, {j}): " + (", ".join(f"lane {a} register {b}" for a, b in held[:32]) or "nowhere"))
    return (
        f'<g><title>{hint}</title><rect x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" height="{_CELL - 2}" rx="5" '
        f'fill="{fill}" stroke="#00000022"/><text x="{x + _CELL // 2}" y="{y + 21}" fill="#222222">{lane}{more}</text>'
        f'<text x="{x + _CELL // 2}" y="{y + 36}" font-size="10" fill="#555555">r{reg}</text></g>'
    )


def _legend(lanes: list[int], per_line: int, top: int) -> Iterator[str]:
    yield f'<text x="{_MARGIN}" y="{top + 24}" text-anchor="start" font-size="11" fill="#222222">lanes</text>'
    for k, lane in enumerate(lanes):
        x, y = _MARGIN + _CELL * (k % per_line), top + 32 + 24 * (k // per_line)
        yield (
            f'<rect x="{x + 1}" y="{y}" width="{_CELL - 6}" height="18" rx="4" fill="{_colour(lane)}"/>'
            f'<text x="{x + _CELL // 2 - 2}" y="{y + 13}" font-size="10" fill="#222222">{lane}</text>'
        )

"""`bitwright layout`: what a layout expression means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    from ...vm.layout.relation import Layout
    from ...vm.layout.storage import Tiled

MOST_POINTS = 1 << 16
"""How many points of a layout --json lists."""

SHOWN_POINTS = 64
"""How many points are printed of a layout that is no tile over lanes and registers."""


def layout_command(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help='A layout, or storage: tiled("...").')],
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw the table into an SVG file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print axes, digits and points as JSON.")] = False,
    bits: Annotated[int | None, typer.Option("--bits", help="Width of an element of storage, in bits.")] = None,
) -> None:
    """Show which lane and register hold each element.

    A cell of the table is `lane:register`. Of storage, `tiled("...", container=8)`, the tile's table is shown and how
    many bytes a tile takes; --bits gives the width of an element.

    Example: `bitwright layout "spatial(8, 4) * local(1, 2)" --svg mma.svg`
    """
    from ...vm.layout.draw import svg as draw
    from .files import replace_file

    found, store = _read(expression, bits)
    if svg is not None:
        replace_file(svg, draw(found).encode())
    if as_json:
        typer.echo(json.dumps(_facts(found, store)))
        return
    show(_text(found))
    if store is not None:
        show("\n".join(f"{name}: {value}" for name, value in _storage_facts(store).items()))


def _read(expression: str, bits: int | None) -> tuple[Layout, Tiled | None]:
    from ...vm.layout.text import layout, storage

    if not expression.strip().startswith("tiled"):
        if bits is not None:
            raise CliError("--bits belongs to storage; a layout has no element width: leave --bits out")
        return layout(expression), None
    if bits is None:
        raise CliError("storage depends on the width of its elements: add --bits, for example --bits 3")
    store = storage(expression, bits)
    return store.tile, store


def _drawable(layout: Layout) -> bool:
    return len(layout.shape) <= 2 and not layout.axes - {"d0", "d1", "lane", "reg"}


def _text(layout: Layout) -> str:
    """The table, or a list of points where a table cannot say it."""
    from ...vm.layout.draw import table
    from ...vm.layout.spell import spell

    if _drawable(layout):
        return table(layout)
    axes = _axes(layout)
    lines = [f"{spell(layout)}   {layout.count} points", "  ".join(axis.rjust(6) for axis in axes)]
    if layout.count <= MOST_POINTS:
        points = layout.table(*axes)
        lines += ["  ".join(str(place).rjust(6) for place in point) for point in points[:SHOWN_POINTS].tolist()]
    else:
        lines += [f"  {digit}" for digit in layout.digits]
    if SHOWN_POINTS < layout.count <= MOST_POINTS:
        lines.append(f"shown: the first {SHOWN_POINTS} of {layout.count} points")
    return "\n".join(lines)


def _axes(layout: Layout) -> list[str]:
    """The axes, logical dimensions first."""
    dimensions = [f"d{k}" for k in range(len(layout.shape))]
    return dimensions + sorted(layout.axes - set(dimensions))


def _facts(layout: Layout, store: Tiled | None) -> dict[str, object]:
    from ...vm.layout.spell import spell

    if layout.count > MOST_POINTS:
        raise CliError(f"--json lists every point, at most {MOST_POINTS}; this layout has {layout.count}")
    axes = _axes(layout)
    facts: dict[str, object] = {
        "layout": spell(layout),
        "shape": list(layout.shape),
        "digits": [
            {"extent": d.extent, "strides": {axis: d.on(axis) for axis in sorted(d.axes)}} for d in layout.digits
        ],
        "axes": axes,
        "points": layout.table(*axes).tolist(),
    }
    return facts if store is None else {**facts, "storage": _storage_facts(store)}


def _storage_facts(store: Tiled) -> dict[str, object]:
    used = store.regs * store.lanes * store.packing.bits
    return {
        "element bits": store.packing.bits,
        "container bits": store.packing.container,
        "unit bits": store.packing.unit or store.packing.container,
        "planes": list(store.packing.planes),
        **({"fields": list(store.packing.fields)} if store.packing.fields else {}),
        "vector words": store.vector,
        "words per lane": store.words_per_lane,
        "tile bytes": store.tile_bytes,
        "padding bits per tile": 8 * store.tile_bytes - used,
    }

"""From one layout to another: registers are renamed where lanes agree, and shuffled between lanes where they do not."""

from __future__ import annotations

from dataclasses import replace

from ...vm.ir import Value
from ...vm.layout.relation import Layout
from ...vm.layout.spread import cover
from ...vm.ops import Store, View
from ..lane.ir import Reg
from .context import Context
from .exchange import Taken, shuffled
from .tile import Tile, coordinates, matching


def lower_convert(c: Context, result: Value, source: Value) -> None:
    c.tiles[result] = converted(c, c.tile(source), result)


def in_order(c: Context, op: Store | View, operand: Value) -> Tile:
    """The operand with its registers in the order that the instruction asks for; it is on the right lanes already."""
    tile = c.tile(operand)
    wanted = op.layouts(c.lanes, None, (tile.layout,)).operands[0]
    assert wanted is not None
    return converted(c, tile, Value(operand.name, replace(tile.type, layout=cover(wanted, c.lanes))))


def converted(c: Context, tile: Tile, result: Value) -> Tile:
    kind = result.type
    assert kind.layout is not None
    if kind.layout == tile.layout:
        return tile
    rank = len(kind.shape)
    match = matching(tile.layout, kind.layout, rank, c.lanes)
    if match is not None:
        return tile.renamed(c.b, kind, match)
    values = tuple(tile.values(c.b))
    places = _sources(c, tile.layout, kind.layout, rank)
    return Tile(kind, tuple(shuffled(c, [_taken(values, *p) for p in places])))


def _sources(c: Context, old: Layout, new: Layout, rank: int) -> list[tuple[list[int], list[int]]]:
    """For each new register: the old register and lane that each lane takes its element from, if it can its own."""
    have, want = coordinates(old, rank, c.lanes), coordinates(new, rank, c.lanes)
    where: dict[tuple[int, ...], dict[int, int]] = {}
    for lane in range(c.lanes):
        for register in range(have.shape[1]):
            where.setdefault(tuple(have[lane, register].tolist()), {}).setdefault(lane, register)
    out = []
    for register in range(want.shape[1]):
        registers, lanes = [], []
        for lane in range(c.lanes):
            places = where[tuple(want[lane, register].tolist())]
            home = lane if lane in places else next(iter(places))
            registers.append(places[home])
            lanes.append(home)
        out.append((registers, lanes))
    return out


def _taken(values: tuple[Reg, ...], registers: list[int], lanes: list[int]) -> Taken:
    used = sorted(set(registers))
    if values[used[0]].uniform and all(values[r] is values[used[0]] for r in used):
        return Taken((values[used[0]],), (0,) * len(lanes), tuple(lanes))
    order = {r: i for i, r in enumerate(used)}
    return Taken(tuple(values[r] for r in used), tuple(order[r] for r in registers), tuple(lanes))

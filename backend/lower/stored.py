"""Loads and stores of arrays that are stored in tiles: whole storage tiles, in which every lane's words are its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from ...vm.expr import Expr, ceildiv, const, lt
from ...vm.ir import Array, TileType
from ...vm.layout.relation import Layout
from ...vm.layout.storage import Tiled
from ...vm.ops import Load
from ..lane.ir import Read, Reg, Write
from .access import promised
from .context import Context, Staged
from .swar import insert
from .tile import Packed, Tile, coordinates

__all__ = [
    "Place",
    "load_stored",
    "places",
    "reads_inside",
    "shared_piece",
    "store_stored",
    "tile_extents",
    "tile_pitches",
]


@dataclass(frozen=True)
class Place:
    """Where a lane finds a storage tile: its own words begin at base + offset; a lane reads it only where `inside`."""

    base: Reg
    offset: Reg
    inside: Reg | None


def places(c: Context, array: Array, at: tuple[Expr, ...], layout: Layout, rank: int) -> Iterator[Place]:
    """The storage tiles of an access in the order of the registers that they fill; each lane has as many."""
    storage = array.storage
    assert storage is not None
    extents = tile_extents(array)
    firsts = coordinates(layout, rank, c.lanes)[:, :: storage.regs] // np.array(extents)
    lane = np.arange(c.lanes, dtype=np.int64) % storage.lanes * storage.vector * 4
    for number in range(firsts.shape[1]):
        yield _place(c, array, at, extents, firsts[:, number], lane)


def tile_extents(array: Array) -> tuple[int, ...]:
    """The elements of a storage tile along each dimension of the array."""
    assert array.storage is not None
    shape = array.storage.tile_shape
    return (*shape, *[1] * (len(array.shape) - len(shape)))


def tile_pitches(array: Array) -> tuple[Expr, ...]:
    """How many storage tiles apart neighbouring ones along each dimension are."""
    pitches: list[Expr] = [const(1)]
    for size, t in zip(array.shape[:-1], tile_extents(array), strict=False):
        pitches.append(pitches[-1] * ceildiv(size, t))
    return tuple(pitches)


def _place(
    c: Context, array: Array, at: tuple[Expr, ...], extents: tuple[int, ...], tile: NDArray[np.int64],
    lane: NDArray[np.int64],
) -> Place:  # fmt: skip
    """`tile`: [lanes, rank], how many storage tiles each lane's is from the first of the access."""
    b, storage = c.b, array.storage
    assert storage is not None
    linear: Expr = const(0)
    far: Reg | None = None
    inside: Reg | None = None
    for dim, (a, t, size, pitch) in enumerate(zip(at, extents, array.shape, tile_pitches(array), strict=True)):
        first, more = int(tile[0, dim]), tile[:, dim] - tile[0, dim]
        linear = linear + (a // t + first) * pitch
        if more.any():
            step = b.apply("mul", b.i64(more), c.index(pitch * storage.tile_bytes))
            far = step if far is None else b.apply("add", far, step)
        if not c.proves_inside(a + int(tile[:, dim].max()) * t, 1, size):
            here = _inside(c, a + first * t, more * t, size)
            inside = here if inside is None else b.apply("and", inside, here)
    base = b.apply("add", c.address(array), c.index(linear * storage.tile_bytes))
    offset = b.i32(lane) if far is None else b.apply("add", far, b.i64(lane))
    return Place(base, offset, inside)


def reads_inside(c: Context, op: Load) -> bool:
    """Whether it is known that every storage tile of a load is one of the array's."""
    array = op.source
    assert isinstance(array, Array)
    assert array.storage is not None
    dims = zip(op.at, op.shape, tile_extents(array), array.shape, strict=True)
    return all(c.proves_inside(a + (extent - 1) // t * t, 1, size) for a, extent, t, size in dims)


def _inside(c: Context, start: Expr, more: NDArray[np.int64], size: Expr) -> Reg:
    if not more.any():
        return c.condition(lt(start, size))
    return c.b.apply("slt", c.b.apply("add", c.index(start), c.b.i64(more)), c.index(size))


def load_stored(c: Context, op: Load, kind: TileType, other: int) -> Tile:
    """A tile of packed words: nothing to assemble, and a guard for each storage tile."""
    array = op.source
    assert isinstance(array, Array)
    storage = array.storage
    assert storage is not None
    assert kind.layout is not None
    words: list[Reg] = []
    found = []
    place = storage.packing.place(storage.regs)
    absent = insert(c.b, [c.b.i32(other)] * storage.regs, place, storage.words_per_lane)
    if op in c.staged:
        return _load_staged(c, c.staged[op], storage, kind)
    for where in places(c, array, op.at, kind.layout, len(kind.shape)):
        found.append(place + 32 * len(words))
        for first in range(0, storage.words_per_lane, storage.vector):
            read = _read(c, array, storage, where, first)
            if where.inside is not None and other:
                stand = absent[first : first + storage.vector]
                inside = where.inside
                read = tuple(c.b.apply("select", inside, x, y) for x, y in zip(read, stand, strict=True))
            words += read
    return Tile(kind, Packed(tuple(words), np.concatenate(found)))


def shared_piece(c: Context, first: int, place: Reg, vector: int) -> tuple[Reg, Reg]:
    """(base, offset) of the lane's piece, of those that begin at byte `first` of a ring's place: neighbours' follow."""
    lane = np.arange(c.lanes, dtype=np.int64) * 4 * vector
    return c.b.shared(first), c.b.apply("add", place, c.b.i32(lane))


def _load_staged(c: Context, staged: Staged, storage: Tiled, kind: TileType) -> Tile:
    """The same, from the place in shared memory to which the lane copied its words."""
    place = storage.packing.place(storage.regs)
    count = coordinates(kind.layout or Layout(), len(kind.shape), c.lanes).shape[1] // storage.regs
    words: list[Reg] = []
    for word in range(0, count * storage.words_per_lane, staged.vector):
        first = staged.ring + staged.first + word * 4 * c.lanes
        base, lane = shared_piece(c, first, staged.place, staged.vector)
        words += c.b.read(Read(base, lane, 32, staged.vector, None, 4 * staged.vector, "shared"))
    places = [place + 32 * storage.words_per_lane * i for i in range(count)]
    return Tile(kind, Packed(tuple(words), np.concatenate(places)))


def _read(c: Context, array: Array, storage: Tiled, where: Place, first: int) -> tuple[Reg, ...]:
    start = c.b.apply("add", where.base, c.b.i64(first * storage.lanes * 4))
    align = gcd(promised(c, array), 4 * storage.vector)
    return c.b.read(Read(start, where.offset, 32, storage.vector, where.inside, align))


def store_stored(c: Context, array: Array, at: tuple[Expr, ...], tile: Tile) -> None:
    storage = array.storage
    assert storage is not None
    codes = [tile.code(c.b, r) for r in range(tile.registers)]
    place = storage.packing.place(storage.regs)
    rank = len(tile.type.shape)
    own = _owners(c, tile.layout, rank)
    mine = None if own.all() else c.b.constant("i1", own)
    for index, where in enumerate(places(c, array, at, tile.layout, rank)):
        inside = where.inside
        mask = inside if mine is None else mine if inside is None else c.b.apply("and", mine, inside)
        held = codes[index * storage.regs : (index + 1) * storage.regs]
        words = insert(c.b, held, place, storage.words_per_lane)
        for first in range(0, len(words), storage.vector):
            start = c.b.apply("add", where.base, c.b.i64(first * storage.lanes * 4))
            values = tuple(words[first : first + storage.vector])
            c.b.effect(Write(start, where.offset, 32, values, mask, gcd(promised(c, array), 4 * storage.vector)))


def _owners(c: Context, layout: Layout, rank: int) -> NDArray[np.int64]:
    """1 for the first of the lanes that hold the same elements, 0 for the others."""
    held = coordinates(layout, rank, c.lanes).reshape(c.lanes, -1)
    first = np.zeros(c.lanes, np.int64)
    first[np.unique(held, axis=0, return_index=True)[1]] = 1
    return first

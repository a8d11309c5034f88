"""How an array of n-bit elements lies in memory, tile by tile.

The order of everything is derived: the tile's relation says which element is in which register of which lane, the
packing says which bits of which word that register is. Nobody writes index arithmetic for one format.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
import numpy.typing as npt

from .packing import WORD, Packing, StorageError, default_planes
from .relation import Digit, Layout
from .spell import spell

__all__ = ["WORD", "Packing", "StorageError", "Tiled", "default_planes"]

Codes = npt.NDArray[np.unsignedinteger]

_CHUNK = 1 << 15
"""Elements per register that are packed at once: few enough for the second-level cache."""


@dataclass(frozen=True)
class Tiled:
    """Tiles of an array, one after the other, dimension 0 fastest; in each, `vector` words of a lane lie together.

    `tile` is one-to-one between (d0, d1, ..) and (lane, reg). Word w of lane l is the 32-bit word number
    (w // vector) * (lanes * vector) + l * vector + w % vector of its tile; words are little-endian.
    """

    tile: Layout
    packing: Packing
    vector: int = 1

    def __post_init__(self) -> None:
        dims = tuple(f"d{k}" for k in range(len(self.tile.shape)))
        extra = sorted(self.tile.axes - {*dims, "lane", "reg"})
        if extra:
            raise StorageError(f"the tile {self.tile} has the axes {extra}; storage knows d0, d1, .., lane and reg")
        if not (self.tile.fills(*dims) and self.tile.fills("lane", "reg")):
            raise StorageError(f"the tile {self.tile} does not give every element one register of one lane and back")
        if self.vector < 1:
            raise StorageError(f"a vector is at least 1 word long, not {self.vector}")

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Extents of a tile; dimensions of the array beyond these have tile extent 1."""
        return self.tile.shape

    @property
    def lanes(self) -> int:
        return self.tile.size("lane")

    @property
    def regs(self) -> int:
        """Elements per lane and tile."""
        return self.tile.size("reg")

    @property
    def words_per_lane(self) -> int:
        """Words per lane and tile, padded to whole vectors."""
        return -(-self.packing.total_words(self.regs) // self.vector) * self.vector

    @property
    def tile_bytes(self) -> int:
        return self.lanes * self.words_per_lane * WORD // 8

    def word_index(self, word: int, lane: int) -> int:
        """Where in its tile a word of a lane is, counted in words."""
        return word // self.vector * self.lanes * self.vector + lane * self.vector + word % self.vector

    def grid(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """How many tiles an array of this shape has along each dimension."""
        return tuple(-(-n // t) for n, t in zip(shape, self._extents(shape), strict=True))

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of an array of this shape; partial tiles are stored whole."""
        return prod(self.grid(shape)) * self.tile_bytes

    def positions(self) -> npt.NDArray[np.int64]:
        """An array [lanes, regs, bits]: where in the tile each bit of each register is, in bits."""
        place = self.packing.place(self.regs)
        word, lane = place[None] // WORD, np.arange(self.lanes)[:, None, None]
        index = word // self.vector * self.lanes * self.vector + lane * self.vector + word % self.vector
        positions: npt.NDArray[np.int64] = index * WORD + place[None] % WORD
        return positions

    def pack(self, codes: npt.NDArray[np.integer], fill: int = 0) -> npt.NDArray[np.uint8]:
        """Store an array of codes, each in 0 .. 2**bits - 1, as `nbytes(codes.shape)` bytes.

        `fill` is the code of elements that pad partial tiles. StorageError for a code that does not fit.
        """
        self._check_codes(codes, fill)
        shape, small = codes.shape, self._code_type()
        padded = tuple(g * t for g, t in zip(self.grid(shape), self._extents(shape), strict=True))
        whole = codes.astype(small, copy=False)
        if padded != shape:
            whole = np.full(padded, fill, small)
            whole[tuple(slice(n) for n in shape)] = codes
        digits, order = self._order(shape)
        tiles = prod(self.grid(shape))
        fields = whole.reshape(digits).transpose(order).reshape(self.regs, tiles, self.lanes)
        return self._join(np.ascontiguousarray(fields)).view(np.uint8)

    def unpack(self, buffer: npt.NDArray[np.uint8] | bytes, shape: tuple[int, ...]) -> Codes:
        """The codes of an array of this shape (the smallest of uint8, uint16, uint32 that holds them)."""
        raw = np.frombuffer(bytearray(buffer), np.uint8) if isinstance(buffer, bytes) else np.ascontiguousarray(buffer)
        if raw.dtype != np.uint8:
            raise StorageError(f"stored tiles are bytes (uint8), not {raw.dtype}: use buffer.view(numpy.uint8)")
        if raw.size != self.nbytes(shape):
            raise StorageError(f"an array of shape {shape} takes {self.nbytes(shape)} bytes here, not {raw.size}")
        digits, order = self._order(shape)
        fields = self._split(raw.reshape(-1).view("<u4"), prod(self.grid(shape)))
        padded = [g * t for g, t in zip(self.grid(shape), self._extents(shape), strict=True)]
        moved = fields.reshape([digits[k] for k in order]).transpose(np.argsort(order)).reshape(padded)
        return np.ascontiguousarray(moved[tuple(slice(n) for n in shape)])

    def __str__(self) -> str:
        p = self.packing
        parts = f"fields={p.fields}" if p.fields else f"planes={p.planes}{f', unit={p.unit}' if p.unit else ''}"
        return f'tiled("{spell(self.tile)}", container={p.container}, {parts}, vector={self.vector})'

    def _extents(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) < len(self.tile_shape):
            raise StorageError(f"an array of shape {shape} has fewer dimensions than its tiles {self.tile_shape}")
        return self.tile_shape + (1,) * (len(shape) - len(self.tile_shape))

    def _code_type(self) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
        return np.uint8 if self.packing.bits <= 8 else np.uint16 if self.packing.bits <= 16 else np.uint32

    def _check_codes(self, codes: npt.NDArray[np.integer], fill: int) -> None:
        if codes.dtype.kind not in "ui":
            raise StorageError(f"codes are integers; an array of {codes.dtype} must be encoded first")
        low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, 0)
        if min(low, fill) < 0 or max(high, fill) >> self.packing.bits:
            worst = min(low, fill) if min(low, fill) < 0 else max(high, fill)
            raise StorageError(f"the code {worst} does not fit {self.packing.bits} bits: codes count from 0")

    def _order(self, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """The padded array as digits, and the order of those digits that is (reg, tile, lane)."""
        sizes: list[int] = []
        tiles: list[int] = []
        places: dict[Digit, int] = {}
        for k, count in enumerate(self.grid(shape)):
            axis = f"d{k}"
            tiles.append(len(sizes))
            sizes.append(count)
            for digit in sorted((d for d in self.tile.digits if d.on(axis)), key=lambda d: -d.on(axis)):
                places[digit] = len(sizes)
                sizes.append(digit.extent)
        regs, lanes = (
            [places[d] for d in sorted((d for d in places if d.on(axis)), key=lambda d: -d.on(axis))]
            for axis in ("reg", "lane")
        )
        return sizes, [*regs, *reversed(tiles), *lanes]

    def _join(self, fields: Codes) -> npt.NDArray[np.uint32]:
        """Words from fields [reg, tile, lane]."""
        tiles, per_lane = fields.shape[1], self.words_per_lane
        out = np.zeros((tiles, per_lane // self.vector, self.lanes, self.vector), "<u4")
        pieces = self.packing.pieces(self.regs)
        starts = [k for k in range(len(pieces)) if k == 0 or pieces[k].word != pieces[k - 1].word]
        step = max(1, _CHUNK // self.lanes)
        for at in range(0, tiles, step):
            chunk = slice(at, at + step)
            for first, last in pairwise((*starts, len(pieces))):
                words = np.zeros(fields[0, chunk].shape, np.uint32)
                for p in pieces[first:last]:
                    field = fields[p.reg, chunk] >> p.low & ((1 << p.width) - 1)
                    words |= field.astype(np.uint32) << p.shift
                word = pieces[first].word
                out[chunk, word // self.vector, :, word % self.vector] = words
        return out.reshape(-1)

    def _split(self, words: npt.NDArray[np.uint32], tiles: int) -> Codes:
        """Fields [reg, tile, lane] from words: the reverse of `_join`."""
        small = self._code_type()
        fields: Codes = np.zeros((self.regs, tiles, self.lanes), small)
        grid = words.reshape(tiles, self.words_per_lane // self.vector, self.lanes, self.vector)
        step = max(1, _CHUNK // self.lanes)
        for at in range(0, tiles, step):
            chunk, held, row = slice(at, at + step), -1, np.zeros(0, np.uint32)
            for p in self.packing.pieces(self.regs):
                if p.word != held:
                    held, row = (
                        p.word,
                        np.ascontiguousarray(grid[chunk, p.word // self.vector, :, p.word % self.vector]),
                    )
                field = (row >> p.shift & ((1 << p.width) - 1)) << p.low
                fields[p.reg, chunk] |= field.astype(small)
        return fields

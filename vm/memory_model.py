"""What memory means: windows of arrays, and the accesses that no order of lanes and blocks would make right.

Every memory is an array of codes.  Each access names a window: the tile of `shape` elements that starts at `at`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .interpret_error import AccessError
from .ir import Array, Shared
from .memory_order import BlockOrder, Stamps, block_of

Codes = NDArray[np.unsignedinteger]
At = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """The part of a tile that lies inside a memory: `there` selects it in the memory, `here` in the tile."""

    there: tuple[slice, ...]
    here: tuple[slice, ...]


def window(name: str, at: At, shape: At, sizes: At, stored: At) -> Window:
    """The window in a memory of `sizes`, of which `stored` (>= sizes) elements exist.

    AccessError for a tile that starts before the memory or past its end; of an empty memory only the start is checked.
    """
    for dim, (start, size) in enumerate(zip(at, sizes, strict=True)):
        if not 0 <= start < max(size, 1):
            side = "before the start" if start < 0 else "past the end"
            raise AccessError(
                f"out of bounds: the tile {list(shape)} at {list(at)} starts {side} of {name} {list(sizes)} "
                f"along dimension {dim}",
                "only a tile that starts inside may reach past the end",
            )
    ends = tuple(min(a + n, s) for a, n, s in zip(at, shape, stored, strict=True))
    there = tuple(slice(a, e) for a, e in zip(at, ends, strict=True))
    return Window(there, tuple(slice(0, e - a) for a, e in zip(at, ends, strict=True)))


class GlobalArray:
    """An array that all blocks see.

    It watches for accesses of different blocks to one element, where one of them changes it, and for elements of
    fewer than 8 bits to one byte; only locks order blocks.  An array in tiles also has the padding of its last tiles.
    """

    def __init__(self, array: Array, sizes: At, codes: Codes, order: BlockOrder, watched: bool) -> None:
        self.array, self.sizes, self.codes = array, sizes, codes
        self._order = order
        self._writer: Stamps | None = np.zeros(codes.shape, np.int64) if watched else None
        self._reader: Stamps | None = np.zeros(codes.shape, np.int64) if watched else None
        narrow = watched and array.storage is None and array.dtype.bits < 8 and array.dtype.name != "bool"
        self._bytes = np.zeros(codes.size * array.dtype.bits // 8 + 1, np.int64) if narrow else None

    def read(self, at: At, shape: At, other: np.unsignedinteger) -> Codes:
        """The tile's codes; `other` past the end."""
        w = self._window(at, shape)
        tile = np.full(shape, other, self.codes.dtype)
        tile[w.here] = self.codes[w.there]
        if self._writer is not None and self._reader is not None:
            self._refuse(self._order.foreign(self._writer[w.there]), self._writer[w.there], w, "reads", "writes")
            readers = self._reader[w.there]
            # A reader that this block does not know of stays noted: it is the one that a write would clash with.
            self._reader[w.there] = np.where(self._order.foreign(readers), readers, self._order.stamp)
        return tile

    def write(self, at: At, tile: Codes) -> None:
        """Stores the tile's codes; what is past the end is dropped."""
        w = self._window(at, tile.shape)
        new, old = tile[w.here], self.codes[w.there]
        if self._writer is not None and self._reader is not None:
            writers = self._writer[w.there]
            changed = new != old
            self._refuse(self._order.foreign(writers) & changed, writers, w, "writes another value to", "writes")
            readers = self._reader[w.there]
            self._refuse(self._order.foreign(readers) & changed, readers, w, "writes", "reads")
            self._check_bytes(w, writers)
            self._writer[w.there] = self._order.stamp
        self.codes[w.there] = new

    def _window(self, at: At, shape: At) -> Window:
        return window(self.array.name, at, shape, self.sizes, self.codes.shape)

    def _refuse(self, where: NDArray[np.bool_], stamps: Stamps, w: Window, does: str, did: str) -> None:
        if where.any():
            inside = np.argwhere(where)[0].tolist()
            element = [s.start + i for s, i in zip(w.there, inside, strict=True)]
            other = block_of(int(stamps[tuple(inside)]))
            raise AccessError(
                f"two blocks clash: this block {does} element {element} of {self.array.name}, which block number "
                f"{other} {did} too",
                "give each block its own part of the array, or order the blocks with lock and release",
            )

    def _check_bytes(self, w: Window, writers: Stamps) -> None:
        """Refuses to write to a byte in which another block wrote other elements; notes the bytes as this block's."""
        if self._bytes is None:
            return
        bits = self.array.dtype.bits
        index = np.arange(self.codes.size).reshape(self.codes.shape)[w.there]
        for byte in (index * bits // 8, (index * bits + bits - 1) // 8):
            clash = self._order.foreign(self._bytes[byte]) & ~self._order.foreign(writers)
            if clash.any():
                where = int(byte[clash][0])
                raise AccessError(
                    f"two blocks write one byte: byte {where} of {self.array.name} holds elements of this block and of "
                    f"block number {block_of(int(self._bytes[where]))}",
                    f"let blocks begin at whole bytes ({8 // int(np.gcd(bits, 8))} elements of {self.array.dtype})",
                )
        for byte in (index * bits // 8, (index * bits + bits - 1) // 8):
            self._bytes[byte] = self._order.stamp


class SharedTile:
    """A tile that the lanes of one block share.

    It watches for reads of what was never stored or is still being copied, and for races: between two barriers an
    element that one access stores must not be read or stored by another, for other lanes may carry that one out.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.codes: Codes = np.zeros(shared.shape, shared.dtype.code_dtype)
        self._stored = np.zeros(shared.shape, np.bool_)
        self._copying = np.zeros(shared.shape, np.bool_)
        self._writer = np.zeros(shared.shape, np.int64)
        self._reader = np.zeros(shared.shape, np.int64)

    def read(self, at: At, shape: At, other: np.unsignedinteger, access: int) -> Codes:
        """The tile's codes, `other` past the end.  `access` > 0 names the statement and its lanes."""
        w = self._window(at, shape)
        self._refuse(w, self._copying, "read before its wait", "call commit() and wait(0) after the copy")
        self._refuse(w, ~self._stored, "read, but never stored to", "store to all of it first")
        self._refuse_race(w, self._writer, access, "read, and stored to by another statement")
        tile = np.full(shape, other, self.codes.dtype)
        tile[w.here] = self.codes[w.there]
        readers = self._reader[w.there]
        self._reader[w.there] = np.where((readers == 0) | (readers == access), access, -1)
        return tile

    def write(self, at: At, tile: Codes, access: int) -> Window:
        """Stores the tile's codes; what is past the end is dropped."""
        w = self._window(at, tile.shape)
        self._refuse(w, self._copying, "stored to while it is being copied to", "wait for the copy first")
        self._refuse_race(w, self._writer, access, "stored to, and stored to by another statement")
        self._refuse_race(w, self._reader, access, "stored to, and read by another statement")
        self.codes[w.there] = tile[w.here]
        self._stored[w.there] = True
        self._writer[w.there] = access
        return w

    def copy(self, at: At, tile: Codes, access: int) -> Window:
        """As `write`, but what is written may not be touched before `arrive` of the window."""
        w = self.write(at, tile, access)
        self._copying[w.there] = True
        return w

    def arrive(self, w: Window) -> None:
        """The copy to the window is done, and every lane sees it."""
        self._copying[w.there] = False
        self._writer[w.there] = 0

    def barrier(self) -> None:
        """Every lane has done what it had to do; copies go on."""
        self._writer[...] = 0
        self._reader[...] = 0

    def _window(self, at: At, shape: At) -> Window:
        return window(self.shared.name, at, shape, self.shared.shape, self.shared.shape)

    def _refuse(self, w: Window, where: NDArray[np.bool_], what: str, hint: str) -> None:
        if where[w.there].any():
            inside = np.argwhere(where[w.there])[0].tolist()
            element = [s.start + i for s, i in zip(w.there, inside, strict=True)]
            raise AccessError(f"element {element} of the shared tile {self.shared.name} is {what}", hint)

    def _refuse_race(self, w: Window, last: NDArray[np.int64], access: int, what: str) -> None:
        self._refuse(w, (last != 0) & (last != access), f"{what} since the last barrier", "put barrier() between them")


class Copies:
    """The asynchronous copies of one block: those since the last commit, and committed groups, the oldest first."""

    def __init__(self) -> None:
        self._open: list[tuple[SharedTile, Window]] = []
        self._groups: deque[list[tuple[SharedTile, Window]]] = deque()

    def start(self, tile: SharedTile, w: Window) -> None:
        self._open.append((tile, w))

    def commit(self) -> None:
        self._groups.append(self._open)
        self._open = []

    def wait(self, pending: int) -> None:
        """Groups arrive, the oldest first, until at most `pending` are under way."""
        while len(self._groups) > pending:
            for tile, w in self._groups.popleft():
                tile.arrive(w)

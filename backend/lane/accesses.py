"""How simulated lanes reach memory: reads, writes, matrices of a warp, and asynchronous copies with their groups."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .facts import Tally
from .ir import CopyAsync, Exchange, Let, Read, ReadMatrix, Reg, Space, Write
from .meaning import Lanes
from .race import MANY
from .spaces import Landing, Spaces

__all__ = ["Accesses"]

Ints = NDArray[np.int64]

MATRIX_WARP = 32  # lanes that read matrices together
_ROWS = 8  # of a matrix, of 16 bytes each


class Accesses:
    """The accesses of a block of `lanes` lanes; `get` gives a register's value, of all lanes or (uniform) one."""

    def __init__(self, get: Callable[[Reg], Lanes], lanes: int, warp: int | None, spaces: Spaces, tally: Tally) -> None:
        self.get = get
        self.lanes = lanes
        self.warp = warp
        self.spaces = spaces
        self.tally = tally
        self._open: list[Landing] = []
        self._groups: deque[list[Landing]] = deque()
        self._products: list[tuple[Ints, int]] = []

    def begin_block(self) -> None:
        self.spaces.forget_shared()
        self._open = []
        self._groups.clear()
        self._products.clear()

    def read(self, let: Let, op: Read) -> tuple[Lanes, ...]:
        size = op.bits // 8
        uniform = all(r.uniform for r in (op.base, op.offset, *([op.mask] if op.mask is not None else [])))
        data = self._bytes(let, op.base, op.offset, op.mask, op.count * size, op.align, op.space, uniform)
        fields = data.view(f"<u{size}").T
        return tuple(np.ascontiguousarray(f).astype(np.int64 if size == 8 else np.uint32).view(
            np.int64 if size == 8 else np.int32) for f in fields)  # fmt: skip

    def _bytes(
        self, let: Let, base: Reg, offset: Reg, mask: Reg | None, size: int, align: int, space: Space, uniform: bool
    ) -> NDArray[np.uint8]:
        """[lanes, size]: what lies there, 0 for lanes that are masked.  All lanes do what is uniform."""
        lanes = 1 if uniform else self.lanes
        address = np.broadcast_to(self.address(base, offset), (lanes,))
        acting = self._acting(lanes, MANY)
        on = self._on(mask, lanes)
        if on is None:
            data = self.spaces.read(address, size, align, space, acting)
            self.tally.access(let, space, False, address, acting, size, align)
            return data
        data = np.zeros((lanes, size), np.uint8)
        who = None if acting is None else acting[on]
        data[on] = self.spaces.read(address[on], size, align, space, who)
        self.tally.access(let, space, False, address[on], who, size, align)
        return data

    def write(self, let: Let, op: Write) -> None:
        regs = (op.base, op.offset, *op.values, *([op.mask] if op.mask is not None else []))
        lanes = 1 if all(r.uniform for r in regs) else self.lanes
        address = np.broadcast_to(self.address(op.base, op.offset), (lanes,))
        size = op.bits // 8
        columns = [np.ascontiguousarray(np.broadcast_to(self.get(v), (lanes,))) for v in op.values]
        data = np.concatenate([c.view(np.uint8).reshape(lanes, -1)[:, :size] for c in columns], axis=1)
        who, on = self._acting(lanes, 0), self._on(op.mask, lanes)
        if on is not None:
            address, data, who = address[on], data[on], None if who is None else who[on]
        self.spaces.write(address, data, op.align, op.space, who)
        self.tally.access(let, op.space, True, address, who, data.shape[1], op.align)

    def exchange(self, op: Exchange) -> Lanes:
        """Atomic: it races with nothing."""
        address = self.address(op.base, op.offset)
        space = "shared" if address[0] >= self.spaces.shared_base else "global"
        old = self.spaces.read(address, 4, 4, space).view(np.int32).reshape(1)
        if old[0] == self.get(op.expected)[0]:
            self.spaces.write(address, self.get(op.new).view(np.uint8).reshape(1, 4), 4, space)
        return old

    def read_matrix(self, let: Let, op: ReadMatrix) -> tuple[Lanes, ...]:
        """Every lane's words of `count` matrices, for each warp."""
        if self.lanes % MATRIX_WARP:
            raise ValueError(f"whole warps of {MATRIX_WARP} lanes read matrices, but there are {self.lanes} lanes")
        given = np.broadcast_to(self.address(op.base, op.offset), (self.lanes,)).reshape(-1, MATRIX_WARP)
        rows = given[:, : _ROWS * op.count]
        acting = np.arange(self.lanes).reshape(-1, MATRIX_WARP)[:, : _ROWS * op.count]
        who = None if self.warp is None else np.full(rows.size, MANY)
        data = self.spaces.read(rows.reshape(-1), 16, 16, "shared", who).reshape(-1, op.count, _ROWS, 16)
        self.tally.access(let, "shared", False, rows.reshape(-1), acting.reshape(-1), 16, 16)
        halves = data.view(np.uint16)
        turned = np.ascontiguousarray(halves.swapaxes(2, 3) if op.transposed else halves)
        words = turned.view(np.int32).reshape(-1, op.count, MATRIX_WARP)
        return tuple(np.ascontiguousarray(words[:, m]).reshape(-1) for m in range(op.count))

    # Asynchronous copies

    def copy(self, let: Let, op: CopyAsync) -> None:
        """Reads at once; lanes in step see the bytes at once, others when they have waited."""
        data = self._bytes(let, op.base, op.offset, op.mask, op.size, op.size, "global", False)
        address = np.broadcast_to(self.address(op.to, op.at), (self.lanes,))
        who = self._acting(self.lanes, 0)
        if who is None:
            self.spaces.write(address, data, op.size, "shared")
        else:
            self._open.append(self.spaces.start(address, data, who))
        self.tally.access(let, "shared", True, address, who, op.size, op.size)

    def commit(self) -> None:
        self._groups.append(self._open)
        self._open = []

    def wait(self, pending: int) -> None:
        while len(self._groups) > pending:
            for landing in self._groups.popleft():
                self.spaces.land(landing)

    # Products that read shared memory while lanes go on

    def read_for_product(self, places: Ints, size: int) -> NDArray[np.uint8]:
        """[count, size]: bytes of shared memory that must stay as they are until the product was waited for."""
        self.spaces.refuse_unfenced(places, size)
        self._products.append((places, size))
        return self._read_shared(places, size)

    def end_products(self) -> None:
        """What was read is read again: nobody may have changed it."""
        for places, size in self._products:
            self._read_shared(places, size)
        self._products.clear()

    def _read_shared(self, places: Ints, size: int) -> NDArray[np.uint8]:
        return self.spaces.read(self.spaces.shared_base + places, size, size, "shared", np.full(places.size, MANY))

    # Lanes

    def address(self, base: Reg, offset: Reg) -> Ints:
        found: Ints = self.get(base).astype(np.int64) + self.get(offset).astype(np.int64)
        return found

    def _acting(self, lanes: int, one: int) -> Ints | None:
        """The numbers of the lanes that act (`one` for a uniform access); None where they are in step."""
        if self.warp is None:
            return None
        return np.arange(lanes) if lanes == self.lanes else np.array([one])

    def _on(self, mask: Reg | None, lanes: int) -> NDArray[np.bool_] | None:
        if mask is None:
            return None
        return np.broadcast_to(self.get(mask), (lanes,)).astype(bool)

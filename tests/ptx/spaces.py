"""The memories that a kernel's threads see, by generic addresses: every access is inside a buffer, and aligned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .text import PtxError

__all__ = ["LOCAL", "SHARED", "Spaces"]

GLOBAL = 1 << 40
SHARED = 1 << 33
"""Where shared memory stands among generic addresses; within its own space it begins at 0."""
LOCAL = 1 << 34
_GAP = 256  # bytes between two buffers, in which nothing lies
_POISON = 0xA5


class Spaces:
    """Global memory with copies of the arrays, one block's shared memory, and each thread's own local memory."""

    def __init__(
        self, arrays: list[NDArray[np.generic]], constants: list[bytes], shared: int, local: int, threads: int
    ):
        self._arrays = arrays
        self.addresses: list[int] = []
        at = _GAP
        parts = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in arrays]
        parts += [np.frombuffer(data, np.uint8) for data in constants]
        for part in parts:
            self.addresses.append(GLOBAL + at)
            at += -(-part.size // _GAP) * _GAP + _GAP
        self._memory = np.full(at, _POISON, np.uint8)
        self._inside = np.zeros(at, bool)
        for address, part in zip(self.addresses, parts, strict=True):
            begin = address - GLOBAL
            self._memory[begin : begin + part.size] = part
            self._inside[begin : begin + part.size] = True
        self._shared = np.full(shared, _POISON, np.uint8)
        self._unfenced = np.zeros(shared, bool)
        self._local = np.full((threads, local), _POISON, np.uint8)

    def forget(self) -> None:
        """A new block begins."""
        self._shared[:] = _POISON
        self._unfenced[:] = False
        self._local[:] = _POISON

    def give_back(self) -> None:
        """Copies what the kernel did into the arrays."""
        for address, array in zip(self.addresses, self._arrays, strict=False):
            begin = address - GLOBAL
            raw = self._memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
            if not np.array_equal(
                raw.reshape(-1).view(np.uint8), np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            ):
                array[...] = raw

    def text(self, address: int) -> str:
        """The string that ends with a zero byte."""
        begin = address - GLOBAL
        end = begin + int(np.argmin(self._memory[begin:] != 0))
        return bytes(self._memory[begin:end]).decode()

    def read(self, address: NDArray[np.uint64], size: int, lanes: NDArray[np.intp], align: int) -> NDArray[np.uint8]:
        """[lanes, size]: the bytes at generic addresses, of the threads `lanes`."""
        memory, at = self._place(address, size, lanes, align)
        found: NDArray[np.uint8] = memory[at[:, None] + np.arange(size)]
        return found

    def write(self, address: NDArray[np.uint64], data: NDArray[np.uint8], lanes: NDArray[np.intp], align: int) -> None:
        """Two threads that write different values to one byte are an error, for nobody knows who wins."""
        memory, at = self._place(address, data.shape[1], lanes, align)
        places = at[:, None] + np.arange(data.shape[1])
        memory[places] = data
        if memory is self._shared:
            self._unfenced[places] = True
        if not np.array_equal(memory[places], data):
            raise PtxError("two threads write different values to one byte")

    def fence(self) -> None:
        """All threads have fenced: products of four warps see what was written to shared memory."""
        self._unfenced[:] = False

    def read_fenced(self, address: NDArray[np.uint64], size: int) -> NDArray[np.uint8]:
        """As products of four warps read shared memory, which see what was written before a fence."""
        memory, at = self._place(address, size, np.zeros(address.size, np.intp), size)
        places = at[:, None] + np.arange(size)
        if memory is not self._shared or self._unfenced[places].any():
            raise PtxError("a product reads what no fence.proxy.async has passed on")
        found: NDArray[np.uint8] = memory[places]
        return found

    def _place(
        self, address: NDArray[np.uint64], size: int, lanes: NDArray[np.intp], align: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The memory that all addresses are in, and where in it."""
        signed = address.astype(np.int64)
        if (signed % align).any():
            raise PtxError(f"address {int(signed[(signed % align) != 0][0]):#x} is no multiple of {align}")
        first = int(signed[0])
        if first >= GLOBAL:
            at = signed - GLOBAL
            if (
                (at < 0).any()
                or (at + size > self._memory.size).any()
                or not self._inside[at[:, None] + np.arange(size)].all()
            ):
                raise PtxError("an access outside of the arrays")
            return self._memory, at
        if first >= LOCAL:
            at, limit = signed - LOCAL, self._local.shape[1]
            self._within(at, size, limit, "local")
            return self._local.reshape(-1), at + lanes * limit
        at = signed - SHARED
        self._within(at, size, self._shared.size, "shared")
        return self._shared, at

    @staticmethod
    def _within(at: NDArray[np.int64], size: int, limit: int, name: str) -> None:
        if (at < 0).any() or (at + size > limit).any():
            raise PtxError(f"an access outside of {name} memory, {limit} bytes: {int(at.min())} to {int(at.max())}")

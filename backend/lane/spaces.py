"""The memory that a simulated block sees: every array at an address of its own, and shared memory.

Array i begins at address (i + 1) << 40; shared memory lies after the last slot.  Every access is checked: inside its
buffer, aligned as promised, initialised (shared memory), and never two different values for one byte in one write.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["AccessError", "Spaces"]

_REGION = 40  # bits of an address inside one buffer

Bytes = NDArray[np.uint8]


class AccessError(ValueError):
    """A memory access that no correct program makes."""


class Spaces:
    """Buffers by address."""

    def __init__(self, arrays: Mapping[int, Bytes], slots: int, shared: int) -> None:
        self._buffers = {index + 1: array for index, array in arrays.items()}
        self._names = {index + 1: f"slot {index}" for index in arrays}
        self._shared = slots + 1
        self._buffers[self._shared] = np.zeros(shared, np.uint8)
        self._names[self._shared] = "shared memory"
        self._written = np.zeros(shared, bool)

    @property
    def shared_base(self) -> int:
        return self._shared << _REGION

    @staticmethod
    def base(slot: int) -> int:
        return (slot + 1) << _REGION

    def forget_shared(self) -> None:
        """A new block begins: its shared memory holds nothing yet."""
        self._buffers[self._shared][:] = 0xA5
        self._written[:] = False

    def read(self, address: NDArray[np.int64], size: int, align: int, space: str) -> Bytes:
        """[lanes, size]: the bytes at each address."""
        out = np.zeros((address.size, size), np.uint8)
        for region, lanes, places in self._places(address, size, align, space):
            if region == self._shared and not self._written[places].all():
                lane = np.flatnonzero(lanes)[~self._written[places].all(axis=1)][0]
                raise AccessError(f"reads shared memory that nothing was written to, at byte {address[lane] & _LOW}")
            out[lanes] = self._buffers[region][places]
        return out

    def write(self, address: NDArray[np.int64], data: Bytes, align: int, space: str) -> None:
        """Writes [lanes, size] bytes, all at once."""
        for region, lanes, places in self._places(address, data.shape[1], align, space):
            flat, values = places.reshape(-1), data[lanes].reshape(-1)
            order = np.argsort(flat, kind="stable")
            same = flat[order][1:] == flat[order][:-1]
            if (same & (values[order][1:] != values[order][:-1])).any():
                byte = flat[order][1:][same & (values[order][1:] != values[order][:-1])][0]
                raise AccessError(f"two lanes write different values to byte {byte} of {self._names[region]}")
            buffer = self._buffers[region]
            if not buffer.flags.writeable:
                raise AccessError(f"writes to {self._names[region]}, which is read-only")
            buffer[flat] = values
            if region == self._shared:
                self._written[flat] = True

    def _places(
        self, address: NDArray[np.int64], size: int, align: int, space: str
    ) -> list[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
        """For each buffer that is met: its region, which lanes meet it, and [lanes, size] indices into it."""
        if (address % align).any():
            wrong = address[address % align != 0][0]
            raise AccessError(f"address {self._spell(wrong)} is not a multiple of {align} bytes")
        out = []
        regions = address >> _REGION
        for region in np.unique(regions):
            lanes = regions == region
            place = address[lanes] & _LOW
            buffer = self._buffers.get(int(region))
            if buffer is None or (place + size > buffer.size).any():
                wrong = address[lanes][0] if buffer is None else address[lanes][place + size > buffer.size][0]
                raise AccessError(f"{size} bytes at {self._spell(wrong)} lie outside every buffer that was passed")
            if (region == self._shared) != (space == "shared"):
                raise AccessError(f"a {space} access meets {self._names[int(region)]}")
            out.append((int(region), lanes, place[:, None] + np.arange(size)))
        return out

    def _spell(self, address: int) -> str:
        """An address as a person finds it: the nearest buffer and the byte in it."""
        region, byte = int(address) >> _REGION, int(address) & _LOW
        if byte >> (_REGION - 1):  # a little below the next buffer
            region, byte = region + 1, byte - (1 << _REGION)
        if region not in self._buffers:
            return hex(int(address))
        return f"byte {byte} of {self._names[region]} ({self._buffers[region].size} bytes)"


_LOW = (1 << _REGION) - 1

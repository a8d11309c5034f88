"""The memory that a simulated block sees: every array at an address of its own, and shared memory.

Array i begins at address (i + 1) << 40; shared memory lies after the last slot.  Every access is checked: inside its
buffer, aligned as promised, initialised (shared memory), never two different values for one byte in one write, no byte
that a copy is under way to, and, of lanes that are not in step, nothing that no barrier orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .race import AccessError, Touched

__all__ = ["AccessError", "Landing", "Spaces"]

_REGION = 40  # bits of an address inside one buffer

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Landing:
    """Bytes [lanes, size] on their way to shared memory."""

    address: Ints
    data: Bytes
    who: Ints


class Spaces:
    """Buffers by address.

    `who`, where a method takes it, are the numbers of the lanes that act, one for each address; None: all lanes are in
    step, and nothing races.
    """

    def __init__(self, arrays: Mapping[int, Bytes], slots: int, shared: int) -> None:
        self._buffers = {index + 1: array for index, array in arrays.items()}
        self._names = {index + 1: f"slot {index}" for index in arrays}
        self._shared = slots + 1
        self._buffers[self._shared] = np.zeros(shared, np.uint8)
        self._names[self._shared] = "shared memory"
        self._written = np.zeros(shared, bool)
        self._flying = np.zeros(shared, bool)
        self._unfenced = np.zeros(shared, bool)
        self._touched = {region: Touched(self._names[region], b.size) for region, b in self._buffers.items()}
        self._epoch = 0

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
        self._flying[:] = False
        self.barrier()

    def barrier(self) -> None:
        """What any lane did before, all lanes see from now on."""
        self._epoch += 1

    def fence(self) -> None:
        """What lanes wrote to shared memory before, the units see that read it while lanes go on, after a barrier."""
        self._unfenced[:] = False

    def refuse_unfenced(self, places: Ints, size: int) -> None:
        """An error if bytes of shared memory that are to be read so were written after the last fence."""
        for place in places[(places >= 0) & (places + size <= self._unfenced.size)]:
            if self._unfenced[place : place + size].any():
                raise AccessError(
                    f"byte {place} of shared memory is read by a product, but was written after the fence"
                )

    def read(self, address: Ints, size: int, align: int, space: str, who: Ints | None = None) -> Bytes:
        """[lanes, size]: the bytes at each address."""
        out = np.zeros((address.size, size), np.uint8)
        for region, lanes, first in self._places(address, size, align, space):
            places = first[:, None] + np.arange(size)
            if region == self._shared:
                self._refuse(self._flying[places], "reads", first, places)
                if not self._written[places].all():
                    lane = np.flatnonzero(~self._written[places].all(axis=1))[0]
                    raise AccessError(f"reads shared memory that nothing was written to, at byte {first[lane]}")
            if who is not None:
                self._touched[region].read(self._epoch, first, size, who[lanes])
            out[lanes] = self._buffers[region][places]
        return out

    def write(self, address: Ints, data: Bytes, align: int, space: str, who: Ints | None = None) -> None:
        """Writes [lanes, size] bytes, all at once."""
        size = data.shape[1]
        for region, lanes, first in self._places(address, size, align, space):
            places = first[:, None] + np.arange(size)
            self._agree(region, places.reshape(-1), data[lanes].reshape(-1))
            if region == self._shared:
                self._refuse(self._flying[places], "writes", first, places)
            if who is not None:
                self._touched[region].write(self._epoch, first, size, who[lanes])
            buffer = self._buffers[region]
            if not buffer.flags.writeable:
                raise AccessError(f"writes to {self._names[region]}, which is read-only")
            buffer[places] = data[lanes]
            if region == self._shared:
                self._written[places] = True
                self._unfenced[places] = True

    def start(self, address: Ints, data: Bytes, who: Ints) -> Landing:
        """Begins to copy bytes [lanes, size] to shared memory: until they land, nobody may touch their places."""
        size = data.shape[1]
        for region, lanes, first in self._places(address, size, size, "shared"):
            places = first[:, None] + np.arange(size)
            self._agree(region, places.reshape(-1), data[lanes].reshape(-1))
            self._refuse(self._flying[places], "copies to", first, places)
            self._touched[region].write(self._epoch, first, size, who[lanes])
            self._flying[places] = True
        return Landing(address, data, who)

    def land(self, landing: Landing) -> None:
        """The copy is over: its bytes are as if the lanes had written them now."""
        size = landing.data.shape[1]
        for _, lanes, first in self._places(landing.address, size, size, "shared"):
            self._flying[first[:, None] + np.arange(size)] = False
            self.write(landing.address[lanes], landing.data[lanes], size, "shared", landing.who[lanes])

    def _refuse(self, flying: NDArray[np.bool_], does: str, first: Ints, places: Ints) -> None:
        if flying.any():
            byte = places[flying][0]
            raise AccessError(f"{does} byte {byte} of shared memory, to which a copy is under way: wait for it first")

    def _agree(self, region: int, flat: Ints, values: Bytes) -> None:
        """An error where two lanes write different values to one byte."""
        order = np.argsort(flat, kind="stable")
        clash = (flat[order][1:] == flat[order][:-1]) & (values[order][1:] != values[order][:-1])
        if clash.any():
            byte = flat[order][1:][clash][0]
            raise AccessError(f"two lanes write different values to byte {byte} of {self._names[region]}")

    def _places(
        self, address: Ints, size: int, align: int, space: str
    ) -> list[tuple[int, NDArray[np.bool_] | slice, Ints]]:
        """For each buffer that is met: its region, which lanes meet it, and the first byte that each of them meets."""
        if (address % align).any():
            wrong = address[address % align != 0][0]
            raise AccessError(f"address {self._spell(wrong)} is not a multiple of {align} bytes")
        out: list[tuple[int, NDArray[np.bool_] | slice, Ints]] = []
        regions = address >> _REGION
        one = address.size > 0 and bool((regions == regions[0]).all())
        for region in regions[:1] if one else np.unique(regions):
            lanes = slice(None) if one else regions == region
            place = address[lanes] & _LOW
            buffer = self._buffers.get(int(region))
            if buffer is None or (place + size > buffer.size).any():
                wrong = address[lanes][0] if buffer is None else address[lanes][place + size > buffer.size][0]
                raise AccessError(f"{size} bytes at {self._spell(wrong)} lie outside every buffer that was passed")
            if (region == self._shared) != (space == "shared"):
                raise AccessError(f"a {space} access meets {self._names[int(region)]}")
            out.append((int(region), lanes, place))
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

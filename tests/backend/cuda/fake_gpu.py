"""A driver and arrays for tests on machines without a GPU: launches are noted down, and memory is the CPU's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitwright.backend.cuda.driver import Word


@dataclass(frozen=True)
class Launched:
    """One launch; `parameters` are the 64-bit words that the kernel would find."""

    device: int
    function: object
    blocks: int
    lanes: int
    shared: int
    stream: int
    parameters: tuple[int, ...]


@dataclass
class FakeGpu:
    """A `Driver` whose kernels have `count` parameters; `run`, if given, does what a kernel would."""

    count: int
    run: Callable[[Launched], None] | None = None
    current: int = 0
    places: dict[int, int] = field(default_factory=dict)  # devices of addresses
    launches: list[Launched] = field(default_factory=list)
    loads: list[tuple[int, bytes, str, int]] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    words: list[ctypes.c_int] = field(default_factory=list)

    __hash__ = object.__hash__

    def current_device(self) -> int:
        return self.current

    def device_of(self, address: int) -> int:
        return self.places.get(address, 0)

    def load(self, device: int, code: bytes, architecture: str, shared: int) -> object:
        self.loads.append((device, code, architecture, shared))
        return f"function {len(self.loads)}"

    def word(self, device: int) -> Word:
        self.words.append(ctypes.c_int(0))
        return Word(self.words[-1], ctypes.addressof(self.words[-1]))

    def launch(
        self, device: int, function: object, blocks: int, lanes: int, shared: int, stream: int, parameters: int
    ) -> None:
        addresses = (ctypes.c_void_p * self.count).from_address(parameters)
        words = tuple(ctypes.c_uint64.from_address(address or 0).value for address in addresses)
        self.launches.append(Launched(device, function, blocks, lanes, shared, stream, words))
        if self.run is not None:
            self.run(self.launches[-1])

    def synchronize(self, device: int) -> None:
        self.waits.append(device)


class OnGpu:
    """An array that says of itself, by CUDA's array interface, that it lies on a GPU."""

    def __init__(self, array: NDArray[np.generic], stream: int | None = None) -> None:
        self.array, self.stream = array, stream

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        found: dict[str, object] = dict(self.array.__array_interface__)
        return {**found, "version": 3, "stream": self.stream}

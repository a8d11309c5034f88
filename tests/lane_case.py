"""One lane function with its arguments, and what a run of it must give."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.backend.cuda.architectures import WARP
from bitwright.backend.cuda.atoms import MEANINGS
from bitwright.backend.lane.ir import Function
from bitwright.backend.lane.simulate import LaneError, simulate
from bitwright.tests.backend.llvm.test_emit import ARRAYS, same

LANES, BLOCKS = 64, 3
SIZE = LANES * BLOCKS

WAVES = "waves of "
"""The name of a case with sines and cosines begins so."""

Slots = list[NDArray[np.generic] | int | float]


@dataclass(frozen=True, eq=False)
class Case:
    """A function and its arguments, which a run changes in place.

    near     floats may be 4 ulp apart
    halves   the words hold f16 in their low halves, of which any NaN is as good as another
    failure  the number of the failure that the function reports
    """

    name: str
    function: Function
    slots: Slots
    blocks: int = BLOCKS
    near: bool = False
    halves: bool = False
    failure: int = 0

    def arguments(self) -> Slots:
        return [s.copy() if isinstance(s, np.ndarray) else s for s in self.slots]

    def simulated(self) -> Slots:
        """The arguments after a run in the simulator, which may report the failure and no other."""
        given = self.arguments()
        try:
            simulate(self.function, given, self.blocks, MEANINGS, WARP)
        except LaneError as error:
            if not self.failure or self.function.failures[self.failure - 1] not in str(error):
                raise
        return given

    def check(self, found: Slots, failure: int) -> None:
        """What another way of running gave is what the simulator gives."""
        assert failure == self.failure
        for k, (got, right) in enumerate(zip(found, self.simulated(), strict=True)):
            if isinstance(got, np.ndarray) and isinstance(right, np.ndarray):
                good = same(got, right, self.near)
                if self.halves and got.dtype == np.int32:
                    good |= np.isnan(_low_half(got)) & np.isnan(_low_half(right)) & (got >> 16 == 0)
                where = np.flatnonzero(~good)[:4]
                assert good.all(), f"slot {k}, places {where}: {got[where]}, not {right[where]}"


def _low_half(words: NDArray[np.generic]) -> NDArray[np.float16]:
    return words.view(np.uint16)[::2].view(np.float16)


def random(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def words(rng: np.random.Generator, size: int = SIZE) -> NDArray[np.int32]:
    return rng.integers(-(2**31), 2**31, size).astype(np.int32)


def zeros(kind: str = "i32", size: int = SIZE) -> NDArray[np.generic]:
    return np.zeros(size, ARRAYS[kind])

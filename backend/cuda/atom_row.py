"""What a row of the table of NVIDIA's instructions says, and the parts that their NumPy meanings share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...vm.layout.relation import Layout
from ..lane.ir import Type
from ..lane.meaning import Lanes, odd_sum
from ..lane.shared_meaning import SharedMeaning
from ..lane.simulate import Meaning

__all__ = [
    "NAN",
    "Matrix",
    "Meaning",
    "Row",
    "bf16_of",
    "f16_of",
    "fused",
    "halves_of",
    "joined",
    "rounded_sums",
    "singles_of",
]

Halves = NDArray[np.uint16]
Doubles = NDArray[np.float64]

NAN = 0x7FFF
"""What an instruction gives for a NaN of 16 bits, whatever the NaN it was given; of f32, 0x7FFFFFFF."""


@dataclass(frozen=True)
class Matrix:
    """A product a[m, k] b[k, n] + c[m, n] of a warp: which elements lie in which lane's registers.

    Layouts on the axes lane, reg and the two dimensions of the matrix, d0 and d1.  `reg` counts elements: two of 16
    bits or four of 8 share a 32-bit register, the first in its low bits.
    """

    m: int
    n: int
    k: int
    a: Layout
    b: Layout
    c: Layout


@dataclass(frozen=True)
class Row:
    """One instruction.

    features  what a GPU must have, of those that `architectures.py` names
    operands  types of the operands; several results make it collective: all lanes of a warp do it together
    meaning   on arrays of one value per lane, for several warps at once; gives a tuple where there is not one result
    cost      instructions that a warp issues: what selection compares
    ptx       the text of the assembly statement: %0 .. are the results, then the operands
    in_place  the last operands become the results, in the same registers; `ptx` does not number them again
    matrix    for a product of matrices: operands are the registers of a, those of b, then those of c; results are c's
    """

    name: str
    features: tuple[str, ...]
    operands: tuple[Type, ...]
    results: tuple[Type, ...]
    meaning: Meaning | SharedMeaning
    cost: float
    ptx: str
    matrix: Matrix | None = None
    in_place: bool = False

    @property
    def collective(self) -> bool:
        return len(self.results) != 1


# 16-bit floats in words


def halves_of(word: Lanes) -> tuple[Halves, Halves]:
    """The low and the high half of each word."""
    bits = word.astype(np.int32).view(np.uint32)
    return (bits & np.uint32(0xFFFF)).astype(np.uint16), (bits >> np.uint32(16)).astype(np.uint16)


def joined(low: Halves, high: Halves) -> NDArray[np.int32]:
    """Words of two halves."""
    return (low.astype(np.uint32) | high.astype(np.uint32) << np.uint32(16)).view(np.int32)


def singles_of(halves: Halves, kind: str) -> NDArray[np.float32]:
    """The numbers that 16-bit floats stand for, "f16" or "bf16"."""
    if kind == "f16":
        return halves.view(np.float16).astype(np.float32)
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def f16_of(x: Doubles) -> Halves:
    """To nearest even, subnormals kept."""
    with np.errstate(all="ignore"):
        return np.where(np.isnan(x), np.uint16(NAN), x.astype(np.float16).view(np.uint16))


def bf16_of(x: Doubles) -> Halves:
    """To nearest even, subnormals kept: by way of the f32 next to x that has an odd last digit, unless x is an f32."""
    with np.errstate(all="ignore"):
        near = x.astype(np.float32)
        bits = near.view(np.uint32)
        towards_zero = np.where(np.abs(near.astype(np.float64)) > np.abs(x), bits - np.uint32(1), bits)
        inexact = np.isfinite(x) & (near.astype(np.float64) != x)
        odd = np.where(inexact, towards_zero | np.uint32(1), bits)
    rounded = (odd + np.uint32(0x7FFF) + (odd >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint16(NAN), rounded.astype(np.uint16))


def fused(x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32]) -> Doubles:
    """x * y + z, so that rounding it to a 16-bit float equals rounding the exact sum."""
    return odd_sum(x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64))


def rounded_sums(x: Doubles) -> NDArray[np.float32]:
    """f32 to nearest even; any NaN is the one that tensor cores give."""
    found = x.astype(np.float32)
    return np.where(np.isnan(found), _NAN, found)


_NAN = np.array(0x7FFFFFFF, np.uint32).view(np.float32)

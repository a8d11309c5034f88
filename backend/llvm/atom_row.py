"""What a row of the table of hardware instructions says, and what the instructions mean (in NumPy)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..lane.ir import Type
from ..lane.meaning import Lanes, fma32
from ..target import Target
from .code import Code, Operand

__all__ = ["SIGNS", "Emit", "Row", "dot_row", "dp2a_bf16_meaning", "flipped", "pairs_row"]

Emit = Callable[[Code, Target, Sequence[Operand]], Operand]


@dataclass(frozen=True)
class Row:
    """One way to do an atom.

    width   how many lanes `emit` takes at a time; 0: any number, and scalars
    cost    instructions per 16 lanes, roughly: what selection compares
    """

    name: str
    features: tuple[str, ...]
    width: int
    operands: tuple[Type, ...]
    result: Type
    meaning: Callable[..., Lanes]
    cost: float
    emit: Emit


SIGNS = {"dp4a_us": (False, True), "dp4a_ls": (False, True), "dp4a_ss": (True, True), "dp4a_uu": (False, False)}
"""Whether the bytes of the two factors are signed."""


def dot_row(name: str, features: tuple[str, ...], width: int, cost: float, emit: Emit) -> Row:
    """A row of one of the dp4a atoms."""
    return Row(name, features, width, ("i32", "i32", "i32"), "i32", _dp4a_meaning(*SIGNS[name]), cost, emit)


def pairs_row(features: tuple[str, ...], width: int, meaning: Callable[..., Lanes], cost: float, emit: Emit) -> Row:
    """A row of dp2a_bf16."""
    return Row("dp2a_bf16", features, width, ("f32", "i32", "i32"), "f32", meaning, cost, emit)


def flipped(code: Code, x: Operand) -> Operand:
    """128 added to every byte, modulo 256: signed bytes as unsigned ones 128 larger, and back."""
    return code.number("xor", x, 0x80808080)


def _bytes(x: NDArray[np.int32], signed: bool) -> NDArray[np.int32]:
    """[..., 4]: the bytes of each word."""
    words = np.ascontiguousarray(x)
    return words.view(np.int8 if signed else np.uint8).reshape(*words.shape, 4).astype(np.int32)


def _dp4a_meaning(a_signed: bool, b_signed: bool) -> Callable[..., Lanes]:
    def run(acc: NDArray[np.int32], a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.int32]:
        products = _bytes(a, a_signed) * _bytes(b, b_signed)
        total: NDArray[np.int32] = acc + products.sum(axis=-1, dtype=np.int32)
        return total

    return run


def dp2a_bf16_meaning(acc: NDArray[np.float32], a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.float32]:
    """Two fused multiply-adds, the high halves first.

    x86's instruction takes subnormal numbers as 0 and gives 0 for them; everything else follows this order, rounding to
    nearest even twice.  ARM's rounds the sum of the products, then the whole, both to odd.  Any row is within
    2**-22 (|acc| + |a0 b0| + |a1 b1|) + 2**-124 of the exact sum of products as long as no bf16 operand is subnormal
    and nothing overflows; all but ARM's within half of that.
    """
    high = np.int32(-65536)
    first = fma32((a & high).view(np.float32), (b & high).view(np.float32), acc)
    return fma32((a << 16).view(np.float32), (b << 16).view(np.float32), first)

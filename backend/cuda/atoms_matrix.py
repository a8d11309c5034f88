"""Rows of the tensor cores' products of small matrices, one warp at a time: mma.sync.

Which element lies where is from the PTX ISA's pictures of the fragments of m16n8k16 and m16n8k32: lanes go in groups of
four, the groups along the rows of a and c and the columns of b, and a lane holds the elements of one 32-bit word of
each row that it meets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...vm.layout.relation import Digit, Layout
from ..lane.ir import Type
from ..lane.meaning import Lanes
from .architectures import WARP
from .atom_row import Matrix, Meaning, Row, rounded_sums, singles_of
from .atoms_words import fp8_values

__all__ = ["ROWS", "gathered", "matrix", "spread"]


@lru_cache(maxsize=2)
def matrix(bits: int) -> Matrix:
    """m16n8k16 of 16-bit elements, m16n8k32 of bytes."""
    word = 32 // bits  # elements of one register
    quads, groups = {"lane": 1}, {"lane": 4}
    a = Layout((
        _digit(word, {"reg": 1}, d1=1), _digit(4, quads, d1=word), _digit(8, groups, d0=1),
        _digit(2, {"reg": word}, d0=8), _digit(2, {"reg": 2 * word}, d1=4 * word),
    ))  # fmt: skip
    b = Layout((
        _digit(word, {"reg": 1}, d0=1), _digit(4, quads, d0=word), _digit(8, groups, d1=1),
        _digit(2, {"reg": word}, d0=4 * word),
    ))  # fmt: skip
    c = Layout((
        _digit(2, {"reg": 1}, d1=1), _digit(4, quads, d1=2), _digit(8, groups, d0=1), _digit(2, {"reg": 2}, d0=8),
    ))  # fmt: skip
    return Matrix(16, 8, 8 * word, a, b, c)


def _digit(extent: int, place: dict[str, int], **element: int) -> Digit:
    return Digit.make(extent, {**place, **element})


# Between registers and matrices


@lru_cache(maxsize=64)
def _where(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lane and the register of each element of a matrix."""
    places = layout.places(("d0", "d1"), ("lane", "reg"))
    return places[..., 0], places[..., 1]


@lru_cache(maxsize=64)
def _which(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row and the column of the element in each lane's each register."""
    places = layout.places(("lane", "reg"), ("d0", "d1"))
    return places[..., 0], places[..., 1]


def gathered(layout: Layout, registers: Sequence[Lanes], element: type[np.generic], lanes: int = WARP) -> Lanes:
    """[warp, d0, d1]: the matrix whose elements lie in `registers`, each of one word for every lane of all warps.

    `lanes`: of what does the product together, here called a warp.
    """
    words = np.stack([np.ascontiguousarray(r) for r in registers], axis=-1)
    elements = words.view(element).reshape(-1, lanes, words.itemsize * len(registers) // np.dtype(element).itemsize)
    lane, reg = _where(layout)
    found: Lanes = elements[:, lane, reg]
    return found


def spread(layout: Layout, found: Lanes) -> tuple[Lanes, ...]:
    """The registers that hold a matrix [warp, d0, d1] of 32-bit elements."""
    row, column = _which(layout)
    held = found[:, row, column].reshape(-1, row.shape[1])
    return tuple(np.ascontiguousarray(held[:, r]) for r in range(held.shape[1]))


# What they mean


Decode = Callable[[Lanes], NDArray[np.float64]]


def _float_product(shape: Matrix, element: type[np.generic], decode: Decode) -> Meaning:
    """The exact products and c are added in f64 and rounded once to f32.

    A GPU may add in another order, and cut off where we round: within 2**-21 of the sum of the absolute terms.
    """

    def run(*operands: Lanes) -> tuple[Lanes, ...]:
        a, b = (decode(gathered(x, r, element)) for x, r in ((shape.a, operands[:4]), (shape.b, operands[4:6])))
        c = gathered(shape.c, operands[6:], np.float32).astype(np.float64)
        return spread(shape.c, rounded_sums(np.matmul(a, b) + c))

    return run


def _integer_product(shape: Matrix, a_signed: bool, b_signed: bool) -> Meaning:
    """Exact, modulo 2**32."""
    kinds = [np.int8 if signed else np.uint8 for signed in (a_signed, b_signed)]

    def run(*operands: Lanes) -> tuple[Lanes, ...]:
        a = gathered(shape.a, operands[:4], kinds[0]).astype(np.int32)
        b = gathered(shape.b, operands[4:6], kinds[1]).astype(np.int32)
        return spread(shape.c, np.matmul(a, b) + gathered(shape.c, operands[6:], np.int32))

    return run


def _halves(kind: str) -> Decode:
    return lambda x: singles_of(x.astype(np.uint16), kind).astype(np.float64)


def _fp8(kind: str) -> Decode:
    return lambda x: fp8_values(kind)[x.astype(np.uint8)].astype(np.float64)


# How they are written

_REGISTERS = "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"


def _row(
    name: str, features: tuple[str, ...], bits: int, types: str, total: Type, meaning: Meaning, cost: float = 1
) -> Row:
    """`types`: of c, a, b, c, as PTX has them."""
    shape = matrix(bits)
    text = f"mma.sync.aligned.m16n8k{shape.k}.row.col.{types} {_REGISTERS}"
    operands: tuple[Type, ...] = (*("i32",) * 6, *(total,) * 4)
    return Row(name, features, operands, (total,) * 4, meaning, cost, text, shape)


def _float_row(kind: str) -> Row:
    meaning = _float_product(matrix(16), np.uint16, _halves(kind))
    return _row(f"mma_{kind}", (f"mma_{kind}",), 16, f"f32.{kind}.{kind}.f32", "f32", meaning)


def _integer_row(name: str, a: str, b: str) -> Row:
    meaning = _integer_product(matrix(8), a == "s8", b == "s8")
    return _row(name, ("mma_s8",), 8, f"s32.{a}.{b}.s32", "i32", meaning)


def _fp8_rows(kind: str) -> tuple[Row, Row]:
    """Where no tensor core takes fp8 by mma, ptxas makes f16 of it: two instructions for the products of half the
    depth each, 12 to widen and 4 to add.
    """
    meaning = _float_product(matrix(8), np.uint8, _fp8(kind))
    types = f"f32.{kind}.{kind}.f32"
    return (
        _row(f"mma_{kind}", ("fp8", "mma_fp8"), 8, types, "f32", meaning),
        _row(f"mma_{kind}", ("fp8",), 8, types, "f32", meaning, cost=18),
    )


ROWS: tuple[Row, ...] = (
    _float_row("f16"),
    _float_row("bf16"),
    _integer_row("mma_s8", "s8", "s8"),
    _integer_row("mma_u8", "u8", "u8"),
    _integer_row("mma_us8", "u8", "s8"),
    _integer_row("mma_su8", "s8", "u8"),
    *_fp8_rows("e4m3"),
    *_fp8_rows("e5m2"),
)

"""Rows for 64-bit ARM (NEON): dot products of bytes and of bf16 numbers, widening products where they are missing.

The matrix instructions (smmla, bfmmla) do twice the work, but on 2 x 2 blocks: two rows by two columns in one register.
Here a register holds one row's columns, so they do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..target import Target
from .atom_row import Emit, Row, dot_row, flipped, pairs_row
from .code import Code, Operand, splat

__all__ = ["ROWS"]

_NEON = "llvm.aarch64.neon"


def _dot(instruction: str) -> Emit:
    """sdot, udot or usdot."""

    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        left, right = (code.recast(x, "i8", 16) for x in (a, b))
        return code.call(f"{_NEON}.{instruction}.v4i32.v16i8", "i32", 4, total, left, right)

    return run


def _widened(code: Code, operands: Sequence[Operand], extend: str) -> tuple[Operand, Operand]:
    """The 16 products as two vectors of 8 halves: smull and smull2, or umull and umull2."""
    wide = [code.convert(extend, code.recast(code.byte_source(x), "i8", 16), "i16") for x in operands]
    products = code.binary("mul", *wide)
    return code.shuffle(products, None, range(8)), code.shuffle(products, None, range(8, 16))


def _long(signed: bool) -> Emit:
    """Products of 16 bits, added in pairs to 32 bits, and again."""
    extend, add = ("sext", "saddlp") if signed else ("zext", "uaddlp")

    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, *factors = operands
        pairs = [code.call(f"{_NEON}.{add}.v4i32.v8i16", "i32", 4, x) for x in _widened(code, factors, extend)]
        return code.binary("add", total, code.call(f"{_NEON}.addp.v4i32", "i32", 4, *pairs))

    return run


def _low(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    """Bytes below 128 times signed ones: sums of two products stay within 16 bits."""
    total, *factors = operands
    pairs = code.call(f"{_NEON}.addp.v8i16", "i16", 8, *_widened(code, factors, "sext"))
    return code.binary("add", total, code.call(f"{_NEON}.saddlp.v4i32.v8i16", "i32", 4, pairs))


def _mixed(signed: Emit) -> Emit:
    """Unsigned times signed by signed products: (a - 128) b + 128 b; the byte 128 is -128 when signed."""

    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        extra = signed(code, target, (splat(0, "i32", 4), splat(0x80808080, "i32", 4), b))
        return code.binary("sub", signed(code, target, (total, flipped(code, a), b)), extra)

    return run


def _bf16(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    total, a, b = operands
    left, right = (code.recast(x, "bfloat", 8) for x in (a, b))
    return code.call(f"{_NEON}.bfdot.v4f32.v8bf16", "float", 4, total, left, right)


def _odd(x: NDArray[np.float64], lost: NDArray[np.float64]) -> NDArray[np.float32]:
    """x + lost rounded to odd: toward 0, then the last bit set where anything was cut off."""
    near = x.astype(np.float32)
    rest = (x - near.astype(np.float64)) + lost
    above = np.where(near >= 0, rest < 0, rest > 0)
    cut = (near.view(np.int32) - above.astype(np.int32)) | (rest != 0)
    return np.where(np.isfinite(near), np.asarray(cut, np.int32).view(np.float32), near)


def _odd_sum(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """x + y rounded to odd, for numbers whose sum an f64 has with at most one error, which is known exactly."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    total = a + b
    part = total - a
    return _odd(total, (a - (total - part)) + (b - part))


def bfdot_meaning(acc: NDArray[np.float32], a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.float32]:
    """The two products, exact, are added and rounded to odd; so is the sum of that and acc.

    From Arm's definition of BFDOT without FEAT_EBF16; subnormal operands and results count as 0 there.
    """
    high = np.int32(-65536)
    left = (a & high).view(np.float32) * (b & high).view(np.float32)
    right = (a << 16).view(np.float32) * (b << 16).view(np.float32)
    return _odd_sum(acc, _odd_sum(right, left))


ROWS: tuple[Row, ...] = (
    dot_row("dp4a_us", ("i8mm",), 4, 4, _dot("usdot")),
    dot_row("dp4a_us", ("dotprod",), 4, 12, _mixed(_dot("sdot"))),
    dot_row("dp4a_us", ("neon",), 4, 32, _mixed(_long(signed=True))),
    dot_row("dp4a_ls", ("dotprod",), 4, 4, _dot("sdot")),
    dot_row("dp4a_ls", ("neon",), 4, 16, _low),
    dot_row("dp4a_ss", ("dotprod",), 4, 4, _dot("sdot")),
    dot_row("dp4a_ss", ("neon",), 4, 24, _long(signed=True)),
    dot_row("dp4a_uu", ("dotprod",), 4, 4, _dot("udot")),
    dot_row("dp4a_uu", ("neon",), 4, 24, _long(signed=False)),
    pairs_row(("bf16",), 4, bfdot_meaning, 4, _bf16),
)

"""Rows that need no instruction in particular: every atom works on any processor, and on scalars."""

from __future__ import annotations

from collections.abc import Sequence

from ..target import Target
from .atom_row import SIGNS, Emit, Row, dot_row, dp2a_bf16_meaning, pairs_row
from .code import Code, Operand
from .floats import fma

__all__ = ["ROWS"]


def _byte(code: Code, x: Operand, k: int, signed: bool) -> Operand:
    """Byte k of each word, extended to the word."""
    top = x if k == 3 else code.number("shl", x, 24 - 8 * k)
    return code.number("ashr" if signed else "lshr", top, 24)


def _dp4a(a_signed: bool, b_signed: bool) -> Emit:
    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        for k in range(4):
            product = code.binary("mul", _byte(code, a, k, a_signed), _byte(code, b, k, b_signed))
            total = code.binary("add", total, product)
        return total

    return run


def _dp2a(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    total, a, b = operands
    for op, value in (("and", -65536), ("shl", 16)):  # the high halves, the low halves
        left, right = (code.convert("bitcast", code.number(op, x, value), "float") for x in (a, b))
        total = fma(code, target, left, right, total)
    return total


ROWS: tuple[Row, ...] = (
    *(dot_row(name, (), 0, 60, _dp4a(*signs)) for name, signs in SIGNS.items()),
    pairs_row((), 0, dp2a_bf16_meaning, 6, _dp2a),
)

"""Hardware instructions of CPUs that the lane IR names, as a table.

Each row says what the instruction is called, which processors have it, what it takes and gives per lane, what it means
(in NumPy), what it costs, and how it is written for one vector.  Rows of one name mean the same; `select_row` takes the
cheapest that a target has.  A row that needs nothing always exists, so every atom works everywhere.

    dp4a_us(acc, a, b)   i32 acc + sum of a's four unsigned bytes times b's four signed ones; wraps, never saturates
    dp4a_ss, dp4a_uu     the same with both signed, both unsigned
    dp2a_bf16(acc, a, b) f32 acc + the two bf16 products of two words; see `dp2a_bf16_meaning` for what is promised
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..lane.ir import Type
from ..lane.meaning import Lanes, fma32
from ..target import Target
from .code import Code, Operand, splat
from .floats import fma
from .shuffle import pieces

__all__ = ["ROWS", "Row", "emit_atom", "select_row"]

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


def select_row(target: Target, name: str) -> Row:
    """The cheapest row of that name that the target has; KeyError for a name that no row has."""
    rows = [row for row in ROWS if row.name == name and all(target.has(f) for f in row.features)]
    if not rows:
        raise KeyError(f"no atom is called {name!r}; there are {', '.join(sorted({row.name for row in ROWS}))}")
    return min(rows, key=lambda row: row.cost)


def emit_atom(code: Code, target: Target, name: str, operands: Sequence[Operand]) -> Operand:
    """The atom on vectors of any number of lanes, or on scalars."""
    row = select_row(target, name)
    return emit_row(code, target, row, operands)


def emit_row(code: Code, target: Target, row: Row, operands: Sequence[Operand]) -> Operand:
    if row.width == 0:
        return row.emit(code, target, operands)
    return pieces(code, operands, row.width, lambda xs: row.emit(code, target, xs))


# Meanings


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

    The instruction takes subnormal numbers as 0 and gives 0 for them; everything else follows this order, rounding to
    nearest even twice.  Any row is within 2**-23 (|acc| + |a0 b0| + |a1 b1|) + 2**-124 of the exact sum of products
    as long as no bf16 operand is subnormal and nothing overflows.
    """
    high = np.int32(-65536)
    first = fma32((a & high).view(np.float32), (b & high).view(np.float32), acc)
    return fma32((a << 16).view(np.float32), (b << 16).view(np.float32), first)


# Rows for any processor


def _byte(code: Code, x: Operand, k: int, signed: bool) -> Operand:
    """Byte k of each word, extended to the word."""
    top = x if k == 3 else code.number("shl", x, 24 - 8 * k)
    return code.number("ashr" if signed else "lshr", top, 24)


def _dp4a_plain(a_signed: bool, b_signed: bool) -> Emit:
    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        for k in range(4):
            product = code.binary("mul", _byte(code, a, k, a_signed), _byte(code, b, k, b_signed))
            total = code.binary("add", total, product)
        return total

    return run


def _dp2a_plain(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    total, a, b = operands
    for op, value in (("and", -65536), ("shl", 16)):  # the high halves, the low halves
        left, right = (code.convert("bitcast", code.number(op, x, value), "float") for x in (a, b))
        total = fma(code, target, left, right, total)
    return total


# Rows for x86


def _halves(code: Code, x: Operand, k: int, signed: bool) -> Operand:
    """The even (k = 0) or odd bytes of each word, extended to 16 bits."""
    pairs = code.recast(code.byte_source(x), "i16", 2 * x.lanes)
    if k == 0:
        if not signed:
            return code.number("and", pairs, 0xFF)
        pairs = code.number("shl", pairs, 8)
    return code.number("ashr" if signed else "lshr", pairs, 8)


def _dp4a_pairs(instruction: str, a_signed: bool, b_signed: bool) -> Emit:
    """Two multiplications of 16-bit pairs that add exactly to 32 bits."""

    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        for k in range(2):
            left, right = _halves(code, a, k, a_signed), _halves(code, b, k, b_signed)
            total = code.binary("add", total, code.call(instruction, "i32", a.lanes, left, right))
        return total

    return run


def _vnni(code: Code, total: Operand, a: Operand, b: Operand) -> Operand:
    lanes = total.lanes
    left, right = (code.recast(x, "i8", 4 * lanes) for x in (a, b))
    return code.call(f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", "i32", lanes, total, left, right)


def _flipped(code: Code, x: Operand) -> Operand:
    """128 added to every byte, modulo 256: signed bytes as unsigned ones 128 larger, and back."""
    return code.number("xor", x, 0x80808080)


def _dp4a_us_vnni(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    return _vnni(code, *operands)


def _dp4a_ss_vnni(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    """(a + 128) b - 128 b."""
    total, a, b = operands
    extra = _vnni(code, splat(0, "i32", a.lanes), splat(0x80808080, "i32", a.lanes), b)
    return code.binary("sub", _vnni(code, total, _flipped(code, a), b), extra)


def _dp4a_uu_vnni(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    """a (b - 128) + 128 a; the byte 128 is -128 when signed."""
    total, a, b = operands
    extra = _vnni(code, splat(0, "i32", a.lanes), a, splat(0x80808080, "i32", a.lanes))
    return code.binary("sub", _vnni(code, total, a, _flipped(code, b)), extra)


def _dp2a_bf16_x86(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    total, a, b = operands
    lanes = total.lanes
    left, right = (code.recast(x, "bfloat", 2 * lanes) for x in (a, b))
    return code.call(f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}", "float", lanes, total, left, right)


def _dp4a_rows(name: str, a_signed: bool, b_signed: bool, vnni: Emit, instructions: int) -> tuple[Row, ...]:
    words: tuple[Type, ...] = ("i32", "i32", "i32")
    meaning = _dp4a_meaning(a_signed, b_signed)

    def row(features: tuple[str, ...], width: int, cost: float, emit: Emit) -> Row:
        return Row(name, features, width, words, "i32", meaning, cost, emit)

    return (
        row(("avx512vnni",), 16, instructions, vnni),
        row(("avxvnni",), 8, 2 * instructions, vnni),
        row(("avx512bw",), 16, 8, _dp4a_pairs("llvm.x86.avx512.pmaddw.d.512", a_signed, b_signed)),
        row(("avx2",), 8, 16, _dp4a_pairs("llvm.x86.avx2.pmadd.wd", a_signed, b_signed)),
        row(("sse2",), 4, 32, _dp4a_pairs("llvm.x86.sse2.pmadd.wd", a_signed, b_signed)),
        row((), 0, 60, _dp4a_plain(a_signed, b_signed)),
    )


ROWS: tuple[Row, ...] = (
    *_dp4a_rows("dp4a_us", False, True, _dp4a_us_vnni, 1),
    *_dp4a_rows("dp4a_ss", True, True, _dp4a_ss_vnni, 4),
    *_dp4a_rows("dp4a_uu", False, False, _dp4a_uu_vnni, 4),
    Row("dp2a_bf16", ("avx512bf16",), 16, ("f32", "i32", "i32"), "f32", dp2a_bf16_meaning, 1, _dp2a_bf16_x86),
    Row("dp2a_bf16", (), 0, ("f32", "i32", "i32"), "f32", dp2a_bf16_meaning, 6, _dp2a_plain),
)

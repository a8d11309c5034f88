"""Rows for x86: VNNI's products of bytes, products of 16-bit pairs where it is missing, and those of bf16 numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ..target import Target
from .atom_row import SIGNS, Emit, Row, dot_row, dp2a_bf16_meaning, flipped, pairs_row
from .code import Code, Operand, splat

__all__ = ["ROWS"]


def _halves(code: Code, x: Operand, k: int, signed: bool) -> Operand:
    """The even (k = 0) or odd bytes of each word, extended to 16 bits."""
    pairs = code.recast(code.byte_source(x), "i16", 2 * x.lanes)
    if k == 0:
        if not signed:
            return code.number("and", pairs, 0xFF)
        pairs = code.number("shl", pairs, 8)
    return code.number("ashr" if signed else "lshr", pairs, 8)


def _pairs(instruction: str, a_signed: bool, b_signed: bool) -> Emit:
    """Two multiplications of 16-bit pairs that add exactly to 32 bits."""

    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        for k in range(2):
            left, right = _halves(code, a, k, a_signed), _halves(code, b, k, b_signed)
            total = code.binary("add", total, code.call(instruction, "i32", a.lanes, left, right))
        return total

    return run


def _low(bytes_: str, pairs: str) -> Emit:
    """Bytes below 128 times signed bytes: two products of at most 127 * 128 add up within 16 bits, which the first
    instruction would saturate; the second adds pairs of them.
    """

    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        left, right = (code.recast(x, "i8", 4 * x.lanes) for x in (a, b))
        sums = code.call(bytes_, "i16", 2 * a.lanes, left, right)
        return code.binary("add", total, code.call(pairs, "i32", a.lanes, sums, splat(1, "i16", 2 * a.lanes)))

    return run


def _bytes(instruction: str) -> Emit:
    """An instruction that adds the four products of bytes to each word."""

    def run(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
        total, a, b = operands
        lanes = total.lanes
        left, right = (code.recast(x, "i8", 4 * lanes) for x in (a, b))
        return code.call(instruction.format(32 * lanes), "i32", lanes, total, left, right)

    return run


_VNNI = _bytes("llvm.x86.avx512.vpdpbusd.{}")


def _ss_vnni(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    """(a + 128) b - 128 b."""
    total, a, b = operands
    extra = _VNNI(code, target, (splat(0, "i32", a.lanes), splat(0x80808080, "i32", a.lanes), b))
    return code.binary("sub", _VNNI(code, target, (total, flipped(code, a), b)), extra)


def _uu_vnni(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    """a (b - 128) + 128 a; the byte 128 is -128 when signed."""
    total, a, b = operands
    extra = _VNNI(code, target, (splat(0, "i32", a.lanes), a, splat(0x80808080, "i32", a.lanes)))
    return code.binary("sub", _VNNI(code, target, (total, a, flipped(code, b))), extra)


def _bf16(code: Code, target: Target, operands: Sequence[Operand]) -> Operand:
    total, a, b = operands
    lanes = total.lanes
    left, right = (code.recast(x, "bfloat", 2 * lanes) for x in (a, b))
    return code.call(f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}", "float", lanes, total, left, right)


def _vnni_rows(name: str, emit: Emit, instructions: int) -> tuple[Row, ...]:
    return (
        dot_row(name, ("avx512vnni",), 16, instructions, emit),
        dot_row(name, ("avxvnni",), 8, 2 * instructions, emit),
    )


def _pair_rows(name: str) -> tuple[Row, ...]:
    signs = SIGNS[name]
    return (
        dot_row(name, ("avx512bw",), 16, 8, _pairs("llvm.x86.avx512.pmaddw.d.512", *signs)),
        dot_row(name, ("avx2",), 8, 16, _pairs("llvm.x86.avx2.pmadd.wd", *signs)),
        dot_row(name, ("sse2",), 4, 32, _pairs("llvm.x86.sse2.pmadd.wd", *signs)),
    )


ROWS: tuple[Row, ...] = (
    *_vnni_rows("dp4a_us", _VNNI, 1),
    *_pair_rows("dp4a_us"),
    *_vnni_rows("dp4a_ls", _VNNI, 1),
    dot_row("dp4a_ls", ("avx512bw",), 16, 3, _low("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512")),
    dot_row("dp4a_ls", ("avx2",), 8, 6, _low("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd")),
    dot_row("dp4a_ls", ("ssse3",), 4, 12, _low("llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd")),
    dot_row("dp4a_ls", ("sse2",), 4, 32, _pairs("llvm.x86.sse2.pmadd.wd", *SIGNS["dp4a_ls"])),
    *_vnni_rows("dp4a_ss", _ss_vnni, 4),
    *_pair_rows("dp4a_ss"),
    *_vnni_rows("dp4a_uu", _uu_vnni, 4),
    *_pair_rows("dp4a_uu"),
    dot_row("dp4a_ss", ("avxvnniint8",), 8, 2, _bytes("llvm.x86.avx2.vpdpbssd.{}")),
    dot_row("dp4a_uu", ("avxvnniint8",), 8, 2, _bytes("llvm.x86.avx2.vpdpbuud.{}")),
    dot_row("dp4a_ss", ("avx10.2",), 16, 1, _bytes("llvm.x86.avx10.vpdpbssd.{}")),
    dot_row("dp4a_uu", ("avx10.2",), 16, 1, _bytes("llvm.x86.avx10.vpdpbuud.{}")),
    pairs_row(("avx512bf16",), 16, dp2a_bf16_meaning, 1, _bf16),
)

"""Rows of what each lane does by itself, on words: pairs of 16-bit floats, bytes of fp8, products of bytes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...vm.dtypes import dtype
from ..lane.meaning import Lanes
from .atom_row import Meaning, Row, bf16_of, f16_of, fused, halves_of, joined, singles_of

__all__ = ["FP8", "ROWS", "fp8_values"]

FP8 = {"e4m3": "f8e4m3fn", "e5m2": "f8e5m2"}
"""Our names of the dtypes that PTX calls so."""


@lru_cache(maxsize=2)
def fp8_values(kind: str) -> NDArray[np.float32]:
    """The number that each byte stands for."""
    return dtype(FP8[kind]).decode(np.arange(256, dtype=np.uint8)).astype(np.float32)


# Pairs of 16-bit floats


def _pairs(kind: str, form: str) -> Meaning:
    """Both halves of words: fma(a, b, c) or a * b, each rounded once."""
    rounded = f16_of if kind == "f16" else bf16_of

    def half(*xs: NDArray[np.uint16]) -> NDArray[np.uint16]:
        a, b, *rest = (singles_of(x, kind) for x in xs)
        if form == "fma":
            return rounded(fused(a, b, rest[0]))
        return rounded(a.astype(np.float64) * b)  # exact in f64

    def run(*words: Lanes) -> Lanes:
        low, high = zip(*(halves_of(w) for w in words), strict=True)
        return joined(half(*low), half(*high))

    return run


def _pack(kind: str) -> Meaning:
    rounded = f16_of if kind == "f16" else bf16_of

    def run(low: NDArray[np.float32], high: NDArray[np.float32]) -> Lanes:
        return joined(rounded(low.astype(np.float64)), rounded(high.astype(np.float64)))

    return run


def _pair_rows(kind: str, features: tuple[str, ...]) -> tuple[Row, ...]:
    """PTX has products of bf16 from sm_90 on; before, ptxas would do the same: a sum with -0."""
    type = f"{kind}x2"
    product = f"mul.rn.{type} %0, %1, %2;"
    if kind == "bf16":
        product = "{.reg .b32 z; mov.b32 z, 0x80008000; fma.rn.bf16x2 %0, %1, %2, z;}"
    return (
        Row(f"fma_{type}", features, ("i32",) * 3, ("i32",), _pairs(kind, "fma"), 1, f"fma.rn.{type} %0, %1, %2, %3;"),
        Row(f"mul_{type}", features, ("i32",) * 2, ("i32",), _pairs(kind, "mul"), 1, product),
        Row(f"pack_{type}", features, ("f32",) * 2, ("i32",), _pack(kind), 1, f"cvt.rn.{type}.f32 %0, %2, %1;"),
    )


def _from_fp8(kind: str, high: bool) -> Meaning:
    """The low, or the high, two bytes of each word as two f16: exact."""

    def run(word: NDArray[np.int32]) -> Lanes:
        pair = halves_of(word)[high]
        halves = (f16_of(fp8_values(kind)[b].astype(np.float64)) for b in (pair & 0xFF, pair >> np.uint16(8)))
        return joined(*halves)

    return run


def _fp8_row(kind: str, high: bool) -> Row:
    text = f"{{.reg .b16 l, h; mov.b32 {{l, h}}, %1; cvt.rn.f16x2.{kind}x2 %0, {'h' if high else 'l'};}}"
    name = f"cvt_f16x2_{kind}x2{'_high' if high else ''}"
    return Row(name, ("fp8",), ("i32",), ("i32",), _from_fp8(kind, high), 1, text)


def _high_half(word: NDArray[np.int32]) -> Lanes:
    """The f32 of the upper of two f16."""
    return singles_of(halves_of(word)[1], "f16")


# Bits


def _and_xor(x: NDArray[np.int32], mask: NDArray[np.int32], y: NDArray[np.int32]) -> Lanes:
    found: NDArray[np.int32] = x & mask ^ y
    return found


# Bytes


def _permute(x: NDArray[np.int32], y: NDArray[np.int32], selector: NDArray[np.int32]) -> Lanes:
    """Byte k of the word is one of the eight bytes of x and then y: the one that bits 0 to 2 of nibble k of the
    selector number; with bit 3 of that nibble, eight copies of its sign.
    """
    a, b, s = np.broadcast_arrays(x, y, selector)
    given = np.stack([a, b], axis=-1).view(np.uint8)
    nibbles = s[:, None].view(np.uint32) >> np.arange(0, 16, 4, dtype=np.uint32) & np.uint32(15)
    picked = np.take_along_axis(given, (nibbles & np.uint32(7)).astype(np.int64), axis=1)
    signs = np.where(picked & 0x80, np.uint8(0xFF), np.uint8(0))
    return np.ascontiguousarray(np.where(nibbles & np.uint32(8), signs, picked)).view(np.int32).reshape(-1)


def _bytes(x: NDArray[np.int32], signed: bool) -> NDArray[np.int32]:
    words = np.ascontiguousarray(x).reshape(-1, 1)
    return words.view(np.int8 if signed else np.uint8).astype(np.int32)


def _dot(a_signed: bool, b_signed: bool) -> Meaning:
    """acc + the sum of four products of bytes; wraps."""

    def run(acc: NDArray[np.int32], a: NDArray[np.int32], b: NDArray[np.int32]) -> Lanes:
        total: NDArray[np.int32] = acc + (_bytes(a, a_signed) * _bytes(b, b_signed)).sum(axis=-1, dtype=np.int32)
        return total

    return run


def _dot_row(name: str, a: str, b: str) -> Row:
    text = f"dp4a.{a}.{b} %0, %2, %3, %1;"
    return Row(name, (), ("i32",) * 3, ("i32",), _dot(a == "s32", b == "s32"), 1, text)


_WIDEN_HIGH = "{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h;}"

ROWS: tuple[Row, ...] = (
    *_pair_rows("f16", ()),
    *_pair_rows("bf16", ("bf16x2",)),
    *(_fp8_row(kind, high) for kind in ("e4m3", "e5m2") for high in (False, True)),
    Row("f16tof32_high", (), ("i32",), ("f32",), _high_half, 1, _WIDEN_HIGH),
    Row("and_xor", (), ("i32",) * 3, ("i32",), _and_xor, 1, "lop3.b32 %0, %1, %2, %3, 0x6A;"),
    Row("prmt", (), ("i32",) * 3, ("i32",), _permute, 1, "prmt.b32 %0, %1, %2, %3;"),
    _dot_row("dp4a_us", "u32", "s32"),
    _dot_row("dp4a_ls", "u32", "s32"),
    _dot_row("dp4a_ss", "s32", "s32"),
    _dot_row("dp4a_uu", "u32", "u32"),
)

"""Number types of PTX on words of bits, and rounding that is done once."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from .text import PtxError

__all__ = [
    "UNSIGNED", "Mask", "Words", "bf16_to_f64", "bits_of", "f64_to_bf16", "f64_to_f16", "f64_to_f32", "is_type",
    "odd_sum", "view",
]  # fmt: skip

Words = NDArray[np.unsignedinteger]
Mask = NDArray[np.bool_]
UNSIGNED = {1: np.bool_, 8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
_TYPE = re.compile(r"[busf](8|16|32|64|128)$|pred$|(f16|bf16)(x2)?$")


def is_type(word: str) -> bool:
    return _TYPE.match(word) is not None


def bits_of(word: str) -> int:
    """The bits of a type."""
    if word == "pred":
        return 1
    if not is_type(word):
        raise PtxError(f"{word} is no type")
    return int(re.sub(r"^\D+", "", word.removesuffix("x2"))) * (2 if word.endswith("x2") else 1)


def view(words: Words, kind: str) -> NDArray[np.generic]:
    """The low bits of words as numbers of a type (floats of 32 and 64 bits, and integers)."""
    bits = bits_of(kind)
    narrow = words.astype(f"u{bits // 8}")
    return narrow.view({"f": "f", "s": "i"}.get(kind[0], "u") + str(bits // 8))


def odd_sum(p: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
    """p + c rounded to odd: a later rounding to half as many bits then rounds as if it were the only one."""
    total = p + c
    rest = total - p
    error = (p - (total - rest)) + (c - rest)  # exactly what the sum has lost
    bits = total.view(np.int64)
    up = (error > 0) == (total > 0)
    fixed = (bits + np.where(up, 1, -1)).view(np.float64)
    inexact = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    return np.where(inexact, fixed, total)


def f64_to_f32(x: NDArray[np.float64]) -> NDArray[np.uint32]:
    return x.astype(np.float32).view(np.uint32)


def f64_to_f16(x: NDArray[np.float64]) -> NDArray[np.uint16]:
    return x.astype(np.float16).view(np.uint16)


def f64_to_bf16(x: NDArray[np.float64]) -> NDArray[np.uint16]:
    """To nearest even, from the exact number: by way of f32 rounded to odd."""
    near = x.astype(np.float32)
    bits = near.view(np.uint32).astype(np.int64)
    wide = near.astype(np.float64)
    away = (np.abs(x) > np.abs(wide)).astype(np.int64) * 2 - 1
    odd = np.where(np.isfinite(near) & (wide != x) & (bits & 1 == 0), bits + away, bits)
    rounded = odd + 0x7FFF + (odd >> 16 & 1)
    return np.where(np.isnan(x), 0x7FFF, rounded >> 16).astype(np.uint16)


def bf16_to_f64(x: Words) -> NDArray[np.float64]:
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)

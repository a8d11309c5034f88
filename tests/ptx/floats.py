"""PTX's arithmetic of floats: exact in f64 (with what that loses kept in its last bit), then rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .formats import Words, bf16_to_f64, bits_of, f64_to_bf16, f64_to_f16, f64_to_f32, odd_sum
from .text import Instruction, PtxError

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["FLOATS", "compare_floats", "numbers", "rounded"]

F64 = NDArray[np.float64]
_NAN = {"f64": 0x7FF8000000000000, "f32": 0x7FFFFFFF, "f16": 0x7FFF, "bf16": 0x7FFF}
_LEAST = {"f64": 2.0**-1022, "f32": 2.0**-126, "f16": 2.0**-14, "bf16": 2.0**-126}  # normal numbers
MODES = ("rn", "rz", "rm", "rp")


def numbers(words: Words, kind: str, flush: bool = False) -> F64:
    """Exactly the numbers; with `flush` subnormals are zeros of their sign."""
    match kind:
        case "f64":
            x = words.astype(np.uint64).view(np.float64)
        case "f32":
            x = words.astype(np.uint32).view(np.float32).astype(np.float64)
        case "f16":
            x = words.astype(np.uint16).view(np.float16).astype(np.float64)
        case "bf16":
            x = bf16_to_f64(words.astype(np.uint16))
        case _:
            raise PtxError(f"{kind} is no float")
    return np.where(np.abs(x) < _LEAST[kind], np.copysign(0.0, x), x) if flush else x


def rounded(x: F64, kind: str, mode: str = "rn", flush: bool = False) -> Words:
    """The bits of the numbers in a type.  Every NaN is the one that the hardware makes."""
    if kind == "f64":
        assert mode == "rn"
        bits: Words = x.view(np.uint64)
    elif mode == "rn":
        bits = {"f32": f64_to_f32, "f16": f64_to_f16, "bf16": f64_to_bf16}[kind](x)
    elif kind == "f32":
        near = x.astype(np.float32)
        wide = near.astype(np.float64)
        down = {"rz": np.abs(wide) > np.abs(x), "rm": wide > x, "rp": wide < x}[mode]
        toward = {"rz": 0.0, "rm": -np.inf, "rp": np.inf}[mode]
        near = np.where(down, np.nextafter(near, np.float32(toward)), near)
        bits = near.view(np.uint32)
    else:
        raise PtxError(f"rounding {mode} to {kind}")
    bits = np.where(np.isnan(x), bits.dtype.type(_NAN[kind]), bits)
    if flush:
        small = np.abs(numbers(bits, kind)) < _LEAST[kind]
        bits = np.where(small, bits & bits.dtype.type(1 << bits_of(kind) - 1), bits)
    return bits


def _each(m: Machine, i: Instruction, count: int, meaning: Callable[..., F64]) -> Words:
    """The meaning on each number, or on both of a pair."""
    kind = i.words[-1]
    mode = next((w for w in i.words if w in MODES), "rn")
    flush = "ftz" in i.words
    given = [m.value(o, bits_of(kind)) for o in i.operands[1 : 1 + count]]
    if not kind.endswith("x2"):
        return _saturated(rounded(meaning(*(numbers(g, kind, flush) for g in given)), kind, mode, flush), kind, i)
    one = kind.removesuffix("x2")
    halves = []
    for shift in (0, 16):
        parts = [numbers((g >> np.uint32(shift) & np.uint32(0xFFFF)), one, flush) for g in given]
        halves.append(_saturated(rounded(meaning(*parts), one, mode, flush), one, i).astype(np.uint32))
    return halves[0] | halves[1] << np.uint32(16)


def _saturated(bits: Words, kind: str, i: Instruction) -> Words:
    if "relu" in i.words:
        raise PtxError("relu")
    if "sat" not in i.words:
        return bits
    x = numbers(bits, kind)
    return rounded(np.where(np.isnan(x), 0.0, np.clip(x, 0.0, 1.0)), kind)


def _of(count: int, meaning: Callable[..., F64]) -> Callable[[Machine, Instruction], Words]:
    return lambda m, i: _each(m, i, count, meaning)


def _quotient(x: F64, y: F64) -> F64:
    """Rounded to odd where that can matter: f64 has more than twice f32's bits, so its own rounding does no harm."""
    return x / y


def _extreme(m: Machine, i: Instruction) -> Words:
    """-0 is less than +0; a NaN gives way to a number, but with .NaN wins."""
    least = i.name == "min"

    def meaning(x: F64, y: F64) -> F64:
        first = (x < y) | ((x == y) & (np.signbit(x) == least))
        found = np.where(first, x, y) if least else np.where((x > y) | ((x == y) & ~np.signbit(x)), x, y)
        if "NaN" in i.words:
            return np.where(np.isnan(x) | np.isnan(y), np.nan, found)
        return np.where(np.isnan(x), y, np.where(np.isnan(y), x, found))

    return _each(m, i, 2, meaning)


def _sign(m: Machine, i: Instruction) -> Words:
    """neg and abs change the sign's bit only, of NaN too."""
    kind = i.words[-1]
    bits = bits_of(kind)
    x = m.value(i.operands[1], bits)
    signs = 0x80008000 if kind.endswith("x2") else 1 << bits - 1
    return x ^ x.dtype.type(signs) if i.name == "neg" else x & x.dtype.type(~signs & (1 << bits) - 1)


def _copied_sign(m: Machine, i: Instruction) -> Words:
    bits = bits_of(i.words[-1])
    sign, x = (m.value(o, bits) for o in i.operands[1:])
    top = x.dtype.type(1 << bits - 1)
    return sign & top | x & ~top


def compare_floats(word: str, x: Words, y: Words, kind: str, flush: bool) -> NDArray[np.bool_]:
    """An ordered comparison is false of NaN; one with u at its end is true."""
    a, b = numbers(x, kind, flush), numbers(y, kind, flush)
    unordered = np.isnan(a) | np.isnan(b)
    if word in ("num", "nan"):
        return unordered if word == "nan" else ~unordered
    tests = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}
    if word in tests:
        return tests[word] & ~unordered
    return tests[word.removesuffix("u")] | unordered


FLOATS: dict[str, Callable[[Machine, Instruction], Words]] = {
    "add": _of(2, odd_sum),
    "sub": _of(2, lambda x, y: odd_sum(x, -y)),
    "mul": _of(2, lambda x, y: x * y),
    "fma": _of(3, lambda x, y, z: odd_sum(x * y, z)),
    "div": _of(2, _quotient),
    "rcp": _of(1, lambda x: 1.0 / x),
    "sqrt": _of(1, np.sqrt),
    "rsqrt": _of(1, lambda x: 1.0 / np.sqrt(x)),
    "ex2": _of(1, np.exp2),
    "lg2": _of(1, np.log2),
    "sin": _of(1, np.sin),
    "cos": _of(1, np.cos),
    "tanh": _of(1, np.tanh),
    "min": _extreme,
    "max": _extreme,
    "neg": _sign,
    "abs": _sign,
    "copysign": _copied_sign,
}
"""The approximations are computed exactly: what they may be off by is the hardware's affair."""

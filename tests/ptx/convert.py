"""PTX's conversions between types of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .floats import MODES, numbers, rounded
from .formats import Mask, Words, bits_of, is_type, view
from .text import Instruction, PtxError

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["convert", "fp8"]

_SMALL = {"e4m3x2": (4, 3, 7), "e5m2x2": (5, 2, 15)}
_TO_INTEGER = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def convert(m: Machine, i: Instruction, active: Mask) -> None:
    """cvt: the first type is the result's, the second the operand's; a pair's first operand is its high half."""
    to, source = (w for w in i.words[1:] if is_type(w) or w in _SMALL)
    known = {"rn", "ftz", "sat", "satfinite", *_TO_INTEGER, *MODES}
    if not known.issuperset(w for w in i.words[1:] if w not in (to, source)):
        raise PtxError("what conversion?")
    if source in _SMALL:
        m.define(i.operands[0], _from_small(m.value(i.operands[1], 16), source, to), active)
    elif to.endswith("x2"):
        high, low = (_one(m.value(o, 32), to.removesuffix("x2"), source, i) for o in i.operands[1:])
        m.define(i.operands[0], high.astype(np.uint32) << np.uint32(16) | low.astype(np.uint32), active)
    else:
        value = m.value(i.operands[1], max(bits_of(source), 16))
        result = _one(value, to, source, i)
        if to[0] == "s":  # a wider register gets the sign
            result = view(result, to).astype(np.int64).view(np.uint64)  # type: ignore[assignment]
        m.define(i.operands[0], result, active)


def _one(x: Words, to: str, source: str, i: Instruction) -> Words:
    real = source.startswith(("f", "bf")), to.startswith(("f", "bf"))
    flush = "ftz" in i.words
    mode = next((w for w in i.words if w in MODES), "rn")
    if real == (True, True):
        given = numbers(x, source, flush)
        whole = next((f for w, f in _TO_INTEGER.items() if w in i.words), None)
        if whole is not None:
            given = whole(given)
        if "sat" in i.words:
            given = np.where(np.isnan(given), 0.0, np.clip(given, 0.0, 1.0))
        if "satfinite" in i.words:
            raise PtxError("satfinite")
        return rounded(given, to, mode, flush)
    if real == (True, False):
        whole = next(f for w, f in _TO_INTEGER.items() if w in i.words)
        return _saturated(whole(numbers(x, source, flush)), to)
    given = view(x, source)
    if real == (False, True):
        return _from_integer(given, to, mode)
    bits = bits_of(to)
    if "sat" in i.words:
        raise PtxError("saturation of integers")
    return given.astype(np.int64 if source[0] == "s" else np.uint64).astype(f"u{bits // 8}")


def _saturated(x: NDArray[np.float64], to: str) -> Words:
    """Out of range is the nearest limit.  NaN is 0, but of 64 bits the number with the sign's bit only."""
    bits = bits_of(to)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if to[0] == "s" else (0, (1 << bits) - 1)
    nan = 1 << 63 if bits == 64 else 0
    exact = (nan if np.isnan(v) else high if v >= high else low if v <= low else int(v) for v in x)
    return np.array([v & (1 << bits) - 1 for v in exact], f"u{bits // 8}")


def _from_integer(x: NDArray[np.generic], to: str, mode: str) -> Words:
    """64 bits are more than f64 holds: what does not fit makes the last bit odd, so that rounding is done once."""
    odd = []
    for v in x.tolist():
        near = float(v)
        if int(near) != v:
            bits = int(np.float64(near).view(np.int64))
            if bits & 1 == 0:
                bits += 1 if abs(v) > abs(int(near)) else -1
                near = float(np.int64(bits).view(np.float64))
        odd.append(near)
    return rounded(np.array(odd, np.float64), to, mode)


def _from_small(x: Words, source: str, to: str) -> Words:
    """Two fp8 numbers to two of f16, exactly."""
    if to != "f16x2":
        raise PtxError("what conversion?")
    halves = []
    for shift in (0, 8):
        code = (x.astype(np.uint32) >> np.uint32(shift) & np.uint32(255)).astype(np.int64)
        halves.append(rounded(fp8(code, *_SMALL[source]), "f16").astype(np.uint32))
    return halves[0] | halves[1] << np.uint32(16)


def fp8(code: NDArray[np.int64], exponent: int, mantissa: int, bias: int) -> NDArray[np.float64]:
    e, f = code >> mantissa & (1 << exponent) - 1, code & (1 << mantissa) - 1
    value = np.where(e == 0, f * 2.0 ** (1 - bias - mantissa), (f + (1 << mantissa)) * 2.0 ** (e - bias - mantissa))
    top = (1 << exponent) - 1
    if exponent == 5:
        value = np.where(e == top, np.where(f == 0, np.inf, np.nan), value)
    else:
        value = np.where((e == top) & (f == (1 << mantissa) - 1), np.nan, value)
    return np.where(code & 128, -value, value)

"""PTX's arithmetic, comparisons and bits: functions of a machine and an instruction that give the result's bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .floats import FLOATS, compare_floats
from .formats import Words, bits_of, view
from .text import Instruction, PtxError

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["OPERATIONS"]

Ints = NDArray[np.integer]


def _ints(m: Machine, i: Instruction, count: int, kind: str | None = None) -> list[Ints]:
    kind = kind or i.words[-1]
    return [view(m.value(o, bits_of(kind)), kind) for o in i.operands[1 : 1 + count]]  # type: ignore[misc]  # integers


def _bits(x: Ints) -> Words:
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")


def _is_float(i: Instruction) -> bool:
    return i.words[-1].startswith(("f", "bf"))


def _sum(m: Machine, i: Instruction) -> Words:
    x, y = _ints(m, i, 2)
    if "sat" in i.words:
        raise PtxError("saturation")
    return _bits(x + y if i.name == "add" else x - y)


def _product(m: Machine, i: Instruction) -> Words:
    """mul and mad: the low half, the high half, or all of the product; what is added has the result's width."""
    kind = i.words[-1]
    bits = bits_of(kind)
    whole = [x.astype(object) for x in _ints(m, i, 2)] if bits == 64 else [x.astype(np.int64) for x in _ints(m, i, 2)]
    if bits == 32 and kind[0] == "u":
        whole = [x.astype(np.uint64) for x in whole]
    product = whole[0] * whole[1]
    wide = "wide" in i.words
    if "hi" in i.words:
        product = product >> (bits if bits == 64 else product.dtype.type(bits))
    result_bits = 2 * bits if wide else bits
    if bits == 64:
        product = np.array([int(p) & (1 << 64) - 1 for p in product], np.uint64)
    result: Words = product.astype(f"u{result_bits // 8}")
    if i.name == "mad":
        result = result + m.value(i.operands[3], result_bits)
    return result


def _quotient(m: Machine, i: Instruction) -> Words:
    """Truncating; of a zero divisor the result is not defined, and some number here."""
    x, y = (v.astype(object) for v in _ints(m, i, 2))
    bits = bits_of(i.words[-1])
    y = np.where(y == 0, 1, y)
    quotient = abs(x) // abs(y) * np.where((x < 0) != (y < 0), -1, 1)
    result = quotient if i.name == "div" else x - quotient * y
    return np.array([int(r) & (1 << bits) - 1 for r in result], f"u{bits // 8}")


def _extreme(m: Machine, i: Instruction) -> Words:
    x, y = _ints(m, i, 2)
    return _bits(np.minimum(x, y) if i.name == "min" else np.maximum(x, y))


def _sign(m: Machine, i: Instruction) -> Words:
    (x,) = _ints(m, i, 1)
    return _bits(np.abs(x) if i.name == "abs" else -x)


def _logic(m: Machine, i: Instruction) -> Words:
    bits = bits_of(i.words[-1])
    given = [m.value(o, bits) for o in i.operands[1:]]
    match i.name:
        case "and":
            return given[0] & given[1]
        case "or":
            return given[0] | given[1]
        case "xor":
            return given[0] ^ given[1]
        case _:
            return ~given[0]


def _shift(m: Machine, i: Instruction) -> Words:
    """By 32 bits of amount; all beyond the width is as the width."""
    kind = i.words[-1]
    bits = bits_of(kind)
    x = view(m.value(i.operands[1], bits), kind)
    amount = m.value(i.operands[2], 32).astype(np.int64)
    inside = amount < bits
    safe = np.where(inside, amount, bits - 1).astype(x.dtype)
    if i.name == "shl":
        return np.where(inside, _bits(x << safe), 0).astype(f"u{bits // 8}")  # type: ignore[operator]  # integers
    shifted = x >> safe  # type: ignore[operator]  # integers
    if kind[0] == "s":
        shifted = np.where(inside, shifted, x >> x.dtype.type(bits - 1))  # type: ignore[operator]
        return _bits(shifted.astype(x.dtype))
    return np.where(inside, _bits(shifted), 0).astype(f"u{bits // 8}")


def _funnel(m: Machine, i: Instruction) -> Words:
    low, high, amount = (m.value(o, 32).astype(np.uint64) for o in i.operands[1:])
    amount = amount & np.uint64(31) if "wrap" in i.words else np.minimum(amount, np.uint64(32))
    both = high << np.uint64(32) | low
    if "l" in i.words:
        return (both << amount >> np.uint64(32)).astype(np.uint32)
    return (both >> amount).astype(np.uint32)


def _extract(m: Machine, i: Instruction) -> Words:
    """bfe: a field of `length` bits from `start` on, with its sign where the type has one."""
    kind = i.words[-1]
    bits = bits_of(kind)
    x = m.value(i.operands[1], bits)
    start, length = (m.value(o, 32) & np.uint32(255) for o in i.operands[2:])
    result = np.zeros(m.threads, f"u{bits // 8}")
    for lane in range(m.threads):
        n = int(length[lane])
        field = int(x[lane]) >> int(start[lane]) & (1 << n) - 1
        if kind[0] == "s" and n:
            sign = int(x[lane]) >> min(int(start[lane]) + n - 1, bits - 1) & 1
            top = min(n, max(0, bits - int(start[lane])))
            field |= (-1 << top) if sign else 0
        result[lane] = field & (1 << bits) - 1
    return result


def _insert(m: Machine, i: Instruction) -> Words:
    bits = bits_of(i.words[-1])
    source, into = (m.value(o, bits) for o in i.operands[1:3])
    start, length = (m.value(o, 32) & np.uint32(255) for o in i.operands[3:])
    result = np.zeros(m.threads, f"u{bits // 8}")
    for lane in range(m.threads):
        mask = ((1 << int(length[lane])) - 1) << int(start[lane]) & (1 << bits) - 1
        result[lane] = int(into[lane]) & ~mask & (1 << bits) - 1 | int(source[lane]) << int(start[lane]) & mask
    return result


def _permute(m: Machine, i: Instruction) -> Words:
    """prmt: each nibble of the selector names a byte of the eight, or with its high bit that byte's sign."""
    if i.words[-1] != "b32":
        raise PtxError("a mode of prmt")
    low, high, selector = (m.value(o, 32).astype(np.uint64) for o in i.operands[1:])
    both = high << np.uint64(32) | low
    result = np.zeros(m.threads, np.uint64)
    for n in range(4):
        nibble = selector >> np.uint64(4 * n) & np.uint64(15)
        byte = both >> (nibble & np.uint64(7)) * np.uint64(8) & np.uint64(255)
        byte = np.where(nibble & np.uint64(8), np.where(byte & np.uint64(128), 255, 0), byte).astype(np.uint64)
        result |= byte << np.uint64(8 * n)
    return result.astype(np.uint32)


def _table(m: Machine, i: Instruction) -> Words:
    """lop3: bit b of the table is the result where the three operands' bits are the number b, the first one highest."""
    a, b, c, table = (m.value(o, 32) for o in i.operands[1:5])
    result = np.zeros(m.threads, np.uint32)
    for case in range(8):
        if int(table[0]) >> case & 1:
            parts = (x if case >> n & 1 else ~x for x, n in ((a, 2), (b, 1), (c, 0)))
            result |= next(parts) & next(parts) & next(parts)
    return result


def _count(m: Machine, i: Instruction) -> Words:
    bits = bits_of(i.words[-1])
    x = m.value(i.operands[1], bits).astype(f"u{bits // 8}")
    one: dict[str, Callable[[int], int]] = {
        "popc": lambda v: v.bit_count(),
        "clz": lambda v: bits - v.bit_length(),
        "brev": lambda v: int(f"{v:0{bits}b}"[::-1], 2),
        "bfind": lambda v: (v.bit_length() - 1) & 0xFFFFFFFF,
    }
    if i.name == "bfind" and ("shiftamt" in i.words or i.words[-1][0] == "s"):
        raise PtxError("a mode of bfind")
    return np.array([one[i.name](int(v)) for v in x], np.uint64)


def _choose(m: Machine, i: Instruction) -> Words:
    bits = bits_of(i.words[-1])
    return np.where(m.value(i.operands[3], 1), m.value(i.operands[1], bits), m.value(i.operands[2], bits))


def _compare(m: Machine, i: Instruction) -> Words:
    """setp, whose result is a predicate, and may be joined with another one."""
    kind = i.words[-1]
    word = i.words[1]
    given = [m.value(o, bits_of(kind)) for o in i.operands[1:3]]
    if _is_float(i):
        holds = compare_floats(word, given[0], given[1], kind, "ftz" in i.words)
    else:
        alias = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
        x, y = (view(g, kind) for g in given)
        tests = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater}
        tests["ge"] = np.greater_equal
        holds = tests[alias.get(word, word)](x, y)
    if len(i.operands) > 3:
        other = m.value(i.operands[3], 1)
        holds = {"and": holds & other, "or": holds | other, "xor": holds ^ other}[i.words[2]]  # type: ignore[assignment]
    return holds  # type: ignore[return-value]  # booleans


def _dot(m: Machine, i: Instruction) -> Words:
    """dp4a: four products of bytes, added to the third operand."""
    signs = i.words[-2], i.words[-1]
    total = m.value(i.operands[3], 32).astype(np.int64)
    for n in range(4):
        bytes_ = [(m.value(o, 32) >> np.uint32(8 * n) & np.uint32(255)).astype(np.int64) for o in i.operands[1:3]]
        x, y = (np.where(b > 127, b - 256, b) if s == "s32" else b for b, s in zip(bytes_, signs, strict=True))
        total = total + x * y
    return (total & 0xFFFFFFFF).astype(np.uint32)


_INTEGERS: dict[str, Callable[[Machine, Instruction], Words]] = {
    "add": _sum, "sub": _sum, "mul": _product, "mad": _product, "div": _quotient, "rem": _quotient,
    "min": _extreme, "max": _extreme, "abs": _sign, "neg": _sign,
    "and": _logic, "or": _logic, "xor": _logic, "not": _logic, "shl": _shift, "shr": _shift, "shf": _funnel,
    "bfe": _extract, "bfi": _insert, "prmt": _permute, "lop3": _table, "popc": _count, "clz": _count, "brev": _count,
    "bfind": _count, "selp": _choose, "setp": _compare, "dp4a": _dot,
}  # fmt: skip


def _either(name: str) -> Callable[[Machine, Instruction], Words]:
    whole, real = _INTEGERS.get(name), FLOATS.get(name)
    if whole is None or real is None:
        only = whole or real
        assert only is not None
        return only
    return lambda m, i: real(m, i) if _is_float(i) else whole(m, i)


OPERATIONS = {name: _either(name) for name in {*_INTEGERS, *FLOATS}}

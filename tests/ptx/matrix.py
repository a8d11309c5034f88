"""PTX's instructions on matrices: a warp's threads hold the fragments that the PTX ISA draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .convert import fp8
from .floats import numbers
from .formats import Mask, Words, f64_to_f32
from .text import Instruction, Operand, PtxError, Vector

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["BITS", "a_places", "load_matrix", "multiply_matrices", "number"]

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
BITS = {"f16": 16, "bf16": 16, "s8": 8, "u8": 8, "e4m3": 8, "e5m2": 8}


def a_places(lane: NDArray[np.int64], k: int, per: int) -> Places:
    """Row and column of a thread's elements of A, [32, count]; `per` of them in a register.

    Registers go through rows g and g + 8, then through columns, 4 `per` further.
    """
    element = np.arange(16 * k // 32)
    register, inside = element // per, element % per
    row = lane[:, None] // 4 + 8 * (register % 2)
    return row, lane[:, None] % 4 * per + inside + 4 * per * (register // 2)


def _b_places(lane: NDArray[np.int64], k: int, per: int) -> Places:
    element = np.arange(8 * k // 32)
    register, inside = element // per, element % per
    row = lane[:, None] % 4 * per + inside + 4 * per * register
    return row, np.broadcast_to(lane[:, None] // 4, row.shape)


def _c_places(lane: NDArray[np.int64]) -> Places:
    element = np.arange(4)
    return lane[:, None] // 4 + 8 * (element // 2), lane[:, None] % 4 * 2 + element % 2


def _elements(m: Machine, operand: Operand, kind: str) -> NDArray[np.float64]:
    """[threads, count]: the numbers in a vector of registers, low bits first."""
    assert isinstance(operand, Vector)
    bits = BITS[kind]
    columns = []
    for item in operand.items:
        word = m.value(item, 32)
        for n in range(32 // bits):
            columns.append(number(word >> np.uint32(n * bits) & np.uint32((1 << bits) - 1), kind))
    return np.stack(columns, axis=1)


def number(code: Words, kind: str) -> NDArray[np.float64]:
    """What codes of elements stand for."""
    match kind:
        case "s8":
            return code.astype(np.uint8).view(np.int8).astype(np.float64)
        case "u8":
            return code.astype(np.float64)
        case "e4m3":
            return fp8(code.astype(np.int64), 4, 3, 7)
        case "e5m2":
            return fp8(code.astype(np.int64), 5, 2, 15)
        case _:
            return numbers(code, kind)


def multiply_matrices(m: Machine, i: Instruction, active: Mask) -> None:
    """mma.sync of 16 rows and 8 columns: D = A B + C, summed exactly but for f64's rounding, then rounded once.

    ``mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32``: the types are those of D, A, B and C.
    """
    shape, kinds = i.words[3], i.words[6:10]
    if not shape.startswith("m16n8k") or i.words[4:6] != ("row", "col") or len(i.words) != 10 or not active.all():
        raise PtxError("what product?")
    k, d, a, b = int(shape.removeprefix("m16n8k")), *kinds[:3]
    per = 32 // BITS[a]
    lane = np.arange(32)
    x, y = _elements(m, i.operands[1], a), _elements(m, i.operands[2], b)
    to, given = i.operands[0], i.operands[3]
    assert isinstance(to, Vector)
    assert isinstance(given, Vector)
    whole = d == "s32"
    words = np.stack([m.value(item, 32) for item in given.items], axis=1)
    z = words.view(np.int32).astype(np.float64) if whole else words.view(np.float32).astype(np.float64)
    result = np.zeros((m.threads, 4), np.uint32)
    for first in range(0, m.threads, 32):
        warp = slice(first, first + 32)
        left, right, total = np.zeros((16, k)), np.zeros((k, 8)), np.zeros((16, 8))
        left[a_places(lane, k, per)] = x[warp]
        right[_b_places(lane, k, per)] = y[warp]
        total[_c_places(lane)] = z[warp]
        # Not `@`: infinities and NaN must meet the elements that they meet on the hardware, one by one.
        total = total + (left[:, :, None] * right[None]).sum(axis=1)
        found = total[_c_places(lane)]
        result[warp] = (found.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32) if whole else f64_to_f32(found)
    for n, item in enumerate(to.items):
        m.define(item, result[:, n], active)


def load_matrix(m: Machine, i: Instruction, active: Mask) -> None:
    """ldmatrix: thread 8 j + r of a warp has the address of row r of matrix j, 16 bytes.

    Thread t gets words t % 4 of rows t // 4; transposed, 16-bit elements of rows 2 (t % 4) and the next, column
    t // 4.
    """
    count = int(i.words[4].removeprefix("x"))
    if "m8n8" not in i.words or i.words[-1] != "b16" or not active.all():
        raise PtxError("what matrix?")
    to = i.operands[0]
    assert isinstance(to, Vector)
    address = m.address(i.operands[1], "shared")
    lane = np.arange(32)
    result = np.zeros((m.threads, count), np.uint32)
    for first in range(0, m.threads, 32):
        rows = np.arange(first, first + 8 * count)
        raw = m.spaces.read(address[rows], 16, rows, 16).view(np.uint16).reshape(count, 8, 8).astype(np.uint32)
        row, pair = lane // 4, lane % 4 * 2
        if "trans" in i.words:
            low, high = raw[:, pair, row], raw[:, pair + 1, row]
        else:
            low, high = raw[:, row, pair], raw[:, row, pair + 1]
        result[first : first + 32] = (low | high << np.uint32(16)).T
    for n, item in enumerate(to.items):
        m.define(item, result[:, n], active)

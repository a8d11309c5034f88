"""The matrix product: sums over k stay within a lane, and the target's atoms take several terms at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...vm.dtypes import Int
from ...vm.ir import Value
from ...vm.ops import Dot
from ..atoms import has_instruction, select_row
from ..lane.ir import Reg
from .context import Context
from .matrix import lower_matrix
from .tile import Later, Tile, coordinates, matching


@dataclass(frozen=True)
class Terms:
    """Which registers of a and b meet in each register of the accumulator: a[m, k] and b[k, n] by index."""

    a: NDArray[np.int64]  # [register of acc, k] -> register of a
    b: NDArray[np.int64]  # [register of acc, k] -> register of b


def lower_dot(c: Context, result: Value, op: Dot) -> None:
    if lower_matrix(c, result, op):
        return
    a, b, acc = (c.tile(v) for v in op.operands)
    sums = list(acc.values(c.b))
    plan = _terms(c, op, a, b, acc)
    dtype = op.a.type.dtype
    if isinstance(dtype, Int):
        _integer(c, op, plan, a, b, sums)
    elif dtype.name == "bf16" and has_instruction(c.target, "dp2a_bf16") and _paired(plan, 2):
        _packed(c, plan, a, b, sums, "dp2a_bf16", 2)
    else:
        _fused(c, plan, a, b, sums)
    if result.type.layout != acc.layout:
        match = matching(acc.layout, result.type.layout, 2, c.lanes) if result.type.layout else None
        assert match is not None
        sums = [sums[r] for r in match]
    c.define(result, tuple(sums))


def _terms(c: Context, op: Dot, a: Tile, b: Tile, acc: Tile) -> Terms:
    """Register numbers by coordinates; lane 0 speaks for all, which is checked."""
    mn = coordinates(acc.layout, 2, c.lanes)
    mk, kn = coordinates(a.layout, 2, c.lanes), coordinates(b.layout, 2, c.lanes)
    depth = op.a.type.shape[1]
    a_at = [{tuple(x): r for r, x in enumerate(lane)} for lane in mk.tolist()]
    b_at = [{tuple(x): r for r, x in enumerate(lane)} for lane in kn.tolist()]

    def table(at: list[dict[tuple[int, ...], int]], dim: int) -> NDArray[np.int64]:
        def key(lane: int, register: int, k: int) -> tuple[int, int]:
            place = int(mn[lane, register, dim])
            return (place, k) if dim == 0 else (k, place)

        found = np.array([[at[0][key(0, r, k)] for k in range(depth)] for r in range(mn.shape[1])], np.int64)
        for lane in range(1, c.lanes):
            probes = ((r, k) for r in range(mn.shape[1]) for k in (0, depth - 1))
            assert all(at[lane].get(key(lane, r, k)) == found[r, k] for r, k in probes), (
                "lanes differ in their registers"
            )
        return found

    return Terms(table(a_at, 0), table(b_at, 1))


def _paired(plan: Terms, count: int) -> bool:
    """Whether `count` consecutive terms share a word, in the same order, in both operands."""
    depth = plan.a.shape[1]
    if depth % count:
        return False
    for table in (plan.a, plan.b):
        groups = table.reshape(len(table), depth // count, count)
        if (groups[:, :, 0] % count).any() or (groups - groups[:, :, :1] != np.arange(count)).any():
            return False
    return True


def _fused(c: Context, plan: Terms, a: Tile, b: Tile, sums: list[Reg]) -> None:
    for k in range(plan.a.shape[1]):
        left = {r: a.value(c.b, r) for r in dict.fromkeys(plan.a[:, k].tolist())}
        right = {r: b.value(c.b, r) for r in dict.fromkeys(plan.b[:, k].tolist())}
        for r in range(len(sums)):
            sums[r] = c.b.apply("fma", left[plan.a[r, k]], right[plan.b[r, k]], sums[r])


def _packed(c: Context, plan: Terms, a: Tile, b: Tile, sums: list[Reg], atom: str, count: int) -> None:
    left, right = a.words(c.b), b.words(c.b)
    for k in range(0, plan.a.shape[1], count):
        for r in range(len(sums)):
            x, y = left[plan.a[r, k] // count], right[plan.b[r, k] // count]
            sums[r] = c.b.atom(atom, sums[r].type, sums[r], y, x)


def _integer(c: Context, op: Dot, plan: Terms, a: Tile, b: Tile, sums: list[Reg]) -> None:
    """Bytes four at a time.  The atom wants the unsigned operand first: b, else a, else b with its sign bit turned.

    Two signed operands, where no instruction takes them as they are: b + 128 is unsigned, and 128·Σa is taken off
    again.  Two unsigned ones likewise.
    """
    if not _paired(plan, 4):
        _single(c, plan, a, b, sums)
        return
    signs = (_signed(op.a), _signed(op.b))
    same = {(True, True): "dp4a_ss", (False, False): "dp4a_uu"}.get(signs)
    if same and select_row(c.target, same).cost <= select_row(c.target, "dp4a_us").cost:
        _packed(c, plan, a, b, sums, same, 4)
        return
    left, right = a.words(c.b), b.words(c.b)
    flip = c.b.i32(0x80808080)
    bias = {(True, True): -128, (False, False): 128}.get(signs, 0)
    ones = c.b.i32(0x01010101)
    zero = c.b.i32(0)
    if bias:  # b + 128 is unsigned, and b - 128 is signed: either way its top bit turns
        plain = right
        right = Later(len(plain), lambda i: c.b.apply("xor", plain[i], flip))
    for k in range(0, plan.a.shape[1], 4):
        for r in range(len(sums)):
            x, y = left[plan.a[r, k] // 4], right[plan.b[r, k] // 4]
            unsigned, signed = (x, y) if signs in ((False, True), (False, False)) else (y, x)
            if bias:
                one_side = (ones, x) if signs == (True, True) else (x, ones)
                total = _bytes(c, zero, *one_side)
                sums[r] = c.b.apply("add", sums[r], c.b.apply("mul", total, c.b.i32(bias)))
            sums[r] = _bytes(c, sums[r], unsigned, signed)


def _bytes(c: Context, total: Reg, unsigned: Reg, signed: Reg) -> Reg:
    """Plus four products; some processors do those of bytes below 128 with fewer instructions."""
    low = not c.b.possible(unsigned) & 0x80808080
    return c.b.atom("dp4a_ls" if low else "dp4a_us", "i32", total, unsigned, signed)


def _signed(value: Value) -> bool:
    return isinstance(value.type.dtype, Int) and value.type.dtype.signed


def _single(c: Context, plan: Terms, a: Tile, b: Tile, sums: list[Reg]) -> None:
    left, right = a.values(c.b), b.values(c.b)
    for k in range(plan.a.shape[1]):
        for r in range(len(sums)):
            sums[r] = c.b.apply("add", sums[r], c.b.apply("mul", left[plan.a[r, k]], right[plan.b[r, k]]))

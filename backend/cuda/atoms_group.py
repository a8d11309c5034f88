"""Rows of what four warps do together: wgmma, products of a's registers with a matrix in shared memory.

    wgmma_f16_n64(a0, a1, a2, a3, descriptor, c...)   c + a[64, 16] b[16, 64], which is under way when it ends
    wgmma_f16_n64_new(a0, a1, a2, a3, descriptor)    the same without c
    wgmma_wait_n64(c...)                              the sums, when all products that were started have come
    wgmma_turn()                                     the words of a are free of all products before the last turn
    fence_async()                                     before the barrier after which products read what was written

Nothing but a further product takes the results of a product before they were waited for.  `b` lies in shared memory as
rows of n, 16 bytes (8 elements of k) at a time; the descriptor says where:

    swizzle 0    byte (n % 8) 16 + (n / 8) stride + (k / 8) leading + (k % 8) 2 after the address
    32, 64, 128  byte (n % 8) swizzle + (n / 8) stride + 2 k, and then bits 4.. of the byte's address are XORed with the
                 bits from 7 on: one, two or three of them.  What repeats (8 rows) begins at a multiple of its size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...vm.layout.relation import Digit, Layout
from ...vm.layout.swizzle import Swizzle
from ..lane.ir import Type
from ..lane.meaning import Lanes
from ..lane.shared_meaning import SharedMeaning, SharedReader
from .atom_row import Matrix, Row, rounded_sums, singles_of
from .atoms_matrix import gathered, spread

__all__ = ["GROUP", "ROWS", "WIDTHS", "descriptor_fields", "group_matrix"]

GROUP = 128  # lanes
WIDTHS = (8, 16, 32, 64, 128, 256)

_MODES = {0: 0, 128: 1, 64: 2, 32: 3}
_F32: Type = "f32"
_ROWS, _DEPTH = 8, 16  # rows that lie together, and the product's k


def descriptor_fields(leading: int, stride: int, swizzle: int) -> int:
    """All of a descriptor but the address, whose bits 4 to 17 (of shared memory's own) are its bits 0 to 13."""
    for name, value in (("leading", leading), ("stride", stride)):
        if value % 16 or not 0 <= value < 1 << 18:
            raise ValueError(f"{name} is {value} bytes: it must be a multiple of 16 below {1 << 18}")
    return leading >> 4 << 16 | stride >> 4 << 32 | _MODES[swizzle] << 62


@lru_cache(maxsize=8)
def group_matrix(n: int) -> Matrix:
    """m64k16 by k16n<n>: each of the four warps has 16 rows of a and c, as mma has them; b is where memory has it."""
    lanes = (Digit.make(8, {"lane": 4, "d0": 1}), Digit.make(4, {"lane": 32, "d0": 16}))
    pair = (Digit.make(2, {"reg": 1, "d1": 1}), Digit.make(4, {"lane": 1, "d1": 2}), Digit.make(2, {"reg": 2, "d0": 8}))
    a = Layout((*lanes, *pair, Digit.make(2, {"reg": 4, "d1": 8})))
    c = Layout((*lanes, *pair, Digit.make(n // 8, {"reg": 4, "d1": 8})))
    b = Layout((Digit.make(_DEPTH, {"d0": 1}), Digit.make(n, {"d1": 1})))
    return Matrix(64, n, _DEPTH, a, b, c)


def _addresses(descriptor: int, n: int) -> NDArray[np.int64]:
    """[n, 2]: where in shared memory each row's two pieces of 16 bytes lie."""
    start, leading, stride = ((descriptor >> shift & 0x3FFF) << 4 for shift in (0, 16, 32))
    swizzle = {mode: size for size, mode in _MODES.items()}[descriptor >> 62 & 3]
    rows, piece = np.arange(n)[:, None], np.arange(2)
    groups = rows // _ROWS * stride + start
    if not swizzle:
        return groups + rows % _ROWS * 16 + piece * leading
    bits = {32: 1, 64: 2, 128: 3}[swizzle]
    return Swizzle(bits, 4, 3).apply(groups + rows % _ROWS * swizzle + piece * 16)


def _product(kind: str, n: int, new: bool) -> SharedMeaning:
    """`new`: there are no sums that it adds to."""
    shape = group_matrix(n)

    def run(read: SharedReader, *operands: Lanes) -> tuple[Lanes, ...]:
        words = gathered(shape.a, operands[:4], np.uint16, GROUP).astype(np.uint16)
        a = singles_of(words, kind).astype(np.float64)
        found = []
        for group, descriptor in enumerate(operands[4].reshape(-1, GROUP)):
            if (descriptor != descriptor[0]).any():
                raise ValueError("lanes have different descriptors")
            given = read(_addresses(int(descriptor[0]), n).reshape(-1), 16).view(np.uint16).reshape(n, _DEPTH)
            found.append(a[group] @ singles_of(given, kind).astype(np.float64).T)
        total = np.stack(found)
        if not new:
            total += gathered(shape.c, operands[5:], np.float32, GROUP)
        return spread(shape.c, rounded_sums(total))

    return SharedMeaning(run, "start", takes=not new)


def _numbered(first: int, count: int) -> str:
    return "{" + ", ".join(f"%{first + k}" for k in range(count)) + "}"


def _product_row(kind: str, n: int, new: bool) -> Row:
    sums = n // 2
    text = (
        f"{{.reg .pred p; setp.ne.b32 p, {0 if new else 1}, 0; wgmma.fence.sync.aligned; "
        f"wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{kind}.{kind} "
        f"{_numbered(0, sums)}, {_numbered(sums, 4)}, %{sums + 4}, p, 1, 1, 0;}}"
    )
    totals = (_F32,) * sums
    meaning = _product(kind, n, new)
    own: tuple[Type, ...] = ("i32", "i32", "i32", "i32", "i64")
    name = f"wgmma_{kind}_n{n}{'_new' if new else ''}"
    taken = () if new else totals
    return Row(name, ("wgmma",), (*own, *taken), totals, meaning, 2, text, group_matrix(n), in_place=not new)


def _wait_row(n: int) -> Row:
    sums = (_F32,) * (n // 2)
    text = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"
    meaning = SharedMeaning(lambda read, *c: c, "wait")
    return Row(f"wgmma_wait_n{n}", ("wgmma",), sums, sums, meaning, 2, text, in_place=True)


def _turn() -> tuple[Lanes, ...]:
    """Lanes' registers are values: which of them are free again means nothing to them."""
    return ()


_TURN = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1;"
_FENCE = SharedMeaning(lambda read: (), "fence")

ROWS: tuple[Row, ...] = (
    *(_product_row(kind, n, new) for kind in ("f16", "bf16") for n in WIDTHS for new in (False, True)),
    *(_wait_row(n) for n in WIDTHS),
    Row("wgmma_turn", ("wgmma",), (), (), _turn, 2, _TURN),
    Row("fence_async", ("wgmma",), (), (), _FENCE, 1, "fence.proxy.async.shared::cta;"),
)

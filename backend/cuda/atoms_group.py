"""Rows of what four warps do together: wgmma, products of a's registers with a matrix in shared memory.

    wgmma_f16_n64(a0, a1, a2, a3, descriptor, c...)   c + a[64, 16] b[16, 64], which is under way when it ends
    wgmma_f16_n64_new(a0, a1, a2, a3, descriptor)    the same without c
    wgmma_f16_n128_over(a0, a1, a2, a3, descriptor, c...)   without c, whose registers it takes when all have read them
    wgmma_us8_n64(a0, a1, a2, a3, descriptor, c...)   of bytes, those of a unsigned, c + a[64, 32] b[32, 64] in i32
    wgmma_wait_n64(c...)                              the sums, when all products that were started have come
    wgmma_wait_whole_n64(c...)                        the same of i32
    wgmma_turn()                                     the words of a are free of all products before the last turn
    fence_async()                                     before the barrier after which products read what was written

Nothing but a further product takes the results of a product before they were waited for.  `b` lies in shared memory as
rows of n, of which a product takes 32 bytes, 16 at a time; the descriptor says where byte j of row n lies:

    swizzle 0    byte (n % 8) 16 + (n / 8) stride + (j / 16) leading + j % 16 after the address
    32, 64, 128  byte (n % 8) swizzle + (n / 8) stride + j, and then bits 4.. of the byte's address are XORed with the
                 bits from 7 on: one, two or three of them.  What repeats (8 rows) begins at a multiple of its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...vm.layout.relation import Digit, Layout
from ...vm.layout.swizzle import Swizzle
from ..lane.ir import Type
from ..lane.meaning import Lanes
from ..lane.shared_meaning import SharedMeaning, SharedReader
from .atom_row import Matrix, Row, rounded_sums, singles_of
from .atoms_matrix import gathered, spread
from .atoms_words import fp8_values

__all__ = ["GROUP", "ROWS", "WIDTHS", "descriptor_fields", "group_matrix"]

GROUP = 128  # lanes
WIDTHS = (8, 16, 32, 64, 128, 256)

_MODES = {0: 0, 128: 1, 64: 2, 32: 3}
_ROWS = 8  # that lie together
_BYTES = 32  # of a row that a product takes
_MANY = 128  # columns from which on sums of one product are as many registers as can be spared

_Way = Literal["", "_new", "_over"]
"""What becomes of sums that are there: the product adds to them, there are none, or it takes their registers."""

_ADDS = {"": "setp.ne.b32 p, 1, 0", "_new": "setp.ne.b32 p, 0, 0"}


@dataclass(frozen=True)
class _Kind:
    """Types of a product's elements, as PTX has them, and the words of its sums."""

    name: str
    a: str
    b: str
    total: Type

    @property
    def bits(self) -> int:
        return 16 if self.a in ("f16", "bf16") else 8

    @property
    def whole(self) -> bool:
        return self.total == "i32"


_KINDS = (
    *(_Kind(name, name, name, "f32") for name in ("f16", "bf16", "e4m3", "e5m2")),
    *(_Kind(n, a, b, "i32") for n, a, b in (("s8", "s8", "s8"), ("u8", "u8", "u8"), ("us8", "u8", "s8"),
                                            ("su8", "s8", "u8"))),
)  # fmt: skip


def descriptor_fields(leading: int, stride: int, swizzle: int) -> int:
    """All of a descriptor but the address, whose bits 4 to 17 (of shared memory's own) are its bits 0 to 13."""
    for name, value in (("leading", leading), ("stride", stride)):
        if value % 16 or not 0 <= value < 1 << 18:
            raise ValueError(f"{name} is {value} bytes: it must be a multiple of 16 below {1 << 18}")
    return leading >> 4 << 16 | stride >> 4 << 32 | _MODES[swizzle] << 62


@lru_cache(maxsize=16)
def group_matrix(n: int, bits: int = 16) -> Matrix:
    """m64k16 by k16n<n>, or k32 of bytes: each of the four warps has 16 rows of a and c, as mma has them.

    b is where memory has it.
    """
    word, depth = 32 // bits, 8 * _BYTES // bits
    lanes = (Digit.make(8, {"lane": 4, "d0": 1}), Digit.make(4, {"lane": 32, "d0": 16}))

    def held(per: int) -> tuple[Digit, ...]:
        """Rows of `per` elements side by side in each of four lanes, and the row that is 8 further on."""
        inside = (Digit.make(per, {"reg": 1, "d1": 1}), Digit.make(4, {"lane": 1, "d1": per}))
        return (*lanes, *inside, Digit.make(2, {"reg": per, "d0": 8}))

    a = Layout((*held(word), Digit.make(2, {"reg": 2 * word, "d1": 4 * word})))
    c = Layout((*held(2), Digit.make(n // 8, {"reg": 4, "d1": 8})))
    b = Layout((Digit.make(depth, {"d0": 1}), Digit.make(n, {"d1": 1})))
    return Matrix(64, n, depth, a, b, c)


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


def _product(kind: _Kind, n: int, way: _Way) -> SharedMeaning:
    """Sums of integers are exact, modulo 2**32."""
    shape = group_matrix(n, kind.bits)
    element, number = _codes(kind.a), _numbers(kind.a)
    other, number_of_other = _codes(kind.b), _numbers(kind.b)
    held = np.int32 if kind.whole else np.float32

    def run(read: SharedReader, *operands: Lanes) -> tuple[Lanes, ...]:
        a = number(gathered(shape.a, operands[:4], element, GROUP).astype(element))
        found = []
        for group, descriptor in enumerate(operands[4].reshape(-1, GROUP)):
            if (descriptor != descriptor[0]).any():
                raise ValueError("lanes have different descriptors")
            given = read(_addresses(int(descriptor[0]), n).reshape(-1), 16).view(other).reshape(n, shape.k)
            found.append(a[group] @ number_of_other(given).T)
        total = np.stack(found)
        if not way:
            total = total + gathered(shape.c, operands[5:], held, GROUP)
        return spread(shape.c, total if kind.whole else rounded_sums(total))

    return SharedMeaning(run, "start", takes=way != "_new")


def _codes(name: str) -> type[np.generic]:
    codes: dict[str, type[np.generic]] = {"s8": np.int8, "f16": np.uint16, "bf16": np.uint16}
    return codes.get(name, np.uint8)


def _numbers(name: str) -> Callable[[Lanes], Lanes]:
    """What codes stand for, as numbers in which products are exact."""
    if name in ("f16", "bf16"):
        return lambda codes: singles_of(codes.astype(np.uint16), name).astype(np.float64)
    if name in ("e4m3", "e5m2"):
        return lambda codes: fp8_values(name)[codes.astype(np.uint8)].astype(np.float64)
    return lambda codes: codes.astype(np.int32)


def _numbered(first: int, count: int) -> str:
    return "{" + ", ".join(f"%{first + k}" for k in range(count)) + "}"


def _product_row(kind: _Kind, n: int, way: _Way) -> Row:
    sums, shape = n // 2, group_matrix(n, kind.bits)
    total = "s32" if kind.whole else "f32"
    signs = "" if kind.whole else ", 1, 1"
    turned = ", 0" if kind.bits == 16 else ""
    # No descriptor is 0.  The assembler does not know that: what it thinks may be added to must be in those registers.
    adds = _ADDS.get(way, f"setp.eq.s64 p, %{sums + 4}, 0")
    text = (
        f"{{.reg .pred p; {adds}; wgmma.fence.sync.aligned; "
        f"wgmma.mma_async.sync.aligned.m64n{n}k{shape.k}.{total}.{kind.a}.{kind.b} "
        f"{_numbered(0, sums)}, {_numbered(sums, 4)}, %{sums + 4}, p{signs}{turned};}}"
    )
    totals = (kind.total,) * sums
    own: tuple[Type, ...] = ("i32", "i32", "i32", "i32", "i64")
    taken = () if way == "_new" else totals
    name = f"wgmma_{kind.name}_n{n}{way}"
    in_place = way != "_new"
    return Row(name, ("wgmma",), (*own, *taken), totals, _product(kind, n, way), 2, text, shape, in_place=in_place)


def _ways(kind: _Kind, n: int) -> tuple[_Way, ...]:
    return ("", "_new", "_over") if not kind.whole and n >= _MANY else ("", "_new")


def _wait_row(n: int, total: Type) -> Row:
    sums = (total,) * (n // 2)
    text = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"
    meaning = SharedMeaning(lambda read, *c: c, "wait")
    name = f"wgmma_wait_{'whole_' if total == 'i32' else ''}n{n}"
    return Row(name, ("wgmma",), sums, sums, meaning, 2, text, in_place=True)


def _turn() -> tuple[Lanes, ...]:
    """Lanes' registers are values: which of them are free again means nothing to them."""
    return ()


_TOTALS: tuple[Type, ...] = ("f32", "i32")
_TURN = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1;"
_FENCE = SharedMeaning(lambda read: (), "fence")

ROWS: tuple[Row, ...] = (
    *(_product_row(kind, n, way) for kind in _KINDS for n in WIDTHS for way in _ways(kind, n)),
    *(_wait_row(n, total) for n in WIDTHS for total in _TOTALS),
    Row("wgmma_turn", ("wgmma",), (), (), _turn, 2, _TURN),
    Row("fence_async", ("wgmma",), (), (), _FENCE, 1, "fence.proxy.async.shared::cta;"),
)

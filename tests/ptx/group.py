"""wgmma: products of four warps, of A in registers and B in shared memory, which are under way until waited for.

What a product reads it reads when it begins, and must find unchanged when it ends; what it writes holds nonsense until
then.  Matrices B lie in shared memory as the PTX ISA's matrix descriptors say, K-major.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .formats import Mask, f64_to_f32
from .matrix import BITS, a_places, number
from .spaces import SHARED
from .text import Instruction, Name, Number, PtxError, Vector

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["Products", "group_product"]

GROUP, WARP = 128, 32
ROW = 32  # bytes of a column of B
FLOATS, BYTES = ("f16", "bf16", "e4m3", "e5m2"), ("s8", "u8")
_NONSENSE = 0x7FC0DEAD  # a NaN
_SPANS = {1: 128, 2: 64, 3: 32}  # bytes that a swizzle goes over, by its code in bits 62 and 63


@dataclass(frozen=True)
class _Product:
    to: tuple[str, ...]
    registers: dict[str, NDArray[np.uint32]]
    address: NDArray[np.uint64]
    bytes_: NDArray[np.uint8]


@dataclass
class Products:
    """Products of no group yet, groups under way, and the sums of all of these."""

    open: list[_Product] = field(default_factory=list)
    groups: list[list[_Product]] = field(default_factory=list)
    sums: dict[tuple[str, ...], NDArray[np.uint32]] = field(default_factory=dict)


def group_product(m: Machine, i: Instruction, active: Mask) -> None:
    if not active.all() or m.threads % GROUP:
        raise PtxError("wgmma is for whole groups of four warps")
    held = m.products
    match i.words[1]:
        case "fence":
            pass
        case "mma_async":
            _start(m, i)
        case "commit_group":
            held.groups.append(held.open)
            held.open = []
        case "wait_group":
            assert isinstance(i.operands[0], Number)
            while len(held.groups) > i.operands[0].value:
                while held.groups[0]:
                    _end(m, held.groups[0].pop(0))
                held.groups.pop(0)
        case _:
            raise PtxError("what instruction of wgmma?")


def _start(m: Machine, i: Instruction) -> None:
    """``wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 d, a, descriptor, adds, 1, 1, 0``."""
    shape, (d, a, b) = i.words[4], i.words[5:8]
    whole = d == "s32"
    if not (a in BYTES and b in BYTES if whole else d == "f32" and a == b and a in FLOATS):
        raise PtxError("a product of what types?")
    end = f"k{8 * ROW // BITS[a]}"
    if not shape.startswith("m64n") or not shape.endswith(end) or len(i.words) != 8:
        raise PtxError("what product?")
    to, left, descriptor, adds, *constants = i.operands
    signs = [] if whole else [1, 1, 0] if BITS[a] == 16 else [1, 1]
    if [c.value if isinstance(c, Number) else None for c in constants] != signs:
        raise PtxError("a product with other signs, or B the other way round")
    assert isinstance(to, Vector)
    assert isinstance(left, Vector)
    n = int(shape[4 : -len(end)])
    names = tuple(item.text for item in to.items if isinstance(item, Name))
    registers = {item.text: m.value(item, 32).astype(np.uint32) for item in left.items if isinstance(item, Name)}
    if len(names) != n // 2 or len(registers) != 4:
        raise PtxError("so many registers?")
    if set(names) & set(registers):
        raise PtxError("what is multiplied is a sum, too")
    before = m.products.sums.get(names)
    if before is None:
        if any(set(names) & set(other) for other in m.products.sums):
            raise PtxError("sums of two products share registers")
        before = np.stack([m.registers[name].astype(np.uint32) for name in names], axis=1)
    counts = m.value(adds, 1).astype(bool)
    address = np.stack([_addresses(int(word), n) for word in _one_for_each(m.value(descriptor, 64))])
    found = m.spaces.read_fenced(address.reshape(-1), 16)
    right = found.reshape(len(address), n, ROW)
    after = np.zeros_like(before)
    for group in range(m.threads // GROUP):
        threads = slice(group * GROUP, (group + 1) * GROUP)
        words = np.stack([r[threads] for r in registers.values()], axis=1)
        after[threads] = _sums(words, right[group], before[threads], counts[threads], (a, b))
    m.products.sums[names] = after
    m.products.open.append(_Product(names, registers, address.reshape(-1), found))
    for name in names:
        m.registers[name] = np.full(m.threads, _NONSENSE, np.uint32)


def _one_for_each(descriptor: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """The descriptor of each group, in which all threads have the same."""
    groups = descriptor.reshape(-1, GROUP)
    if (groups != groups[:, :1]).any():
        raise PtxError("threads of a group have different descriptors")
    first: NDArray[np.unsignedinteger] = groups[:, 0]
    return first


def _addresses(descriptor: int, n: int) -> NDArray[np.uint64]:
    """[n, 2]: generic addresses of the pieces of 16 bytes of each column of B.

    Fields are in units of 16 bytes: bits 0-13 the address, 16-29 the offset from a piece to the next one in k (where
    nothing is swizzled), 32-45 that from 8 columns to the next 8; bits 62-63 are the swizzle.
    """
    start, leading, stride = ((descriptor >> at & 0x3FFF) * 16 for at in (0, 16, 32))
    if descriptor >> 49 & 7:
        raise PtxError("a base offset")
    mode = descriptor >> 62 & 3
    column, piece = np.arange(n)[:, None], np.arange(2)[None]
    if mode == 0:
        place = start + column // 8 * stride + column % 8 * 16 + piece * leading
    else:
        span = _SPANS[mode]
        place = start + column // 8 * stride + column % 8 * span + piece * 16
        # Pieces change places within the span, by the number of the 128 bytes that they are in.
        place = place ^ (place >> 7 & span // 16 - 1) << 4
    return (place + SHARED).astype(np.uint64)


def _sums(
    words: NDArray[np.uint32],
    right: NDArray[np.uint8],
    before: NDArray[np.uint32],
    counts: Mask,
    kinds: tuple[str, str],
) -> NDArray[np.uint32]:
    """[128, n / 2]: a group's sums, of elements of A and B of these kinds.

    Each warp has 16 rows of A and D, as mma has them, 8 columns at a time.
    """
    of_a, of_b = kinds
    whole, bits = of_a in BYTES, BITS[of_a]
    per, depth = 32 // bits, 8 * ROW // bits
    b = number(right.view(f"<u{bits // 8}").astype(np.uint32), of_b).T
    lane = np.arange(WARP)
    after = np.zeros_like(before)
    register, inside = np.divmod(np.arange(4 * per), per)
    for warp in range(GROUP // WARP):
        threads = slice(warp * WARP, (warp + 1) * WARP)
        a = np.zeros((16, depth))
        codes = words[threads][:, register] >> (bits * inside).astype(np.uint32) & np.uint32((1 << bits) - 1)
        a[a_places(lane, depth, per)] = number(codes, of_a)
        product = (a[:, :, None] * b[None]).sum(axis=1)
        element = np.arange(before.shape[1])
        row = lane[:, None] // 4 + element % 4 // 2 * 8
        column = lane[:, None] % 4 * 2 + element % 2 + element // 4 * 8
        given = before[threads].view(np.int32 if whole else np.float32).astype(np.float64)
        total = np.where(counts[threads, None], given, 0.0) + product[row, column]
        after[threads] = (total.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32) if whole else f64_to_f32(total)
    return after


def _end(m: Machine, product: _Product) -> None:
    if any((m.registers[name] != words).any() for name, words in product.registers.items()):
        raise PtxError("registers of A were written while a product was under way")
    if not np.array_equal(m.spaces.read_fenced(product.address, 16), product.bytes_):
        raise PtxError("B was written while a product was under way")
    if any((m.registers[name] != _NONSENSE).any() for name in product.to):
        raise PtxError("sums were written while a product was under way")
    later = [*m.products.open, *(p for group in m.products.groups for p in group)]
    if product.to in m.products.sums and not any(p.to == product.to for p in later):
        sums = m.products.sums.pop(product.to)
        for n, name in enumerate(product.to):
            m.registers[name] = sums[:, n]

"""PTX's loads, stores, atomic operations and asynchronous copies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .formats import UNSIGNED, Mask, Words, bits_of, view
from .text import Address, Instruction, Name, Number, PtxError, Vector

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["Copies", "atomic", "copy", "load", "store"]


@dataclass(frozen=True)
class _Copy:
    to: NDArray[np.uint64]
    source: NDArray[np.uint64]
    lanes: NDArray[np.intp]
    size: int
    take: NDArray[np.uint64]


@dataclass
class Copies:
    """What cp.async started: copies of no group yet, and groups under way, oldest first."""

    open: list[_Copy] = field(default_factory=list)
    groups: list[list[_Copy]] = field(default_factory=list)


def load(m: Machine, i: Instruction, active: Mask) -> None:
    bits, count = _shape(i)
    to = i.operands[0].items if isinstance(i.operands[0], Vector) else (i.operands[0],)
    space = _space(i)
    where = i.operands[1]
    if space == "param":
        assert isinstance(where, Address)
        assert where.base is not None
        for n, item in enumerate(to):
            m.define(item, _parameter(m, where, n, bits), active)
        return
    lanes = np.flatnonzero(active)
    raw = m.spaces.read(m.address(where, space)[lanes], bits // 8 * count, lanes, bits // 8 * count)
    for n, item in enumerate(to):
        field_ = np.ascontiguousarray(raw[:, n * bits // 8 : (n + 1) * bits // 8]).view(UNSIGNED[bits])[:, 0]
        assert isinstance(item, Name)
        wide = UNSIGNED[m.module.registers[item.text]]
        whole = np.zeros(m.threads, wide)
        if i.words[-1].startswith("s"):
            whole[lanes] = field_.view(f"i{bits // 8}").astype(np.int64).astype(wide)
        else:
            whole[lanes] = field_
        m.define(item, whole, active)


def _parameter(m: Machine, where: Address, n: int, bits: int) -> Words:
    assert where.base is not None
    value = m.parameters[where.base.text]
    if isinstance(value, int):
        return m._number(value >> 8 * (where.offset + n * bits // 8), bits)
    assert isinstance(value, np.ndarray)
    return value


def store(m: Machine, i: Instruction, active: Mask) -> None:
    bits, count = _shape(i)
    items = i.operands[1].items if isinstance(i.operands[1], Vector) else (i.operands[1],)
    words = [m.value(item, bits).astype(UNSIGNED[bits]) for item in items]
    if _space(i) == "param":
        assert isinstance(i.operands[0], Address)
        assert i.operands[0].base is not None
        m.parameters[i.operands[0].base.text] = words[0]  # type: ignore[assignment]  # of a call, for each thread
        return
    lanes = np.flatnonzero(active)
    data = np.concatenate([w[lanes, None].view(np.uint8) for w in words], axis=1)
    size = bits // 8 * count
    m.spaces.write(m.address(i.operands[0], _space(i))[lanes], data, lanes, size)


def atomic(m: Machine, i: Instruction, active: Mask) -> None:
    """One thread after the other."""
    bits = bits_of(i.words[-1])
    space = _space(i)
    where, kind = m.address(i.operands[1], space), UNSIGNED[bits]
    old = np.zeros(m.threads, kind)
    given = [m.value(o, bits) for o in i.operands[2:]]
    for lane in np.flatnonzero(active):
        one = np.array([lane])
        old[lane] = m.spaces.read(where[one], bits // 8, one, bits // 8).view(kind)[0, 0]
        a = [g[lane] for g in given]
        if "cas" in i.words:
            new = a[1] if old[lane] == a[0] else old[lane]
        elif "exch" in i.words:
            new = a[0]
        elif "add" in i.words:
            new = (view(old[one], i.words[-1]) + view(np.array([a[0]]), i.words[-1])).view(kind)[0]
        else:
            raise PtxError("what atomic operation?")
        m.spaces.write(where[one], np.array([[new]], kind).view(np.uint8), one, bits // 8)
    m.define(i.operands[0], old, active)


def copy(m: Machine, i: Instruction, active: Mask) -> None:
    if "commit_group" in i.words:
        m.copies.groups.append(m.copies.open)
        m.copies.open = []
    elif "wait_group" in i.words or "wait_all" in i.words:
        if "wait_all" in i.words:
            m.copies.groups.append(m.copies.open)
            m.copies.open = []
        left = i.operands[0].value if i.operands and isinstance(i.operands[0], Number) else 0
        while len(m.copies.groups) > left:
            for copy in m.copies.groups.pop(0):
                _land(m, copy)
    else:
        size = i.operands[2]
        assert isinstance(size, Number)
        lanes = np.flatnonzero(active)
        to = m.address(i.operands[0], "shared")[lanes]
        whole = m.value(Number(size.value), 32) if len(i.operands) < 4 else m.value(i.operands[3], 32)
        poison = np.full((lanes.size, size.value), 0x5A, np.uint8)
        m.spaces.write(to, poison, lanes, size.value)  # who reads before the wait reads nonsense
        source = m.address(i.operands[1], "global")[lanes]
        m.copies.open.append(_Copy(to, source, lanes, size.value, whole[lanes].astype(np.uint64)))


def _land(m: Machine, copy: _Copy) -> None:
    data = np.zeros((copy.lanes.size, copy.size), np.uint8)
    for count in np.unique(copy.take):
        if count:
            some = np.flatnonzero(copy.take == count)
            data[some, : int(count)] = m.spaces.read(copy.source[some], int(count), copy.lanes[some], 1)
    m.spaces.write(copy.to, data, copy.lanes, copy.size)


def _shape(i: Instruction) -> tuple[int, int]:
    """Bits of one element and how many there are."""
    count = next((int(w[1:]) for w in i.words if w in ("v2", "v4", "v8")), 1)
    return bits_of(i.words[-1]), count


def _space(i: Instruction) -> str | None:
    return next(
        (w for w in i.words for s in ("global", "shared", "local", "param", "const") if w.partition("__")[0] == s), None
    )

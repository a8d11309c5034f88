"""Loads and stores of row-major memory: addresses, vector width, and guards at the edges.

Address generation is registers @ memory, read off the coordinates that each register holds on each lane.  What is the
same on all lanes goes to the scalar base; the rest is an offset per lane, a constant wherever only the last dimension
varies between lanes.  Guards are left out where the index analysis proves them; fields share one access only where
they are consecutive on every lane and are inside or outside the array together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np
from numpy.typing import NDArray

from ...vm.call_arguments import is_buffer
from ...vm.expr import Expr, const, lift, modular
from ...vm.ir import Array, Memory
from ..lane.ir import Read, Reg, Write
from ..target import GPU_ALIGN
from .context import Context, storage_bits
from .index import lower_index

I32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Window:
    """A tile's place in a row-major memory, as seen from the lanes: `coords` is [lanes, registers, rank]."""

    context: Context
    memory: Memory
    at: tuple[Expr, ...]
    shape: tuple[int, ...]
    coords: NDArray[np.int64]

    @property
    def space(self) -> str:
        return "global" if isinstance(self.memory, Array) else "shared"

    @cached_property
    def sizes(self) -> tuple[Expr, ...]:
        return tuple(lift(n) for n in self.memory.shape)

    @cached_property
    def _allocated(self) -> tuple[Expr, ...]:
        """As `sizes`, with what is left free at the end of a row."""
        if isinstance(self.memory, Array):
            return self.sizes
        return tuple(const(n) for n in self.context.allocated(self.memory))

    @cached_property
    def pitches(self) -> tuple[Expr, ...]:
        """How many elements apart neighbours along each dimension are."""
        pitch: Expr = const(1)
        out = [pitch]
        for n in reversed(self._allocated[1:]):
            pitch = pitch * n
            out.append(pitch)
        return tuple(reversed(out))

    @cached_property
    def open(self) -> tuple[bool, ...]:
        """For each dimension, whether some element may lie past the end."""
        windows = zip(self.at, self.shape, self.sizes, strict=True)
        return tuple(not self.context.proves_inside(a, n, size) for a, n, size in windows)

    def run(self, limit: int) -> int:
        """How many consecutive registers are consecutive in memory and guarded alike: a power of two up to `limit`."""
        run = limit
        while run > 1 and not self.is_run(run):
            run //= 2
        return run

    def is_run(self, run: int) -> bool:
        lanes, registers, rank = self.coords.shape
        if rank == 0 or registers % run:
            return False
        groups = self.coords.reshape(lanes, registers // run, run, rank)
        steps = groups - groups[:, :, :1, :]
        straight = (steps[..., -1] == np.arange(run)).all() and not steps[..., :-1].any()
        if not straight:
            return False
        if not self.open[-1]:
            return True
        multiple, residue = modular(self.sizes[-1] - self.at[-1])
        return gcd(multiple, residue) % run == 0 and not (groups[:, :, 0, -1] % run).any()

    def alignment(self, register: int, bits: int) -> int:
        """The bytes that the address of the element in `register` is a multiple of on every lane."""
        multiple = 0
        for dim, pitch in enumerate(self.pitches):
            c = self.coords[:, register, dim]
            step = int(np.gcd.reduce(c - c[0]))
            multiple = gcd(multiple, gcd(*modular(pitch * step)) if step else 0)
        return gcd(bits // 8 * gcd(*modular(self.first(register)), multiple), promised(self.context, self.memory))

    @cached_property
    def start(self) -> Expr:
        """How many elements from the memory's beginning the tile begins."""
        return sum((at * pitch for at, pitch in zip(self.at, self.pitches, strict=True)), const(0))

    def first(self, register: int) -> Expr:
        """The same for the element that lane 0 has in a register."""
        places = self.coords[0, register].tolist()
        return sum((pitch * c for c, pitch in zip(places, self.pitches, strict=True) if c), self.start)

    def address(self, register: int, bits: int) -> tuple[Reg, Reg, int]:
        """(base, offset, align): where the element in `register` begins, in bytes; `bits` is a multiple of 8."""
        b, size = self.context.b, bits // 8
        offset: Reg | None = None
        fixed = np.zeros(self.coords.shape[0], np.int64)
        for dim, pitch in enumerate(self.pitches):
            c = self.coords[:, register, dim]
            delta = c - c[0]
            if not delta.any():
                continue
            known = modular(pitch)
            if known[0] == 0:  # the pitch is a constant
                fixed += delta * known[1]
            else:
                far = b.apply("mul", b.i64(delta), lower_index(b, pitch * size, self.context.variables))
                offset = far if offset is None else b.apply("add", offset, far)
        base = b.apply("add", self.context.address(self.memory), self.context.index(self.first(register) * size))
        constant = fixed * size
        near = b.i32(constant) if abs(constant).max(initial=0) < I32_MAX else b.i64(constant)
        if offset is not None:
            near = b.apply("add", offset, b.i64(constant))
        return base, near, self.alignment(register, bits)

    def mask(self, register: int) -> Reg | None:
        """Whether the element in `register` is inside; None where that is proven."""
        b = self.context.b
        inside: Reg | None = None
        for dim, is_open in enumerate(self.open):
            if not is_open:
                continue
            room = self.context.index(self.sizes[dim] - self.at[dim])
            clipped = b.apply("smax", b.apply("smin", room, b.i64(I32_MAX)), b.i64(0))
            ok = b.apply("slt", b.i32(self.coords[:, register, dim]), b.apply("trunc", clipped))
            inside = ok if inside is None else b.apply("and", inside, ok)
        return inside


def promised(c: Context, memory: Memory) -> int:
    """The bytes that the memory's first address is a multiple of: what a launch checks, or what is allocated so."""
    if not isinstance(memory, Array):
        return 64
    if c.target.warp:
        return GPU_ALIGN
    return 1 if is_buffer(memory) else max(1, memory.dtype.bits // 8)


def read_fields(window: Window, bits: int, other: int) -> tuple[list[Reg], int]:
    """The elements of `bits` (8, 16, 32, 64) as registers, and how many bits of each register are theirs.

    Narrow elements that are consecutive on every lane come in 32-bit words: then the registers are packed words and
    the second number is 32.  `other` is the code that stands for elements past the end.
    """
    b = window.context.b
    registers = window.coords.shape[1]
    pack = window.run(32 // bits) if bits < 32 else 1
    if bits * pack != 32:
        pack = 1
    together = window.run(4 * pack) // pack if bits * pack == 32 and _gathers(window) else 1
    out: list[Reg] = []
    for first in range(0, registers, pack * together):
        base, offset, align = window.address(first, bits)
        mask = window.mask(first)
        op = Read(base, offset, bits * pack, together, mask, align, "shared" if window.space == "shared" else "global")
        found = b.read(op)
        if mask is not None and other:
            wide = sum(other << (bits * k) for k in range(pack))
            found = tuple(b.apply("select", mask, x, b.constant(x.type, wide)) for x in found)
        out.extend(found)
    return out, bits * pack


def _gathers(window: Window) -> bool:
    """Whether a lane's registers, not its neighbours, continue its run of memory: then one access takes several."""
    lanes = window.coords.shape[0]
    if lanes == 1 or window.coords.shape[2] == 0:
        return False
    first = window.coords[:, 0, :]
    return bool((first != first[:1]).any())


def write_fields(window: Window, bits: int, values: Sequence[Reg], pack: int, owner: NDArray[np.bool_]) -> None:
    """Stores registers of `pack` elements each; of lanes that hold copies only `owner` ([lanes, registers]) writes."""
    b = window.context.b
    together = _stored_together(window, bits, pack, owner)
    for index in range(0, len(values), together):
        register = index * pack
        base, offset, align = window.address(register, bits)
        mask = window.mask(register)
        mine = owner[:, register]
        if not mine.any():
            continue
        stored = tuple(values[index : index + together])
        uniform = all(v.uniform for v in stored) and offset.uniform and (mask is None or mask.uniform)
        if not mine.all() and not uniform:
            own = b.constant("i1", mine.astype(np.int64))
            mask = own if mask is None else b.apply("and", mask, own)
        op = Write(base, offset, bits * pack, stored, mask, align, "shared" if window.space == "shared" else "global")
        b.effect(op)


def _stored_together(window: Window, bits: int, pack: int, owner: NDArray[np.bool_]) -> int:
    """How many words a lane of a GPU stores at a time: up to 16 bytes that lie together and have one owner."""
    if not window.context.target.warp or bits * pack < 32 or bits > 32 or not _gathers(window):
        return 1
    run = window.run(128 // bits)
    same = owner.reshape(owner.shape[0], -1, run)
    return run // pack if (same == same[:, :, :1]).all() else 1


def owners(coords: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[lanes, registers]: for each element that several places hold, True at one of them only."""
    lanes, registers, rank = coords.shape
    flat = coords.reshape(lanes * registers, rank)
    if rank == 0:
        first = np.zeros(lanes * registers, bool)
        first[0] = True
        return first.reshape(lanes, registers)
    span = flat.max(axis=0) + 1
    key = np.ravel_multi_index(tuple(flat.T), tuple(int(n) for n in span))
    _, index = np.unique(key, return_index=True)
    first = np.zeros(lanes * registers, bool)
    first[index] = True
    return first.reshape(lanes, registers)


def element_bits(memory: Memory) -> int:
    return storage_bits(memory.dtype, memory)

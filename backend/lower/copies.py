"""Copies from arrays to shared tiles that go on while the lanes do other things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...vm.dtypes import Bool
from ...vm.ir import Array
from ...vm.layout.spread import distribute
from ...vm.ops import CopyAsync
from ..lane import ir as lane
from ..lane.ir import Reg
from .access import Window, element_bits, owners
from .context import Context
from .group_tile import GroupTile, GroupWindow
from .tile import coordinates

__all__ = ["Copy", "copy_of", "may_be_ahead"]

_SIZES = (16, 8, 4)  # bytes that one lane may copy at a time


@dataclass(frozen=True)
class Copy:
    """A tile in pieces of `size` bytes, one after the other for each lane."""

    source: Window
    target: Window | GroupWindow
    size: int

    def start(self, c: Context, only: Reg | None = None) -> None:
        """Starts it; zeros are copied from past the end of the array, and if `only` does not hold."""
        bits = element_bits(self.source.memory)
        for register in range(0, self.source.coords.shape[1], self.size * 8 // bits):
            base, offset, _ = self.source.address(register, bits)
            to, at, _ = self.target.address(register, bits)
            mask = self.source.mask(register)
            if only is not None:
                mask = only if mask is None else c.b.apply("and", mask, only)
            c.b.effect(lane.CopyAsync(base, offset, to, at, self.size, mask))


def may_be_ahead(c: Context, array: Array, inside: bool = False) -> bool:
    """Whether elements may be copied ahead of the program: nothing changes them, and a copy's zeros mean 0.

    The code 0 of a codebook may be any number; that does not matter to copies that are known to be `inside` the array.
    """
    zeros = isinstance(array.dtype, Bool) or not array.dtype.encode(np.zeros(1)).any()
    return (zeros or inside) and array not in c.written


def copy_of(c: Context, op: CopyAsync, group: GroupTile | None = None) -> Copy | None:
    """The copy in pieces as wide as both sides allow, with work for every lane; None where there are none.

    `group`: how the target lies, if it is for products of four warps; the whole of it is copied then.
    """
    bits = element_bits(op.source)
    if bits < 8 or bits != element_bits(op.target) or not may_be_ahead(c, op.source):
        return None
    for size in _SIZES:
        run = size * 8 // bits
        if run == 0 or not op.shape or op.shape[-1] % run:
            continue
        coords = coordinates(distribute(op.shape, c.lanes, run), len(op.shape), c.lanes)
        source, to = Window(c, op.source, op.at, op.shape, coords), Window(c, op.target, op.to, op.shape, coords)
        if not (source.is_run(run) and to.is_run(run)) or any(to.open) or not owners(coords).all():
            continue
        if all(w.alignment(r, bits) % size == 0 for w in (source, to) for r in range(0, coords.shape[1], run)):
            return Copy(source, to if group is None else GroupWindow(c, group, coords), size)
    return None

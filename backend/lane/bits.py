"""Which bits of a word may be one: what is known of it without running anything.

Decoding leaves narrow fields in words; an instruction that wants bytes below 128 asks here whether they are.  The word
of an f32 is its bits: what has no sign compares as integers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_

import numpy as np

from .ir import Apply, Constant, Lookup, LookupBytes, Operation, PickBytes, Read, Reg, Shuffle

__all__ = ["EVERY", "possible_ones"]

EVERY = (1 << 32) - 1


def possible_ones(op: Operation, of: Callable[[Reg], int], known: Callable[[Reg], int | None]) -> int:
    """A mask that holds every bit that an i32 or f32 result of the operation has in any lane.

    `of` gives the mask of an operand, `known` the value of a constant that is the same in every lane.
    """
    match op:
        case Apply():
            return _arithmetic(op, of, known)
        case Constant() if op.type == "i32":
            return _union(int(v) for v in op.values)
        case Constant() if op.type == "f32":
            return _union(np.array(op.values, np.float32).view(np.uint32).tolist())
        case Shuffle():
            return _union(of(x) for x in op.sources)
        case Lookup():
            return _union(op.table)
        case LookupBytes():
            return _union(op.table) * 0x01010101 & EVERY
        case PickBytes():
            bytes_ = [mask >> 8 * k & 0xFF for mask in (of(op.x), of(op.y)) for k in range(4)]
            return sum(bytes_[n] << 8 * k for k, n in enumerate(op.order) if n >= 0)
        case Read():
            return (1 << op.bits) - 1 & EVERY
    return EVERY


def _union(masks: Iterable[int]) -> int:
    return reduce(or_, masks) & EVERY


def _arithmetic(op: Apply, of: Callable[[Reg], int], known: Callable[[Reg], int | None]) -> int:
    match op.kind:
        case "and":
            return of(op.operands[0]) & of(op.operands[1])
        case "or" | "xor":
            return of(op.operands[0]) | of(op.operands[1])
        case "choose":
            mask = known(op.operands[0])
            x, y = of(op.operands[1]), of(op.operands[2])
            return x | y if mask is None else (x & mask) | (y & ~mask & EVERY)
        case "select":
            return of(op.operands[1]) | of(op.operands[2])
        case "smin" | "smax" | "umin" | "umax":  # one of the two
            return of(op.operands[0]) | of(op.operands[1])
        case "bits" | "float":
            return of(op.operands[0])
        case "fabs":
            return of(op.operands[0]) & EVERY >> 1
        case "shl" | "lshr":
            distance = known(op.operands[1])
            if distance is not None and 0 <= distance < 32:
                x = of(op.operands[0])
                return x << distance & EVERY if op.kind == "shl" else x >> distance
    return EVERY

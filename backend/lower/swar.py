"""Bits on the move: the one algorithm that unpacks (and packs) fields of any width, from any layout to any container.

A lane's packed elements are a string of bits in 32-bit words.  An output word wants certain of these bits at certain
places.  Bits that come from the same source word and travel the same distance travel together: one shift and one mask.
How many such groups there are is all that a layout decides; nothing here knows of a width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..lane.build import Builder
from ..lane.ir import Reg

EVERY = (1 << 32) - 1  # all bits of a word
Positions = NDArray[np.int64]  # [registers, bits]: where each bit of each element is in the lane's string of words


def dense(registers: int, bits: int) -> Positions:
    """Elements of `bits` bits, one after the other; they may cross words."""
    return np.arange(registers * bits, dtype=np.int64).reshape(registers, bits)


def move(b: Builder, words: Sequence[Reg], moves: Iterable[tuple[int, int]]) -> Reg:
    """The word in which bit `to` is bit `from` of the string `words`, for each (from, to); all other bits are 0."""
    groups: dict[tuple[int, int], int] = {}
    for source, to in moves:
        key = (source // 32, to - source % 32)
        groups[key] = groups.get(key, 0) | 1 << to
    result: Reg | None = None
    for (word, distance), mask in groups.items():
        term = _travel(b, words[word], distance, mask)
        result = term if result is None else b.apply("or", result, term)
    return b.i32(0) if result is None else result


def _travel(b: Builder, word: Reg, distance: int, mask: int) -> Reg:
    """The bits of `mask` of the word shifted left by `distance` (right if negative)."""
    if distance > 0:
        word = b.apply("shl", word, b.i32(distance))
    elif distance < 0:
        word = b.apply("lshr", word, b.i32(-distance))
    arriving = _arriving(distance)
    return word if mask & arriving == arriving else b.apply("and", word, b.i32(mask))


def extract(b: Builder, words: Sequence[Reg], field: Sequence[int], loose: bool = False) -> Reg:
    """The code at the positions `field`, zero-extended to a word of its own; `loose`: above it may be anything.

    A table of 2^n entries looks at n bits only, so that a loose code in one piece needs no mask, and one in two pieces
    only a choice between two words.
    """
    if loose and len(parts := _parts(field)) <= 2:
        low, *high = (_travel(b, words[word], distance, EVERY) for word, distance in parts)
        return b.apply("choose", b.i32((1 << _low_bits(field)) - 1), low, high[0]) if high else low
    return move(b, words, zip(field, range(len(field)), strict=True))


def _parts(field: Sequence[int]) -> list[tuple[int, int]]:
    """(word, distance) of the pieces in which a code lies, its lowest bits first."""
    return list(dict.fromkeys((p // 32, to - p % 32) for to, p in enumerate(field)))


def _low_bits(field: Sequence[int]) -> int:
    """How many of the lowest bits travel together."""
    first = _parts(field)[0]
    return next(to for to, p in enumerate(field) if (p // 32, to - p % 32) != first)


def repack(b: Builder, words: Sequence[Reg], positions: Positions, container: int) -> list[Reg]:
    """Every element zero-extended to `container` bits (8 or 16), neighbouring registers in one word."""
    slots = 32 // container
    out = []
    for first in range(0, len(positions), slots):
        fields = positions[first : first + slots]
        moves = [(int(p), slot * container + bit) for slot, field in enumerate(fields) for bit, p in enumerate(field)]
        out.append(move(b, words, moves))
    return out


def insert(b: Builder, codes: Sequence[Reg], positions: Positions, words: int) -> list[Reg]:
    """Words in which each element's code (clean: no bits above its width) is at its positions."""
    moves: list[list[tuple[int, int]]] = [[] for _ in range(words)]
    for register, field in enumerate(positions.tolist()):
        for bit, place in enumerate(field):
            moves[place // 32].append((register * 32 + bit, place % 32))
    clean = positions.shape[1]
    return [_combine(b, codes, group, clean) for group in moves]


def _combine(b: Builder, codes: Sequence[Reg], moves: list[tuple[int, int]], clean: int) -> Reg:
    groups: dict[tuple[int, int], int] = {}
    for source, to in moves:
        key = (source // 32, to - source % 32)
        groups[key] = groups.get(key, 0) | 1 << to
    result: Reg | None = None
    for (register, distance), mask in groups.items():
        full = (1 << clean) - 1
        whole = (full << distance if distance >= 0 else full >> -distance) & 0xFFFFFFFF
        term = _travel(b, codes[register], distance, mask if mask != whole else _arriving(distance))
        result = term if result is None else b.apply("or", result, term)
    return b.i32(0) if result is None else result


def _arriving(distance: int) -> int:
    """The mask that keeps every bit which a shift by `distance` leaves."""
    return EVERY >> -distance if distance < 0 else (EVERY << distance) & EVERY

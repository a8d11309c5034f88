"""Bits on the move: the one algorithm that unpacks (and packs) fields of any width, from any layout to any container.

A lane's packed elements are a string of bits in 32-bit words.  An output word wants certain of these bits at certain
places.  Bits that come from the same source word and travel the same distance travel together: one shift and one mask.
How many such groups there are is all that a layout decides; nothing here knows of a width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..lane.bits import EVERY
from ..lane.build import Builder
from ..lane.ir import Reg

Positions = NDArray[np.int64]  # [registers, bits]: where each bit of each element is in the lane's string of words


def dense(registers: int, bits: int) -> Positions:
    """Elements of `bits` bits, one after the other; they may cross words."""
    return np.arange(registers * bits, dtype=np.int64).reshape(registers, bits)


def move(b: Builder, words: Sequence[Reg], moves: Iterable[tuple[int, int]], clean: int = 32) -> Reg:
    """The word in which bit `to` is bit `from` of the string `words`, for each (from, to); all other bits are 0.

    `clean`: of each source word, the bits from this one on are 0 already.
    """
    result: Reg | None = None
    for (word, distance), mask in grouped(moves).items():
        term = _shifted(b, words[word], distance)
        if mask != _arriving(distance, clean):
            term = b.apply("and", term, b.i32(mask))
        result = term if result is None else b.apply("or", result, term)
    return b.i32(0) if result is None else result


def grouped(moves: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """For each source word and distance to the left: the mask of where the bits arrive that travel so."""
    groups: dict[tuple[int, int], int] = {}
    for source, to in moves:
        key = (source // 32, to - source % 32)
        groups[key] = groups.get(key, 0) | 1 << to
    return groups


def pieces(field: Sequence[int]) -> int:
    """In how many pieces a code is whose bits are at these positions."""
    return len(grouped(zip(field, range(len(field)), strict=True)))


def _shifted(b: Builder, word: Reg, distance: int) -> Reg:
    """The word shifted left by `distance` (right if negative)."""
    return b.apply("shl" if distance > 0 else "lshr", word, b.i32(abs(distance)))


def _arriving(distance: int, clean: int) -> int:
    """Where the lowest `clean` bits of a word are after a shift by `distance`."""
    bits = (1 << clean) - 1
    return bits >> -distance if distance < 0 else (bits << distance) & EVERY


def extract(b: Builder, words: Sequence[Reg], field: Sequence[int], loose: bool = False) -> Reg:
    """The code at the positions `field`, zero-extended to a word of its own; `loose`: above it may be anything.

    A table of 2^n entries looks at n bits only, so that a loose code in one piece needs no mask, and one in two pieces
    only a choice between two words.
    """
    moves = list(zip(field, range(len(field)), strict=True))
    groups = grouped(moves)
    if not loose or len(groups) > 2:
        return move(b, words, moves)
    low, *high = (_shifted(b, words[word], distance) for word, distance in groups)
    return b.apply("choose", b.i32(next(iter(groups.values()))), low, high[0]) if high else low


def staged(
    b: Builder, words: Sequence[Reg], positions: Positions, register: int, whole: bool = False
) -> tuple[Sequence[Reg], list[int]]:
    """Words and the field in them that hold the register's code, in one piece.

    A code in several pieces is put together with its three neighbours, in four bytes at once; the builder remembers
    the word for them.  `whole`: the field is all of the byte then, whose upper bits are 0, since some processors move
    bytes better than bits.
    """
    field = [int(p) for p in positions[register]]
    if len(field) > 8 or pieces(field) == 1:
        return words, field
    first = register - register % 4
    word = repack(b, words, positions[first : first + 4], 8)
    return (word,), [8 * (register - first) + bit for bit in range(8 if whole else len(field))]


def repack(b: Builder, words: Sequence[Reg], fields: Positions, container: int) -> Reg:
    """The word in which the elements at `fields` follow each other, zero-extended to `container` bits (8 or 16)."""
    moves = [(int(p), slot * container + bit) for slot, field in enumerate(fields) for bit, p in enumerate(field)]
    return move(b, words, moves)


def insert(b: Builder, codes: Sequence[Reg], positions: Positions, words: int) -> list[Reg]:
    """Words in which each element's code (clean: no bits above its width) is at its positions."""
    moves: list[list[tuple[int, int]]] = [[] for _ in range(words)]
    for register, field in enumerate(positions.tolist()):
        for bit, place in enumerate(field):
            moves[place // 32].append((register * 32 + bit, place % 32))
    return [move(b, codes, group, clean=positions.shape[1]) for group in moves]

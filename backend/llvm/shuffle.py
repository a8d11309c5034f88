"""Moving values between lanes and within words: permutations, shifts of bytes, and pieces of an instruction's width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..target import Target
from .code import Code, Operand, splat

__all__ = ["has_byte_shuffle", "join", "move_byte", "pick", "pick_bytes", "pieces", "shift_bytes"]


def pick(code: Code, sources: Sequence[Operand], source: Sequence[int], lane: Sequence[int]) -> Operand:
    """Element k of the result is element lane[k] of sources[source[k]]; source -1 gives 0.

    The sources are vectors of one length.  They are merged two at a time; the intermediate vectors keep every element
    at its final place.
    """
    used = sorted({s for s in source if s >= 0})
    size = sources[0].lanes
    if not used:
        return splat(0, sources[0].element, len(source))
    first = used[0]
    if used == [first] and list(lane) == list(range(size)) and all(s == first for s in source):
        return sources[first]
    parts = []
    for k in range(0, len(used), 2):
        a, b = used[k], used[k + 1] if k + 1 < len(used) else None
        order = [
            n if s == a else size + n if s == b and b is not None else -1 for s, n in zip(source, lane, strict=True)
        ]
        parts.append((code.shuffle(sources[a], None if b is None else sources[b], order), {a, b}))
    while len(parts) > 1:
        (x, left), (y, right) = parts.pop(0), parts.pop(0)
        width = len(source)
        order = [k if s in left else width + k if s in right else -1 for k, s in enumerate(source)]
        parts.append((code.shuffle(x, y, order), left | right))
    result = parts[0][0]
    if any(s < 0 for s in source):
        keep = [len(source) + k if s < 0 else k for k, s in enumerate(source)]
        result = code.shuffle(result, splat(0, result.element, len(source)), keep)
    return result


def pieces(code: Code, operands: Sequence[Operand], width: int, run: Callable[[Sequence[Operand]], Operand]) -> Operand:
    """Applies `run`, which takes vectors of `width` lanes, to vectors (or scalars) of any number of lanes."""
    lanes = operands[0].lanes
    if lanes == width:
        return run(operands)
    if lanes == 0:
        return code.extract(pieces(code, [code.spread(x, width) for x in operands], width, run), 0)
    results = []
    for first in range(0, lanes, width):
        order = [n if n < lanes else -1 for n in range(first, first + width)]
        results.append(run([code.shuffle(x, None, order) for x in operands]))
    joined = join(code, results)
    return code.shuffle(joined, None, range(lanes)) if joined.lanes != lanes else joined


def join(code: Code, parts: Sequence[Operand]) -> Operand:
    """Vectors of one length end to end (with undefined lanes after them, up to a power of two times the length)."""
    level = list(parts)
    while len(level) > 1:
        if len(level) % 2:
            level.append(Operand(level[0].element, level[0].lanes, "poison"))
        level = [code.shuffle(x, y, range(2 * x.lanes)) for x, y in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def has_byte_shuffle(target: Target) -> bool:
    """Whether one instruction moves bytes within a word."""
    return any(target.has(feature) for feature in ("ssse3", "neon"))


def move_byte(code: Code, word: Operand, byte: int) -> Operand:
    """That byte of each word, zero-extended: one permutation instead of a shift and a mask."""
    count = 4 * word.lanes
    order = [n for lane in range(word.lanes) for n in (4 * lane + byte, count, count, count)]
    bytes_ = code.recast(code.byte_source(word), "i8", count)
    return code.recast(code.shuffle(bytes_, splat(0, "i8", count), order), "i32", word.lanes)


def pick_bytes(code: Code, x: Operand, y: Operand, order: Sequence[int]) -> Operand:
    """In each word bytes of those of x and y, by number; 0 where that is -1."""
    words = max(1, x.lanes)
    left, right = (code.recast(code.byte_source(w), "i8", 4 * words) for w in (x, y))
    places = [-1 if n < 0 else n // 4 * 4 * words + 4 * lane + n % 4 for lane in range(words) for n in order]
    found = code.recast(code.shuffle(left, right, places), "i32", x.lanes)
    keep = sum(0xFF << 8 * k for k, n in enumerate(order) if n >= 0)
    return found if keep == 0xFFFFFFFF else code.number("and", found, keep)


def shift_bytes(code: Code, word: Operand, distance: int) -> Operand:
    """Each byte shifted by itself, to the right if the distance is negative."""
    bytes_ = code.recast(code.byte_source(word), "i8", 4 * word.lanes)
    return code.recast(code.number("shl" if distance > 0 else "lshr", bytes_, abs(distance)), "i32", word.lanes)

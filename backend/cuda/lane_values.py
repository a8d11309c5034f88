"""Constants that differ from lane to lane, as formulas in the lane's number: a formula costs no memory.

Nearly all of them are sums over the bits of the lane's number (addresses of layouts), or exclusive ors of them
(swizzled ones), or tell some lanes from the others.  Formulas are C++ on 32-bit words, `lane` among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Formula", "number_text", "predicate", "word_formula"]

_DEAREST = 10  # operations; a table in memory is better than more


@dataclass(frozen=True)
class Formula:
    """A C++ expression, in parentheses if it needs them, and how many operations it is."""

    text: str
    cost: int


def number_text(value: int, bits: int = 32) -> str:
    """An unsigned literal of the value modulo 2**bits."""
    wrapped = value & ((1 << bits) - 1)
    shown = hex(wrapped) if wrapped >= 1 << 16 else str(wrapped)
    return f"{shown}{'u' if bits == 32 else 'ull'}"


def word_formula(values: Sequence[int]) -> Formula | None:
    """An expression of 32-bit words (u32) that is `values[lane]`, modulo 2**32, in each lane; None if none is short."""
    words = [v & 0xFFFFFFFF for v in values]
    if len(set(words)) == 1:
        return Formula(number_text(words[0]), 0)
    found = [f for f in (_sum(words), _xor(words), _digits(words), _one_of_two(words)) if f is not None]
    best = min(found, key=lambda f: f.cost, default=None)
    return best if best is not None and best.cost <= _DEAREST else None


def _signed(word: int) -> int:
    return (word + (1 << 31)) % (1 << 32) - (1 << 31)


def _bits(count: int) -> range:
    """The bits of the numbers of so many lanes."""
    return range((count - 1).bit_length())


def _subset(lane: int, values: Sequence[int]) -> Iterable[int]:
    return (v for b, v in enumerate(values) if lane >> b & 1)


# Sums and exclusive ors over the bits of the lane


def _sum(words: list[int]) -> Formula | None:
    """v[0] + the sum of d[b] over the bits b of the lane's number.

    With d[b] = odd * 2**t, all bits of one `odd` and one distance t - b are moved together.
    """
    steps = [_signed(words[1 << b] - words[0]) for b in _bits(len(words))]
    if any((words[0] + sum(_subset(lane, steps)) - w) & 0xFFFFFFFF for lane, w in enumerate(words)):
        return None
    groups: dict[tuple[int, int], int] = {}
    for b, step in enumerate(steps):
        if step:
            twos = (step & -step).bit_length() - 1
            key = (step >> twos, twos - b)
            groups[key] = groups.get(key, 0) | 1 << b
    plus: list[str] = []
    minus: list[str] = []
    cost = 0
    for (odd, distance), mask in groups.items():
        term = _moved(mask, distance, abs(odd), len(words))
        (plus if odd > 0 else minus).append(term.text)
        cost += term.cost + 1
    if words[0] or not plus:
        plus.append(number_text(words[0]))
        cost += 1
    return _joined("-", [_joined("+", plus, 0), *(Formula(m, 0) for m in minus)], cost - 1)


def _xor(words: list[int]) -> Formula | None:
    """v[0] ^ d[b] for each bit b of the lane's number: pairs of bits of lane and value, by their distance."""
    steps = [words[1 << b] ^ words[0] for b in _bits(len(words))]
    for lane, word in enumerate(words):
        for step in _subset(lane, steps):
            word ^= step
        if word != words[0]:
            return None
    groups: dict[int, int] = {}
    for b, step in enumerate(steps):
        for to in range(32):
            if step >> to & 1:
                groups[to - b] = groups.get(to - b, 0) | 1 << b
    terms = [_moved(mask, distance, 1, len(words)) for distance, mask in groups.items()]
    texts = [t.text for t in terms] + ([number_text(words[0])] if words[0] else [])
    return _joined("^", texts, sum(t.cost for t in terms) + len(texts) - 1)


def _joined(sign: str, parts: Sequence[str | Formula], cost: int) -> Formula:
    texts = [p if isinstance(p, str) else p.text for p in parts]
    return Formula(texts[0] if len(texts) == 1 else f"({f' {sign} '.join(texts)})", cost)


def _moved(mask: int, distance: int, factor: int, count: int) -> Formula:
    """The lane's bits in `mask`, moved `distance` up, times an odd factor."""
    every = (1 << len(_bits(count))) - 1
    down = max(-distance, 0)
    if mask == every >> down << down:
        text, cost = "lane", 0
    else:
        text, cost = f"(lane & {number_text(mask)})", 1
    if down:
        text, cost = f"({text} >> {down})", cost + 1
    factor <<= max(distance, 0)
    if factor & (factor - 1):
        return Formula(f"({text} * {number_text(factor)})", cost + 1)
    up = factor.bit_length() - 1
    return Formula(f"({text} << {up})", cost + 1) if up else Formula(text, cost)


# Digits of other extents than 2


def _digits(words: list[int]) -> Formula | None:
    """v[0] + the sum of d * (lane / stride % extent) over a few digits: blocks that are no powers of two of lanes."""
    terms, stride, count, cost = [], 1, len(words), 0
    while stride < count:
        step = _signed(words[stride] - words[0])
        run = 1
        while stride * run < count and words[stride * run] == (words[0] + step * run) & 0xFFFFFFFF:
            run += 1
        extent = next((e for e in range(run, 1, -1) if count % (stride * e) == 0), None)
        if extent is None:
            return None
        if step:
            digit = "lane" if stride == 1 else f"(lane / {stride}u)"
            digit = digit if stride * extent == count else f"({digit} % {extent}u)"
            terms.append(f"{digit} * {number_text(step)}")
            cost += 1 + 4 * (stride > 1) + 4 * (stride * extent < count)
        stride *= extent
        for lane in range(stride // extent, stride):
            if words[lane] != (words[lane % (stride // extent)] + step * (lane // (stride // extent))) & 0xFFFFFFFF:
                return None
    return _joined("+", [*terms, number_text(words[0])], cost + len(terms) - 1 + bool(words[0]))


def _one_of_two(words: list[int]) -> Formula | None:
    kinds = sorted(set(words))
    if len(kinds) != 2:
        return None
    chosen = predicate([w == kinds[1] for w in words])
    return Formula(f"({chosen.text} ? {number_text(kinds[1])} : {number_text(kinds[0])})", chosen.cost + 1)


# Which lanes


def predicate(values: Sequence[int | bool]) -> Formula:
    """A condition (bool) that holds in the lanes whose value is not 0."""
    held = [bool(v) for v in values]
    if all(held) or not any(held):
        return Formula("true" if held[0] else "false", 0)
    found = [f for f in (_compared(held), _cube(held, True), _cube(held, False), _parity(held)) if f is not None]
    return min([*found, _looked_up(held)], key=lambda f: f.cost)


def _compared(held: list[bool]) -> Formula | None:
    """The lane's number, or its low bits, below a limit or not, or in a range."""
    count = len(held)
    period = next(p for p in [1 << b for b in range(len(_bits(count)))] + [count]
                  if all(held[k] == held[k % p] for k in range(count)))  # fmt: skip
    place, cost = ("lane", 1) if period == count else (f"(lane & {number_text(period - 1)})", 2)
    lanes = [k for k in range(period) if held[k]]
    first, last = lanes[0], lanes[-1]
    if len(lanes) != last - first + 1:
        return None
    if len(lanes) == 1:
        return Formula(f"({place} == {first}u)", cost)
    if first == 0:
        return Formula(f"({place} < {last + 1}u)", cost)
    if last == period - 1:
        return Formula(f"({place} >= {first}u)", cost)
    return Formula(f"(({place} - {first}u) < {last - first + 1}u)", cost + 1)


def _cube(held: list[bool], chosen: bool) -> Formula | None:
    """The lanes with (or without) certain values of certain bits."""
    lanes = [k for k, h in enumerate(held) if h == chosen]
    every = (1 << len(_bits(len(held)))) - 1
    fixed = every
    for lane in lanes:
        fixed &= ~(lane ^ lanes[0])
    wanted = lanes[0] & fixed
    if not fixed or any((k & fixed == wanted) != (h == chosen) for k, h in enumerate(held)):
        return None
    sign, place = "==" if chosen else "!=", f"(lane & {number_text(fixed)})"
    if fixed & (fixed - 1) == 0 and wanted:
        sign, wanted = "!=" if chosen else "==", 0
    return Formula(f"({place} {sign} {number_text(wanted)})", 2)


def _parity(held: list[bool]) -> Formula | None:
    mask = sum(1 << b for b in _bits(len(held)) if held[1 << b] != held[0])
    if any((bin(k & mask).count("1") & 1) != (h != held[0]) for k, h in enumerate(held)):
        return None
    return Formula(f"((__popc(lane & {number_text(mask)}) & 1u) {'==' if held[0] else '!='} 0u)", 4)


def _looked_up(held: list[bool]) -> Formula:
    """A bit of a word of 32 lanes; the words are chosen between by comparisons."""
    words = [sum(h << k for k, h in enumerate(held[first : first + 32])) for first in range(0, len(held), 32)]
    if len(set(words)) == 1 and len(held) % 32 == 0:
        words = words[:1]
    text, cost = number_text(words[-1]), 3
    for index in range(len(words) - 2, -1, -1):
        if words[index] != words[index + 1]:
            text, cost = f"(lane < {32 * (index + 1)}u ? {number_text(words[index])} : {text})", cost + 2
    place = "lane" if len(held) <= 32 else "(lane & 31u)"
    return Formula(f"((({text} >> {place}) & 1u) != 0u)", cost + (len(held) > 32))

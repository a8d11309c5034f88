"""What is known of an integer before it has a value: its range and its residue.

`Facts` says that a value lies in [low, high] (None: no bound on that side) and that it is congruent to `residue`
modulo `multiple`. A `multiple` of 0 says that the value *is* `residue`; a `multiple` of 1 says nothing.
`transfer(kind, x, y)` gives the facts of an operation from the facts of its operands. Every answer holds for all
integers, negative ones too: `//` and `%` are Python's (floor), shifts are by 0..63, and a divisor is never 0,
for otherwise the operation has no value at all.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

Kind: TypeAlias = Literal[
    "add", "sub", "mul", "floordiv", "mod", "min", "max", "and", "or", "xor", "shl", "shr", "lt", "le", "eq", "ne"
]
_End: TypeAlias = int | float  # an integer, or plus or minus infinity
_Range: TypeAlias = tuple[_End, _End]

_INF = math.inf
_FAR = 1 << 130  # beyond this a bound says nothing about 64-bit values, and would only grow


@dataclass(frozen=True, slots=True)
class Facts:
    """A value lies in [low, high] and is congruent to `residue` modulo `multiple` (0: it is exactly `residue`)."""

    low: int | None
    high: int | None
    multiple: int
    residue: int

    @property
    def exact(self) -> int | None:
        """The value, when only one is possible."""
        return self.residue if self.multiple == 0 else None

    def excludes(self, value: int) -> bool:
        """True when the value can never be `value`."""
        if self.multiple == 0:
            return value != self.residue
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            return True
        return (value - self.residue) % self.multiple != 0

    def within(self, low: int, high: int) -> bool:
        """True when the value always lies in [low, high]."""
        return self.low is not None and self.high is not None and low <= self.low and self.high <= high


ANYTHING = Facts(None, None, 1, 0)
TRUTH = Facts(0, 1, 1, 0)


def exactly(value: int) -> Facts:
    """The facts of a constant."""
    return Facts(value, value, 0, value)


def known(low: int | None, high: int | None, multiple: int = 1, residue: int = 0) -> Facts:
    """Facts with the range drawn in to the nearest values that have the right residue."""
    if multiple == 0:
        return exactly(residue)
    if multiple > _FAR:  # a power of two that divides it is enough, and stays small
        multiple = min(multiple & -multiple, 1 << 64)
    residue %= multiple
    if low is not None:
        low = None if low < -_FAR else min(low, _FAR)
    if high is not None:
        high = None if high > _FAR else max(high, -_FAR)
    if low is not None:
        low += (residue - low) % multiple
    if high is not None:
        high -= (high - residue) % multiple
    if low is not None and low == high:
        return exactly(low)
    if low is not None and high is not None and low > high:
        return ANYTHING  # no value is possible, for instance under a division that is always by zero
    return Facts(low, high, multiple, residue)


def _range(x: Facts) -> _Range:
    return (-_INF if x.low is None else x.low), (_INF if x.high is None else x.high)


def _from_range(r: _Range, multiple: int = 1, residue: int = 0) -> Facts:
    low = None if isinstance(r[0], float) else r[0]
    high = None if isinstance(r[1], float) else r[1]
    return known(low, high, multiple, residue)


def scale(x: Facts, factor: int) -> Facts:
    """The facts of x * factor."""
    return mul(x, exactly(factor))


def add(x: Facts, y: Facts) -> Facts:
    """The facts of x + y."""
    (xl, xh), (yl, yh) = _range(x), _range(y)
    return _from_range((xl + yl, xh + yh), math.gcd(x.multiple, y.multiple), x.residue + y.residue)


def mul(x: Facts, y: Facts) -> Facts:
    """The facts of x * y: (m a + r) (n b + s) = m n a b + m s a + n r b + r s."""
    (xl, xh), (yl, yh) = _range(x), _range(y)
    corners = [0 if a == 0 or b == 0 else a * b for a in (xl, xh) for b in (yl, yh)]
    multiple = math.gcd(x.multiple * y.multiple, x.multiple * y.residue, y.multiple * x.residue)
    return _from_range((min(corners), max(corners)), multiple, x.residue * y.residue)


def _divide(a: _End, b: _End) -> _End:
    """a // b for b > 0, where either may be infinite: the limit, as an end of a range."""
    if isinstance(a, float):
        return a
    if isinstance(b, float):
        return 0 if a >= 0 else -1
    return a // b


def _signed_parts(y: Facts) -> tuple[_Range | None, _Range | None]:
    """The positive values of y and the negated negative values of y, as ranges; None where there are none."""
    low, high = _range(y)
    positive = (max(low, 1), high) if high >= 1 else None
    negative = (max(-high, 1), -low) if low <= -1 else None
    return positive, negative


def _hull(ranges: list[_Range]) -> _Range:
    return min(r[0] for r in ranges), max(r[1] for r in ranges)


def floordiv(x: Facts, y: Facts) -> Facts:
    """The facts of x // y, where y is not 0."""
    xl, xh = _range(x)
    positive, negative = _signed_parts(y)
    parts: list[_Range] = []
    for divisor, (low, high) in ((positive, (xl, xh)), (negative, (-xh, -xl))):
        if divisor is not None:
            p, q = divisor
            parts.append((min(_divide(low, p), _divide(low, q)), max(_divide(high, p), _divide(high, q))))
    if not parts:
        return ANYTHING
    c = y.exact
    if c is not None and x.multiple % c == 0:
        return _from_range(_hull(parts), abs(x.multiple // c), x.residue // c)
    return _from_range(_hull(parts))


def _mod_range(x: _Range, p: _End, q: _End) -> _Range:
    """The range of x % y for y in [p, q], p > 0."""
    (low, high) = x
    if low >= 0 and high < p:
        return x
    if p == q and _divide(low, p) == _divide(high, p) and not isinstance(low, float) and not isinstance(high, float):
        return low - _divide(low, p) * p, high - _divide(high, p) * p
    return 0, (min(high, q - 1) if low >= 0 else q - 1)


def mod(x: Facts, y: Facts) -> Facts:
    """The facts of x % y, where y is not 0: x minus a multiple of y, between 0 and y."""
    xl, xh = _range(x)
    positive, negative = _signed_parts(y)
    parts: list[_Range] = []
    if positive is not None:
        parts.append(_mod_range((xl, xh), *positive))
    if negative is not None:
        low, high = _mod_range((-xh, -xl), *negative)
        parts.append((-high, -low))
    if not parts:
        return ANYTHING
    return _from_range(_hull(parts), math.gcd(x.multiple, y.multiple, y.residue), x.residue)


def join(x: Facts, y: Facts) -> Facts:
    """What holds of a value that is either x or y."""
    range_ = _hull([_range(x), _range(y)])
    return _from_range(range_, math.gcd(x.multiple, y.multiple, x.residue - y.residue), x.residue)


def meet(x: Facts, low: int | None, high: int | None) -> Facts:
    """What holds of a value of which x holds and which also lies in [low, high]."""
    lows = [end for end in (x.low, low) if end is not None]
    highs = [end for end in (x.high, high) if end is not None]
    return known(max(lows, default=None), min(highs, default=None), x.multiple, x.residue)


def _extreme(kind: Literal["min", "max"], x: Facts, y: Facts) -> Facts:
    (xl, xh), (yl, yh) = _range(x), _range(y)
    if kind == "min" and (xh <= yl or yh <= xl):
        return x if xh <= yl else y
    if kind == "max" and (xl >= yh or yl >= xh):
        return x if xl >= yh else y
    choose = min if kind == "min" else max
    either = join(x, y)
    return _from_range((choose(xl, yl), choose(xh, yh)), either.multiple, either.residue)


def _width(*ends: _End) -> int | None:
    """The k for which all the ends lie in [-2**k, 2**k); None when one is infinite."""
    width = 0
    for end in ends:
        if isinstance(end, float):
            return None
        width = max(width, (end if end >= 0 else ~end).bit_length())
    return width


def _and_range(x: _Range, y: _Range) -> _Range:
    """The range of x & y: never above a non-negative operand, nor below zero beside one."""
    (xl, xh), (yl, yh) = x, y
    if xl >= 0 or yl >= 0:
        return 0, min([h for low, h in (x, y) if low >= 0])
    high = min(xh, yh) if xh < 0 and yh < 0 else max(xh, yh)
    width = _width(xl, yl)
    return (-_INF if width is None else -(1 << width)), high


def _not_range(x: _Range) -> _Range:
    return -1 - x[1], -1 - x[0]


def _xor_range(x: _Range, y: _Range) -> _Range:
    (xl, xh), (yl, yh) = x, y
    same_sign = (xl >= 0 and yl >= 0) or (xh < 0 and yh < 0)
    other_sign = (xl >= 0 and yh < 0) or (xh < 0 and yl >= 0)
    width = _width(xl, xh, yl, yh)
    low = -_INF if width is None else -(1 << width)
    high = _INF if width is None else (1 << width) - 1
    return (0 if same_sign else low), (-1 if other_sign else high)


def _low_bits(x: Facts) -> int:
    """How many of the lowest bits are known: those that the power of two in `multiple` fixes."""
    return 130 if x.multiple == 0 else (x.multiple & -x.multiple).bit_length() - 1


def low_zeros(x: Facts) -> int:
    """How many of the lowest bits are known to be 0."""
    known_bits = _low_bits(x)
    bits = x.residue & ((1 << known_bits) - 1)
    return known_bits if bits == 0 else (bits & -bits).bit_length() - 1


def _bitwise(kind: Literal["and", "or", "xor"], x: Facts, y: Facts) -> Facts:
    """The facts of x & y, x | y, x ^ y: the low bits that both know, and the range."""
    rx, ry = _range(x), _range(y)
    shared = 1 << min(_low_bits(x), _low_bits(y))
    if kind == "and":
        zeros = 1 << max(low_zeros(x), low_zeros(y))
        if zeros > shared:
            return _from_range(_and_range(rx, ry), zeros, 0)
        return _from_range(_and_range(rx, ry), shared, x.residue & y.residue)
    if kind == "or":  # De Morgan: x | y = ~(~x & ~y)
        return _from_range(_not_range(_and_range(_not_range(rx), _not_range(ry))), shared, x.residue | y.residue)
    return _from_range(_xor_range(rx, ry), shared, x.residue ^ y.residue)


def _power_of_two(y: Facts) -> Facts:
    """The facts of 2**y for y in 0..63."""
    low = 0 if y.low is None else min(max(y.low, 0), 63)
    high = 63 if y.high is None else max(min(y.high, 63), 0)
    return known(1 << low, 1 << high, 1 << low, 0)


def transfer(kind: Kind, x: Facts, y: Facts) -> Facts:
    """The facts of `x kind y`, for every pair of values of which x and y hold."""
    match kind:
        case "add":
            return add(x, y)
        case "sub":
            return add(x, scale(y, -1))
        case "mul":
            return mul(x, y)
        case "floordiv":
            return floordiv(x, y)
        case "mod":
            return mod(x, y)
        case "min" | "max":
            return _extreme(kind, x, y)
        case "and" | "or" | "xor":
            return _bitwise(kind, x, y)
        case "shl":
            return mul(x, _power_of_two(y))
        case "shr":
            return floordiv(x, _power_of_two(y))
        case "lt" | "le" | "eq" | "ne":
            return TRUTH
        case _:
            assert_never(kind)

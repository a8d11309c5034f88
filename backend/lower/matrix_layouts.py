"""Where the operands of a matrix product lie so that the 32 lanes of a warp multiply them together.

A warp's instruction takes 16 rows of a, 8 columns of b and 32 bytes of k.  Lane 4 g + t holds rows of number g, columns
of number g (of b) or numbers 2 t and 2 t + 1 (of the sums), and the terms of number t.  Which rows, columns and terms
the numbers stand for is free, as long as both operands mean the same terms: storage can choose what is good to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

from ...vm.dtypes import DType, Float, Int
from ...vm.layout.relation import Digit, Layout
from ..target import Target

__all__ = ["COLUMNS", "ROWS", "Operands", "matrix_layouts", "terms_of"]

ROWS, COLUMNS = 16, 8
_TERM_LANES, _ROW_LANES, WARP = 4, 8, 32
_FEATURES = {"f16": "mma_f16", "bf16": "mma_bf16", "f8e4m3fn": "fp8", "f8e5m2": "fp8"}


@dataclass(frozen=True)
class Operands:
    """Layouts of a [m, k], b [k, n] and the sums [m, n]."""

    a: Layout
    b: Layout
    sums: Layout


def terms_of(target: Target, a: DType, b: DType) -> int:
    """How many terms an instruction of the target's warps takes of such operands; 0 if there is none."""
    if isinstance(a, Float) and a == b and _FEATURES.get(a.name) in target.features:
        return 256 // a.bits
    if isinstance(a, Int) and isinstance(b, Int) and a.bits == b.bits == 8 and "mma_s8" in target.features:
        return 32
    return 0


@dataclass(frozen=True)
class _Side:
    """The rows of one operand, and its terms, as digits of lanes (below 32), warps and registers.

    Registers are numbered without gaps, in the order in which they lie.
    """

    row_warps: tuple[Digit, ...]
    row_lanes: tuple[Digit, ...]
    row_regs: tuple[Digit, ...]
    term_lanes: tuple[Digit, ...]
    term_regs: tuple[Digit, ...]


def matrix_layouts(shape: tuple[int, int, int], terms: int, lanes: int, a: Layout | None) -> Operands | None:
    """For sums of shape [m, n] over k terms, taken `terms` at a time; None if tiles are too small for that.

    The layout `a` of the first operand is kept if it serves.
    """
    m, n, k = shape
    if lanes % WARP or m % ROWS or n % COLUMNS or k % terms:
        return None
    side = None if a is None else _side(a, lanes // WARP, (m, k))
    if side is None:
        side = _side(_canonical(m, n, k, terms, lanes // WARP), lanes // WARP, (m, k))
        assert side is not None
    return _operands(side, n, lanes // WARP)


def _canonical(m: int, n: int, k: int, terms: int, warps: int) -> Layout:
    """Rows as the instruction has them, and warps so that each has about as many rows as columns."""
    fits = [w for w in range(1, warps + 1) if warps % w == 0 and (m // ROWS) % w == 0]
    across = min(fits, key=lambda w: abs(m / w - n / max(1, gcd(n // COLUMNS, warps // w))))
    word = terms // 8  # terms in a register
    rows = m // across
    digits = (
        Digit.make(_TERM_LANES, {"lane": 1, "d1": word}),
        Digit.make(_ROW_LANES, {"lane": _TERM_LANES, "d0": 1}),
        Digit.make(across, {"lane": WARP, "d0": rows}),
        Digit.make(word, {"reg": 1, "d1": 1}),
        Digit.make(2, {"reg": word, "d0": _ROW_LANES}),
        Digit.make(2, {"reg": 2 * word, "d1": terms // 2}),
        Digit.make(k // terms, {"reg": 4 * word, "d1": terms}),
        Digit.make(rows // ROWS, {"reg": 4 * word * (k // terms), "d0": ROWS}),
    )
    return Layout(tuple(d for d in digits if d.extent > 1))


def _split(layout: Layout) -> list[Digit] | None:
    """The layout's digits, cut where lanes end that share terms, and where warps end."""
    out: list[Digit] = []
    for digit in layout.digits:
        rest = digit
        for border in (_TERM_LANES, WARP):
            at = rest.on("lane")
            if at and at < border < at * rest.extent:
                if border % at or rest.extent % (border // at):
                    return None
                low = border // at
                out.append(Digit(low, rest.strides))
                rest = Digit(rest.extent // low, tuple((axis, s * low) for axis, s in rest.strides))
        out.append(rest)
    return out


def _side(layout: Layout, warps: int, shape: tuple[int, int]) -> _Side | None:
    """The digits of an operand [rows, terms] if it serves the instruction; else None."""
    digits = _split(layout)
    if digits is None or any(len(d.axes) != 2 for d in digits if d.on("d0") or d.on("d1")):
        return None
    free = [d for d in digits if not d.on("d0") and not d.on("d1")]
    if any(d.on("reg") or d.on("lane") < WARP for d in free):
        return None

    def chosen(axis: str, place: str, low: int, high: int) -> tuple[Digit, ...]:
        found = [d for d in digits if d.on(axis) and low <= d.on(place) < high]
        return tuple(sorted(found, key=lambda d: d.on(place)))

    far = WARP * warps
    side = _Side(
        chosen("d0", "lane", WARP, far), chosen("d0", "lane", _TERM_LANES, WARP), chosen("d0", "reg", 1, 1 << 30),
        chosen("d1", "lane", 1, _TERM_LANES), chosen("d1", "reg", 1, 1 << 30),
    )  # fmt: skip
    reach = WARP
    for digit in side.row_warps:  # they come first
        if digit.on("lane") != reach:
            return None
        reach *= digit.extent
    rows = [*side.row_warps, *side.row_lanes, *side.row_regs]
    terms = [*side.term_lanes, *side.term_regs]
    if prod(d.extent for d in rows) != shape[0] or prod(d.extent for d in terms) != shape[1]:
        return None
    if prod(d.extent for d in side.row_lanes) != _ROW_LANES or prod(d.extent for d in side.term_lanes) != _TERM_LANES:
        return None
    fine = len(rows) + len(terms) + len(free) == len(digits) and prod(d.extent for d in side.row_regs) % 2 == 0
    return side if fine else None


def _packed(digits: tuple[Digit, ...], axis: str, first: int, to: str) -> list[Digit]:
    """Register digits of `axis`, as they follow each other from register `first` on, for the axis `to`."""
    out = []
    for d in sorted(digits, key=lambda d: d.on("reg")):
        out.append(Digit.make(d.extent, {"reg": first, to: d.on(axis)}))
        first *= d.extent
    return out


def _lanes(digits: tuple[Digit, ...], axis: str, to: str) -> list[Digit]:
    return [Digit.make(d.extent, {"lane": d.on("lane"), to: d.on(axis)}) for d in digits]


def _operands(side: _Side, n: int, warps: int) -> Operands:
    """b has a's terms, and the sums have a's rows; warps that rows leave over share the columns out."""
    taken = prod(d.extent for d in side.row_warps)
    across = gcd(n // COLUMNS, warps // taken)
    spare = warps // taken // across
    free = WARP * taken  # warps of rows count fastest
    columns = n // across
    atoms = columns // COLUMNS
    over = [Digit.make(across, {"lane": free, "d1": columns}), Digit.make(spare, {"lane": free * across})]
    same = [Digit.make(taken, {"lane": WARP}), Digit.make(spare, {"lane": free * across})]
    terms = prod(d.extent for d in side.term_regs)
    b = [
        *_lanes(side.term_lanes, "d1", "d0"), Digit.make(_ROW_LANES, {"lane": _TERM_LANES, "d1": 1}), same[0], *over,
        *_packed(side.term_regs, "d1", 1, "d0"), Digit.make(atoms, {"reg": terms, "d1": COLUMNS}),
    ]  # fmt: skip
    sums = [
        *_lanes(side.row_lanes, "d0", "d0"), *_lanes(side.row_warps, "d0", "d0"), *over,
        Digit.make(_TERM_LANES, {"lane": 1, "d1": 2}), Digit.make(2, {"reg": 1, "d1": 1}),
        Digit.make(atoms, {"reg": 2, "d1": COLUMNS}), *_packed(side.row_regs, "d0", 2 * atoms, "d0"),
    ]  # fmt: skip
    a = [
        *_lanes(side.term_lanes, "d1", "d1"), *_lanes(side.row_lanes, "d0", "d0"), *_lanes(side.row_warps, "d0", "d0"),
        Digit.make(warps // taken, {"lane": free}), *side.term_regs, *side.row_regs,
    ]  # fmt: skip
    return Operands(*(Layout(tuple(d for d in digits if d.extent > 1)) for digits in (a, b, sums)))

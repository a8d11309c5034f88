"""How tiles are spread over the lanes of a block: the layouts that the compiler chooses and those that it derives."""

from __future__ import annotations

from math import gcd, prod

from .relation import Digit, Layout, LayoutError
from .views import column_local, local, reduce, replicate, reshape, spatial


def word_run(bits: int) -> int:
    """The least number of consecutive elements that fill whole 32-bit words."""
    return 32 // gcd(bits, 32)


def distribute(shape: tuple[int, ...], lanes: int, run: int = 1) -> Layout:
    """The default layout: neighbouring runs of the last dimension on neighbouring lanes, the rest in registers.

    Lanes that the last dimension cannot occupy go to the dimensions before it; if some are still left they hold copies.
    """
    if not shape:
        return replicate(lanes)
    run = gcd(run, shape[-1])
    counts, left = [*shape[:-1], shape[-1] // run], lanes
    across = [1] * len(counts)
    for dim in reversed(range(len(counts))):
        across[dim] = gcd(counts[dim], left)
        left //= across[dim]
    outer = local(*(n // a for n, a in zip(counts, across, strict=True)))
    inner = local(*([1] * (len(shape) - 1)), run)
    return cover(outer * spatial(*across) * inner, lanes)


def distribute_flat(shape: tuple[int, ...], other: tuple[int, ...], lanes: int) -> Layout:
    """A layout of a tile that can also be seen as one of the shape `other`: its lanes do not cut across either's rows.

    The elements in row-major order form one line; one block of neighbouring runs of it goes over as many lanes as fit.
    """
    total = prod(shape)
    borders = {prod(s[k:]) for s in (shape, other) for k in range(len(s))}

    def whole(cut: int) -> bool:
        return all(cut % b == 0 or b % cut == 0 for b in borders)

    across, run = next(
        (across, run)
        for across in sorted(_divisors(gcd(lanes, total)), reverse=True)
        for run in _divisors(total // across)
        if whole(run) and whole(run * across)
    )
    line = local(total // run // across) * spatial(across) * local(run)
    return cover(reshape(line, (total,), shape), lanes)


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def cover(layout: Layout, lanes: int) -> Layout:
    """The layout on a block of `lanes`, of which those that it does not name hold copies.

    LayoutError if the lanes that it names do not divide the block's.
    """
    used = layout.size("lane")
    if lanes % used:
        raise LayoutError(f"the layout {layout} is for {used} lanes, which do not divide the block's {lanes}")
    return replicate(lanes // used) * layout if used < lanes else layout


def squeeze(layout: Layout, shape: tuple[int, ...], narrow: tuple[int, ...]) -> Layout:
    """Where a tile of shape `narrow` must be for its elements to meet those of `layout` (of `shape`).

    `narrow` has 1 where a dimension is repeated, or no dimensions at all.
    """
    dims = [d for d, n in enumerate(shape) if not narrow or (narrow[d] == 1 and n != 1)]
    for dim in dims:
        layout = reduce(layout, dim, keepdim=True)
    return layout


def contract(acc: Layout, dim: int, extent: int) -> Layout:
    """Where the operand of a matrix product must be: `acc` with `dim` exchanged for `extent` terms in registers.

    The terms are the fastest registers, so that neighbouring ones share a word.
    """
    kept = reduce(acc, dim, keepdim=True)
    digits = (Digit.make(d.extent, {a: s * (extent if a == "reg" else 1) for a, s in d.strides}) for d in kept.digits)
    return Layout((*digits, Digit.make(extent, {f"d{dim}": 1, "reg": 1})))


def same_lanes(a: Layout, b: Layout) -> bool:
    """Whether every element is on the same lanes in both: then one becomes the other by renaming registers."""
    return a.forget("reg") == b.forget("reg")


def repeat(tile: Layout, shape: tuple[int, ...], lanes: int) -> Layout:
    """A tile of `shape` made of copies of `tile`.

    Where the block has more lanes than `tile` names, neighbouring copies along the last dimension go to them, then
    those along the dimensions before it; the rest are in registers of their own, dimension 0 fastest.
    """
    counts = [n // t for n, t in zip(shape, tile.shape, strict=True)]
    across, left = [1] * len(counts), lanes // gcd(lanes, tile.size("lane"))
    for dim in reversed(range(len(counts))):
        across[dim] = gcd(counts[dim], left)
        left //= across[dim]
    return spatial(*across) * column_local(*(n // a for n, a in zip(counts, across, strict=True))) * tile

"""Constant layouts, and the familiar operations as joins with them."""

from __future__ import annotations

from math import gcd, prod

from .relation import Digit, Layout, LayoutError, is_logical


def _strides(shape: tuple[int, ...], column: bool) -> tuple[int, ...]:
    if any(n < 1 for n in shape):
        raise LayoutError(f"the shape {shape} has an extent below 1")
    return tuple(prod(shape[:k]) if column else prod(shape[k + 1 :]) for k in range(len(shape)))


def strided(shape: tuple[int, ...], strides: tuple[int, ...], axis: str = "mem") -> Layout:
    """Dimensions d0, d1, .. of this shape, with these steps on one axis: rows with a pitch, a broadcast (step 0)."""
    if len(shape) != len(strides):
        raise LayoutError(f"the shape {shape} and the strides {strides} differ in length")
    pairs = enumerate(zip(shape, strides, strict=True))
    return Layout(tuple(Digit.make(n, {f"d{k}": 1, axis: s}) for k, (n, s) in pairs))


def spatial(*shape: int) -> Layout:
    """One element per lane, the last dimension fastest."""
    return strided(shape, _strides(shape, column=False), "lane")


def local(*shape: int) -> Layout:
    """All elements in the registers of one lane, the last dimension fastest."""
    return strided(shape, _strides(shape, column=False), "reg")


def column_spatial(*shape: int) -> Layout:
    """One element per lane, the first dimension fastest."""
    return strided(shape, _strides(shape, column=True), "lane")


def column_local(*shape: int) -> Layout:
    """All elements in the registers of one lane, the first dimension fastest."""
    return strided(shape, _strides(shape, column=True), "reg")


def dense(*shape: int) -> Layout:
    """Row-major memory without gaps, counted in elements."""
    return strided(shape, _strides(shape, column=False), "mem")


def replicate(copies: int) -> Layout:
    """`copies` lanes that all hold the same element."""
    return Layout((Digit.make(copies, {"lane": 1}),))


def reshape(x: Layout, old: tuple[int, ...], new: tuple[int, ...]) -> Layout:
    """The same elements in row-major order, numbered by other dimensions. x's elements lie in the shape `old`."""
    if prod(old) != prod(new):
        raise LayoutError(f"{old} and {new} hold different numbers of elements: {prod(old)} and {prod(new)}")
    _within(x, old)
    flat = x @ strided(old, _strides(old, column=False), "_flat")
    numbered = strided(new, _strides(new, column=False), "_flat")
    apart = flat @ numbered.rename(**{f"d{k}": f"_new{k}" for k in range(len(new))})
    return apart.rename(**{f"_new{k}": f"d{k}" for k in range(len(new))})


def _within(x: Layout, shape: tuple[int, ...]) -> None:
    reach = x.shape
    if len(reach) > len(shape) or any(r > n for r, n in zip(reach, shape, strict=False)):
        raise LayoutError(f"{x} has elements of shape {reach}, which is not inside {shape}")


def transpose(x: Layout, perm: tuple[int, ...] = (1, 0)) -> Layout:
    """Exchange dimensions as numpy.transpose does: dimension k of the result is dimension perm[k] of x."""
    if sorted(perm) != list(range(len(perm))) or len(x.shape) > len(perm):
        raise LayoutError(f"{perm} is no order of the {max(len(x.shape), len(perm))} dimensions of {x}")
    return x.rename(**{f"d{old}": f"d{new}" for new, old in enumerate(perm)})


def reduce(x: Layout, dim: int, *, keepdim: bool = False) -> Layout:
    """The place of the results when dimension `dim` is folded away.

    Lanes that differed in it hold copies of the result; registers that differed in it shrink to one. Without `keepdim`
    the later dimensions move one down.
    """
    axis = f"d{dim}"
    folded = [d for d in x.digits if d.on(axis) and d.on("reg")]
    if any(d.axes != {axis, "reg"} for d in folded):
        raise LayoutError(f"a register of {x} moves on {axis} and on another axis at once: convert its layout first")

    def packed(stride: int) -> int:
        below = prod(d.extent for d in folded if d.on("reg") < stride)
        if stride % below:
            raise LayoutError(f"the registers of {x} have gaps or overlaps: convert its layout first")
        return stride // below

    kept = (d for d in x.digits if d not in folded)
    small = Layout(tuple(Digit.make(d.extent, dict(d.strides) | {"reg": packed(d.on("reg"))}) for d in kept))
    small = small.forget(axis)
    if keepdim:
        return small
    return small.rename(**{f"d{k}": f"d{k - 1}" for k in range(dim + 1, len(x.shape))})


def expand(x: Layout, dim: int, extent: int) -> Layout:
    """Repeat a dimension of size 1 `extent` times in new registers: register r holds what r % (old count) held."""
    axis = f"d{dim}"
    if x.size(axis) != 1:
        raise LayoutError(f"dimension {dim} of {x} has size {x.size(axis)}; only a size of 1 can be expanded")
    return Layout((*x.digits, Digit.make(extent, {axis: 1, "reg": x.size("reg")})))


def inverse(x: Layout, source: str, target: str) -> Layout:
    """The relation read from its other end: the axes `source` and `target` exchange their names."""
    return x.rename(**{source: target, target: source})


def in_bits(x: Layout, bits: int, place: str = "reg") -> Layout:
    """Give each element its bits: a new axis `bit`, and `place` counted in bits."""
    return x * Layout((Digit.make(bits, {"bit": 1, place: 1}),))


def address(registers: Layout, memory: Layout) -> Layout:
    """(lane, reg) -> mem: the whole of address generation is one join over the dimensions (and bits).

    Memory may reach further than the registers, never the other way: LayoutError. A dimension that the registers do not
    touch stays at 0 in memory.
    """
    for axis in sorted(filter(is_logical, registers.axes)):
        if registers.size(axis) > memory.size(axis):
            raise LayoutError(f"{axis} reaches {registers.size(axis)} in registers, but {memory.size(axis)} in memory")
    beyond = frozenset(a for a in memory.axes - registers.axes if is_logical(a))
    return registers @ Layout(tuple(d for d in memory.digits if not d.axes & beyond))


def contiguous(transfer: Layout, place: str = "reg", memory: str = "mem") -> int:
    """How many consecutive places lie at consecutive addresses, in every aligned run of places of that length."""
    steps = [d for d in transfer.digits if d.strides == tuple(sorted({place: 1, memory: 1}.items()))]
    if len(steps) != 1:
        return 1
    # Any other digit must move by whole runs, or it would tear them.
    whole = all(d.on(place) % steps[0].extent == 0 for d in transfer.digits if d is not steps[0])
    return steps[0].extent if whole else 1


def aligned_run(transfer: Layout, place: str = "reg", memory: str = "mem") -> int:
    """The vector width: the longest part of the contiguous run that divides every address at which it starts."""
    run = contiguous(transfer, place, memory)
    starts = [d.on(memory) for d in transfer.digits if not 0 < d.on(place) < run]
    return gcd(run, *starts)

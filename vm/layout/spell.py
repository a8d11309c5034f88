"""The short text of a layout: a product of named factors, where there is one."""

from __future__ import annotations

from .relation import Digit, Layout
from .views import local, replicate, spatial


def spell(layout: Layout) -> str:
    """A product such as "local(2, 1) * spatial(8, 4)" that means `layout`, or its digits if it is no such product."""
    rank = len(layout.shape)
    left = set(layout.digits)
    texts: list[str] = []
    inner = Layout()
    while left:
        factor, text = _innermost(left, inner, rank)
        if not text:
            return str(layout)
        inner = factor * inner
        texts.insert(0, text)
    return " * ".join(texts) if texts else str(layout)


def _innermost(left: set[Digit], inner: Layout, rank: int) -> tuple[Layout, str]:
    """Take the digits of one more factor around `inner` out of `left`; the text is empty if there is none."""
    for name, place, view in (("local", "reg", local), ("spatial", "lane", spatial)):
        shape = _row_major(left, inner, rank, place)
        if max(shape, default=1) > 1:
            return view(*shape), f"{name}{shape}" if rank > 1 else f"{name}({shape[0]})"
    for digit in left:
        if digit.strides == (("lane", inner.size("lane")),):
            left.discard(digit)
            return replicate(digit.extent), f"replicate({digit.extent})"
    return Layout(), ""


def _row_major(left: set[Digit], inner: Layout, rank: int, place: str) -> tuple[int, ...]:
    """The extents of the row-major factor on `place` that comes next; its digits are taken out of `left`."""
    shape = [1] * rank
    step = inner.size(place)
    for k in reversed(range(rank)):
        wanted = tuple(sorted({f"d{k}": inner.size(f"d{k}"), place: step}.items()))
        digit = next((d for d in left if d.strides == wanted), None)
        if digit is not None:
            left.discard(digit)
            shape[k] = digit.extent
            step *= digit.extent
    return tuple(shape)

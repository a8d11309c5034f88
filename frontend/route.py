"""From rows of x to the kernels: what all calls for one prepared tensor and so many rows have in common.

It is found once and kept with the tensor, because a product with one row takes no longer than to find it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from ..backend.llvm.pool import threads
from ..backend.target import Target
from ..vm.dtypes import dtype
from .kernel import Callable_
from .library.plan import Schedule, activation_kernel, plan, prepared_kernel, product
from .library.prepared import LONGEST_PART, Activations, Prepared
from .rows import Floats

__all__ = ["Inputs", "Route", "route"]

Inputs = tuple[NDArray[np.generic], ...]

MOST_ROUTES = 64  # kept with a tensor: as many numbers of rows as a caller may well alternate between


@dataclass(frozen=True)
class Route:
    """One way to make calls.

    rows    that the kernel computes: those that x has, and some more to fill its last pass
    inputs  what the kernel takes of x [rows, depth]
    kernel  takes these, and then weights, scales, zero points, bias and y
    """

    rows: int
    inputs: Callable[[Floats], Inputs]
    kernel: Callable_


def route(p: Prepared, mode: Activations, m: int, bias: bool, here: Target, schedule: Schedule | None = None) -> Route:
    """How calls for m rows are made: by the planner's schedule unless another is given."""
    key = (mode, m, bias, here, schedule, threads())
    found = p.routes.get(key)
    if isinstance(found, Route):
        return found
    chosen = plan(p, mode, m, here) if schedule is None else schedule
    kernel = prepared_kernel(p, mode, chosen, bias, here).function
    result = Route(chosen.padded_rows(m), _inputs(p, mode, chosen, here), kernel)
    if len(p.routes) >= MOST_ROUTES:
        p.routes.clear()
    p.routes[key] = result
    return result


def _inputs(p: Prepared, mode: Activations, schedule: Schedule, here: Target) -> Callable[[Floats], Inputs]:
    """What makes the inputs of a kernel of this mode and schedule."""
    panel = schedule.form == "panel"  # which needs no sums
    if mode == "int8":
        return _quantised(p, here)
    if mode != "f32":
        pairs = product(p, mode, schedule.form, here) == "bf16"
        return _rounded(p, mode, pairs, pairs or not panel, here)
    return _alone if panel else _summed(p, here)


def _alone(x: Floats) -> Inputs:
    return (x,)


def _summed(p: Prepared, here: Target) -> Callable[[Floats], Inputs]:
    """x and the sum of each of its groups, which only products with zero points look at."""
    groups = p.shape.depth // p.shape.group
    if p.zero_mode == "none":
        return lambda x: (x, np.empty((x.shape[0], groups), np.float32))
    sums = activation_kernel("group_sums", here, **_pieces(p)).function

    def make(x: Floats) -> Inputs:
        total = np.empty((x.shape[0], groups), np.float32)
        sums(x, total)
        return x, total

    return make


def _rounded(
    p: Prepared, mode: Activations, as_codes: bool, with_sums: bool, here: Target
) -> Callable[[Floats], Inputs]:
    """x rounded to the mode's type, in bf16 codes or in f32, and the sum of each group."""
    to = dtype("bf16" if as_codes else "f32")
    kind = np.uint16 if as_codes else np.float32
    groups = p.shape.depth // p.shape.group
    around = activation_kernel("round_rows", here, R=dtype(mode), Q=to, **_pieces(p)).function

    def make(x: Floats) -> Inputs:
        near = np.empty(x.shape, kind)
        total = np.empty((x.shape[0], groups), np.float32)
        around(x, near, total)
        return (near, total) if with_sums else (near,)

    return make


def _pieces(p: Prepared) -> dict[str, int]:
    return {"G": p.shape.group, "T": gcd(p.shape.group, LONGEST_PART)}


def _quantised(p: Prepared, here: Target) -> Callable[[Floats], Inputs]:
    """x in bytes, and the step and sum of each part of a group."""
    parts = p.shape.depth // p.shape.part
    quantise = activation_kernel("quantize_rows", here, A=p.shape.part).function

    def make(x: Floats) -> Inputs:
        m = x.shape[0]
        codes = np.empty(x.shape, np.int8)
        step, total = np.empty((m, parts), np.float32), np.empty((m, parts), np.int32)
        quantise(x, codes, step, total)
        return codes, step, total

    return make

"""One product on a GPU: what the planner decides, and how a call of `linear` becomes a launch.

Weights are packed on the CPU once, and copied to each device once; both are kept with the tensor.  Nothing waits for
the GPU: y is what the kernel will have written when the caller's stream gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .gpu_arrays import GpuLibrary, GpuRows
from .library.prepared import LinearError, Prepared
from .tensor import QTensor

__all__ = ["GpuCall", "Made", "Place", "Scratch", "State", "Sums", "kept_call", "launch"]

MOST_CALLS = 64
"""Kept with a tensor."""

MOST_STATES = 64
"""Kept with a call: for as many streams and recorded graphs."""


@dataclass(frozen=True)
class Scratch:
    """Memory of f32 that one launch needs for itself."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sums:
    """f32[M, groups]: what a kernel (x, sums) makes of x before the launch."""

    groups: int
    kernel: Callable[..., object]


@dataclass(frozen=True, eq=False)
class Made:
    """Arrays, of element types and shapes, that a kernel (x, arrays) makes of x before the launch."""

    kernel: Callable[..., object]
    arrays: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class State:
    """Words that are 0 before a launch and after it: launches that come one after another share them."""

    shape: tuple[int, ...]


Place: TypeAlias = Literal["x", "y", "bias"] | NDArray[np.generic] | Scratch | Sums | Made | State
"""What stands for an argument: a part of the call, an array of the weights, or memory that the kernel works in.

What is made of x stands for as many as it is."""


@dataclass(frozen=True, eq=False)
class GpuCall:
    """How products of so many rows with one tensor are done.

    kernel  takes the arguments in the order of `places`
    places  arrays among them are copied to the device when they are first needed there
    copies  those arrays, by device, library and address: all calls with one tensor share them
    states  those that launches left, by device, library, and order of launches
    """

    kernel: Callable[..., object]
    places: tuple[Place, ...]
    copies: dict[Hashable, object] = field(default_factory=dict)
    states: dict[Hashable, object] = field(default_factory=dict)

    def constant(self, rows: GpuRows, data: NDArray[np.generic]) -> object:
        """The array on the device of these rows, as an array of their library."""
        key = (rows.device, type(rows.library), data.ctypes.data, data.shape)
        found = self.copies.get(key)
        if found is None:
            found = self.copies[key] = rows.library.put(data)
        return found

    def state(self, rows: GpuRows, shape: tuple[int, ...]) -> object:
        key = (rows.device, type(rows.library), rows.library.order())
        found = self.states.get(key)
        if found is None:
            if len(self.states) >= MOST_STATES:
                self.states.clear()
            found = self.states[key] = rows.library.zeros(shape, "i32")
        return found


def kept_call(
    q: QTensor,
    p: Prepared,
    key: tuple[object, ...],
    make: Callable[[], tuple[Callable[..., object], tuple[Place, ...]]],
) -> GpuCall:
    """The call of that key, which is made once and kept with the tensor; its copies are shared with all others."""
    found = p.routes.get(key)
    if isinstance(found, GpuCall):
        return found
    none: dict[Hashable, object] = {}
    copies = q._prepared.setdefault("gpu copies", none)
    assert isinstance(copies, dict)
    if len(p.routes) >= MOST_CALLS:
        p.routes.clear()
    kernel, places = make()
    result = p.routes[key] = GpuCall(kernel, places, copies)
    return result


def launch(call: GpuCall, rows: GpuRows, bias: object, n: int, kind: str) -> object:
    """y[M, N] = what the call computes of the rows, of an element type; the kernel may not have run yet."""
    y = rows.library.empty((rows.count, n), kind)
    arguments: list[object] = []
    for place in call.places:
        match place:
            case np.ndarray():
                arguments.append(call.constant(rows, place))
            case Scratch(shape):
                arguments.append(rows.library.empty(shape, "f32"))
            case Sums(groups, kernel):
                arguments.append(rows.library.empty((rows.count, groups), "f32"))
                kernel(rows.rows, arguments[-1])
            case Made(kernel, arrays):
                made = [rows.library.empty(shape, type) for type, shape in arrays]
                kernel(rows.rows, *made)
                arguments += made
            case State(shape):
                arguments.append(call.state(rows, shape))
            case "bias":
                arguments.append(bias_of(rows.library, bias, n))
            case "x":
                arguments.append(rows.rows)
            case _:
                arguments.append(y)
    call.kernel(*arguments)
    return y


def bias_of(library: GpuLibrary, bias: object, n: int) -> object:
    """A bias of N numbers on the device, in f32; NumPy's arrays are copied there."""
    found = library.convert(bias, "f32")
    shape = tuple(getattr(found, "shape", ()))
    if shape != (n,):
        raise LinearError(f"bias has shape {list(shape)}, but the weight has N = {n} rows: give a bias of shape [{n}]")
    return found

"""Lane IR as CUDA C++: a lane is a thread, a block's lanes are a thread block."""

from __future__ import annotations

from ..lane.ir import Function
from ..target import Target

__all__ = ["emit"]


def emit(function: Function, target: Target) -> str:
    """The text of one kernel."""
    return f"__global__ void {function.name}() {{}}"

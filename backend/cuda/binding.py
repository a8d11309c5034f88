"""A call's arrays checked against a kernel's signature, and what follows from their shapes: sizes, blocks, device.

The checks and their messages are those that a CPU kernel's entry makes (`backend/llvm/entry.py`): TypeError for a wrong
kind of thing or a wrong element type, ValueError for wrong sizes, strides, devices or alignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...vm.expr import Const, Expr, ExprError, Var, evaluate
from ..signature import Argument, ArrayArgument, ScalarArgument, Signature, element_name
from .arrays import CUDA, MANAGED, Given

__all__ = ["MOST_BLOCKS", "Bound", "bind"]

MOST_BLOCKS = (1 << 31) - 1
"""Of one launch: the first axis of a grid."""

SIZE_LIMIT = 1 << 56


@dataclass(frozen=True)
class Bound:
    """What a launch takes from the shapes of its arrays.

    sizes   the value of every size, in the order of the slots
    blocks  how many there are to run; 0: nothing to do
    device  where the arrays lie; None: there are none
    nbytes  what the kernel knows of each argument's memory; 0 for a scalar
    """

    sizes: tuple[int, ...]
    blocks: int
    device: int | None
    nbytes: tuple[int, ...]


def bind(signature: Signature, given: Sequence[Given | None], explicit: Sequence[int]) -> Bound:
    """The binding for these arrays (None for a scalar) and explicit sizes; TypeError or ValueError if they misfit."""
    arrays = [
        (a, g)
        for a, g in zip(signature.arguments, given, strict=True)
        if isinstance(a, ArrayArgument) and g is not None
    ]
    for array, one in arrays:
        _fits(array, one)
    env: dict[Var, int] = {}
    for var, value in zip(signature.explicit, explicit, strict=True):
        if not 0 <= value < SIZE_LIMIT:
            raise ValueError(f"{var.name}: a size is 0 or more (and less than 2**56), got {value}")
        env[var] = value
    for array, one in arrays:
        for dim, n in zip(array.dims, one.shape, strict=False):
            if isinstance(dim, Var):
                env.setdefault(dim, n)
    for var in signature.sizes:
        _facts(var, env[var])
    for array, one in arrays:
        _extents(array, one, env)
    for condition, message in signature.checks:
        if not _value(condition, env):
            raise ValueError(message)
    nbytes = tuple(_nbytes(a, g, env) for a, g in zip(signature.arguments, given, strict=True))
    return Bound(tuple(env[v] for v in signature.sizes), _blocks(signature.grid, env), _device(arrays), nbytes)


def _nbytes(argument: Argument, given: Given | None, env: Mapping[Var, int]) -> int:
    if given is None or not isinstance(argument, ArrayArgument):
        return 0
    return _value(argument.nbytes, env) if argument.flat else given.elements * given.element[1] // 8


def _fits(array: ArrayArgument, given: Given) -> None:
    """Device, element type, rank and order are right."""
    expected = f"{array.name}: expected {array}"
    if given.kind not in (CUDA, MANAGED):
        raise ValueError(
            f"{expected} in the GPU's memory, got one on another device; move it there, for example .cuda()"
        )
    if array.codes and given.element not in array.codes:
        name = element_name(*array.codes[0])
        raise TypeError(f"{expected}, got elements of {given.dtype}; convert it to {name}, or view it as {name}")
    if not array.flat and len(given.shape) != len(array.dims):
        hint = "reshape it" if array.dims else "pass an array without dimensions"
        dimensions = "1 dimension" if len(array.dims) == 1 else f"{len(array.dims)} dimensions"
        raise ValueError(f"{expected} with {dimensions}, got {len(given.shape)}; {hint}")
    if not given.contiguous:
        raise ValueError(
            f"{expected} in row-major order without gaps, got other strides; copy it with .contiguous() or "
            "cupy.ascontiguousarray(...)"
        )


def _facts(var: Var, value: int) -> None:
    """What the kernel was compiled to rely on: the range and the divisor of a size."""
    if var.low is not None and value < var.low:
        raise ValueError(f"{var.name} is {value}, but must be at least {var.low}")
    if var.high is not None and value > var.high:
        raise ValueError(f"{var.name} is {value}, but must be at most {var.high}")
    if value % var.multiple:
        raise ValueError(f"{var.name} is {value}, but must be a multiple of {var.multiple}")


def _extents(array: ArrayArgument, given: Given, env: Mapping[Var, int]) -> None:
    """Every dimension has its size; a flat buffer is large enough."""
    expected = f"{array.name}: expected {array}"
    for index, (dim, n) in enumerate(zip(array.dims, given.shape, strict=False)):
        wanted = _value(dim, env)
        if n != wanted:
            equal = f"{dim}" if isinstance(dim, Const) else f"{dim} = {wanted}"
            raise ValueError(f"{expected}: dimension {index} must be {equal}, got {n}")
    if array.flat:
        held, needed = given.elements * given.element[1] // 8, _value(array.nbytes, env)
        if held < needed:
            raise ValueError(f"{expected} of at least {needed} bytes, got {held}")


def _value(e: Expr, env: Mapping[Var, int]) -> int:
    try:
        return evaluate(e, env)
    except ExprError as error:
        known = ", ".join(f"{v.name} = {n}" for v, n in env.items())
        raise ValueError(f"`{e}` has no value for {known}: {error}") from error


def _blocks(grid: tuple[Expr, ...], env: Mapping[Var, int]) -> int:
    product = 1
    for axis in grid:
        product *= max(0, _value(axis, env))
    if product > MOST_BLOCKS:
        sizes = ", ".join(f"{v.name} = {n}" for v, n in env.items())
        raise ValueError(
            f"these sizes ({sizes}) make {product} blocks, but a GPU takes {MOST_BLOCKS} at a time: choose larger tiles"
        )
    return product


def _device(arrays: Sequence[tuple[ArrayArgument, Given]]) -> int | None:
    """The one device of all arrays."""
    if not arrays:
        return None
    first, there = arrays[0]
    for array, given in arrays:
        if given.ordinal != there.ordinal:
            raise ValueError(
                f"{first.name} is on GPU {there.ordinal}, but {array.name} on GPU {given.ordinal}: move them to one"
            )
    return there.ordinal


def scalar(argument: ScalarArgument, value: object) -> TypeError:
    """What is wrong with a value that is no number of its argument's kind."""
    kind, python = ("an integer", "int") if argument.kind == "int" else ("a number", "float")
    return TypeError(f"{argument.name}: expected {kind}, got {type(value).__name__}; pass a Python {python}")

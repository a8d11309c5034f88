"""A call's arguments as codes: checks them against the program's parameters, and binds the sizes.

* An integer parameter takes an int, a float parameter a float.
* A row-major array of a dtype of 8 bits or more is an ndarray of the NumPy type of that dtype.  bf16, floats of 8 bits
  and codebooks are unsigned codes, or arrays of the ml_dtypes package.
* Any other array is a flat buffer of bytes: a dense bit stream (`vm/bits.py`), or the tiles that `storage` describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from .bits import pack, packed_size, unpack
from .dtypes import Bool, Codebook, DType, Float, Int
from .expr import ExprError, Var, evaluate
from .interpret_error import InterpretError
from .ir import Array, Program, Value

Number = float | int | bool
Argument = NDArray[np.generic] | Number | np.number | np.bool_
Codes = NDArray[np.unsignedinteger]

_ML_DTYPES = {"bf16": "bfloat16", "e8m0": "float8_e8m0fnu"}


@dataclass(frozen=True, eq=False)
class ArrayArgument:
    """One array of a call: `codes` is all that is stored, with the padding of tiles; `buffer` holds them if packed."""

    array: Array
    sizes: tuple[int, ...]
    codes: Codes
    buffer: NDArray[np.uint8] | None

    def give_back(self) -> None:
        """Packs the codes into the caller's buffer.  Codes that are a view of the caller's array are there already."""
        if self.buffer is None:
            return
        storage = self.array.storage
        packed = pack(self.codes, self.array.dtype.bits) if storage is None else storage.pack(self.codes)
        self.buffer[: packed.size] = packed


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of a call: what each variable and float parameter is, and each array's codes."""

    scalars: dict[Var, int]
    floats: dict[Value, NDArray[np.float32]]
    arrays: dict[Array, ArrayArgument]


def bind(program: Program, arguments: tuple[Argument, ...], sizes: Mapping[str, int], written: set[Array]) -> Call:
    """InterpretError, naming the argument, unless these are arguments of the program."""
    if len(arguments) != len(program.parameters):
        names = ", ".join(p.name for p in program.parameters)
        raise InterpretError(
            f"{program.name} takes {len(program.parameters)} arguments ({names}), not {len(arguments)}",
            "pass one argument for each; compile-time parameters and sizes are not among them",
        )
    pairs = list(zip(program.parameters, arguments, strict=True))
    call = Call({}, {}, {})
    for p, a in pairs:
        if isinstance(p, Var):
            bind_variable(call.scalars, p, _whole(p.name, a), f"the argument {p.name}")
        elif isinstance(p, Value):
            call.floats[p] = _float(p, a)
    for p, a in pairs:
        if isinstance(p, Array) and not is_buffer(p):
            _bind_sizes(call.scalars, program, p, _ndarray(p, a))
    _bind_given(call.scalars, program, sizes)
    for p, a in pairs:
        if isinstance(p, Array):
            call.arrays[p] = _array(call.scalars, p, _ndarray(p, a), p in written)
    for requirement, text in program.requirements:
        if not evaluate(requirement, call.scalars):
            raise InterpretError(f"{program.name} requires {text}", f"here {_known(call.scalars)}")
    return call


def bind_variable(scalars: dict[Var, int], var: Var, value: int, what: str) -> None:
    """Gives `var` its value; InterpretError where that contradicts what the program takes to be known of it."""
    if var.facts.excludes(value):
        low = "" if var.low is None else f" at least {var.low}"
        high = "" if var.high is None else f" at most {var.high}"
        multiple = "" if var.multiple == 1 else f" a multiple of {var.multiple}"
        raise InterpretError(f"{what} is {value}, but must be{low}{high}{multiple}", "the program relies on that")
    scalars[var] = value


def is_buffer(array: Array) -> bool:
    """Whether the array is passed as bytes."""
    return array.storage is not None or (array.dtype.bits < 8 and not isinstance(array.dtype, Bool))


def _known(scalars: Mapping[Var, int]) -> str:
    return ", ".join(f"{v.name} = {n}" for v, n in scalars.items())


def _whole(name: str, a: Argument) -> int:
    if isinstance(a, int | np.integer) and not isinstance(a, bool):
        if not -(1 << 63) <= int(a) < 1 << 63:
            raise InterpretError(f"the argument {name} is {a}", "pass an integer of 64 bits")
        return int(a)
    raise InterpretError(f"the argument {name} is an integer, got {_kind(a)}", "pass an int")


def _float(p: Value, a: Argument) -> NDArray[np.float32]:
    if isinstance(a, int | float | np.integer | np.floating) and not isinstance(a, bool):
        assert isinstance(p.type.dtype, Float)
        with np.errstate(over="ignore"):
            return p.type.dtype.round(np.asarray(float(a)), overflow="ieee")
    raise InterpretError(f"the argument {p.name} is a number, got {_kind(a)}", "pass a float")


def _kind(a: object) -> str:
    if isinstance(a, np.ndarray):
        return f"an array of {a.dtype}{list(a.shape)}"
    return f"{a!r} ({type(a).__name__})"


def _natural(dtype: DType) -> tuple[str, ...]:
    """The names of the NumPy types of arrays of this dtype."""
    match dtype:
        case Bool():
            return ("bool",)
        case Int():
            return (f"{'' if dtype.signed else 'u'}int{dtype.bits}",)
        case Float() if dtype.name in ("f16", "f32"):
            return (f"float{dtype.bits}",)
        case Float():
            other = _ML_DTYPES.get(dtype.name, f"float8_{dtype.name[2:]}")
            return (f"uint{dtype.bits}", other)
        case Codebook():
            return (f"uint{dtype.bits}",)


def _ndarray(p: Array, a: Argument) -> NDArray[np.generic]:
    expected = ("uint8",) if is_buffer(p) else _natural(p.dtype)
    what = "bytes (uint8)" if is_buffer(p) else " or ".join(expected)
    if not isinstance(a, np.ndarray):
        raise InterpretError(f"the argument {p.name} is an array of {what}, got {_kind(a)}", "pass a NumPy array")
    if a.dtype.name not in expected or not a.dtype.isnative:
        raise InterpretError(
            f"the argument {p.name} is an array of {what}, got {_kind(a)}",
            f"it holds {p.dtype}; give its codes, packed" if is_buffer(p) else f"convert it: it holds {p.dtype}",
        )
    return a


def _bind_sizes(scalars: dict[Var, int], program: Program, p: Array, a: NDArray[np.generic]) -> None:
    if a.ndim != len(p.shape):
        raise InterpretError(
            f"the argument {p.name} has {len(p.shape)} dimensions, got an array of shape {list(a.shape)}",
            f"pass an array of shape [{', '.join(map(str, p.shape))}]",
        )
    for n, size in zip(p.shape, a.shape, strict=True):
        if isinstance(n, Var) and n in program.sizes and n not in scalars:
            bind_variable(scalars, n, size, f"the size {n.name} (of {p.name})")


def _bind_given(scalars: dict[Var, int], program: Program, sizes: Mapping[str, int]) -> None:
    named = {v.name: v for v in program.sizes}
    for name, n in sizes.items():
        if name not in named:
            raise InterpretError(f"{program.name} has no size {name}", f"its sizes are {', '.join(named) or 'none'}")
        var = named[name]
        if scalars.get(var, n) != n:
            raise InterpretError(f"the size {name} is given as {n}, but the arrays have {scalars[var]}", "leave it out")
        bind_variable(scalars, var, _whole(name, n), f"the size {name}")
    missing = [v.name for v in program.sizes if v not in scalars]
    if missing:
        given = ", ".join(f'"{name}": …' for name in missing)
        raise InterpretError(f"no array tells the size {missing[0]}", f"give it: sizes={{{given}}}")


def _array(scalars: Mapping[Var, int], p: Array, a: NDArray[np.generic], written: bool) -> ArrayArgument:
    try:
        sizes = tuple(evaluate(n, scalars) for n in p.shape)
    except ExprError as error:
        raise InterpretError(f"the shape of {p.name} has no value: {error}", f"here {_known(scalars)}") from error
    text = f"[{', '.join(map(str, p.shape))}] = {list(sizes)}"
    if any(n < 0 for n in sizes):
        raise InterpretError(f"{p.name} would have the shape {text}", f"here {_known(scalars)}")
    if written and not a.flags.writeable:
        raise InterpretError(f"the program writes to {p.name}, but the array is read-only", "pass a copy of it")
    if is_buffer(p):
        return _packed(p, sizes, a.view(np.uint8), text)
    if a.shape != sizes:
        raise InterpretError(f"the argument {p.name} has the shape {text}, got {list(a.shape)}", "pass that shape")
    codes = a.view(p.dtype.code_dtype)
    _check_codes(p, codes)
    return ArrayArgument(p, sizes, codes, None)


def _packed(p: Array, sizes: tuple[int, ...], a: NDArray[np.uint8], text: str) -> ArrayArgument:
    bits, storage = p.dtype.bits, p.storage
    need = packed_size(prod(sizes), bits) if storage is None else storage.nbytes(sizes)
    if a.ndim != 1 or a.size < need:
        raise InterpretError(
            f"the argument {p.name} of shape {text} takes {need} bytes, got an array of shape {list(a.shape)}",
            "pass a flat buffer of that size",
        )
    if storage is None:
        codes: Codes = unpack(np.ascontiguousarray(a[:need]), bits, prod(sizes)).reshape(sizes)
    else:
        extents = (*storage.tile_shape, *[1] * (len(sizes) - len(storage.tile_shape)))
        stored = tuple(g * t for g, t in zip(storage.grid(sizes), extents, strict=True))
        codes = storage.unpack(np.ascontiguousarray(a[:need]), stored)
    _check_codes(p, codes)
    return ArrayArgument(p, sizes, codes.astype(p.dtype.code_dtype, copy=False), a)


def _check_codes(p: Array, codes: Codes) -> None:
    """A code beyond a codebook's table stands for nothing."""
    limit = len(p.dtype.values) if isinstance(p.dtype, Codebook) else 2 if isinstance(p.dtype, Bool) else 0
    if limit and codes.size and int(codes.max()) >= limit:
        raise InterpretError(f"{p.name} holds the code {int(codes.max())}", f"codes of {p.dtype} are 0..{limit - 1}")

"""The arguments of a kernel that `bitwright run` calls: made up, or read from files, and packed as they are stored."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from ...backend.interface import written
from ...vm.bits import pack, packed_size, unpack
from ...vm.call_arguments import is_buffer
from ...vm.dtypes import Bool, Codebook, DType, Float, Int
from ...vm.expr import ExprError, Var, evaluate
from ...vm.ir import Array, Let, Program, Value, walk
from ...vm.ops import Lock, Prefetch, Release, Store
from .errors import CliError

Numbers = npt.NDArray[np.generic]
Codes = npt.NDArray[np.unsignedinteger]
Argument = Numbers | int | float

FILLS = ("random", "zeros", "ones", "arange")

WIDE_RANGE = 100
"""Random integers wider than 8 bits lie between plus and minus this, so that sums and indices of them make sense."""


@dataclass(frozen=True, eq=False)
class Given:
    """The arguments of one call, in order, and the value of every size and integer."""

    values: tuple[Argument, ...]
    sizes: Mapping[Var, int]

    def copies(self) -> tuple[Argument, ...]:
        return tuple(value.copy() if isinstance(value, np.ndarray) else value for value in self.values)

    def arrays(self, program: Program) -> Iterator[tuple[Array, Numbers]]:
        """The program's arrays with what the call passes for them."""
        for parameter, value in zip(program.parameters, self.values, strict=True):
            if isinstance(parameter, Array):
                assert isinstance(value, np.ndarray)
                yield parameter, value


def make_arguments(program: Program, shape: Mapping[str, int], inputs: Mapping[str, str], seed: int) -> Given:
    """The arguments that `--shape` and `--input` describe; CliError names what is missing or does not fit."""
    names = [parameter.name for parameter in program.parameters]
    for name in inputs:
        if name not in names:
            raise CliError(f"--input {name}: {program.name} has no such parameter; it has {', '.join(names)}")
    files = {
        p.name: _read(p.name, inputs[p.name])
        for p in program.arrays
        if p.name in inputs and inputs[p.name] not in FILLS
    }
    sizes = _sizes(program, shape, inputs, files)
    fills = {array.name: inputs.get(array.name, _default(program, array)) for array in program.arrays}
    values: list[Argument] = []
    for p in program.parameters:
        match p:
            case Var():
                values.append(sizes[p])
            case Value():
                values.append(_number(p.name, inputs))
            case Array():
                values.append(_array(p, extents_of(p, sizes), fills[p.name], files.get(p.name), seed))
    return Given(tuple(values), sizes)


def numbers(array: Array, value: Numbers, sizes: Mapping[Var, int]) -> Numbers:
    """The numbers in an array as it is passed to kernels: unpacked, and decoded where NumPy lacks the dtype."""
    kind, extents = array.dtype, extents_of(array, sizes)
    if is_buffer(array):
        raw = value.view(np.uint8)
        stored = array.storage
        codes = unpack(raw, kind.bits, prod(extents)) if stored is None else stored.unpack(raw, extents)
        return np.asarray(kind.decode(codes.reshape(extents).astype(kind.code_dtype)))
    if _natural(kind) is not None:
        return value
    return np.asarray(kind.decode(value.view(kind.code_dtype)))


def extents_of(array: Array, sizes: Mapping[Var, int]) -> tuple[int, ...]:
    """The array's shape for these sizes."""
    try:
        extents = tuple(evaluate(size, dict(sizes)) for size in array.shape)
    except ExprError as error:
        raise CliError(f"the shape of {array.name} has no value: {error}") from error
    if any(extent < 0 for extent in extents):
        raise CliError(f"{array.name} would have the shape {list(extents)}: give larger sizes")
    return extents


def _sizes(
    program: Program, shape: Mapping[str, int], inputs: Mapping[str, str], files: Mapping[str, Numbers]
) -> dict[Var, int]:
    """Every size and integer parameter: from --shape, from the shapes of files, from --input."""
    known = {var.name: var for var in program.sizes}
    for name in shape:
        if name not in known:
            raise CliError(f"--shape {name}: {program.name} has no size {name}; it has {', '.join(known) or 'none'}")
    sizes = {known[name]: size for name, size in shape.items()}
    for array in program.arrays:
        found = files.get(array.name)
        if found is None or found.ndim != len(array.shape):
            continue
        for size, extent in zip(array.shape, found.shape, strict=True):
            if isinstance(size, Var) and size in program.sizes:
                sizes.setdefault(size, extent)
    for p in program.parameters:
        if isinstance(p, Var):
            sizes[p] = _integer(p.name, inputs)
    if missing := [var.name for var in program.sizes if var not in sizes]:
        options = " ".join(f"--shape {name}=..." for name in missing)
        raise CliError(f"{program.name} needs {'a size' if len(missing) == 1 else 'sizes'}: give {options}")
    return sizes


def _default(program: Program, array: Array) -> str:
    """Arrays that are only written to begin as zeros, so that what is left out shows; so do locks."""
    ops = [s.op for s in walk(program.body) if isinstance(s, Let)]
    ops = [op for op in ops if not isinstance(op, Store | Lock | Release | Prefetch)]
    reads = any(part is array for op in ops for part in vars(op).values())
    return "zeros" if array in written(program) and not reads else "random"


def _number(name: str, inputs: Mapping[str, str]) -> float:
    try:
        return float(inputs[name])
    except KeyError:
        raise CliError(f"{name} is a number: give --input {name}=1.0, for example") from None
    except ValueError as error:
        raise CliError(f"--input {name}={inputs[name]}: {name} is a number") from error


def _integer(name: str, inputs: Mapping[str, str]) -> int:
    try:
        return int(inputs[name], 0)
    except KeyError:
        raise CliError(f"{name} is an integer: give --input {name}=1, for example") from None
    except ValueError as error:
        raise CliError(f"--input {name}={inputs[name]}: {name} is an integer") from error


def _read(name: str, text: str) -> Numbers:
    if not text.endswith(".npy"):
        raise CliError(f"--input {name}={text}: {name} is an array; give a .npy file, or one of {', '.join(FILLS)}")
    try:
        found = np.load(text, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CliError(f"--input {name}={text}: no NumPy file of numbers: {error}") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        raise CliError(f"--input {name}={text}: this file does not hold real numbers")
    return found


def _array(array: Array, extents: tuple[int, ...], fill: str, found: Numbers | None, seed: int) -> Numbers:
    """An array as it is passed to kernels. A flat file of bytes of just the packed size is taken as packed already."""
    if found is None:
        return _stored(array, _filled(array, extents, fill, seed))
    if is_buffer(array) and found.dtype == np.uint8 and found.ndim == 1 and found.shape != extents:
        stored = array.storage
        size = packed_size(prod(extents), array.dtype.bits) if stored is None else stored.nbytes(extents)
        if found.size == size:
            return found
    if found.shape != extents:
        shape = f"[{', '.join(map(str, array.shape))}] = {list(extents)}"
        raise CliError(f"--input {array.name}: the array has the shape {shape}, the file {list(found.shape)}")
    return _stored(array, array.dtype.encode(found))


def _filled(array: Array, extents: tuple[int, ...], fill: str, seed: int) -> Codes:
    """Codes made up. Each array has random numbers of its own, whatever the other parameters are."""
    kind, count = array.dtype, prod(extents)
    rng = np.random.default_rng([seed, zlib.crc32(array.name.encode())])
    if fill == "random":
        codes = _random(kind, count, rng)
    elif fill == "arange" and isinstance(kind, Int | Codebook | Bool):
        codes = (np.arange(count, dtype=np.uint64) % _code_count(kind)).astype(kind.code_dtype)
    else:
        values = np.arange(count) if fill == "arange" else np.full(count, 1.0 if fill == "ones" else 0.0)
        codes = kind.encode(values)
    return codes.reshape(extents)


def _code_count(kind: Int | Codebook | Bool) -> int:
    return len(kind.values) if isinstance(kind, Codebook) else 2 if isinstance(kind, Bool) else 1 << min(kind.bits, 63)


def _random(kind: DType, count: int, rng: np.random.Generator) -> Codes:
    """Normal numbers for floats, all codes alike for narrow types."""
    if isinstance(kind, Float):
        values = rng.standard_normal(count)
        return kind.encode(values if kind.signed else np.abs(values))
    if isinstance(kind, Int) and kind.bits > 8:
        return kind.encode(rng.integers(-WIDE_RANGE if kind.signed else 0, WIDE_RANGE + 1, count))
    return rng.integers(0, _code_count(kind), count).astype(kind.code_dtype)


def _stored(array: Array, codes: Codes) -> Numbers:
    """Codes in the form in which the array is passed to kernels."""
    if array.storage is not None:
        return array.storage.pack(codes)
    if is_buffer(array):
        return pack(codes.reshape(-1), array.dtype.bits)
    natural = _natural(array.dtype)
    return codes if natural is None else codes.view(natural) if natural.kind != "b" else codes.astype(np.bool_)


def _natural(kind: DType) -> np.dtype[np.generic] | None:
    """NumPy's own type of the same numbers, where it has one."""
    match kind:
        case Bool():
            return np.dtype(np.bool_)
        case Int() if kind.bits in (8, 16, 32, 64):
            return np.dtype(f"{'i' if kind.signed else 'u'}{kind.bits // 8}")
        case Float() if kind.name in ("f16", "f32"):
            return np.dtype(f"f{kind.bits // 8}")
    return None

"""A program's parameters as the arguments that its callers pass."""

from __future__ import annotations

from ..vm.call_arguments import is_buffer
from ..vm.dtypes import Bool, Codebook, DType, Float, Int
from ..vm.expr import Const, Expr, Var, ceildiv, const
from ..vm.ir import Array, Op, Program, Shared, Value, walk
from ..vm.ir import Let as TileLet
from ..vm.ops import Release, Store
from .signature import Argument, ArrayArgument, ScalarArgument, Signature

# DLPack's type codes of floats of 8 bits, by our names (dlpack.h)
_FLOAT8 = {
    "f8e3m4": 7, "f8e4m3": 8, "f8e4m3b11fnuz": 9, "f8e4m3fn": 10, "f8e4m3fnuz": 11, "f8e5m2": 12, "f8e5m2fnuz": 13,
    "e8m0": 14,
}  # fmt: skip
_INT, _UINT, _FLOAT, _BFLOAT, _BOOL = 0, 1, 2, 4, 6


def element_codes(dtype: DType) -> tuple[tuple[int, int], ...]:
    """The (type code, bits) of arrays of this dtype; types that NumPy lacks also come as their unsigned codes."""
    match dtype:
        case Bool():
            return ((_BOOL, 8),)
        case Int():
            return ((_INT if dtype.signed else _UINT, dtype.bits),)
        case Float() if dtype.name in ("f16", "f32"):
            return ((_FLOAT, dtype.bits),)
        case Float() if dtype.name == "bf16":
            return ((_BFLOAT, 16), (_UINT, 16))
        case Float() if dtype.name in _FLOAT8:
            return ((_FLOAT8[dtype.name], 8), (_UINT, 8))
        case Float() | Codebook():
            return ((_UINT, dtype.bits),)


def buffer_bytes(array: Array) -> Expr:
    """The bytes that the array takes up, for its symbolic shape."""
    total: Expr = const(1)
    if array.storage is None:
        for n in array.shape:
            total = total * n
        return ceildiv(total * array.dtype.bits, 8)
    extents = (*array.storage.tile_shape, *[1] * (len(array.shape) - len(array.storage.tile_shape)))
    for n, t in zip(array.shape, extents, strict=True):
        total = total * ceildiv(n, t)
    return total * array.storage.tile_bytes


def written(program: Program) -> set[Array | Shared]:
    """The memories that the program stores to."""
    ops: list[Op] = [s.op for s in walk(program.body) if isinstance(s, TileLet)]
    stores = {op.target for op in ops if isinstance(op, Store)}
    return stores | {op.array for op in ops if isinstance(op, Release)}


def signature_of(program: Program, failures: tuple[str, ...], align: int = 1) -> Signature:
    """What a launch of the program takes and checks; `align`: the least alignment of any array, in bytes."""
    targets = written(program)
    arguments: list[Argument] = []
    for p in program.parameters:
        match p:
            case Array():
                arguments.append(_array(p, p in targets, align))
            case Value():
                arguments.append(ScalarArgument(p.name, "float"))
            case Var():
                arguments.append(ScalarArgument(p.name, "int"))
    bound = {d for a in arguments if isinstance(a, ArrayArgument) for d in a.dims if isinstance(d, Var)}
    explicit = tuple(s for s in program.sizes if s not in bound)
    return Signature(tuple(arguments), program.sizes, program.grid, program.requirements, explicit, failures)


def _array(array: Array, writable: bool, least: int) -> ArrayArgument:
    if is_buffer(array):
        return ArrayArgument(array.name, ((_UINT, 8),), (), True, buffer_bytes(array), writable, least)
    align = max(least, array.dtype.bits // 8)
    codes = element_codes(array.dtype)
    return ArrayArgument(array.name, codes, array.shape, False, Const(0), writable, align)

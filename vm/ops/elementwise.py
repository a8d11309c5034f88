"""Instructions that work on each element alone; all operands share the result's layout.

Shapes must be equal, or 1 where the result is larger, or the operand is a scalar tile of no dimensions.
Arithmetic is defined on f16, bf16, f32 and on integers of 8, 16, 32 and 64 bits: narrower types are for storage.
Float results round once (to nearest even) to the dtype; integer results wrap (two's complement).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from ..dtypes import Bool, Codebook, DType, Float, Int, Overflow, Rounding
from ..fused import fma32
from ..ir import Carrier, Machine, Op, TileType, TypeRuleError, Value

UnaryKind = Literal[
    "neg", "abs", "not", "exp", "exp2", "log", "log2", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "floor",
    "ceil", "round",
]  # fmt: skip
BinaryKind = Literal[
    "add", "sub", "mul", "div", "floordiv", "mod", "min", "max", "and", "or", "xor", "shl", "shr",
    "lt", "le", "eq", "ne",
]  # fmt: skip
COMPARISONS = frozenset({"lt", "le", "eq", "ne"})
BITWISE = frozenset({"and", "or", "xor"})
INTEGER_ONLY = frozenset({"floordiv", "mod", "shl", "shr"})
ANY_NUMBER = frozenset({"neg", "abs"})


def computable(dtype: DType) -> bool:
    """Whether arithmetic is defined on the dtype."""
    match dtype:
        case Int():
            return dtype.bits in (8, 16, 32, 64)
        case Float():
            return dtype.name in ("f16", "bf16", "f32")
    return False


def wrap(values: Carrier, dtype: Int) -> Carrier:
    """Integers modulo 2^bits, in the dtype's range."""
    if dtype.bits == 64:
        return values.astype(dtype.carrier)
    low = values.astype(np.int64) & ((1 << dtype.bits) - 1)
    sign = np.int64(1 << (dtype.bits - 1))
    return cast(Carrier, (low ^ sign) - sign if dtype.signed else low)


def _broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    rank = max(map(len, shapes))
    for s in shapes:
        if s and len(s) != rank:
            raise TypeRuleError(f"shapes {_texts(shapes)} have different numbers of dimensions", "reshape one of them")
    full = [s for s in shapes if len(s) == rank]
    sizes = tuple(max(column) for column in zip(*full, strict=True))
    for s in full:
        if any(n not in (1, size) for n, size in zip(s, sizes, strict=True)):
            raise TypeRuleError(
                f"shapes {_texts(shapes)} do not match", "sizes must be equal, or 1 where a tile is to be repeated"
            )
    return sizes


def _texts(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(str(list(s)) for s in shapes)


def _require(dtype: DType, what: str) -> None:
    if not computable(dtype):
        wider = "f32" if not isinstance(dtype, Int) else "i32"
        raise TypeRuleError(f"{what} is not defined on {dtype}", f"cast it first, for example cast(…, {wider})")


@dataclass(frozen=True)
class Unary(Op):
    kind: UnaryKind
    x: Value

    def infer(self) -> TileType:
        dtype = self.x.type.dtype
        if self.kind == "not":
            if not isinstance(dtype, Bool | Int):
                raise TypeRuleError(
                    f"not is defined on bool and integers, not on {dtype}", "compare it with something first"
                )
            return TileType(dtype, self.x.type.shape)
        _require(dtype, self.kind)
        if self.kind not in ANY_NUMBER and isinstance(dtype, Int):
            raise TypeRuleError(
                f"{self.kind} is defined on floats, not on {dtype}", f"{self.kind}(cast({self.x}, f32))"
            )
        return TileType(dtype, self.x.type.shape)

    def run(self, machine: Machine) -> Carrier:
        x, dtype = machine.tile(self.x), self.x.type.dtype
        if isinstance(dtype, Bool):
            return np.logical_not(x)
        with np.errstate(all="ignore"):
            result = _UNARY[self.kind](x)
        return wrap(result, dtype) if isinstance(dtype, Int) else dtype.round(result, overflow="ieee")


def _rsqrt(x: Carrier) -> Carrier:
    return (1.0 / np.sqrt(x.astype(np.float64))).astype(np.float32)


def _sigmoid(x: Carrier) -> Carrier:
    return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(np.float32)


_UNARY: dict[str, Callable[[Carrier], Carrier]] = {
    "neg": np.negative, "abs": np.abs, "not": np.invert, "exp": np.exp, "exp2": np.exp2, "log": np.log, "log2": np.log2,
    "sqrt": np.sqrt, "rsqrt": _rsqrt, "sin": np.sin, "cos": np.cos,
    "tanh": np.tanh, "sigmoid": _sigmoid, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
}  # fmt: skip


@dataclass(frozen=True)
class Binary(Op):
    """`x kind y`.

    `div` is for floats; `floordiv` and `mod` (Python's, rounding down) for integers, and 0 for a zero divisor.
    Shifts by the width or more give 0 (-1 for a negative number shifted right).  min and max propagate NaN, and -0 is
    less than +0 to them.
    """

    kind: BinaryKind
    x: Value
    y: Value

    def infer(self) -> TileType:
        x, y = self.x.type, self.y.type
        if x.dtype != y.dtype:
            raise TypeRuleError(f"{self.kind} of {x} and {y}: the dtypes differ", f"cast one: cast(…, {x.dtype})")
        shape = _broadcast([x.shape, y.shape])
        if isinstance(x.dtype, Bool):
            if self.kind not in BITWISE | {"eq", "ne"}:
                raise TypeRuleError(f"{self.kind} is not defined on bool", "use & | ^, or where(…, 1, 0)")
            return TileType(x.dtype, shape)
        _require(x.dtype, self.kind)
        floating = isinstance(x.dtype, Float)
        if floating and self.kind in BITWISE | INTEGER_ONLY:
            raise TypeRuleError(
                f"{self.kind} is defined on integers, not on {x.dtype}", "use / or floor, or view the bits"
            )
        if not floating and self.kind == "div":
            raise TypeRuleError(f"/ is defined on floats, not on {x.dtype}", "write // for integers, or cast to f32")
        return TileType(Bool() if self.kind in COMPARISONS else x.dtype, shape)

    def run(self, machine: Machine) -> Carrier:
        x, y, dtype = machine.tile(self.x), machine.tile(self.y), self.x.type.dtype
        with np.errstate(all="ignore"):
            result = _BINARY[self.kind](x, y)
            if self.kind in ("shl", "shr"):
                result = _shift(self.kind, x, y, cast(Int, dtype).bits)
        if self.kind in COMPARISONS or isinstance(dtype, Bool):
            return result
        return wrap(result, dtype) if isinstance(dtype, Int) else dtype.round(result, overflow="ieee")


def _shift(kind: str, x: Carrier, y: Carrier, bits: int) -> Carrier:
    """Shifts in which the amount is unsigned and not reduced modulo the width."""
    amount = y.astype(np.uint64)
    over = amount >= bits
    small = np.where(over, 0, amount).astype(x.dtype)
    if kind == "shl":
        return cast(Carrier, np.where(over, 0, np.left_shift(x, small)))
    sign = np.where(x < 0, -1, 0).astype(x.dtype)
    return cast(Carrier, np.where(over, sign, np.right_shift(x, small)))


def greatest(x: Carrier, y: Carrier) -> Carrier:
    """NumPy's maximum, in which +0 is more than -0."""
    if x.dtype.kind != "f":
        return cast(Carrier, np.maximum(x, y))
    return cast(Carrier, np.where((x == 0) & (y == 0), x + y, np.maximum(x, y)))


def least(x: Carrier, y: Carrier) -> Carrier:
    """NumPy's minimum, in which -0 is less than +0."""
    if x.dtype.kind != "f":
        return cast(Carrier, np.minimum(x, y))
    return cast(Carrier, np.negative(greatest(np.negative(x), np.negative(y))))


def _quiet(divide: np.ufunc) -> Callable[[Carrier, Carrier], Carrier]:
    """Integer division in which a zero divisor gives zero."""

    def run(x: Carrier, y: Carrier) -> Carrier:
        return cast(Carrier, np.where(y == 0, 0, divide(x, np.where(y == 0, 1, y))))

    return run


_BINARY: dict[str, Callable[[Carrier, Carrier], Carrier]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "floordiv": _quiet(np.floor_divide),
    "mod": _quiet(np.mod), "min": least, "max": greatest, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "shl": lambda x, y: x, "shr": lambda x, y: x, "lt": np.less, "le": np.less_equal,
    "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip


@dataclass(frozen=True)
class Where(Op):
    """`x` where `condition` holds, else `y`."""

    condition: Value
    x: Value
    y: Value

    def infer(self) -> TileType:
        c, x, y = self.condition.type, self.x.type, self.y.type
        if not isinstance(c.dtype, Bool):
            raise TypeRuleError(f"where takes a bool tile as its condition, not {c}", "compare it with something first")
        if x.dtype != y.dtype:
            raise TypeRuleError(f"where chooses between {x} and {y}: the dtypes differ", f"cast one to {x.dtype}")
        return TileType(x.dtype, _broadcast([c.shape, x.shape, y.shape]))

    def run(self, machine: Machine) -> Carrier:
        c, x, y = (machine.tile(v) for v in self.operands)
        return cast(Carrier, np.where(c, x, y))


@dataclass(frozen=True)
class Fma(Op):
    """`x · y + z` of f32 tiles, rounded once."""

    x: Value
    y: Value
    z: Value

    def infer(self) -> TileType:
        kinds = [v.type for v in self.operands]
        for kind in kinds:
            if kind.dtype.name != "f32":
                raise TypeRuleError(f"fma takes f32 tiles, not {kind}", "cast it to f32, or write x * y + z")
        return TileType(kinds[0].dtype, _broadcast([kind.shape for kind in kinds]))

    def run(self, machine: Machine) -> Carrier:
        x, y, z = np.broadcast_arrays(*(machine.tile(v) for v in self.operands))
        with np.errstate(all="ignore"):
            return cast(Carrier, fma32(x, y, z).reshape(x.shape))


@dataclass(frozen=True)
class Cast(Op):
    """The nearest value of `to`, rounded once from the operand's own dtype (see `vm/dtypes.py` for the modes).

    `random` (u32, the operand's shape) feeds `rounding="stochastic"`.
    """

    x: Value
    to: DType
    rounding: Rounding = "rne"
    overflow: Overflow = "sat"
    random: Value | None = None

    def infer(self) -> TileType:
        if isinstance(self.to, Bool) != isinstance(self.x.type.dtype, Bool) and isinstance(self.to, Bool):
            raise TypeRuleError("a cast to bool is ambiguous", f"write {self.x} != 0")
        if (self.rounding == "stochastic") != (self.random is not None):
            raise TypeRuleError(
                "stochastic rounding and random bits go together", 'rounding="stochastic", random=random(…)'
            )
        if self.random is not None and self.random.type.shape != self.x.type.shape:
            raise TypeRuleError(f"random bits {self.random.type} for {self.x.type}", "give them the operand's shape")
        self._check_stochastic()
        return TileType(self.to, self.x.type.shape)

    def _check_stochastic(self) -> None:
        """The chance must be exact: it is a share of the gap, which in a codebook is any number."""
        source = self.x.type.dtype
        if self.random is None or isinstance(self.to, Int):
            return
        if isinstance(self.to, Codebook):
            raise TypeRuleError(
                f"stochastic rounding to the codebook {self.to} is not defined", "use rne, or a float or integer dtype"
            )
        if isinstance(source, Int) and source.bits > 24:
            raise TypeRuleError(
                f"stochastic rounding of {source} to {self.to} is not defined", f"cast it first: cast({self.x}, f32)"
            )

    def run(self, machine: Machine) -> Carrier:
        x = machine.tile(self.x)
        if isinstance(self.to, Bool):
            return x
        values = x.astype(np.int64) if x.dtype == np.bool_ else x
        random = None if self.random is None else machine.tile(self.random).astype(np.uint32)
        return self.to.round(values, rounding=self.rounding, overflow=self.overflow, random=random)


ElementwiseOp = Unary | Binary | Where | Fma | Cast

"""The matrix product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dtypes import DType, Int, dtype
from ..ir import Carrier, LayoutRule, Machine, Op, TileType, TypeRuleError, Value
from ..layout.relation import Layout
from ..layout.spread import contract, distribute
from .elementwise import wrap

F32, I32 = dtype("f32"), dtype("i32")
FLOATS = ("f8e4m3fn", "f8e5m2", "f16", "bf16", "f32")


def accumulator(a: DType, b: DType) -> DType | None:
    """The dtype that a product of these sums in; None if there is no such product."""
    if isinstance(a, Int) and isinstance(b, Int):
        return I32 if a.bits == b.bits == 8 else None
    return F32 if a == b and a.name in FLOATS else None


@dataclass(frozen=True)
class Dot(Op):
    """`acc[m, n] + Σ_k a[m, k] · b[k, n]`: two of f8e4m3fn, f8e5m2, f16, bf16 or f32 into f32; bytes into i32.

    Bytes are 8-bit integers, each of either sign; their sums wrap.  Float products are exact in f32 or fused; their sum
    is taken in f32 in an order that is not specified, and the specification sums in float64 and rounds once.
    """

    a: Value
    b: Value
    acc: Value

    def infer(self) -> TileType:
        a, b, acc = self.a.type, self.b.type, self.acc.type
        if not len(a.shape) == len(b.shape) == len(acc.shape) == 2:
            raise TypeRuleError(f"dot takes matrices, not {a}, {b} and {acc}", "reshape to two dimensions")
        (m, k), (k2, n) = a.shape, b.shape
        if k != k2 or acc.shape != (m, n):
            raise TypeRuleError(
                f"dot of {a} and {b} into {acc}: the shapes do not match",
                f"{list(a.shape)} times {[k, n]} gives {[m, n]}",
            )
        into = accumulator(a.dtype, b.dtype)
        if into is None:
            raise TypeRuleError(
                f"there is no product of {a.dtype} and {b.dtype}",
                "cast both to f16, bf16 or f32 (or both to i8 or u8)",
            )
        if acc.dtype != into:
            raise TypeRuleError(
                f"a product of {a.dtype} and {b.dtype} sums in {into}, not {acc.dtype}", f"zeros({into}, …)"
            )
        return TileType(into, acc.shape)

    def run(self, machine: Machine) -> Carrier:
        a, b, acc = (machine.tile(v) for v in self.operands)
        if isinstance(self.a.type.dtype, Int):
            return wrap(acc + a @ b, Int(32, signed=True))
        with np.errstate(all="ignore"):
            return (acc.astype(np.float64) + a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        """The sum over k stays within a lane: whoever holds acc[m, n] holds a[m, :] and b[:, n]."""
        acc = result or operands[2] or distribute(self.acc.type.shape, lanes)
        a, b = contract(acc, 1, self.a.type.shape[1]), contract(acc, 0, self.a.type.shape[1])
        return LayoutRule(acc, (a, b, acc))


MatmulOp = Dot

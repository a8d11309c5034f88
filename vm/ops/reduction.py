"""Instructions that fold one dimension of a tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce as fold
from typing import Literal, cast

import numpy as np

from ..dtypes import Bool, Float, Int
from ..ir import Carrier, LayoutRule, Machine, Op, TileType, TypeRuleError, Value
from ..layout.relation import Layout
from ..layout.views import reduce
from .elementwise import computable, greatest, least, wrap

ReduceKind = Literal["sum", "max", "min", "any", "all"]


@dataclass(frozen=True)
class Reduce(Op):
    """Folds dimension `dim` by `kind`; with `keepdim` it stays, with size 1.

    A sum of floats is taken in f32 in an order that is not specified, and rounded once to the dtype; the
    specification sums in float64.  max and min propagate NaN, and take -0 as less than +0.
    any and all take bool tiles.
    """

    kind: ReduceKind
    x: Value
    dim: int
    keepdim: bool = False

    def infer(self) -> TileType:
        kind = self.x.type
        if not 0 <= self.dim < len(kind.shape):
            raise TypeRuleError(
                f"{kind} has no dimension {self.dim}", f"dimensions count from 0 to {len(kind.shape) - 1}"
            )
        logical = self.kind in ("any", "all")
        if logical != isinstance(kind.dtype, Bool):
            raise TypeRuleError(
                f"{self.kind} is not defined on {kind.dtype}",
                "any and all take bool tiles; sum, max and min take numbers",
            )
        if not logical and (not computable(kind.dtype) or (self.kind == "sum" and kind.dtype.bits < 16)):
            wider = "i32" if isinstance(kind.dtype, Int) else "f32"
            raise TypeRuleError(
                f"{self.kind} is not defined on {kind.dtype}", f"cast it first: cast({self.x}, {wider})"
            )
        kept = (1,) if self.keepdim else ()
        return TileType(kind.dtype, (*kind.shape[: self.dim], *kept, *kind.shape[self.dim + 1 :]))

    def run(self, machine: Machine) -> Carrier:
        x, dtype = machine.tile(self.x), self.x.type.dtype
        if self.kind == "sum" and isinstance(dtype, Float):
            with np.errstate(all="ignore"):
                return dtype.round(x.sum(axis=self.dim, keepdims=self.keepdim, dtype=np.float64), overflow="ieee")
        if self.kind == "sum":
            return wrap(x.sum(axis=self.dim, keepdims=self.keepdim), cast(Int, dtype))
        if self.kind in ("max", "min"):
            most = fold(greatest if self.kind == "max" else least, np.moveaxis(x, self.dim, 0))
            return cast(Carrier, np.expand_dims(most, self.dim) if self.keepdim else np.asarray(most))
        holds = np.any if self.kind == "any" else np.all
        return cast(Carrier, holds(x, axis=self.dim, keepdims=self.keepdim))

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        if operands[0] is None:
            return LayoutRule(result, (None,))
        return LayoutRule(reduce(operands[0], self.dim, keepdim=self.keepdim), operands)


ReductionOp = Reduce

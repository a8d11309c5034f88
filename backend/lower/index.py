"""Scalar expressions as uniform i64 registers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from ...vm.expr import Binary, Const, Expr, Select, Var
from ..lane.build import Builder
from ..lane.ir import Reg

_DIRECT = {
    "add": "add", "sub": "sub", "mul": "mul", "min": "smin", "max": "smax", "and": "and", "or": "or", "xor": "xor",
    "shl": "shl", "shr": "ashr",
}  # fmt: skip
_WORD = -(2**31), 2**31 - 1
_COMPARE = {"lt": "slt", "le": "sle", "eq": "eq", "ne": "ne"}


def lower_index(b: Builder, e: Expr, env: Mapping[Var, Reg]) -> Reg:
    """The value of `e` as a uniform i64; comparisons give 0 or 1."""
    match e:
        case Const():
            return b.i64(e.value)
        case Var():
            return env[e]
        case Select():
            condition = b.apply("ne", lower_index(b, e.condition, env), b.i64(0))
            return b.apply("select", condition, lower_index(b, e.yes, env), lower_index(b, e.no, env))
        case Binary():
            x, y = lower_index(b, e.x, env), lower_index(b, e.y, env)
            if e.kind in _DIRECT:
                return b.apply(_DIRECT[e.kind], x, y)
            if e.kind in _COMPARE:
                return b.apply("select", b.apply(_COMPARE[e.kind], x, y), b.i64(1), b.i64(0))
            return floor_divide(b, x, y, remainder=e.kind == "mod")
    assert_never(e)


def lower_condition(b: Builder, e: Expr, env: Mapping[Var, Reg], words: bool = False) -> Reg:
    """Whether `e` is not zero, as a uniform i1; with `words`, numbers known to fit into 32 bits are compared there."""
    if isinstance(e, Binary) and e.kind in _COMPARE:
        x, y = lower_index(b, e.x, env), lower_index(b, e.y, env)
        if words and all(side.facts.within(*_WORD) for side in (e.x, e.y)):
            x, y = b.apply("trunc", x), b.apply("trunc", y)
        return b.apply(_COMPARE[e.kind], x, y)
    return b.apply("ne", lower_index(b, e, env), b.i64(0))


def floor_divide(b: Builder, x: Reg, y: Reg, remainder: bool) -> Reg:
    """Python's // and %, for i32 and i64; 0 for a zero divisor.  Powers of two become a shift and a mask."""
    divisor = b.known(y)
    if divisor is not None and divisor.size == 1 and (d := int(divisor[0])) > 0 and d & (d - 1) == 0:
        if remainder:
            return b.apply("and", x, b.constant(x.type, d - 1))
        return b.apply("ashr", x, b.constant(x.type, d.bit_length() - 1))
    zero = b.constant(x.type, 0)
    rest = b.apply("srem", x, y)
    # The truncated remainder has the dividend's sign; where that differs from the divisor's, one more step down.
    crosses = b.apply("and", b.apply("ne", rest, zero), b.apply("slt", b.apply("xor", rest, y), zero))
    if remainder:
        return b.apply("select", crosses, b.apply("add", rest, y), rest)
    quotient = b.apply("sdiv", x, y)
    return b.apply("select", crosses, b.apply("sub", quotient, b.constant(x.type, 1)), quotient)

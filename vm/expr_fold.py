"""The one way from an operation's name and operands to the folded expression."""

from typing import assert_never

from .bounds import Kind
from .expr_arith import add, floordiv, mod, mul
from .expr_logic import compare, lattice, shift
from .expr_nodes import Expr


def binary(kind: Kind, x: Expr, y: Expr) -> Expr:
    """The folded expression `x kind y`. Where `x kind y` has a value, the result has the same value."""
    match kind:
        case "add":
            return add(x, y)
        case "sub":
            return add(x, y, -1)
        case "mul":
            return mul(x, y)
        case "floordiv":
            return floordiv(x, y)
        case "mod":
            return mod(x, y)
        case "min" | "max" | "and" | "or" | "xor":
            return lattice(kind, x, y)
        case "shl" | "shr":
            return shift(kind, x, y)
        case "lt" | "le" | "eq" | "ne":
            return compare(kind, x, y)
        case _:
            assert_never(kind)

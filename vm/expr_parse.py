"""The inverse of `expr_text`: an index expression from its text, by Python's own parser, so that no other is needed."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from .expr import Expr, ExprError, Kind, Var, binary, ceildiv, const, max_, min_, select

__all__ = ["parse_expr"]

_BINARY: dict[type[ast.operator], Kind] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.BitAnd: "and",
    ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Kind] = {ast.Lt: "lt", ast.LtE: "le", ast.Eq: "eq", ast.NotEq: "ne"}
_CALLS = {"min": min_, "max": max_, "ceildiv": ceildiv}


def parse_expr(text: str, names: Mapping[str, Var]) -> Expr:
    """The expression that `str` prints as `text`, with these variables; ExprError where there is none."""
    try:
        return _read(ast.parse(text.strip(), mode="eval").body, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExprError(f"`{text}` is no index expression: {error}") from error


def _read(node: ast.expr, names: Mapping[str, Var]) -> Expr:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return const(value)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id=name):
            raise ExprError(f"there is no variable {name}")
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return const(-value)  # the least integer is no negated constant
        case ast.UnaryOp(op=ast.USub(), operand=x):
            return -_read(x, names)
        case ast.BinOp(left=x, op=op, right=y) if type(op) in _BINARY:
            return binary(_BINARY[type(op)], _read(x, names), _read(y, names))
        case ast.Compare(left=x, ops=[op], comparators=[y]) if type(op) in _COMPARE:
            return binary(_COMPARE[type(op)], _read(x, names), _read(y, names))
        case ast.IfExp(test=condition, body=yes, orelse=no):
            return select(_read(condition, names), _read(yes, names), _read(no, names))
        case ast.Call(func=ast.Name(id=name), args=[x, y], keywords=[]) if name in _CALLS:
            return _CALLS[name](_read(x, names), _read(y, names))
        case _:
            raise ExprError(f"`{ast.unparse(node)}` is not part of an index expression")

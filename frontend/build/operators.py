"""What the operators mean: on numbers that are known now, on index expressions, and on tiles."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import cast

from ...vm import expr as ex
from ...vm import ops
from ...vm.diagnostic import Span
from ...vm.expr import Const, Expr
from ...vm.ir import Value
from ...vm.ops.elementwise import BinaryKind, UnaryKind
from .block import Builder
from .scope import DTYPES, EXPRS, Entity, Mistake, describe
from .values import as_expr, as_tile, is_scalar, level, tile_like

SIGNS: dict[str, BinaryKind] = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "&": "and", "|": "or", "^": "xor",
    "<<": "shl", ">>": "shr", "<": "lt", "<=": "le", "==": "eq", "!=": "ne", ">": "lt", ">=": "le",
}  # fmt: skip
SWAPPED = (">", ">=")
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")

_FLOATS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
}  # fmt: skip
_TESTS: dict[str, Callable[[object, object], bool]] = {
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def binary(op: str, x: Entity, y: Entity, b: Builder, span: Span) -> Entity:
    """`x op y`."""
    if op == "@":
        raise Mistake("there is no operator `@` on tiles", "write dot(a, b), or dot(a, b, acc)", span)
    if is_scalar(x) and is_scalar(y):
        return _scalars(op, x, y, b, span)
    if op == "**":
        raise Mistake(
            "`**` is for numbers that are known when the kernel is compiled", "multiply, or use exp2(…)", span
        )
    if not (isinstance(x, Value) or isinstance(y, Value)):
        wrong = y if is_scalar(x) else x
        raise Mistake(f"`{op}` does not take {describe(wrong)}", _memory_hint(wrong), span)
    first, second = pair(x, y, b, span, f"`{op}`")
    if op in SWAPPED:
        first, second = second, first
    return b.emit(ops.Binary(SIGNS[op], first, second), span)


def pair(x: Entity, y: Entity, b: Builder, span: Span, what: str) -> tuple[Value, Value]:
    """Two operands, at least one a tile, as tiles that meet: numbers take the tile's dtype."""
    for each in (x, y):
        if not (isinstance(each, Value) or is_scalar(each)):
            raise Mistake(f"{what} does not take {describe(each)}", _memory_hint(each), span)
    if not isinstance(x, Value):
        assert isinstance(y, Value)
        x = tile_like(x, y.type.dtype, b, span)
    elif not isinstance(y, Value):
        y = tile_like(y, x.type.dtype, b, span)
    first, second = level([as_tile(x, b, span), as_tile(y, b, span)], b, span)
    return first, second


def _memory_hint(entity: Entity) -> str:
    return "load a tile of it first" if "the array" in describe(entity) or "shared" in describe(entity) else ""


def _scalars(op: str, x: Entity, y: Entity, b: Builder, span: Span) -> Entity:
    if isinstance(x, float) or isinstance(y, float):
        if all(isinstance(e, bool | float | Const) for e in (x, y)):
            return _floats(op, number(x), number(y), span)
        first, second = (as_tile(tile_like(e, ops.matmul.F32, b, span), b, span) for e in (x, y))
        return binary(op, first, second, b, span)
    if op == "/":
        if isinstance(x, bool | Const) and isinstance(y, bool | Const):
            return _floats(op, number(x), number(y), span)
        raise Mistake("`/` divides floats; these are integers", "use //, or cast(…, f32)", span)
    first_, second_ = as_expr(x, span), as_expr(y, span)
    if op == "**":
        return _power(first_, second_, span)
    if op in SWAPPED:
        first_, second_ = second_, first_
    with b.checked(span):
        return ex.binary(cast(ex.Kind, SIGNS[op]), first_, second_)


def number(entity: Entity) -> float:
    """The value of a literal."""
    return float(entity.value if isinstance(entity, Const) else cast(float, entity))


def _floats(op: str, x: float, y: float, span: Span) -> float:
    run = _FLOATS.get(op)
    if run is None:
        raise Mistake(f"`{op}` is for integers", "leave out the decimal point", span)
    try:
        value = run(x, y)
    except (ArithmeticError, ValueError) as error:
        raise Mistake(f"`{x} {op} {y}` has no value", "use other numbers", span) from error
    if isinstance(value, complex):
        raise Mistake(f"`{x} {op} {y}` has no real value", "use other numbers", span)
    return value


def _power(x: Expr, y: Expr, span: Span) -> Expr:
    if isinstance(x, Const) and isinstance(y, Const) and 0 <= y.value <= 63 and abs(x.value) ** y.value < 1 << 63:
        return Const(x.value**y.value)
    raise Mistake(
        "`**` takes integers that are known when the kernel is compiled, with a 64-bit result", "use <<", span
    )


def compare(op: str, x: Entity, y: Entity, b: Builder, span: Span) -> Entity:
    """One link of a comparison."""
    if op in _TESTS and any(isinstance(e, (str, *DTYPES)) for e in (x, y)):
        if all(isinstance(e, str) for e in (x, y)) or all(isinstance(e, DTYPES) for e in (x, y)):
            return _TESTS[op](x, y)
        raise Mistake(f"{describe(x)} is compared with {describe(y)}", "compare things of one kind", span)
    if (isinstance(x, float) or isinstance(y, float)) and all(isinstance(e, bool | float | Const) for e in (x, y)):
        return _ORDERS[op](number(x), number(y))
    return binary(op, x, y, b, span)


def unary(op: str, x: Entity, b: Builder, span: Span) -> Entity:
    """`op x`."""
    if isinstance(x, Value):
        if op == "not":
            raise Mistake("`not` is for scalars; this is a tile", "use ~ on tiles", span)
        return x if op == "+" else b.emit(ops.Unary("neg" if op == "-" else "not", x), span)
    if isinstance(x, float) and op in ("-", "+"):
        return -x if op == "-" else x
    if op == "not" and isinstance(x, bool):
        return not x
    if not is_scalar(x) or isinstance(x, float):
        raise Mistake(f"`{op}` does not take {describe(x)}", _memory_hint(x), span)
    e = as_expr(x, span)
    with b.checked(span):
        match op:
            case "-":
                return -e
            case "~":
                return -e - 1
            case "not":
                return ex.not_(e)
            case _:
                return e


_NUMBERS: dict[str, Callable[[float], float]] = {
    "exp": math.exp, "exp2": lambda x: 2.0**x, "log": math.log, "log2": math.log2, "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x), "sin": math.sin, "cos": math.cos, "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "floor": math.floor, "ceil": math.ceil, "round": round, "abs": abs,
}  # fmt: skip


def apply(kind: UnaryKind, x: Entity, b: Builder, span: Span) -> Entity:
    """`kind(x)` for a function of one number."""
    if isinstance(x, Value):
        return b.emit(ops.Unary(kind, x), span)
    if kind == "abs" and isinstance(x, (bool, *EXPRS)):
        e = as_expr(x, span)
        return ex.max_(e, -e)
    if isinstance(x, bool | float | Const):
        try:
            return float(_NUMBERS[kind](number(x)))
        except (ArithmeticError, ValueError) as error:
            raise Mistake(f"{kind}({number(x)}) has no value", "use another number", span) from error
    if isinstance(x, EXPRS):
        raise Mistake(f"{kind} takes floats, and `{x}` is an integer", f"{kind}(cast({x}, f32))", span)
    raise Mistake(f"{kind} does not take {describe(x)}", _memory_hint(x), span)


def truth(x: Entity, b: Builder, span: Span, what: str) -> Expr:
    """A condition: an index expression that is not 0 where it holds."""
    if isinstance(x, Value):
        hint = "reduce it: item(any(…)) or item(all(…)); to choose element by element use where(…)"
        if not x.type.shape:
            hint = "take the number out of the tile: item(…)"
        raise Mistake(f"{what} must be a scalar, but it is {describe(x)}", hint, span)
    return as_expr(x, span, what)

"""Index expressions as text: Python's operators, with no more parentheses than Python needs to read them back."""

from typing import assert_never

from .bounds import Kind
from .expr_nodes import Binary, Const, Expr, Select, Var

_SELECT, _COMPARE, _OR, _XOR, _AND, _SHIFT, _SUM, _PRODUCT, _UNARY, _ATOM = range(10)

_OPERATORS: dict[Kind, tuple[str, int]] = {
    "lt": ("<", _COMPARE),
    "le": ("<=", _COMPARE),
    "eq": ("==", _COMPARE),
    "ne": ("!=", _COMPARE),
    "or": ("|", _OR),
    "xor": ("^", _XOR),
    "and": ("&", _AND),
    "shl": ("<<", _SHIFT),
    "shr": (">>", _SHIFT),
    "add": ("+", _SUM),
    "sub": ("-", _SUM),
    "mul": ("*", _PRODUCT),
    "floordiv": ("//", _PRODUCT),
    "mod": ("%", _PRODUCT),
}


def text(e: Expr) -> str:
    """The expression in the language's syntax, for instance `(i + 1) // 4`, `min(a, b)`, `a if c else b`."""
    return _print(e)[0]


def _print(e: Expr) -> tuple[str, int]:
    """The text and how tightly it binds."""
    match e:
        case Var():
            return e.name, _ATOM
        case Const(value):
            return str(value), _ATOM if value >= 0 else _UNARY
        case Select(condition, yes, no):
            return f"{_inside(yes, _OR - 1)} if {_inside(condition, _COMPARE)} else {_inside(no, _SELECT)}", _SELECT
        case Binary():
            return _print_binary(e)
        case _:
            assert_never(e)


def _print_binary(e: Binary) -> tuple[str, int]:
    match e:
        case Binary("min" | "max" as kind, x, y):
            return f"{kind}({text(x)}, {text(y)})", _ATOM
        case Binary("sub", Const(0), y):
            return "-" + _inside(y, _UNARY), _UNARY
        case Binary("floordiv", Binary("add", x, Const(more)), Const(by)) if more == by - 1 > 0:
            return f"ceildiv({text(x)}, {by})", _ATOM
    sign, binding = _OPERATORS[e.kind]
    left = binding + 1 if binding == _COMPARE else binding  # Python chains comparisons
    return f"{_inside(e.x, left)} {sign} {_inside(e.y, binding + 1)}", binding


def _inside(e: Expr, binding: int) -> str:
    """The text as an operand that must bind at least as tightly as `binding`."""
    inner, own = _print(e)
    return inner if own >= binding else f"({inner})"

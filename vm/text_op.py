"""Each instruction in the language: what its text is made of, in order.

Pieces are literal text, dtypes, and the values, expressions and memories that an instruction names; `text.py` gives
those their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import copysign, isinf, isnan

from .dtypes import Bool, DType, Int, Overflow
from .expr import Binary as ExprBinary
from .expr import Const, Expr, Select, Var
from .ir import Array, Op, Shared, Value
from .layout.relation import Layout
from .layout.spell import spell
from .ops import (
    Assert,
    Barrier,
    Binary,
    Cast,
    Commit,
    Convert,
    CopyAsync,
    Dot,
    Expand,
    Fma,
    Full,
    Instruction,
    Iota,
    Item,
    Load,
    Lock,
    Prefetch,
    Print,
    Random,
    Reduce,
    Release,
    Reshape,
    Scalar,
    Store,
    Transpose,
    Unary,
    View,
    Wait,
    Where,
)

Piece = str | DType | Value | Expr | Array | Shared

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "and": "&", "or": "|", "xor": "^",
    "shl": "<<", "shr": ">>", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
}  # fmt: skip
"""The operators of the language, by the kind of `Binary`."""


def default_overflow(kind: DType) -> Overflow:
    """What `cast` does with numbers beyond the range where the text does not say it."""
    return "ieee" if kind.name in ("f16", "bf16", "f32") else "sat"


def quote(text: str) -> str:
    """A text as the language writes it."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else _escaped(c)) for c in text) + '"'


def _escaped(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def number(value: float, kind: DType) -> str:
    """A literal of a dtype."""
    if isinstance(kind, Int | Bool):
        whole = int(value)
        return f"({whole + 1} - 1)" if whole == -(1 << 63) else str(whole)
    if isnan(value):
        return "nan"
    if isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(float(value))


def pieces(op: Op) -> list[Piece]:
    """The text of an instruction, as an expression (a statement for those without a result)."""
    assert isinstance(op, Instruction), f"{type(op).__name__} is no instruction of the set"
    match op:
        case Load(source, at, shape, other, layout):
            more = [f", other={number(other, source.dtype)}"] if other or copysign(1, other) < 0 else []
            return ["load(", source, ", ", *_list(at), f", {_shape(shape)}", *more, _layout(layout), ")"]
        case Store(target, at, value):
            return ["store(", target, ", ", *_list(at), ", ", value, ")"]
        case CopyAsync(source, at, target, to, shape):
            start: list[Piece] = ["copy_async(", source, ", ", *_list(at), ", "]
            return [*start, target, ", ", *_list(to), f", {_shape(shape)})"]
        case Prefetch(source, at, shape):
            return ["prefetch(", source, ", ", *_list(at), f", {_shape(shape)})"]
        case Commit():
            return ["commit()"]
        case Wait(pending):
            return [f"wait({pending})"]
        case Barrier():
            return ["barrier()"]
        case Lock(array, at):
            return ["lock(", array, ", ", *_list(at), ")"]
        case Release(array, at):
            return ["release(", array, ", ", *_list(at), ")"]
        case Print(label, x):
            return [f"print({quote(label)}, ", x, ")"]
        case Assert(condition, message):
            return ["assert ", condition, f", {quote(message)}"]
        case _:
            return _new(op) or _seen(op) or _computed(op)


def _new(op: Instruction) -> list[Piece]:
    """Tiles that are made; empty for other instructions."""
    match op:
        case Full(value, kind, shape, layout):
            name = {"0": "zeros", "0.0": "zeros", "1": "ones", "1.0": "ones"}.get(number(value, kind))
            tail = f", {_shape(shape)}" if name else f", {_shape(shape)}, {number(value, kind)}"
            return [f"{name or 'full'}(", kind, tail, _layout(layout), ")"]
        case Scalar(value, kind):
            return ["cast(", value, ", ", kind, ")"]
        case Iota(kind, shape, dim, layout):
            return ["iota(", kind, f", {_shape(shape)}, {dim}", _layout(layout), ")"]
        case Random(seed, offset, shape, layout):
            return ["random(", seed, ", ", offset, f", {_shape(shape)}", _layout(layout), ")"]
    return []


def _seen(op: Instruction) -> list[Piece]:
    """Tiles that are seen in another way; empty for other instructions."""
    match op:
        case Reshape(x, shape):
            return ["reshape(", x, f", {_shape(shape)})"]
        case Transpose(x, order):
            return ["transpose(", x, f", order={_shape(order)})"]
        case Expand(x, shape):
            return ["expand(", x, f", {_shape(shape)})"]
        case View(x, kind, layout):
            return ["view(", x, ", ", kind, _layout(layout), ")"]
        case Convert(x, layout):
            return ["convert(", x, f", {quote(spell(layout))})"]
        case Item(x):
            return ["item(", x, ")"]
        case Cast(x, kind, rounding, overflow, random):
            mode = f', rounding="{rounding}"' if rounding != "rne" else ""
            mode += f', overflow="{overflow}"' if overflow != default_overflow(kind) else ""
            bits: list[Piece] = [", random=", random] if random is not None else []
            return ["cast(", x, ", ", kind, mode, *bits, ")"]
    return []


def _computed(op: Instruction) -> list[Piece]:
    match op:
        case Unary("neg" | "not" as kind, x):
            return ["-" if kind == "neg" else "~", x]
        case Unary(kind, x):
            return [f"{kind}(", x, ")"]
        case Binary("min" | "max" as kind, x, y):
            return [f"{kind}(", x, ", ", y, ")"]
        case Binary(kind, x, y):
            return [x, f" {INFIX[kind]} ", y]
        case Fma(x, y, z):
            return ["fma(", x, ", ", y, ", ", z, ")"]
        case Where(condition, x, y):
            return ["where(", condition, ", ", x, ", ", y, ")"]
        case Reduce(kind, x, dim, keepdim):
            return [f"{kind}(", x, f", dim={dim}", ", keepdim=True" if keepdim else "", ")"]
        case Dot(x, y, acc):
            return ["dot(", x, ", ", y, ", ", acc, ")"]
    raise AssertionError(f"{type(op).__name__} has no text")


def reads(op: Op) -> tuple[Value | Expr, ...]:
    """The tiles and scalars that an instruction reads, in the order of its text."""
    return tuple(p for p in pieces(op) if isinstance(p, Value | Var | Const | ExprBinary | Select))


def is_compound(op: Op) -> bool:
    """Whether the text needs parentheses inside another."""
    return (isinstance(op, Binary) and op.kind in INFIX) or (isinstance(op, Unary) and op.kind in ("neg", "not"))


def _list(items: Iterable[Expr]) -> list[Piece]:
    found: list[Piece] = ["["]
    for index, item in enumerate(items):
        found += [", ", item] if index else [item]
    return [*found, "]"]


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _layout(layout: Layout | None) -> str:
    return "" if layout is None else f", layout={quote(spell(layout))}"

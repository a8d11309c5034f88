"""Expressions to text: the one canonical spelling, with no bracket that is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .literals import LiteralError, read_number, write_string
from .syntax import (
    Attribute,
    Binary,
    Boolean,
    Call,
    Compare,
    Conditional,
    Expression,
    Keyword,
    List_,
    Logical,
    Name,
    Number,
    Slice,
    Subscript,
    Text,
    Tuple_,
    Unary,
)

WIDTH = 120
"""The longest line that is written as long as there is a place to break it."""

INDENT = 4

# How strongly each form binds, as in Python.
_CONDITIONAL, _OR, _AND, _NOT, _COMPARE = range(5)
_SIGN, _POWER, _PRIMARY = 11, 12, 13
_BINARY = {"|": 5, "^": 6, "&": 7, "<<": 8, ">>": 8, "+": 9, "-": 9} | dict.fromkeys(("*", "/", "//", "%", "@"), 10)


def write(expression: Expression, least: int = _CONDITIONAL) -> str:
    """The expression on one line, in brackets when it binds less strongly than `least`."""
    text = _write(expression)
    return text if _strength(expression) >= least else f"({text})"


def write_bare(expression: Expression) -> str:
    """The right side of an assignment: a tuple of two or more stands there without brackets."""
    if isinstance(expression, Tuple_) and len(expression.elements) > 1:
        return _join(expression.elements)
    return write(expression)


def write_lines(prefix: str, item: Expression | Slice | Keyword, suffix: str, indentation: int) -> list[str]:
    """`prefix`, the expression and `suffix` on one line if they fit, otherwise broken at the outermost brackets.

    `indentation` is how far the lines will be indented; the lines themselves begin at their own, relative one.
    """
    if isinstance(item, Keyword):
        return write_lines(f"{prefix}{item.name}=", item.value, suffix, indentation)
    flat = prefix + _write_item(item) + suffix
    if indentation + len(flat) <= WIDTH:
        return [flat]
    match item:
        case Call(function, arguments, keywords) if arguments or keywords:
            return _exploded(
                f"{prefix}{write(function, _PRIMARY)}(", [*arguments, *keywords], ")" + suffix, indentation
            )
        case Tuple_(elements) if elements:
            return _exploded(prefix + "(", elements, ")" + suffix, indentation)
        case List_(elements) if elements:
            return _exploded(prefix + "[", elements, "]" + suffix, indentation)
        case Binary() | Logical() | Compare() | Conditional():
            links = list(_links(item))
            if len(links) == 1:
                return [flat]
            lines = [prefix + "("]
            for word, part in links:
                lines += _indented(write_lines(word, part, "", indentation + INDENT))
            return [*lines, ")" + suffix]
        case _:
            return [flat]


def _exploded(head: str, items: Sequence[Expression | Keyword], tail: str, indentation: int) -> list[str]:
    lines = [head]
    for item in items:
        lines += _indented(write_lines("", item, ",", indentation + INDENT))
    return [*lines, tail]


def _indented(lines: list[str]) -> list[str]:
    return [" " * INDENT + line for line in lines]


def _links(item: Binary | Logical | Compare | Conditional) -> Iterator[tuple[str, Expression]]:
    """The parts of a chain, each with the word in front of it; the whole when a part would need brackets of its own."""
    match item:
        case Logical(op, values):
            least = (_AND if op == "and" else _OR) + 1
            if all(_strength(value) >= least for value in values):
                yield "", values[0]
                yield from ((f"{op} ", value) for value in values[1:])
                return
        case Binary(op, left, right) if op != "**":
            if _strength(left) >= _BINARY[op] and _strength(right) > _BINARY[op]:
                if isinstance(left, Binary) and left.op != "**" and _BINARY[left.op] == _BINARY[op]:
                    yield from _links(left)
                else:
                    yield "", left
                yield f"{op} ", right
                return
        case Compare(left, ops, rights):
            if all(_strength(part) > _COMPARE for part in (left, *rights)):
                yield "", left
                yield from ((f"{op} ", right) for op, right in zip(ops, rights, strict=True))
                return
        case Conditional(test, then, orelse):
            if _strength(then) >= _OR and _strength(test) >= _OR:
                yield "", then
                yield "if ", test
                yield "else ", orelse
                return
    yield "", item


def _strength(expression: Expression) -> int:
    match expression:
        case Conditional():
            return _CONDITIONAL
        case Logical(op, _):
            return _OR if op == "or" else _AND
        case Unary(op, _):
            return _NOT if op == "not" else _SIGN
        case Compare():
            return _COMPARE
        case Binary(op, _, _):
            return _BINARY.get(op, _POWER)
        case Number(value):
            return _SIGN if str(value).startswith("-") else _PRIMARY
        case _:
            return _PRIMARY


def _write(expression: Expression) -> str:
    match expression:
        case Name(name):
            return name
        case Number():
            return _write_number(expression)
        case Text(value):
            return write_string(value)
        case Boolean(value):
            return str(value)
        case Tuple_(elements):
            return f"({_join(elements)},)" if len(elements) == 1 else f"({_join(elements)})"
        case List_(elements):
            return f"[{_join(elements)}]"
        case Attribute(value, name):
            # A number would swallow the dot.
            return f"({write(value)}).{name}" if isinstance(value, Number) else f"{write(value, _PRIMARY)}.{name}"
        case Call(function, arguments, keywords):
            return f"{write(function, _PRIMARY)}({_join([*arguments, *keywords])})"
        case Subscript(value, indices):
            return f"{write(value, _PRIMARY)}[{_join(indices)}]"
        case _:
            return _write_operation(expression)


def _write_operation(expression: Unary | Binary | Compare | Logical | Conditional) -> str:
    match expression:
        case Unary(op, operand):
            return f"not {write(operand, _NOT)}" if op == "not" else f"{op}{write(operand, _SIGN)}"
        case Binary("**", left, right):
            return f"{write(left, _PRIMARY)} ** {write(right, _SIGN)}"
        case Binary(op, left, right):
            return f"{write(left, _BINARY[op])} {op} {write(right, _BINARY[op] + 1)}"
        case Compare(left, ops, rights):
            links = zip(ops, rights, strict=True)
            return write(left, _COMPARE + 1) + "".join(f" {op} {write(right, _COMPARE + 1)}" for op, right in links)
        case Logical(op, values):
            least = (_AND if op == "and" else _OR) + 1
            return f" {op} ".join(write(value, least) for value in values)
        case Conditional(test, then, orelse):
            return f"{write(then, _OR)} if {write(test, _OR)} else {write(orelse)}"


def _write_item(item: Expression | Slice | Keyword) -> str:
    if isinstance(item, Keyword):
        return f"{item.name}={write(item.value)}"
    if isinstance(item, Slice):
        return _write_slice(item)
    return write(item)


def _write_slice(item: Slice) -> str:
    """`a:b` between names and numbers, `a + 1 : b` where a part is more than that."""
    parts = [item.lower, item.upper] + ([item.step] if item.step is not None else [])
    if all(part is None or isinstance(part, Name | Number) for part in parts):
        return ":".join("" if part is None else write(part) for part in parts)
    return " : ".join("" if part is None else write(part) for part in parts).strip()


def _join(items: Sequence[Expression | Slice | Keyword]) -> str:
    return ", ".join(_write_item(item) for item in items)


def _write_number(number: Number) -> str:
    """As it was spelt, in lower case up to the digits of a hexadecimal number; numbers made by code as Python does."""
    if number.text:
        text = number.text if number.text[:2] in ("0x", "0X") else number.text.lower()
        try:
            if Number(read_number(text)) == number:
                return text.replace("0X", "0x")
        except LiteralError:
            pass
    return repr(number.value)

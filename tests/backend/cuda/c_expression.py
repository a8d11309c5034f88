"""Evaluates the C++ expressions that constants of lanes are printed as, with the types and conversions of C++."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

TOKEN = re.compile(r"\s*(0x[0-9a-f]+u?l?l?|\d+\.?\d*(?:e[-+]?\d+)?f?u?l?l?|[A-Za-z_]\w*|<<|>>|==|!=|<=|>=|\S)")
LEVELS = (("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"), ("*", "/", "%"))
BITS = {"i32": 32, "u32": 32, "i64": 64, "u64": 64}
RANK = ("i32", "u32", "i64", "u64", "float")


@dataclass(frozen=True)
class Number:
    """A value of a type: bool and int are i32 once they are computed with."""

    type: str
    value: float

    @property
    def whole(self) -> int:
        return int(self.value)


def converted(x: Number, type: str) -> Number:
    if type == "float":
        return Number(type, struct.unpack("<f", struct.pack("<f", x.value))[0])
    if type == "bool":
        return Number("i32", x.value != 0)
    bits = BITS[type]
    value = x.whole % (1 << bits)
    return Number(type, value - (1 << bits) if type[0] == "i" and value >> (bits - 1) else value)


class Reader:
    """Reads and evaluates at once."""

    def __init__(self, text: str, lane: int, data: dict[str, list[int]]) -> None:
        self.tokens = TOKEN.findall(text)
        self.at = 0
        self.lane = lane
        self.data = data

    def next(self) -> str:
        self.at += 1
        return str(self.tokens[self.at - 1])

    def peek(self) -> str:
        return str(self.tokens[self.at]) if self.at < len(self.tokens) else ""

    def take(self, token: str) -> None:
        found = self.next()
        assert found == token, f"{found} where {token} is expected"

    def expression(self) -> Number:
        condition = self.binary(0)
        if self.peek() != "?":
            return condition
        self.take("?")
        yes = self.expression()
        self.take(":")
        no = self.expression()
        assert yes.type == no.type
        return yes if condition.value else no

    def binary(self, level: int) -> Number:
        if level == len(LEVELS):
            return self.unary()
        x = self.binary(level + 1)
        while self.peek() in LEVELS[level]:
            sign = self.next()
            x = computed(sign, x, self.binary(level + 1))
        return x

    def unary(self) -> Number:
        token = self.next()
        if token == "(":
            if self.peek() in (*BITS, "float", "int"):
                type = self.next().replace("int", "i32")
                self.take(")")
                return converted(self.unary(), type)
            x = self.expression()
            self.take(")")
            return x
        if token == "-":
            x = self.unary()
            return converted(Number(x.type, -x.value), x.type)
        if token in ("true", "false"):
            return Number("i32", token == "true")
        return self.name(token) if token[0].isalpha() or token[0] == "_" else literal(token)

    def name(self, token: str) -> Number:
        if token == "lane":
            return Number("u32", self.lane)
        self.take("(")
        if token == "__ldg":
            self.take("&")
            table = self.data[self.next()]
            self.take("[")
            x = Number("u32", table[self.expression().whole])
            self.take("]")
        else:
            x = converted(self.expression(), "u32")
            if token == "__popc":
                x = Number("i32", bin(x.whole).count("1"))
            else:
                assert token == "__uint_as_float", token
                x = Number("float", struct.unpack("<f", struct.pack("<I", x.whole))[0])
        self.take(")")
        return x


def literal(token: str) -> Number:
    if token.endswith("ull"):
        return Number("u64", int(token[:-3], 0))
    if token.endswith("u"):
        return Number("u32", int(token[:-1], 0))
    if token.endswith("f") and not token.startswith("0x"):
        return converted(Number("float", float(token[:-1])), "float")
    return Number("i32", int(token, 0))


def computed(sign: str, x: Number, y: Number) -> Number:
    """Integers only: what is printed computes with nothing else."""
    if sign in ("<<", ">>"):
        assert 0 <= y.value < BITS[x.type]
        return converted(Number(x.type, x.whole << y.whole if sign == "<<" else x.whole >> y.whole), x.type)
    type = max(x.type, y.type, key=RANK.index)
    a, b = converted(x, type).whole, converted(y, type).whole
    compared = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
    if sign in compared:
        return Number("i32", compared[sign])
    if sign in "/%":
        assert a >= 0 < b
        return Number(type, a // b if sign == "/" else a % b)
    found = {"+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b}[sign]
    return converted(Number(type, found), type)


def evaluate(text: str, lane: int, type: str, data: dict[str, list[int]]) -> Number:
    """The value that a variable of the type gets."""
    reader = Reader(text, lane, data)
    found = reader.expression()
    assert reader.at == len(reader.tokens), f"what stands after {' '.join(reader.tokens[: reader.at])}?"
    return converted(found, type)

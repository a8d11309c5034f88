"""Whatever stands in a text that can be parsed, it is built or refused with a Diagnostic; nothing else ever comes out.

Kernels are made of random calls, operators and statements with operands of every kind. What is built is well formed,
and its text says the same.
"""

from __future__ import annotations

import random

import pytest

from bitwright.frontend.build import build
from bitwright.frontend.build.functions import FUNCTIONS
from bitwright.frontend.parse import parse
from bitwright.vm.diagnostic import NOWHERE, Diagnostic
from bitwright.vm.ir import Program
from bitwright.vm.text import print_program
from bitwright.vm.verify import same, verify

HEAD = """
def f(
    x: f32[M, N], y: i32[N], w: u3[M, N] @ tiled("local(32, 1) * spatial(1, 16)", container=8), e: f32, n: int,
    *, W: dtype = f16, L: layout = "spatial(4, 2)", G: int = 4, flag: bool = True, mode: str = "a",
):
    i, j = grid((M, 4), (N, 8))
    t = load(x, [i, j], [4, 8])
    u = load(y, [j], [8])
    c = t > 0
    s = shared(f32, [4, 8])
    v = load(w, [0, 0], [32, 16])
"""
ATOMS = (
    "x", "y", "w", "e", "n", "W", "L", "G", "flag", "mode", "i", "j", "t", "u", "c", "s", "v", "M", "N", "inf",
    "nan", "0", "1", "-1", "4", "8", "16", "300", "0.5", "1e300", "9223372036854775807", "f32", "u8", "bool",
    "i64", "e8m0", "nf4", '"a"',
    '"spatial(4, 8)"', '"spatial(8)"', "True", "False", "[4, 8]", "[8]", "[]", "[0, 0]", "[1, 0]", "(1, 2)",
    "undefined",
    "item(max(u))", "u[:]", "t.shape", "t.shape[0]", "W.bits", "t.dtype", "cast(n, f32)", "zeros(i8, [8, 4])",
)  # fmt: skip
OPERATORS = (
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "@",
    "&",
    "|",
    "^",
    "<<",
    ">>",
    "<",
    "<=",
    "==",
    "!=",
    ">",
    ">=",
    "and",
    "or",
)
NAMES = ("a", "b", "t", "u", "c", "s", "n", "G", "x")
OPTIONS = (
    "dim=0", "dim=1", "keepdim=True", 'layout="spatial(4, 8)"', "other=1", 'rounding="rtz"', 'overflow="sat"',
    "lanes=32",
    "order=[1, 0]", "planes=[2, 1]", "vector=2",
)  # fmt: skip


class Chance:
    """Random text with a seed of its own."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def expression(self, depth: int = 3) -> str:
        kind = self.random.random()
        if depth == 0 or kind < 0.3:
            return self.random.choice(ATOMS)
        inner = [self.expression(depth - 1) for _ in range(4)]
        if kind < 0.5:
            return f"({inner[0]} {self.random.choice(OPERATORS)} {inner[1]})"
        if kind < 0.6:
            return f"({self.random.choice(('-', '~', '+', 'not '))}{inner[0]})"
        if kind < 0.65:
            return f"({inner[0]} if {inner[1]} else {inner[2]})"
        if kind < 0.7:
            return f"({inner[0]} < {inner[1]} <= {inner[2]})"
        function = FUNCTIONS[self.random.choice(sorted(FUNCTIONS))]
        count = max(0, len(function.required) + self.random.choice((0, 0, 0, 0, 1, -1)) + (1 if function.rest else 0))
        arguments = [self.random.choice(inner) for _ in range(count)]
        arguments += [self.random.choice(OPTIONS)] if self.random.random() < 0.2 else []
        return f"{function.name}({', '.join(arguments)})"

    def block(self, depth: int, indent: str) -> list[str]:
        return [line for _ in range(self.random.randint(1, 3)) for line in self.statement(depth, indent)]

    def statement(self, depth: int, indent: str) -> list[str]:
        name, more = self.random.choice(NAMES), indent + "    "
        match self.random.choice(
            ("set", "set", "set", "call", "pair", "add", "if", "for", "while", "assert", "return")
        ):
            case "call":
                return [f"{indent}{self.expression()}"]
            case "pair":
                return [f"{indent}a, b = {self.expression(1)}, {self.expression(2)}"]
            case "add":
                return [f"{indent}{name} {self.random.choice('+-*&')}= {self.expression(2)}"]
            case "assert":
                return [f"{indent}assert {self.expression(2)}, {self.random.choice(('mode', self.expression(1)))}"]
            case "return":
                return [f"{indent}if {self.expression(1)}:", f"{more}return"]
            case "if" if depth:
                lines = [f"{indent}if {self.expression(2)}:", *self.block(depth - 1, more)]
                return lines + ([f"{indent}else:", *self.block(depth - 1, more)] if self.random.random() < 0.5 else [])
            case "for" if depth:
                bounds = ", ".join(self.expression(1) for _ in range(self.random.randint(1, 3)))
                return [f"{indent}for k in range({bounds}):", *self.block(depth - 1, more)]
            case "while" if depth:
                return [f"{indent}while {self.expression(2)}:", *self.block(depth - 1, more)]
        return [f"{indent}{name} = {self.expression()}"]


def attempt(text: str) -> Program | Diagnostic:
    try:
        return build(parse(text).kernels[0], {})
    except Diagnostic as diagnostic:
        return diagnostic


def outcome(text: str) -> str:
    """Builds the text: "built" or "refused"; anything but a Diagnostic comes through."""
    program = attempt(text)
    if isinstance(program, Diagnostic):
        assert all(p.message and p.span is not NOWHERE for p in program.problems)
        assert "%0" not in str(program)
        return "refused"
    verify(program)
    printed = print_program(program)
    again = build(parse(printed).kernels[0], {})
    assert print_program(again) == printed
    assert same(program, again)
    return "built"


@pytest.mark.parametrize("seed", range(8))
def test_random_statements_are_built_or_refused(seed: int) -> None:
    chance = Chance(seed)
    seen = set()
    for _ in range(60):
        lines = chance.statement(2, "    ")
        seen.add(outcome(HEAD + "\n".join(lines) + "\n"))
    assert seen == {"built", "refused"}


@pytest.mark.parametrize("seed", range(4))
def test_random_kernels_are_built_or_refused(seed: int) -> None:
    chance = Chance(100 + seed)
    for _ in range(20):
        outcome(HEAD + "\n".join(line for _ in range(6) for line in chance.statement(2, "    ")) + "\n")

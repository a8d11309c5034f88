"""A kernel means what Python means by the same text.

Random kernels are run by Python itself, with NumPy behind the functions they call, and by the interpreter on the built
program; and once more after the program was printed and built again.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.frontend.build import build
from bitwright.frontend.parse import parse
from bitwright.vm.interpret import interpret
from bitwright.vm.ir import Program
from bitwright.vm.text import print_program
from bitwright.vm.verify import same, verify

BLOCKS = 2
SPACE = 32


class Writer:
    """Writes a random kernel: scalars a, b, c and tiles t, u of four i64, all set from the start."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.scalars = ["a", "b", "c", "n", "i"]
        self.tiles = ["t", "u"]
        self.fresh = 0

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def name(self) -> str:
        self.fresh += 1
        return f"v{self.fresh}"

    def scalar(self, depth: int = 2) -> str:
        if depth == 0 or self.pick(True, False):
            return self.pick(*self.scalars, "0", "1", "5", "-3")
        x, y, k = self.scalar(depth - 1), self.scalar(depth - 1), self.pick(1, 2, 4, 7)
        return self.pick(
            f"({x} + {y})", f"({x} - {y})", f"{x} * {k}", f"({x}) // {k}", f"({x}) % {k}", f"min({x}, {y})",
            f"max({x}, {y})", f"abs({x})", f"({x} if {self.condition(0)} else {y})", f"ceildiv({x}, {k})",
            f"(({x}) & {k})", f"(({x}) >> 1)", f"-({x})", f"item(sum({self.tile(0)}, dim=0)) % 11",
        )  # fmt: skip

    def condition(self, depth: int = 1) -> str:
        sign = self.pick("<", "<=", "==", "!=", ">", ">=")
        if depth == 0 or self.pick(True, False):
            return f"{self.scalar(depth)} {sign} {self.scalar(depth)}"
        x, y = self.condition(depth - 1), self.condition(depth - 1)
        a, b, c = (self.pick(*self.scalars) for _ in range(3))
        return self.pick(
            f"({x} and {y})",
            f"({x} or {y})",
            f"not {x}",
            f"{a} < {b} {sign} {c}",
            f"item(any({self.mask(0)}, dim=0)) == 1",
        )

    def mask(self, depth: int = 1) -> str:
        sign = self.pick("<", "<=", "==", "!=", ">", ">=")
        if depth == 0:
            return f"({self.tile(0)} {sign} {self.scalar(0)})"
        return self.pick(
            f"({self.mask(0)} & {self.mask(0)})", f"~{self.mask(0)}", f"({self.tile(1)} {sign} {self.tile(1)})"
        )

    def tile(self, depth: int = 2) -> str:
        if depth == 0 or self.pick(True, False):
            return self.pick(*self.tiles)
        x, y, k = self.tile(depth - 1), self.tile(depth - 1), self.pick(2, 3, 101)
        return self.pick(
            f"({x} + {y})", f"({x} - {y})", f"({x}) % {k}", f"({x}) * {k}", f"({x} + {self.scalar(1)})",
            f"({self.scalar(1)} - {y})", f"where({self.mask(1)}, {x}, {y})", f"where({self.mask(0)}, {x}, 7)",
            f"min({x}, {y})", f"-({x})", "iota(i64, [4], 0)", "full(i64, [4], 9)",
            f"load(x, [{self.pick(0, 3, 9)}], [4])",
            f"(iota(i64, [4], 0) + cast({self.scalar(1)}, i64))",
        )  # fmt: skip

    def block(self, depth: int, indent: str) -> list[str]:
        lines: list[str] = []
        known = (list(self.scalars), list(self.tiles))
        for _ in range(self.pick(1, 2, 3)):
            lines += self.statement(depth, indent)
        self.scalars, self.tiles = known
        return lines

    def statement(self, depth: int, indent: str) -> list[str]:
        kind = (
            self.pick("scalar", "tile", "both", "if", "for", "while", "new")
            if depth
            else self.pick("scalar", "tile", "new")
        )
        more = indent + "    "
        match kind:
            case "scalar":
                return [f"{indent}{self.pick('a', 'b', 'c')} = ({self.scalar()}) % 101"]
            case "tile":
                return [f"{indent}{self.pick('t', 'u')} = ({self.tile()}) % 1009"]
            case "both":
                return [f"{indent}{self.pick('a, b = b, a', 't, u = u, t', 'a, b, c = c, a, b', 'a += 2', 't *= 1')}"]
            case "if":
                lines = [f"{indent}if {self.condition()}:", *self.block(depth - 1, more)]
                if self.pick(True, False):
                    lines += [f"{indent}else:", *self.block(depth - 1, more)]
                return lines
            case "for":
                bounds = self.pick("3", "b, b + 3", "0, n, 2", "1, 9, 4, unroll=2", "0")
                name = self.name()
                body = [f"{more}a = a + {name}", *self.block(depth - 1, more)]
                return [f"{indent}for {name} in range({bounds}):", *body]
            case "while":
                name = self.name()
                test = self.pick(
                    f"{name} < 3", f"{name} < 3 and {self.condition(0)}", f"{name} + item(min(t, dim=0)) % 2 < 3"
                )
                lines = [f"{indent}{name} = 0", f"{indent}while {test}:"]
                return [*lines, *self.block(depth - 1, more), f"{more}{name} = {name} + 1"]
        name = self.name()
        lines = [f"{indent}if {self.condition(0)}:", f"{more}{name} = {self.tile(1)}"]
        lines += [f"{indent}else:", f"{more}{name} = {self.tile(1)}"]
        self.tiles = [*self.tiles, name]
        return lines


@st.composite
def kernels(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    lines = ["def f(x: i64[N], y: i64[P], n: int):", f"    i = grid({BLOCKS})", "    a, b, c = 0, 1, n"]
    lines += ["    t = load(x, [i * 4], [4])", "    u = t * 2"]
    for _ in range(draw(st.integers(2, 7))):
        lines += writer.statement(2, "    ")
    lines += [f"    store(y, [i * {SPACE}], t)", f"    store(y, [i * {SPACE} + 4], u)"]
    if draw(st.booleans()):
        lines += [f"    if {writer.condition()}:", "        return"]
    for place, name in enumerate("abc"):
        lines.append(f"    store(y, [i * {SPACE} + {8 + 4 * place}], zeros(i64, [4]) + {name})")
    return "\n".join(lines) + "\n"


def run_as_python(text: str, x: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    """The text as Python runs it, block by block."""
    y = np.full(BLOCKS * SPACE, -1, np.int64)

    def extreme(fold: Any, scalars: Any) -> Any:
        def run(p: Any, q: Any = None, dim: int = 0) -> Any:
            if q is None:
                return {np.minimum: np.min, np.maximum: np.max}[fold](p, axis=dim)
            return fold(p, q) if isinstance(p, np.ndarray) or isinstance(q, np.ndarray) else scalars(p, q)

        return run

    def store(array: Any, at: Any, value: Any) -> None:
        array[at[0] : at[0] + 4] = value

    def ranged(*bounds: int, unroll: int = 1) -> Any:
        return builtins.range(*bounds)

    names = {
        "i64": np.int64, "load": lambda array, at, shape: array[at[0] : at[0] + 4].copy(), "store": store,
        "zeros": lambda kind, shape: np.zeros(shape, kind), "full": lambda kind, shape, v: np.full(shape, v, kind),
        "iota": lambda kind, shape, dim: np.arange(4, dtype=kind), "where": np.where, "range": ranged,
        "cast": lambda v, kind: v, "item": int, "sum": lambda v, dim: v.sum(axis=dim),
        "any": lambda v, dim: v.any(axis=dim),
        "min": extreme(np.minimum, builtins.min), "max": extreme(np.maximum, builtins.max),
        "ceildiv": lambda p, q: -(-p // q), "abs": abs,
    }  # fmt: skip
    for block in range(BLOCKS):
        scope: dict[str, Any] = {**names, "grid": lambda _, block=block: block}
        exec(compile("from __future__ import annotations\n" + text, "<kernel>", "exec"), scope)
        scope["f"](x, y, n)
    return y


def run_as_program(program: Program, x: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    y = np.full(BLOCKS * SPACE, -1, np.int64)
    interpret(program, x, y, n)
    return y


@settings(max_examples=80, deadline=None)
@given(kernels(), st.integers(-2, 7))
def test_a_kernel_means_what_python_means(text: str, n: int) -> None:
    x = np.arange(16, dtype=np.int64) * 3 - 11
    expected = run_as_python(text, x, n)
    program = build(parse(text).kernels[0], {})
    verify(program)
    np.testing.assert_array_equal(run_as_program(program, x, n), expected)
    printed = print_program(program)
    again = build(parse(printed).kernels[0], {})
    assert print_program(again) == printed
    assert same(program, again)
    np.testing.assert_array_equal(run_as_program(again, x, n), expected)

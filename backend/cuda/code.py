"""CUDA C++ under construction: its lines, the names of registers, and what a kernel needs beside its body."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite

from ..lane.ir import Constant, Reg, Type
from .affine import Affine
from .architectures import WARP
from .block_memory import BlockMemory
from .lane_values import Formula, number_text, predicate, word_formula

__all__ = ["TYPES", "Code"]

TYPES: dict[Type, str] = {"i1": "bool", "i32": "u32", "i64": "u64", "f32": "float"}
_LETTERS: dict[Type, str] = {"i1": "p", "i32": "w", "i64": "n", "f32": "x"}
_EXACT_INTEGERS = 1 << 24  # f32 holds all integers up to here

_REACH = 1 << 23  # bytes that an access may add to an address


class Code:
    """The text of one kernel.

    A uniform constant is written where it is used; every other register is a variable, named by its type (p, w, n, x)
    and numbered in the order of the text.
    """

    def __init__(self, lanes: int, kept: BlockMemory) -> None:
        self.lanes = lanes
        self.kept = kept
        self.lines: list[str] = []
        self.names: dict[Reg, str] = {}
        self.constants: dict[Reg, Constant] = {}
        self.functions: dict[str, str] = {}
        self._globals: dict[tuple[int, ...], str] = {}
        self._tables = {words: f"table{k}" for k, words in enumerate(kept.tables)}
        self.sums = Affine()
        self._pointers: list[dict[tuple[object, ...], str]] = [{}]
        self._indent = "  "
        self._count = 0

    # Text

    def line(self, text: str) -> None:
        self.lines.append(self._indent + text)

    @contextmanager
    def block(self, head: str, tail: str = "}") -> Iterator[None]:
        """Lines inside braces."""
        self.line(f"{head} {{".lstrip())
        self._indent += "  "
        self._pointers.append({})
        yield
        self._pointers.pop()
        self._indent = self._indent[:-2]
        self.line(tail)

    def fresh(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def function(self, name: str, text: str) -> str:
        """Has a device function defined above the kernel; returns its name."""
        self.functions[name] = text
        return name

    # Registers

    def get(self, reg: Reg) -> str:
        """The register's variable, or a literal."""
        return self.names[reg]

    def word(self, reg: Reg) -> str:
        """An expression (u32) of the bits of an i32, an f32 or an i1."""
        name = self.names[reg]
        if reg.type == "f32":
            return f"__float_as_uint({name})"
        return f"(u32){name}" if reg.type == "i1" else name

    def declare(self, reg: Reg, value: str = "") -> str:
        """A variable that is assigned later, too."""
        name = self.names[reg] = self.fresh(_LETTERS[reg.type])
        self.line(f"{TYPES[reg.type]} {name}{f' = {value}' if value else ''};")
        return name

    def define(self, reg: Reg, expression: str) -> None:
        """A variable that is assigned once."""
        name = self.names[reg] = self.fresh(_LETTERS[reg.type])
        if expression[0] == "(" and _closes_last(expression):
            expression = expression[1:-1]
        self.line(f"const {TYPES[reg.type]} {name} = {expression};")

    def keep(self, type: str, expression: str) -> str:
        """A variable that is no register's; returns its name."""
        name = self.fresh("q")
        self.line(f"const {type} {name} = {expression};")
        return name

    def pointer(self, base: Reg, offset: Reg, more: str) -> tuple[str, int]:
        """base + offset as a variable that other accesses share, and the number of bytes that are to be added to it.

        `more`: an expression (u64) of the offset.
        """
        terms, number = self.sums.of(base)
        if not terms or not -_REACH <= number < _REACH:
            return f"{self.get(base)} + {more}", 0
        key = (frozenset(terms), offset)
        for seen in self._pointers:
            if key in seen:
                return seen[key], number
        parts = [self.get(r) if times == 1 else f"{self.get(r)} * {literal('i64', times)}" for r, times in terms]
        name = self._pointers[-1][key] = self.keep("u64", " + ".join([*parts, more]))
        return name, number

    def alias(self, reg: Reg, text: str) -> None:
        """The register is called by an expression that needs no variable."""
        self.names[reg] = text

    def number(self, reg: Reg) -> int | None:
        """The value of an integer that is the same constant in all lanes."""
        held = self.constants.get(reg)
        return int(held.values[0]) if held and reg.type != "f32" and len(set(held.values)) == 1 else None

    def not_negative(self, reg: Reg) -> bool:
        """Whether an i32 is known to be below 2**31 in all lanes."""
        held = self.constants.get(reg)
        return held is not None and all(0 <= v < 1 << 31 for v in held.values)

    def constant(self, reg: Reg, op: Constant) -> None:
        self.constants[reg] = op
        if len({bits_of(op.type, v) for v in op.values}) == 1:
            self.alias(reg, literal(op.type, op.values[0]))
        else:
            self.define(reg, self.varying(op))

    def varying(self, op: Constant) -> str:
        """An expression of a constant that differs between lanes."""
        match op.type:
            case "i1":
                return predicate([int(v) for v in op.values]).text
            case "i32":
                return self.words([int(v) for v in op.values])
            case "i64":
                return self._wide([int(v) for v in op.values])
            case "f32":
                whole = [int(v) if isfinite(v) else _EXACT_INTEGERS for v in op.values]
                exact = all(literal("f32", n) == literal("f32", v) for n, v in zip(whole, op.values, strict=True))
                if exact and all(abs(n) < _EXACT_INTEGERS for n in whole):
                    sign = "(int)" if min(whole) < 0 else ""
                    return f"(float){sign}{self.words(whole)}"
                return f"__uint_as_float({self.words([bits_of('f32', v) for v in op.values])})"

    def words(self, values: Sequence[int]) -> str:
        """An expression (u32) of one word per lane: a formula, or a table in memory."""
        formula = word_formula(values)
        return formula.text if formula is not None else f"__ldg(&{self.memory(values)}[lane])"

    def _wide(self, values: Sequence[int]) -> str:
        signed = [(v + (1 << 63)) % (1 << 64) - (1 << 63) for v in values]
        if min(signed) >= 0 and max(signed) < 1 << 32:
            return f"(u64){self.words(signed)}"
        if min(signed) >= -(1 << 31) and max(signed) < 1 << 31:
            return f"(u64)(i64)(i32){self.words(signed)}"
        high = self.words([v >> 32 for v in signed])
        return f"((u64){high} << 32 | {self.words(signed)})"

    def lanes_where(self, values: Sequence[int | bool]) -> Formula:
        return predicate(values)

    # Memory beside the program's

    def memory(self, values: Sequence[int]) -> str:
        """The name of a constant array of words in global memory."""
        key = tuple(v & 0xFFFFFFFF for v in values)
        return self._globals.setdefault(key, f"data{len(self._globals)}")

    def table(self, words: tuple[int, ...]) -> str:
        """The name of the address of words in shared memory, which are put there when the kernel begins."""
        return self._tables[words]

    def is_copied(self, words: tuple[int, ...]) -> bool:
        """Whether at the address `copies` there is a copy of each of the words for each lane of a warp."""
        return self.kept.copied is not None and self.kept.copied[0] == words

    def outside(self) -> list[str]:
        """What stands above the kernel."""
        lines = list(self.functions.values())
        for values, name in self._globals.items():
            shown = ", ".join(number_text(v) for v in values)
            lines.append(f"static __device__ const u32 {name}[{len(values)}] = {{{shown}}};")
        return lines

    def beginning(self) -> list[str]:
        """What stands first in the kernel."""
        lines = ["  const u32 lane = threadIdx.x;"]
        if self.kept.scratch is not None:
            lines.append(f"  u64& scratch = *(u64*)(shared + {self.kept.scratch}u);")
        filled = []
        for words, name in self._tables.items():
            filled.append((name, self.kept.tables[words]))
            count = len(words)
            for start in range(0, count, self.lanes):
                place = f"lane + {start}u" if start else "lane"
                some = f"if ({place} < {count}u) " if start + self.lanes > count else ""
                there = f"((u32*)(shared + {self.kept.tables[words]}u))[{place}]"
                lines.append(f"  {some}{there} = __ldg(&{self.memory(words)}[{place}]);")
        if self.kept.copied is not None:
            words, first = self.kept.copied
            filled.append(("copies", first))
            count = len(words) * WARP // 4
            lines += [
                f"  for (u32 i = lane; i < {count}u; i += {self.lanes}u) {{",
                f"    const u32 x = __ldg(&{self.memory(words)}[i / {WARP // 4}u]);",
                f"    ((uint4*)(shared + {first}u))[i] = make_uint4(x, x, x, x);",
                "  }",
            ]
        return [*lines, *_addresses(filled)]

    # Warps

    def everyone(self) -> str:
        """The lanes of this lane's warp, as a mask."""
        whole, rest = divmod(self.lanes, WARP)
        if not rest:
            return "~0u"
        part = number_text((1 << rest) - 1)
        return part if not whole else f"(lane < {whole * WARP}u ? ~0u : {part})"


def _addresses(filled: Sequence[tuple[str, int]]) -> list[str]:
    """Where arrays of shared memory begin: numbers that nobody has before the block has filled them."""
    if not filled:
        return []
    lines = ["  __syncthreads();"]
    for name, first in filled:
        start = f'"r"((u32)__cvta_generic_to_shared(shared) + {first}u)'
        lines += [f"  u32 {name};", f'  asm volatile("mov.u32 %0, %1;" : "=r"({name}) : {start} : "memory");']
    return lines


def _closes_last(text: str) -> bool:
    """Whether the parenthesis that opens first closes at the end."""
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return at == len(text) - 1
    return False


def bits_of(type: Type, value: int | float) -> int:
    """The bits of a constant."""
    if type != "f32":
        return int(value) & ((1 << {"i1": 1, "i32": 32, "i64": 64}[type]) - 1)
    try:
        return int.from_bytes(struct.pack("<f", value), "little")
    except OverflowError:
        return 0x7F800000 if value > 0 else 0xFF800000


def literal(type: Type, value: int | float) -> str:
    """One value as C++ writes it."""
    match type:
        case "i1":
            return "true" if value else "false"
        case "i32":
            return number_text(int(value))
        case "i64":
            return number_text(int(value), 64)
        case "f32":
            bits = bits_of("f32", value)
            if bits >> 23 & 0xFF in (0, 255) and bits << 1 & 0xFFFFFFFF:  # subnormal, infinite or no number
                return f"__uint_as_float({number_text(bits)})"
            shown = f"{struct.unpack('<f', struct.pack('<f', value))[0]:.9g}"
            shown = shown if any(sign in shown for sign in ".e") else f"{shown}.0"
            return f"({shown}f)" if shown[0] == "-" else f"{shown}f"

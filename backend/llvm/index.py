"""Scalar index expressions as LLVM IR on i64.

    code = IndexCode({m: "%m"}, prefix="e")
    rows = code.value(ceildiv(m, 16))       # the name of a value
    code.lines                              # the instructions that compute it

Division and remainder round down, as in Python. Nothing here traps or is undefined: where a divisor that is not known
to be nonzero turns out to be 0 the result is that of dividing by 1, and shift counts are taken modulo 64. (Such values
are computed, but not used: a `select` computes both of its sides.) Sums and products wrap around at 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from ...vm.expr import Binary, Const, Expr, Select, Var

__all__ = ["IndexCode", "IndexError64", "emit_expr"]

_PLAIN = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_COMPARE = {"lt": "slt", "le": "sle", "eq": "eq", "ne": "ne"}


class IndexError64(ValueError):
    """An expression uses a variable for which no value was given."""


def emit_expr(e: Expr, env: Mapping[Var, str], prefix: str = "e") -> tuple[list[str], str]:
    """(instructions, value): the text that computes the expression, and the name or number of its value.

    `env` names the i64 value of each variable. Names made here are %<prefix>0, %<prefix>1 and so on.
    """
    code = IndexCode(env, prefix)
    value = code.value(e)
    return code.lines, value


class IndexCode:
    """Instructions for several expressions that share what they have in common.

    `env` may grow between calls. `lines` may be taken away between calls, as long as the instructions keep their order
    and each place that uses a value is reached only through the place that computes it.
    """

    def __init__(self, env: Mapping[Var, str], prefix: str = "e") -> None:
        self.lines: list[str] = []
        self._env = env
        self._prefix = prefix
        self._count = 0
        self._known: dict[Expr, str] = {}

    def value(self, e: Expr) -> str:
        """The name (or, of a constant, the number) of the expression's value, an i64."""
        match e:
            case Const(number):
                return str(number)
            case Var() as var:
                if var not in self._env:
                    raise IndexError64(f"variable {var.name} has no value here; give one in the environment")
                return self._env[var]
            case Binary() | Select():
                if e not in self._known:
                    self._known[e] = self._select(e) if isinstance(e, Select) else self._binary(e)
                return self._known[e]
            case unreachable:
                assert_never(unreachable)

    def _add(self, text: str) -> str:
        name = f"%{self._prefix}{self._count}"
        self._count += 1
        self.lines.append(f"  {name} = {text}")
        return name

    def _select(self, e: Select) -> str:
        condition, yes, no = (self.value(part) for part in (e.condition, e.yes, e.no))
        truth = self._add(f"icmp ne i64 {condition}, 0")
        return self._add(f"select i1 {truth}, i64 {yes}, i64 {no}")

    def _binary(self, e: Binary) -> str:
        x, y = self.value(e.x), self.value(e.y)
        match e.kind:
            case "add" | "sub" | "mul" | "and" | "or" | "xor":
                return self._add(f"{_PLAIN[e.kind]} i64 {x}, {y}")
            case "lt" | "le" | "eq" | "ne":
                truth = self._add(f"icmp {_COMPARE[e.kind]} i64 {x}, {y}")
                return self._add(f"zext i1 {truth} to i64")
            case "min" | "max":
                first = self._add(f"icmp {'slt' if e.kind == 'min' else 'sgt'} i64 {x}, {y}")
                return self._add(f"select i1 {first}, i64 {x}, i64 {y}")
            case "shl" | "shr":
                count = y if e.y.facts.within(0, 63) else self._add(f"and i64 {y}, 63")
                return self._add(f"{'shl' if e.kind == 'shl' else 'ashr'} i64 {x}, {count}")
            case "floordiv":
                return self._floordiv(e, x, y)
            case "mod":
                return self._mod(e, x, y)
            case unreachable:
                assert_never(unreachable)

    def _floordiv(self, e: Binary, x: str, y: str) -> str:
        if (shift := _log2(e.y)) is not None:
            return self._add(f"ashr i64 {x}, {shift}")
        if not _positive(e.y):
            return self._floordiv_any(x, y)
        if _natural(e.x):
            return self._add(f"udiv i64 {x}, {y}")
        quotient = self._add(f"sdiv i64 {x}, {y}")
        below = self._add(f"icmp slt i64 {self._remainder(x, y, quotient)}, 0")
        return self._add(f"add i64 {quotient}, {self._add(f'sext i1 {below} to i64')}")

    def _mod(self, e: Binary, x: str, y: str) -> str:
        if _log2(e.y) is not None:
            return self._add(f"and i64 {x}, {int(y) - 1}")
        if not _positive(e.y):
            quotient = self._floordiv_any(x, y)
            return self._remainder(x, self._divisor(y), quotient)
        if _natural(e.x):
            return self._add(f"urem i64 {x}, {y}")
        rest = self._add(f"srem i64 {x}, {y}")
        below = self._add(f"icmp slt i64 {rest}, 0")
        return self._add(f"add i64 {rest}, {self._add(f'select i1 {below}, i64 {y}, i64 0')}")

    def _divisor(self, y: str) -> str:
        """The divisor, or 1 in place of 0."""
        zero = self._add(f"icmp eq i64 {y}, 0")
        return self._add(f"select i1 {zero}, i64 1, i64 {y}")

    def _remainder(self, x: str, y: str, quotient: str) -> str:
        return self._add(f"sub i64 {x}, {self._add(f'mul i64 {quotient}, {y}')}")

    def _floordiv_any(self, x: str, y: str) -> str:
        """x // y for a divisor of any sign. The processor traps on the smallest number / -1, so -1 is done apart."""
        nonzero = self._divisor(y)
        minus = self._add(f"icmp eq i64 {nonzero}, -1")
        divisor = self._add(f"select i1 {minus}, i64 1, i64 {nonzero}")
        quotient = self._add(f"sdiv i64 {x}, {divisor}")
        rest = self._remainder(x, divisor, quotient)
        inexact = self._add(f"icmp ne i64 {rest}, 0")
        opposite = self._add(f"icmp slt i64 {self._add(f'xor i64 {rest}, {divisor}')}, 0")
        lower = self._add(f"sext i1 {self._add(f'and i1 {inexact}, {opposite}')} to i64")
        floor = self._add(f"add i64 {quotient}, {lower}")
        return self._add(f"select i1 {minus}, i64 {self._add(f'sub i64 0, {x}')}, i64 {floor}")


def _log2(e: Expr) -> int | None:
    """k where the expression is the constant 2**k, else None."""
    if isinstance(e, Const) and e.value > 0 and e.value & (e.value - 1) == 0:
        return e.value.bit_length() - 1
    return None


def _positive(e: Expr) -> bool:
    return e.facts.low is not None and e.facts.low > 0


def _natural(e: Expr) -> bool:
    return e.facts.low is not None and e.facts.low >= 0

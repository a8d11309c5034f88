"""`assume(...)` at the top of a kernel: facts about sizes, and conditions that every call must meet.

`K % 64 == 0`, `n >= 1` and `n <= 16` become facts of the variable, which the compiler uses. Any other condition is only
required.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import lcm

from ...vm.diagnostic import Span
from ...vm.expr import Binary, Const, Expr, Var
from .. import syntax
from .block import Builder
from .expression import evaluate
from .operators import truth
from .scope import Mistake
from .values import as_constant


@dataclass
class Assumed:
    """What the text and the caller say of sizes."""

    multiples: dict[str, int] = field(default_factory=dict)
    lows: dict[str, int] = field(default_factory=dict)
    highs: dict[str, int] = field(default_factory=dict)
    others: list[syntax.Expression] = field(default_factory=list)

    def of(self, name: str, default_low: int | None) -> tuple[int | None, int | None, int]:
        low = self.lows.get(name, default_low)
        if low is not None and default_low is not None:
            low = max(low, default_low)
        return low, self.highs.get(name), self.multiples.get(name, 1)


def size_facts(
    kernel: syntax.Kernel, symbols: Mapping[str, Span], multiples: Mapping[str, int], b: Builder
) -> tuple[Assumed, tuple[syntax.Statement, ...]]:
    """The facts, and the statements after the leading calls of `assume`."""
    assumed = Assumed()
    for name, multiple in multiples.items():
        if name not in symbols or multiple < 1:
            message = f"multiples[{name!r}] = {multiple} says nothing about a size of {kernel.name}"
            b.problems.add(message, f"name one of {', '.join(symbols)} and a divisor of at least 1", kernel.header)
            continue
        assumed.multiples[name] = multiple
    count = 0
    for statement in kernel.body:
        if not (
            isinstance(statement, syntax.ExprStatement)
            and isinstance(statement.value, syntax.Call)
            and statement.value.function == syntax.Name("assume")
        ):
            break
        count += 1
        with b.statement():
            _assume(statement.value, symbols, assumed, b)
    return assumed, kernel.body[count:]


def _assume(call: syntax.Call, symbols: Mapping[str, Span], assumed: Assumed, b: Builder) -> None:
    if len(call.arguments) != 1 or call.keywords:
        raise Mistake("assume takes one condition", "write assume(K % 64 == 0)", call.span)
    match call.arguments[0]:
        case syntax.Compare(syntax.Binary("%", syntax.Name(name), by), ("==",), (syntax.Number(0),)) if name in symbols:
            divisor = as_constant(evaluate(by, b), by.span, "the divisor")
            if divisor < 1:
                raise Mistake(f"a size is no multiple of {divisor}", "assume a divisor of at least 1", by.span)
            assumed.multiples[name] = lcm(assumed.multiples.get(name, 1), divisor)
        case syntax.Compare(syntax.Name(name), (">=",), (limit,)) if (
            name in symbols and _constant(limit, b) is not None
        ):
            assumed.lows[name] = max(_constant(limit, b) or 0, assumed.lows.get(name, -(2**63)))
        case syntax.Compare(syntax.Name(name), ("<=",), (limit,)) if (
            name in symbols and _constant(limit, b) is not None
        ):
            assumed.highs[name] = min(_constant(limit, b) or 0, assumed.highs.get(name, 2**63 - 1))
        case other:
            assumed.others.append(other)


def _constant(node: syntax.Expression, b: Builder) -> int | None:
    try:
        value = evaluate(node, b)
    except Mistake:
        return None
    return value.value if isinstance(value, Const) else None


def requirement(var: Var, scalar: bool) -> list[tuple[Expr, str]]:
    """What every call must meet for a variable's facts to hold, not folded: folding would use them."""
    found: list[tuple[Expr, str]] = []
    if var.multiple != 1:
        mod = Binary("mod", var, Const(var.multiple))
        found.append((Binary("eq", mod, Const(0)), f"{var.name} % {var.multiple} == 0"))
    if var.low not in (None, 0) or (var.low == 0 and scalar):
        found.append((Binary("le", Const(var.low or 0), var), f"{var.name} >= {var.low}"))
    if var.high is not None:
        found.append((Binary("le", var, Const(var.high)), f"{var.name} <= {var.high}"))
    return found


def generic_requirements(assumed: Assumed, b: Builder) -> list[tuple[Expr, str]]:
    """The other conditions, now that the sizes are known names."""
    found: list[tuple[Expr, str]] = []
    for node in assumed.others:
        with b.statement():
            test = truth(evaluate(node, b), b, node.span, "an assumption")
            if isinstance(test, Const) and not test.value:
                raise Mistake("this never holds", "change the assumption, or the parameters", node.span)
            if not isinstance(test, Const):
                found.append((test, str(test)))
    return found

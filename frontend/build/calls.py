"""Calls: which function, and which argument goes where.

A function is a row of data (`Function`) and a Python function over its `Arguments`; `functions.py` lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from ...vm.diagnostic import Span
from ...vm.dtypes import DType
from ...vm.expr import Expr
from ...vm.ir import Array, Shared, Value
from ...vm.layout.relation import Layout
from .. import syntax
from .block import Builder
from .scope import Entity, Mistake, Nothing
from .values import (
    as_constant,
    as_dtype,
    as_expr,
    as_flag,
    as_indices,
    as_layout,
    as_memory,
    as_shape,
    as_text,
    as_tile,
)

Evaluate = Callable[[syntax.Expression, Builder], Entity]


@dataclass(frozen=True)
class Function:
    """One function of the language: names of the arguments it must have, may have, and may have by name only.

    `rest`: any number of further arguments is taken.
    """

    name: str
    run: Callable[[Arguments], Entity]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    rest: bool = False

    @property
    def usage(self) -> str:
        """How it is called: `load(source, at, shape, other=…, layout=…)`."""
        parts = [*self.required, *(["…"] if self.rest else []), *(f"{n}=…" for n in (*self.optional, *self.named))]
        return f"{self.name}({', '.join(parts)})"


class Arguments:
    """The arguments of one call, by name, with readers that say what is wrong with the one that is asked for."""

    def __init__(self, b: Builder, function: Function, span: Span) -> None:
        self.b = b
        self.function = function
        self.span = span
        self.given: dict[str, Entity] = {}
        self.spans: dict[str, Span] = {}
        self.rest: list[tuple[Entity, Span]] = []

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def what(self, name: str) -> str:
        return f"`{name}` of {self.function.name}"

    def where(self, name: str) -> Span:
        return self.spans.get(name, self.span)

    def any(self, name: str) -> Entity:
        return self.given[name]

    def tile(self, name: str) -> Value:
        return as_tile(self.given[name], self.b, self.spans[name], self.what(name))

    def memory(self, name: str) -> Array | Shared:
        return as_memory(self.given[name], self.spans[name], self.what(name))

    def array(self, name: str) -> Array:
        found = self.memory(name)
        if isinstance(found, Array):
            return found
        raise Mistake(f"{self.what(name)} must be an array, not a shared tile", "give a parameter", self.spans[name])

    def expr(self, name: str) -> Expr:
        return as_expr(self.given[name], self.spans[name], self.what(name))

    def constant(self, name: str, default: int = 0) -> int:
        if name not in self.given:
            return default
        return as_constant(self.given[name], self.spans[name], self.what(name))

    def flag(self, name: str, default: bool = False) -> bool:
        return as_flag(self.given[name], self.spans[name], self.what(name)) if name in self.given else default

    def text(self, name: str, default: str = "") -> str:
        return as_text(self.given[name], self.spans[name], self.what(name)) if name in self.given else default

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """One of a few words."""
        found = self.text(name, default)
        if found in choices:
            return found
        near = get_close_matches(found, choices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(map(repr, choices))}"
        raise Mistake(f"{self.what(name)} cannot be {found!r}", hint, self.spans[name])

    def dtype(self, name: str) -> DType:
        return as_dtype(self.given[name], self.spans[name], self.what(name))

    def shape(self, name: str) -> tuple[int, ...]:
        return as_shape(self.given[name], self.spans[name], self.what(name))

    def indices(self, name: str) -> tuple[Expr, ...]:
        return as_indices(self.given[name], self.spans[name], self.what(name))

    def layout(self, name: str) -> Layout | None:
        return as_layout(self.given[name], self.b, self.spans[name]) if name in self.given else None

    def nothing(self) -> Nothing:
        """The result of a call that is there for its effect."""
        return Nothing(self.function.name)


def call(node: syntax.Call, b: Builder, evaluate: Evaluate) -> Entity:
    """The meaning of `function(arguments)`."""
    function = _function(node, b)
    arguments = _bind(node, function, b, evaluate)
    return function.run(arguments)


def _function(node: syntax.Call, b: Builder) -> Function:
    from .functions import FUNCTIONS  # late: the functions evaluate, and expressions call functions

    target = node.function
    if not isinstance(target, syntax.Name):
        if isinstance(target, syntax.Attribute):
            hint = f"write it as a function: {target.name}(x)"
            raise Mistake(f"values have no methods, so there is no `.{target.name}(…)`", hint, target.span)
        raise Mistake("only functions can be called", "call a function by its name", target.span)
    name = target.name
    if name in FUNCTIONS and name not in b.scope.names:
        return FUNCTIONS[name]
    if name in b.scope.names:
        raise Mistake(f"`{name}` is no function", "only the language's own functions can be called", target.span)
    if name == "range":
        raise Mistake("`range` stands in a `for` only", "write `for i in range(...):`", target.span)
    if name == "tune":
        hint = "write it as the default of a compile-time parameter: `BM: int = tune(16, 32)`"
        raise Mistake("`tune` stands in the default of a parameter only", hint, target.span)
    if name in b.scope.poisoned:
        raise Mistake("", span=target.span, silent=True)
    near = get_close_matches(name, FUNCTIONS, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "a kernel can call the language's own functions only"
    raise Mistake(f"there is no function `{name}`", hint, target.span)


def _bind(node: syntax.Call, function: Function, b: Builder, evaluate: Evaluate) -> Arguments:
    result = Arguments(b, function, node.span)
    positional = (*function.required, *function.optional)
    hint = f"it is called as {function.usage}"
    for index, argument in enumerate(node.arguments):
        if index >= len(positional) and not function.rest:
            most = len(positional)
            message = f"{function.name} takes {most} argument{'s' * (most != 1)} by place, not {len(node.arguments)}"
            raise Mistake(message, hint, argument.span)
        value = _argument(argument, b, evaluate)
        if function.rest and index >= len(function.required):
            result.rest.append((value, argument.span))
        else:
            result.given[positional[index]], result.spans[positional[index]] = value, argument.span
    for keyword in node.keywords:
        if keyword.name not in (*positional, *function.named):
            near = get_close_matches(keyword.name, (*positional, *function.named), n=1)
            better = f"did you mean `{near[0]}`? {hint}" if near else hint
            raise Mistake(f"{function.name} has no argument `{keyword.name}`", better, keyword.span)
        if keyword.name in result.given:
            raise Mistake(f"`{keyword.name}` of {function.name} is given twice", hint, keyword.span)
        result.given[keyword.name] = _argument(keyword.value, b, evaluate)
        result.spans[keyword.name] = keyword.value.span
    missing = [n for n in function.required if n not in result.given]
    if missing:
        names = " and ".join(f"`{n}`" for n in missing)
        raise Mistake(f"{function.name} needs {names}", hint, node.span)
    return result


def _argument(node: syntax.Expression, b: Builder, evaluate: Evaluate) -> Entity:
    value = evaluate(node, b)
    if isinstance(value, Nothing):
        raise Mistake(f"`{value.function}` gives no value", "write it as a statement of its own", node.span)
    return value

"""Compile-time parameters: what the text says of them, what the caller gives, and which of them a session may tune."""

from __future__ import annotations

from collections.abc import Mapping

from ...vm.diagnostic import Diagnostic, Problems
from ...vm.dtypes import DType, dtype
from ...vm.expr import Const
from ...vm.layout.relation import Layout
from ...vm.layout.storage import Tiled
from ...vm.layout.text import layout as parse_layout
from .. import syntax
from .block import Builder
from .expression import evaluate
from .scope import DTYPES, Entity, Mistake, Storage, describe
from .statements import check_name

ParameterValue = int | float | bool | str | DType | Layout | Tiled

_KINDS = ("dtype", "int", "float", "bool", "str", "layout")


def bind_compile_time(kernel: syntax.Kernel, given: Mapping[str, ParameterValue], b: Builder) -> None:
    """Bind each compile-time parameter to what the caller gives, or to its default (the first choice of a `tune`)."""
    for param in kernel.compile_params:
        with b.statement():
            b.scope.poison([param.name])
            check_name(param)
            kind = _kind(param)
            if param.name in given:
                b.scope.bind(param.name, _convert(given[param.name], kind, param))
                continue
            choices = _choices(param, b)
            if not choices:
                hint = f"give it: {param.name}={_example(kind)}"
                raise Mistake(f"the parameter `{param.name}` of {kernel.name} has no value", hint, param.span)
            b.scope.bind(param.name, choices[0])


def tunables(kernel: syntax.Kernel) -> dict[str, tuple[ParameterValue, ...]]:
    """The parameters that a session may search, each with its choices, the default first."""
    found = {}
    for param, choices in _all_choices(kernel):
        if _is_tune(param.default):
            found[param.name] = tuple(_public(c) for c in choices)
    return found


def defaults(kernel: syntax.Kernel) -> dict[str, ParameterValue]:
    """The value of each parameter that need not be given.

    Defaults that depend on parameters without one are left out.
    """
    return {
        param.name: _public(choices[0])
        for param, choices in _all_choices(kernel)
        if choices and not isinstance(choices[0], Storage)
    }


def _all_choices(kernel: syntax.Kernel) -> list[tuple[syntax.Param, tuple[Entity, ...]]]:
    b = Builder(problems=Problems())
    found = []
    required = {p.name for p in kernel.compile_params if p.default is None}
    for param in kernel.compile_params:
        b.scope.poison([param.name])
        if param.default is None or _uses(param.default, required):
            required.add(param.name)
            continue
        with b.statement():
            choices = _choices(param, b)
            b.scope.bind(param.name, choices[0])
            found.append((param, choices))
    b.problems.raise_if_any()
    return found


def _uses(node: syntax.Expression, names: set[str]) -> bool:
    return any(isinstance(n, syntax.Name) and n.name in names for n in syntax.walk(node))


def _is_tune(node: syntax.Expression | None) -> bool:
    return isinstance(node, syntax.Call) and node.function == syntax.Name("tune")


def _kind(param: syntax.Param) -> str:
    if isinstance(param.annotation, syntax.Name) and param.annotation.name in _KINDS:
        return param.annotation.name
    hint = f"use one of {', '.join(_KINDS)}; arrays and scalars stand before the `*`"
    raise Mistake(f"this is no kind of compile-time parameter for `{param.name}`", hint, param.annotation.span)


def _choices(param: syntax.Param, b: Builder) -> tuple[Entity, ...]:
    """The default, or the choices of a `tune`; empty if there is none."""
    kind, node = _kind(param), param.default
    if node is None:
        return ()
    nodes: tuple[syntax.Expression, ...] = (node,)
    if isinstance(node, syntax.Call) and _is_tune(node):
        if node.keywords or not node.arguments:
            raise Mistake("tune lists choices", "for example tune(16, 32, 64)", node.span)
        nodes = node.arguments
    choices: list[Entity] = []
    for each in nodes:
        found = evaluate(each, b)
        value = _of_kind(found, kind, b, each)
        if value is None:
            message = f"`{param.name}` is declared {kind}, but this is {describe(found)}"
            raise Mistake(message, f"for example {param.name}: {kind} = {_example(kind)}", each.span)
        if value in choices:
            raise Mistake("a choice of tune is listed twice", "remove one", each.span)
        choices.append(value)
    return tuple(choices)


def _of_kind(value: Entity, kind: str, b: Builder, node: syntax.Expression) -> Entity | None:
    """The value as the parameter's kind; None if it is of another kind."""
    match kind:
        case "int":
            return value if isinstance(value, Const) else None
        case "float":
            return float(value.value) if isinstance(value, Const) else value if isinstance(value, float) else None
        case "bool":
            return value if isinstance(value, bool) else None
        case "str":
            return value if isinstance(value, str) else None
        case "dtype":
            return value if isinstance(value, DTYPES) else None
    if isinstance(value, str):
        with b.checked(node.span):
            return _storage_text(value)
    return value if isinstance(value, Layout | Tiled | Storage) else None


def _convert(value: ParameterValue, kind: str, param: syntax.Param) -> Entity:
    """What the caller gave, as the parameter's kind; texts name dtypes and layouts."""
    found: Entity | None = None
    try:
        if kind == "dtype" and isinstance(value, (str, *DTYPES)):
            found = dtype(value)
        elif kind == "layout" and isinstance(value, str):
            found = _storage_text(value)
        elif isinstance(value, Layout | Tiled):
            found = value if kind == "layout" else None
        elif isinstance(value, bool | str):
            found = value if kind == type(value).__name__ else None
        elif kind == "int" and isinstance(value, int):
            found = Const(value)
        elif kind == "float" and isinstance(value, int | float):
            found = float(value)
    except (ValueError, Diagnostic, Mistake) as error:
        hint = f"give {param.name}={_example(kind)}, for example"
        problem = error.problems[0].message if isinstance(error, Diagnostic) else str(error)
        raise Mistake(f"{param.name}={value!r}: {problem}", hint, param.span) from error
    if found is None:
        message = f"`{param.name}` is declared {kind}, but the value given is {value!r}"
        raise Mistake(message, f"give {param.name}={_example(kind)}, for example", param.span)
    return found


def _storage_text(text: str) -> Entity:
    """A layout, or `tiled(...)` whose planes may wait for the dtype."""
    if not text.strip().startswith("tiled("):
        return parse_layout(text)
    from ..parse import parse

    statement = parse(f"def storage():\n    it = {text.strip()}\n").kernels[0].body[0]
    assert isinstance(statement, syntax.Assign)
    return evaluate(statement.value, Builder())


def _public(value: Entity) -> ParameterValue:
    if isinstance(value, Const):
        return value.value
    if isinstance(value, Storage):
        planes = "" if value.planes is None else f", planes={value.planes}"
        unit = f", unit={value.unit}" if value.unit else ""
        fields = f", fields={value.fields}" if value.fields else ""
        return f'tiled("{value.tile}", container={value.container}{planes}{unit}{fields}, vector={value.vector})'
    assert isinstance(value, (int, float, str, *DTYPES, Layout, Tiled)), "choices are of these kinds"
    return value


def _example(kind: str) -> str:
    examples = {"dtype": "u4", "int": "64", "float": "1.0", "bool": "True", "str": '"x"'}
    return examples.get(kind, '"spatial(8, 4)"')

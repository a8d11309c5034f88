"""A signature as a value of JSON, and back: how artifacts and the cache keep it.

Expressions are text, as the language writes them; a size is told by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from ..vm.expr import Expr, ExprError, Var
from ..vm.expr_parse import parse_expr
from .signature import Argument, ArrayArgument, ScalarArgument, Signature, SignatureError

__all__ = ["FieldError", "Json", "field", "signature_json", "signature_of_json"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

T = TypeVar("T")


class FieldError(ValueError):
    """A value of JSON that lacks a field, or has one of another kind than it should."""


def field(value: Mapping[str, Json], name: str, kind: type[T]) -> T:
    """A field of an object, which must be of that kind."""
    found = value.get(name)
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise FieldError(f"{name!r} is missing, or no {kind.__name__}")
    return found


def signature_json(signature: Signature) -> dict[str, Json]:
    """The signature as JSON; SignatureError where it does not come back as it was (sizes of the same name)."""
    result: dict[str, Json] = {
        "arguments": [_argument_json(a) for a in signature.arguments],
        "sizes": [{"name": v.name, "low": v.low, "high": v.high, "multiple": v.multiple} for v in signature.sizes],
        "grid": [str(e) for e in signature.grid],
        "requirements": [{"condition": str(e), "message": message} for e, message in signature.checks],
        "explicit": [v.name for v in signature.explicit],
        "failures": list(signature.failures),
    }
    if len({v.name for v in signature.sizes}) != len(signature.sizes):
        raise SignatureError("two sizes have the same name, so they cannot be told apart in a file: rename one")
    try:
        signature_of_json(result)
    except ExprError as error:
        raise SignatureError(f"a size has a name that cannot stand in a file: {error}") from error
    return result


def _argument_json(a: Argument) -> Json:
    if isinstance(a, ScalarArgument):
        return {"name": a.name, "kind": a.kind}
    return {
        "name": a.name, "kind": "array", "dtypes": [list(code) for code in a.codes], "dims": [str(e) for e in a.dims],
        "flat": a.flat, "nbytes": str(a.nbytes), "writable": a.writable, "align": a.align,
    }  # fmt: skip


def signature_of_json(value: Mapping[str, Json]) -> Signature:
    """The signature that was written; FieldError, ExprError or SignatureError where the value is none."""
    sizes = tuple(_size(v) for v in _objects(value, "sizes"))
    names = {v.name: v for v in sizes}
    checks = [(field(c, "condition", str), field(c, "message", str)) for c in _objects(value, "requirements")]
    explicit = _strings(value, "explicit")
    if unknown := [name for name in explicit if name not in names]:
        raise FieldError(f"'explicit' names {unknown[0]!r}, which is no size")
    return Signature(
        tuple(_argument(a, names) for a in _objects(value, "arguments")),
        sizes,
        tuple(parse_expr(e, names) for e in _strings(value, "grid")),
        tuple((parse_expr(e, names), message) for e, message in checks),
        tuple(names[name] for name in explicit),
        tuple(_strings(value, "failures")),
    )


def _size(value: Mapping[str, Json]) -> Var:
    low, high = (None if value.get(end) is None else field(value, end, int) for end in ("low", "high"))
    return Var(field(value, "name", str), low, high, field(value, "multiple", int))


def _argument(value: Mapping[str, Json], names: Mapping[str, Var]) -> Argument:
    name, kind = field(value, "name", str), field(value, "kind", str)
    if kind == "int":
        return ScalarArgument(name, "int")
    if kind == "float":
        return ScalarArgument(name, "float")
    if kind != "array":
        raise FieldError(f"the argument {name} is of a kind {kind!r} that is not known")
    dims: list[Expr] = [parse_expr(e, names) for e in _strings(value, "dims")]
    nbytes = parse_expr(field(value, "nbytes", str), names)
    flat, writable = field(value, "flat", bool), field(value, "writable", bool)
    return ArrayArgument(name, _codes(value), tuple(dims), flat, nbytes, writable, field(value, "align", int))


def _codes(value: Mapping[str, Json]) -> tuple[tuple[int, int], ...]:
    found = []
    for pair in field(value, "dtypes", list):
        match pair:
            case [int(code), int(bits)]:
                found.append((code, bits))
            case _:
                raise FieldError("'dtypes' must hold pairs of DLPack's type code and bits")
    return tuple(found)


def _strings(value: Mapping[str, Json], name: str) -> list[str]:
    found = field(value, name, list)
    if not all(isinstance(item, str) for item in found):
        raise FieldError(f"{name!r} must hold texts only")
    return found


def _objects(value: Mapping[str, Json], name: str) -> list[dict[str, Json]]:
    found = field(value, name, list)
    if not all(isinstance(item, dict) for item in found):
        raise FieldError(f"{name!r} must hold objects only")
    return found

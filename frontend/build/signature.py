"""The parameters of a kernel: compile-time values, then arrays and scalars, then what may be assumed of the sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from ...vm.diagnostic import Span
from ...vm.dtypes import DType, Float
from ...vm.expr import Const, Expr, Var, lift
from ...vm.ir import Array, Parameter, TileType, Value
from ...vm.layout.storage import Tiled
from ...vm.vocabulary import looks_like_dtype
from .. import syntax
from .assume import Assumed, generic_requirements, requirement, size_facts
from .block import MAX_RANK, Builder
from .expression import evaluate
from .parameters import ParameterValue, bind_compile_time
from .scope import DTYPES, Entity, Mistake, Storage, describe
from .statements import check_name
from .values import as_expr

MAX_PARAMETERS = 64


@dataclass
class Signature:
    """What the parameters and the assumptions of a kernel came to."""

    parameters: list[Parameter] = field(default_factory=list)
    sizes: list[Var] = field(default_factory=list)
    requirements: tuple[tuple[Expr, str], ...] = ()
    body: tuple[syntax.Statement, ...] = ()


def read_signature(
    kernel: syntax.Kernel, given: Mapping[str, ParameterValue], multiples: Mapping[str, int], b: Builder
) -> Signature:
    """Binds every parameter and size in the scope. What is wrong goes to the builder's problems."""
    result = Signature()
    if len(kernel.params) + len(kernel.compile_params) > MAX_PARAMETERS:
        hint = f"a kernel takes at most {MAX_PARAMETERS}"
        b.problems.add("there are too many parameters", hint, kernel.header)
    bind_compile_time(kernel, given, b)
    symbols = _symbols(kernel, b)
    assumed, result.body = size_facts(kernel, symbols, multiples, b)
    _check_given(kernel, given, symbols, b)
    variables: dict[str, Var] = {}
    for name, span in symbols.items():
        if name in given and not _is_scalar_int(kernel, name):
            _fix(name, given[name], assumed, span, b)
            continue
        low, high, multiple = assumed.of(name, default_low=None if _is_scalar_int(kernel, name) else 0)
        try:
            with b.checked(span):
                variables[name] = Var(name, low, high, multiple)
        except Mistake as mistake:
            b.report(mistake)
            b.scope.poison([name])
            continue
        b.scope.bind(name, variables[name])
        if not _is_scalar_int(kernel, name):
            result.sizes.append(variables[name])
    for param in kernel.params:
        try:
            check_name(param)
            bound = _parameter(param, variables, b)
        except Mistake as mistake:
            b.report(mistake)
            b.scope.poison([param.name])
            continue
        result.parameters.append(bound)
        b.scope.bind(param.name, bound)
    facts = [r for var in variables.values() for r in requirement(var, scalar=_is_scalar_int(kernel, var.name))]
    result.requirements = (*facts, *generic_requirements(assumed, b))
    return result


# Sizes


def _is_scalar_int(kernel: syntax.Kernel, name: str) -> bool:
    return any(p.name == name and p.annotation == syntax.Name("int") for p in kernel.params)


def _symbols(kernel: syntax.Kernel, b: Builder) -> dict[str, Span]:
    """The names that stand for sizes, in the order of the text, and scalar integers; each with its place.

    A size must stand alone somewhere, or no call could tell what it is.
    """
    found: dict[str, Span] = {}
    alone: set[str] = set()
    for param in kernel.params:
        if param.annotation == syntax.Name("int"):
            found.setdefault(param.name, param.span)
            alone.add(param.name)
    for param in kernel.params:
        for entry in _shape_entries(param.annotation):
            if isinstance(entry, syntax.Name):
                alone.add(entry.name)
            for node in syntax.walk(entry):
                if isinstance(node, syntax.Name) and _is_symbol(node.name, entry, b):
                    found.setdefault(node.name, node.span)
    for name, span in found.items():
        if name not in alone:
            hint = "let it stand alone in the shape of some array, or pass it: `n: int`"
            b.problems.add(f"the size `{name}` cannot be read off any array", hint, span)
    return found


def _shape_entries(annotation: syntax.Expression) -> Iterator[syntax.Expression]:
    if isinstance(annotation, syntax.Binary) and annotation.op == "@":
        yield from _shape_entries(annotation.left)
    elif isinstance(annotation, syntax.Subscript):
        yield from (e for e in annotation.indices if not isinstance(e, syntax.Slice))


def _is_symbol(name: str, entry: syntax.Expression, b: Builder) -> bool:
    if name in b.scope.names or name in b.scope.poisoned:
        return False
    called = [n.function for n in syntax.walk(entry) if isinstance(n, syntax.Call)]
    return syntax.Name(name) not in called


def _fix(name: str, value: ParameterValue, assumed: Assumed, span: Span, b: Builder) -> None:
    """A size that the caller fixed when compiling."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        b.problems.add(
            f"the size `{name}` is an integer of at least 0, not {value!r}", f"for example {name}=4096", span
        )
        b.scope.poison([name])
        return
    low, high, multiple = assumed.of(name, default_low=0)
    if value % multiple or (low is not None and value < low) or (high is not None and value > high):
        message = f"{name}={value} contradicts what the kernel assumes of `{name}`"
        b.problems.add(message, "give another size, or change the `assume`", span)
    b.scope.bind(name, lift(value))


def _check_given(
    kernel: syntax.Kernel, given: Mapping[str, ParameterValue], symbols: Mapping[str, Span], b: Builder
) -> None:
    known = [p.name for p in kernel.compile_params] + [s for s in symbols if not _is_scalar_int(kernel, s)]
    for name in given:
        if name in known:
            continue
        if any(p.name == name for p in kernel.params):
            hint = "parameters before the `*` are given when the kernel is called"
            b.problems.add(f"`{name}` is no compile-time parameter of {kernel.name}", hint, kernel.header)
            continue
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(known) or 'none'}"
        b.problems.add(f"{kernel.name} has no compile-time parameter `{name}`", hint, kernel.header)


# Arrays and scalars


def _parameter(param: syntax.Param, variables: Mapping[str, Var], b: Builder) -> Parameter:
    annotation = param.annotation
    storage: syntax.Expression | None = None
    match annotation:
        case syntax.Binary("@", array, stored):
            annotation, storage = array, stored
    if isinstance(annotation, syntax.Subscript):
        return _array(param.name, annotation, storage, b)
    if storage is not None:
        raise Mistake("only arrays have storage", "write `w: u3[K, N] @ layout`", param.span)
    if annotation == syntax.Name("int"):
        if param.name not in variables:
            raise Mistake("", span=param.span, silent=True)
        return variables[param.name]
    if isinstance(annotation, syntax.Name) and annotation.name in ("dtype", "layout", "bool", "str", "float"):
        hint = "use f32 for a number" if annotation.name == "float" else "put it after `*`"
        message = f"`{annotation.name}` is for compile-time parameters; a call passes arrays, integers and floats"
        raise Mistake(message, hint, annotation.span)
    kind = _dtype(annotation, b)
    if not (isinstance(kind, Float) and kind.name in ("f16", "bf16", "f32")):
        hint = "write `int` for an integer, f32 for a number, `x: u8[N]` for an array"
        raise Mistake(f"`{param.name}` cannot be a single {kind}", hint, annotation.span)
    return Value(param.name, TileType(kind, ()))


def _dtype(node: syntax.Expression, b: Builder) -> DType:
    if isinstance(node, syntax.Name) and not looks_like_dtype(node.name) and node.name not in b.scope.names:
        try:
            found = b.scope.find(node.name, node.span)
        except Mistake as mistake:
            if mistake.silent:
                raise
            hint = f"write a name such as f16 or u3, or a parameter: `*, {node.name}: dtype`"
            raise Mistake(f"`{node.name}` is no dtype", hint, node.span) from mistake
    else:
        found = evaluate(node, b)
    if isinstance(found, DTYPES):
        return found
    raise Mistake(f"the type of a parameter is a dtype, not {describe(found)}", "for example f16[M, K]", node.span)


def _array(name: str, annotation: syntax.Subscript, storage: syntax.Expression | None, b: Builder) -> Array:
    kind = _dtype(annotation.value, b)
    shape: list[Expr] = []
    for entry in annotation.indices:
        if isinstance(entry, syntax.Slice):
            raise Mistake("a shape lists sizes", "write f16[M, K]", entry.span)
        size = as_expr(evaluate(entry, b), entry.span, "a size")
        if isinstance(size, Const) and size.value < 1:
            raise Mistake(f"a size of `{name}` is {size}", "sizes are at least 1", entry.span)
        shape.append(size)
    if len(shape) > MAX_RANK:
        raise Mistake(f"an array has at most {MAX_RANK} dimensions, not {len(shape)}", "flatten some", annotation.span)
    return Array(name, kind, tuple(shape), _storage(storage, kind, len(shape), b))


def _storage(node: syntax.Expression | None, kind: DType, rank: int, b: Builder) -> Tiled | None:
    if node is None:
        return None
    found: Entity = evaluate(node, b)
    if isinstance(found, Storage):
        with b.checked(node.span):
            found = found.of(kind)
    if not isinstance(found, Tiled):
        message = f"the storage of an array is tiled(…), not {describe(found)}"
        raise Mistake(message, 'for example tiled("local(32, 1) * spatial(1, 16)", container=8)', node.span)
    if found.packing.bits != kind.bits:
        message = f"the storage holds elements of {found.packing.bits} bits, {kind} has {kind.bits}"
        raise Mistake(message, "make the planes for this width, or leave them out", node.span)
    if len(found.tile_shape) != rank:
        message = f"the storage has tiles of {list(found.tile_shape)}, the array has {rank} dimensions"
        raise Mistake(message, "tile every dimension (with 1 where a tile is one element wide)", node.span)
    return found

"""The first lines of a program's text: its parameters, what is assumed of them, and its grid."""

from __future__ import annotations

from collections.abc import Callable

from .dtypes import Codebook, DType
from .expr import Const, Expr, Var, substitute
from .ir import Array, Let, Program, Shared, Value, walk
from .text_names import Names
from .text_op import pieces, quote

LINE = 120


def header(program: Program, names: Names, spell: Callable[[Expr], str]) -> list[str]:
    """The lines down to the grid. Parameters, sizes and blocks get their names; `spell` prints an expression."""
    for thing in (*program.parameters, *program.sizes):
        names.give(thing)
    name = program.name if program.name.isidentifier() else "kernel"
    parameters = [_parameter(p, names, spell) for p in program.parameters]
    books = [f"{names.dtype(c)}: dtype = {_codebook(c)}" for c in _codebooks(program, names)]
    parameters += ["*", *books] if books else []
    lines = _definition(name, parameters)
    if program.docstring:
        lines.append(f"    {quote(program.docstring)}")
    lines += [f"    assume({text})" for text in _assumed(program, names, spell)]
    if program.grid:
        blocks = ", ".join(names.give(b) for b in program.blocks)
        lanes = f", lanes={program.lanes}" if program.lanes is not None else ""
        lines.append(f"    {blocks} = grid({', '.join(spell(e) for e in program.grid)}{lanes})")
    return lines


def _definition(name: str, parameters: list[str]) -> list[str]:
    line = f"def {name}({', '.join(parameters)}):"
    if len(line) <= LINE:
        return [line]
    return [f"def {name}(", *(f"    {p}," for p in parameters), "):"]


def _parameter(parameter: Array | Value | Var, names: Names, spell: Callable[[Expr], str]) -> str:
    name = names.of(parameter)
    match parameter:
        case Array(_, kind, shape, storage):
            sizes = ", ".join(spell(e) for e in shape)
            return f"{name}: {names.dtype(kind)}[{sizes}]" + (f" @ {storage}" if storage is not None else "")
        case Value(_, kind):
            return f"{name}: {kind.dtype}"
        case _:
            return f"{name}: int"


def _codebooks(program: Program, names: Names) -> list[Codebook]:
    """The element types that have no name of their own, in the order of their first use."""
    kinds: list[DType] = [p.dtype for p in program.arrays]
    for statement in walk(program.body):
        if isinstance(statement, Let):
            for piece in pieces(statement.op):
                kinds += [piece] if isinstance(piece, DType) else [piece.dtype] if isinstance(piece, Shared) else []
    for kind in kinds:
        names.dtype(kind)
    return list(names.codebooks)


def _codebook(kind: Codebook) -> str:
    return f"codebook([{', '.join(map(repr, kind.values))}], {quote(kind.name)})"


def _assumed(program: Program, names: Names, spell: Callable[[Expr], str]) -> list[str]:
    """The facts of sizes and scalars, then the requirements that are none of these."""
    found: list[str] = []
    scalars = [p for p in program.parameters if isinstance(p, Var)]
    for var in (*scalars, *program.sizes):
        name = names.of(var)
        found += [f"{name} % {var.multiple} == 0"] if var.multiple != 1 else []
        if var.low is not None and (var.low or var in scalars):
            found.append(f"{name} >= {var.low}")
        found += [f"{name} <= {var.high}"] if var.high is not None else []
    folded = [substitute(e, names.variables) for e, _ in program.requirements]
    return found + [spell(e) for e in folded if not isinstance(e, Const)]

"""Hardware instructions of CPUs that the lane IR names, as a table.

Each row says what the instruction is called, which processors have it, what it takes and gives per lane, what it means
(in NumPy), what it costs, and how it is written for one vector.  Rows of one name mean the same; `select_row` takes the
cheapest that a target has.  A row that needs nothing always exists, so every atom works everywhere.

    dp4a_us(acc, a, b)   i32 acc + sum of a's four unsigned bytes times b's four signed ones; wraps, never saturates
    dp4a_ls              the same, for bytes of a that are below 128; any others may give anything
    dp4a_ss, dp4a_uu     the same with both signed, both unsigned
    dp2a_bf16(acc, a, b) f32 acc + the two bf16 products of two words; see `dp2a_bf16_meaning` for what is promised
"""

from __future__ import annotations

from collections.abc import Sequence

from ..target import Target
from . import atoms_arm, atoms_plain, atoms_x86
from .atom_row import Row
from .code import Code, Operand
from .shuffle import pieces

__all__ = ["ROWS", "Row", "emit_atom", "emit_row", "has_instruction", "select_row"]

ROWS: tuple[Row, ...] = (*atoms_arm.ROWS, *atoms_x86.ROWS, *atoms_plain.ROWS)


def select_row(target: Target, name: str) -> Row:
    """The cheapest row of that name that the target has; KeyError for a name that no row has."""
    rows = [row for row in ROWS if row.name == name and all(target.has(f) for f in row.features)]
    if not rows:
        raise KeyError(f"no atom is called {name!r}; there are {', '.join(sorted({row.name for row in ROWS}))}")
    return min(rows, key=lambda row: row.cost)


def has_instruction(target: Target, name: str) -> bool:
    """Whether the target does that atom by instructions of its own, rather than by those that any processor has."""
    return bool(select_row(target, name).features)


def emit_atom(code: Code, target: Target, name: str, operands: Sequence[Operand]) -> Operand:
    """The atom on vectors of any number of lanes, or on scalars."""
    row = select_row(target, name)
    return emit_row(code, target, row, operands)


def emit_row(code: Code, target: Target, row: Row, operands: Sequence[Operand]) -> Operand:
    if row.width == 0:
        return row.emit(code, target, operands)
    return pieces(code, operands, row.width, lambda xs: row.emit(code, target, xs))

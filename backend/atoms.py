"""Hardware instructions of any target, by name: the rows of the CPUs' table or of the GPUs'."""

from __future__ import annotations

from collections.abc import Mapping

from .cuda import atoms as cuda_atoms
from .lane.shared_meaning import SharedMeaning
from .lane.simulate import Meaning
from .llvm import atoms as llvm_atoms
from .target import Target

__all__ = ["has_instruction", "meanings", "select_row"]


def select_row(target: Target, name: str) -> llvm_atoms.Row | cuda_atoms.Row:
    """The cheapest row of that name that the target has; KeyError if it has none."""
    if target.kind == "cuda":
        return cuda_atoms.select_row(target, name)
    return llvm_atoms.select_row(target, name)


def has_instruction(target: Target, name: str) -> bool:
    """Whether the target does that atom by instructions of its own.

    Not so where it lacks the atom, or (a CPU) does it by instructions that any processor has.
    """
    if target.kind == "cuda":
        return name in cuda_atoms.rows_of(target)
    return any(row.name == name for row in llvm_atoms.ROWS) and llvm_atoms.has_instruction(target, name)


def meanings(target: Target) -> Mapping[str, Meaning | SharedMeaning]:
    """What each atom means (in NumPy), by name."""
    if target.kind == "cuda":
        return cuda_atoms.MEANINGS
    return {row.name: row.meaning for row in llvm_atoms.ROWS}

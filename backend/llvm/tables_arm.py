"""Look-ups in tables of up to four registers of 16 bytes: ARM's tbl, and tbx for what lies beyond."""

from __future__ import annotations

from collections.abc import Sequence

from .code import Code, Operand, literal

__all__ = ["WORDS", "bytes_by_tbl", "words_by_tbl"]

WORDS = 32  # longest table of words: its eight registers leave room for others; longer ones are read from memory


def words_by_tbl(code: Code, table: Sequence[int], index: Operand) -> Operand:
    """The table's entry at `index` modulo its length, in each of four lanes: the bytes 4 n + 0, 1, 2, 3."""
    first = code.number("mul", code.number("and", index, len(table) - 1), 0x04040404)
    places = code.recast(code.number("add", first, 0x03020100), "i8", 16)
    stored = [(word >> shift) & 0xFF for word in table for shift in (0, 8, 16, 24)]
    return code.recast(_found(code, stored, places), "i32", 4)


def bytes_by_tbl(code: Code, table: Sequence[int], word: Operand) -> Operand:
    """Each byte of four words replaced by the table's entry at that byte modulo the table's length."""
    places = code.recast(code.byte_source(word), "i8", 16)
    if len(table) < 256:
        places = code.number("and", places, len(table) - 1)
    return code.recast(_found(code, table, places), "i32", 4)


def _found(code: Code, table: Sequence[int], places: Operand) -> Operand:
    """64 bytes at a time: an index past them keeps what was found before, or gives 0."""
    stored = [*table, *[0] * (-len(table) % 16)]
    result: Operand | None = None
    for start in range(0, len(stored), 64):
        rows = [literal(stored[k : k + 16], "i8") for k in range(start, min(start + 64, len(stored)), 16)]
        if result is None:
            result = code.call(f"llvm.aarch64.neon.tbl{len(rows)}.v16i8", "i8", 16, *rows, places)
            continue
        rest = code.number("sub", places, start)
        result = code.call(f"llvm.aarch64.neon.tbx{len(rows)}.v16i8", "i8", 16, result, *rows, rest)
    assert result is not None
    return result

"""Lookup and LookupBytes: constant tables, in vector registers where an instruction permutes them, else in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from ..target import Target
from .code import Code, Operand, literal, splat
from .shuffle import pieces
from .tables_arm import WORDS, bytes_by_tbl, words_by_tbl

__all__ = ["lookup", "lookup_bytes"]


def lookup(code: Code, target: Target, table: Sequence[int], index: Operand) -> Operand:
    """The table's entry at `index` modulo its length, in every lane."""
    if index.lanes and target.has("neon") and len(table) <= WORDS:
        return pieces(code, [index], 4, lambda xs: words_by_tbl(code, table, xs[0]))
    width = 16 if target.has("avx512f") else 8 if target.has("avx2") else 0
    if index.lanes and width and len(table) <= 4 * width:
        return pieces(code, [index], width, lambda xs: _lookup_register(code, table, xs[0]))
    data = code.constant_data(struct.pack(f"<{len(table)}I", *(v & 0xFFFFFFFF for v in table)))
    place = code.number("and", code.convert("zext", index, "i64"), len(table) - 1)
    pointer = code.offset(data, code.number("shl", place, 2))
    if not index.lanes:
        return code.load("i32", 0, pointer, 4)
    return code.masked_load("i32", index.lanes, pointer, splat(1, "i1", index.lanes), 4)


def _lookup_register(code: Code, table: Sequence[int], index: Operand) -> Operand:
    """One permutation per piece of the table (the instructions look at the index's low bits only), then choices by the
    index's higher bits.
    """
    width = index.lanes
    entries = list(table) * max(1, width // len(table))
    parts = [literal(entries[k : k + width], "i32") for k in range(0, len(entries), width)]
    name = "llvm.x86.avx512.permvar.si.512" if width == 16 else "llvm.x86.avx2.permd"
    pair = "llvm.x86.avx512.vpermi2var.d.512"
    if width == 16 and len(parts) > 1:
        found = [code.call(pair, "i32", 16, x, index, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        return _choose(code, found, index, 5)
    return _choose(code, [code.call(name, "i32", width, part, index) for part in parts], index, width.bit_length() - 1)


def _choose(code: Code, found: list[Operand], index: Operand, bit: int) -> Operand:
    """Of a power of two of candidates the one that the index's bits from `bit` on number."""
    while len(found) > 1:
        on = code.compare_number("ne", code.number("and", index, 1 << bit), 0)
        found = [code.select(on, y, x) for x, y in zip(found[::2], found[1::2], strict=True)]
        bit += 1
    return found[0]


def lookup_bytes(code: Code, target: Target, table: Sequence[int], word: Operand) -> Operand:
    """Each byte of the words replaced by the table's entry at that byte modulo the table's length."""
    if word.lanes and target.has("neon"):
        return pieces(code, [word], 4, lambda xs: bytes_by_tbl(code, table, xs[0]))
    if word.lanes and target.has("avx512vbmi"):
        return pieces(code, [word], 16, lambda xs: _in_bytes(code, xs[0], lambda b: _vbmi(code, table, b)))
    name, width = _byte_shuffle(target)
    if word.lanes and width:
        return pieces(code, [word], width, lambda xs: _in_bytes(code, xs[0], lambda b: _rows(code, name, table, b)))
    return _bytes_from_memory(code, table, word)


def _in_bytes(code: Code, word: Operand, run: Callable[[Operand], Operand]) -> Operand:
    return code.recast(run(code.recast(code.byte_source(word), "i8", 4 * word.lanes)), "i32", word.lanes)


def _vbmi(code: Code, table: Sequence[int], index: Operand) -> Operand:
    entries = list(table) * max(1, 64 // len(table))
    parts = [literal(entries[k : k + 64], "i8") for k in range(0, len(entries), 64)]
    if len(parts) == 1:
        return code.call("llvm.x86.avx512.permvar.qi.512", "i8", 64, parts[0], index)
    pair = "llvm.x86.avx512.vpermi2var.qi.512"
    found = [code.call(pair, "i8", 64, x, index, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return _choose(code, found, index, 7)


def _byte_shuffle(target: Target) -> tuple[str, int]:
    """The instruction that looks up 16 bytes in each 128-bit part, and its width in words."""
    if target.has("avx512bw"):
        return "llvm.x86.avx512.pshuf.b.512", 16
    if target.has("avx2"):
        return "llvm.x86.avx2.pshuf.b", 8
    return ("llvm.x86.ssse3.pshuf.b.128", 4) if target.has("ssse3") else ("", 0)


def _rows(code: Code, name: str, table: Sequence[int], index: Operand) -> Operand:
    """Sixteen entries at a time.

    The instruction looks at an index's low four bits, and gives 0 where its top bit is set.  So each row of sixteen
    holds what it changes in the row before, and is looked up at an index that lies below 0 unless it is in this row or
    a later one.
    """
    if len(table) > 128:
        halves = [_rows(code, name, table[k : k + 128], index) for k in (0, 128)]
        return _choose(code, halves, index, 7)
    places = code.number("and", index, len(table) - 1)
    result: Operand | None = None
    for start in range(0, len(table), 16):
        row = [
            x ^ y
            for x, y in zip(table[start : start + 16], table[start - 16 : start] if start else [0] * 16, strict=True)
        ]
        rest = code.number("sub", places, start) if start else places
        found = code.call(name, "i8", index.lanes, literal(row * (index.lanes // 16), "i8"), rest)
        result = found if result is None else code.binary("xor", result, found)
    assert result is not None
    return result


def _bytes_from_memory(code: Code, table: Sequence[int], word: Operand) -> Operand:
    data = code.constant_data(bytes(v & 0xFF for v in table))
    count = 4 * max(1, word.lanes)
    index = code.number("and", code.recast(code.byte_source(word), "i8", count), len(table) - 1)
    result = Operand("i8", count, "poison")
    for k in range(count):
        place = code.convert("zext", code.extract(index, k), "i64")
        result = code.insert(result, code.load("i8", 0, code.offset(data, place), 1), k)
    return code.recast(result, "i32", word.lanes)

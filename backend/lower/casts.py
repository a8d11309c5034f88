"""Cast and View: from dtype to dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from ...vm.dtypes import Bool, Codebook, DType, Float, Int, Overflow, Rounding
from ...vm.ir import Value
from ...vm.ops import Cast, View
from ..lane.build import Builder
from ..lane.ir import Reg
from .arithmetic import aligned
from .byte_operands import fits_fp8, widens
from .codebook import encode_whole_codebook
from .context import Context
from .convert import in_order
from .decode import decode_field, decode_table, one_piece_float
from .encode import encode
from .halves import by_bytes, half_pair, single
from .progression import progression
from .swar import dense, extract, pieces, staged
from .tile import Later, Packed, Tile, matching, repacked, separate
from .whole import as_float, encode_integer, integer_to_integer


def lower_cast(c: Context, result: Value, op: Cast) -> None:
    source, target = op.x.type.dtype, op.to
    tile = c.tile(op.x)
    if tile.scaled is not None and target.name == "f32" and tile.layout == result.type.layout:
        c.tiles[result] = Tile(result.type, tile.scaled.values(c.b), scaled=tile.scaled)
        return
    told = _origin(c, tile, result) if _widened(source, target) else None
    if isinstance(tile.form, Packed) and tile.layout == result.type.layout:
        if _widens(source, target):
            # Stay packed: the fields of all elements of a word move together.
            words = repacked(c.b, tile.form, target.bits)
            c.tiles[result] = Tile(result.type, Packed(words, dense(tile.registers, target.bits)), told)
            return
        if _byte_table(source, target, op):
            bytes_ = repacked(c.b, tile.form, 8)
            codes = cast_table(source, target, op.rounding, op.overflow)
            kept = all(code == i for i, code in enumerate(codes[: 1 << source.bits]))
            words = bytes_ if kept else Later(len(bytes_), lambda i: c.b.lookup_bytes(codes, bytes_[i]))
            c.tiles[result] = Tile(result.type, Packed(words, dense(tile.registers, 8)), told)
            return
    if isinstance(tile.form, Packed) and target.name == "bf16" and _in_bytes(c, tile, result):
        form = tile.form
        pairs = Later(-(-tile.registers // 2), lambda i: half_pair(c.b, source, form.words, form.positions, 2 * i))
        c.tiles[result] = Tile(result.type, Packed(pairs, dense(tile.registers, 16)))
        return
    if _in_pairs(c, tile, op) and tile.layout == result.type.layout:
        assert isinstance(tile.form, Packed)
        c.tiles[result] = Tile(result.type, Packed(_pairs(c.b, tile.form, op), dense(tile.registers, 16)))
        return
    narrow = isinstance(tile.form, Packed) and source.bits <= 8 and not isinstance(source, Bool)
    if narrow and target.name == "f32":
        assert isinstance(tile.form, Packed)
        c.tiles[result] = replace(_deferred(c, result, tile, tile.form), origin=_origin(c, tile, result))
        return
    if narrow and target.name in ("f16", "bf16") and c.target.warp and _exact(source, target):
        assert isinstance(tile.form, Packed)
        c.tiles[result] = replace(_deferred(c, result, tile, tile.form), origin=_origin(c, tile, result))
        return
    if _table(c, tile, op):
        _by_table(c, result, tile, op)
        return
    values = aligned(c, op.x, result)
    if _exact(source, target) and target.name == "bf16":
        c.tiles[result] = Tile(result.type, Later(len(values), lambda r: _number(c.b, source, values[r])))
        return
    random = [None] * len(values) if op.random is None else aligned(c, op.random, result)
    overflow: Overflow = "ieee" if _exact(source, target) else op.overflow
    rounding: Rounding = "rne" if _exact(source, target) else op.rounding
    out = Later(len(values), lambda r: cast(c.b, source, target, values[r], rounding, overflow, random[r]))
    origin = _origin(c, tile, result) if target.name == "f32" and source.bits <= 16 else None
    c.tiles[result] = Tile(result.type, separate(out, target) if _coded(target) else out, origin)


def _widened(source: DType, target: DType) -> bool:
    """Whether products of bytes may take the source's codes."""
    if isinstance(target, Float):
        return target.bits == 8 and fits_fp8(source, target)
    return isinstance(source, Int) and isinstance(target, Int) and widens(source, target)


def _in_pairs(c: Context, tile: Tile, op: Cast) -> bool:
    """Whether two codes at once are looked up in a table of halves."""
    if progression(op.x.type.dtype) is not None and _exact(op.x.type.dtype, op.to):
        return False  # products take the codes themselves
    return (
        isinstance(op.x.type.dtype, Codebook) and isinstance(tile.form, Packed) and c.target.warp is not None
        and op.to.name in ("f16", "bf16") and op.rounding != "stochastic" and tile.type.dtype.bits <= PAIRED
        and tile.registers % 2 == 0
    )  # fmt: skip


PAIRED = 4  # bits of codes of which two are looked up at once, with a table of at most 256


def _pairs(b: Builder, form: Packed, op: Cast) -> Sequence[Reg]:
    """The values of neighbouring registers as halves of a word."""
    source = op.x.type.dtype
    codes = cast_table(source, op.to, op.rounding, op.overflow)[: 1 << source.bits]
    table = tuple(low | high << 16 for high in codes for low in codes)

    def make(word: int) -> Reg:
        field = [int(p) for register in (2 * word, 2 * word + 1) for p in form.positions[register]]
        return b.lookup(table, extract(b, form.words, field, loose=True))

    return Later(len(form.positions) // 2, make)


def _in_bytes(c: Context, tile: Tile, result: Value) -> bool:
    """Whether codes, each in several pieces or wider than a table of words takes in one permute, are pairs of bf16."""
    if tile.layout != result.type.layout or not by_bytes(c.b, tile.type.dtype):
        return False
    assert isinstance(tile.form, Packed)
    return tile.type.dtype.bits > ONE_PERMUTE or pieces(tile.form.field(0)) > 1


ONE_PERMUTE = 5  # bits of an index into 32 words: two registers, one permute


def _coded(target: DType) -> bool:
    """Whether a cast gives codes: they are what is stored, and their value is known where it is asked for."""
    return isinstance(target, Codebook) or (isinstance(target, Float) and target.name != "f32")


def _table(c: Context, tile: Tile, op: Cast) -> bool:
    """Whether the cast is a table from codes to codes, in a word each."""
    if not isinstance(tile.form, Packed) or isinstance(op.x.type.dtype, Bool) or op.rounding == "stochastic":
        return False
    return op.x.type.dtype.bits <= c.b.table_bits and _coded(op.to)


def _origin(c: Context, tile: Tile, result: Value) -> tuple[DType, Packed] | None:
    """The codes that an exact cast takes, for the registers of the result, where products make use of them."""
    if not isinstance(tile.form, Packed) or c.target.warp is None or tile.type.shape != result.type.shape:
        return None
    match = list(_match(c, tile, result))
    return tile.type.dtype, replace(tile.form, positions=tile.form.positions[match])


def _match(c: Context, tile: Tile, result: Value) -> tuple[int, ...]:
    """The register of the tile that each register of the result is made of."""
    assert result.type.layout is not None
    match = matching(tile.layout, result.type.layout, len(tile.type.shape), c.lanes)
    assert match is not None
    return match


def _deferred(c: Context, result: Value, tile: Tile, form: Packed) -> Tile:
    """Every narrow value is an f32 as it is."""
    b, source = c.b, tile.type.dtype
    match = _match(c, tile, result)
    # To convert an integer is one instruction, and a larger table several.
    widest = min(ONE_PERMUTE, b.table_bits) if isinstance(source, Int) else b.table_bits

    whole = isinstance(source, Int) and not source.signed and source.bits > widest

    bytes_ = source.bits > ONE_PERMUTE and not isinstance(source, Int) and by_bytes(b, source)

    def make(register: int) -> Reg:
        if bytes_:
            return single(b, source, form.words, form.positions, match[register])
        words, field = staged(b, form.words, form.positions, match[register], whole)
        if source.bits <= widest:
            # Larger tables keep so many registers busy that a code without its mask makes LLVM spill (measured).
            code = extract(b, words, field, loose=source.bits <= ONE_PERMUTE)
            return b.apply("float", b.lookup(decode_table(source), code))
        if not isinstance(source, Int):
            return decode_field(b, source, words, field)
        if (b.slow_to_float or (source.signed and widest == ONE_PERMUTE)) and pieces(field) == 1:
            return one_piece_float(b, source, words, field)
        return as_float(b, source, decode_field(b, source, words, field), "rne")

    return Tile(result.type, Later(len(match), make))


def _by_table(c: Context, result: Value, tile: Tile, op: Cast) -> None:
    source, form = tile.type.dtype, tile.form
    assert isinstance(form, Packed)
    match = _match(c, tile, result)
    codes = cast_table(source, op.to, op.rounding, op.overflow)

    def make(register: int) -> Reg:
        words, field = staged(c.b, form.words, form.positions, match[register])
        return c.b.lookup(codes, extract(c.b, words, field, loose=True))

    c.tiles[result] = Tile(result.type, separate(Later(len(match), make), op.to))


def _byte_table(source: DType, target: DType, op: Cast) -> bool:
    """Whether the cast is a table from bytes to bytes."""
    numbers = not isinstance(source, Bool) and not isinstance(target, Bool)
    return numbers and source.bits <= 8 and target.bits == 8 and op.rounding != "stochastic"


def cast_table(source: DType, target: DType, rounding: Rounding, overflow: Overflow) -> tuple[int, ...]:
    """The target's code for every code of the source, 16 entries at least; shorter tables repeat."""
    codes = np.resize(target.encode(_values(source), rounding=rounding, overflow=overflow), 1 << source.bits)
    return tuple(np.resize(codes, max(16, codes.size)).astype(int).tolist())


def _values(source: DType) -> NDArray[np.generic]:
    """The values of all codes of a source of at most 8 bits."""
    count = len(source.values) if isinstance(source, Codebook) else 1 << source.bits
    return source.decode(np.arange(count).astype(source.code_dtype))


@lru_cache(maxsize=1024)
def _exact(source: DType, target: DType) -> bool:
    """Whether the target, f16 or bf16, has every value of the source: then there is nothing to round or to limit."""
    if isinstance(source, Bool) or source.bits > 8 or target.name not in ("f16", "bf16"):
        return False
    values = _values(source)
    return np.array_equal(target.round(values, overflow="ieee"), values.astype(np.float32), equal_nan=True)


def _number(b: Builder, source: DType, x: Reg) -> Reg:
    """The f32 of a narrow value."""
    return as_float(b, source, x, None) if isinstance(source, Int) else x


def _widens(source: DType, target: DType) -> bool:
    """Whether every code of the source, zero-extended, is the target's code of the same number."""
    if not isinstance(source, Int) or not isinstance(target, Int) or target.bits not in (8, 16):
        return False
    return source == target or (not source.signed and source.bits + target.signed <= target.bits)


def cast(
    b: Builder, source: DType, target: DType, x: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None
) -> Reg:
    """The value of an integer, bool or f32 `target`, or else its code, that is nearest to the value `x` of `source`."""
    match source:
        case Bool():
            if isinstance(target, Bool):
                return x
            number = b.apply("select", x, b.i32(1), b.i32(0))
            return cast(b, Int(8, signed=True), target, number, rounding, overflow, random)
        case Int():
            return _from_integer(b, source, target, x, rounding, overflow, random)
        case Float() | Codebook():
            return _from_float(b, target, x, rounding, overflow, random)
    assert_never(source)


def _from_integer(
    b: Builder, source: Int, target: DType, x: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None
) -> Reg:
    match target:
        case Int():
            return integer_to_integer(b, source, target, x, overflow)
        case Codebook() if source.bits > 24:
            return encode_whole_codebook(b, target, source, x, rounding)
        case _:
            way = rounding if target.name == "f32" else None
            return _from_float(b, target, as_float(b, source, x, way), rounding, overflow, random)


def _from_float(b: Builder, target: DType, x: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None) -> Reg:
    if isinstance(target, Int):
        return encode_integer(b, target, x, rounding, overflow, random)
    return x if target.name == "f32" else encode(b, target, x, rounding, overflow, random)


def lower_view(c: Context, result: Value, op: View) -> None:
    b, tile, new = c.b, in_order(c, op, op.x), op.dtype.bits
    layout = result.type.layout
    assert layout is not None
    if op.x.type.dtype.bits == 64:
        halves = [b.apply("lshr", x, b.i64(s)) for x in tile.values(b) for s in (0, 32)]
        words: Sequence[Reg] = tuple(b.apply("trunc", h) for h in halves)
    else:
        words = tile.words(b)
    if new == 64:
        pairs = zip(words[::2], words[1::2], strict=True)
        c.define(result, tuple(b.apply("or", b.apply("zext", lo), _high(b, hi)) for lo, hi in pairs))
        return
    packed = Tile(result.type, Packed(words, dense(layout.size("reg"), new)))
    c.tiles[result] = packed if new < 32 else Tile(result.type, packed.values(b))


def _high(b: Builder, word: Reg) -> Reg:
    return b.apply("shl", b.apply("zext", word), b.i64(32))

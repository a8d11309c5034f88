"""Cast and View: from dtype to dtype."""

from __future__ import annotations

import numpy as np

from ...vm.dtypes import Bool, Codebook, DType, Float, Int, Overflow, Rounding
from ...vm.ir import Value
from ...vm.layout.relation import Layout
from ...vm.ops import Cast, View
from ..lane.build import Builder
from ..lane.ir import Reg
from .arithmetic import aligned
from .context import Context
from .decode import decode, decode_table
from .encode import encode, encode_integer, wrap
from .swar import dense, extract, repack
from .tile import Packed, Tile, matching


def lower_cast(c: Context, result: Value, op: Cast) -> None:
    source, target = op.x.type.dtype, op.to
    tile = c.tile(op.x)
    if isinstance(tile.form, Packed) and _widens(source, target) and tile.layout == result.type.layout:
        # Stay packed: the fields of all elements of a word move together.
        words = repack(c.b, tile.form.words, tile.form.positions, target.bits)
        c.tiles[result] = Tile(result.type, Packed(tuple(words), dense(tile.registers, target.bits)))
        return
    if isinstance(tile.form, Packed) and _byte_table(source, target, op) and tile.layout == result.type.layout:
        bytes_ = repack(c.b, tile.form.words, tile.form.positions, 8)
        codes = cast_table(source, target, op.rounding, op.overflow)
        words = [c.b.lookup_bytes(codes, word) for word in bytes_]
        c.tiles[result] = Tile(result.type, Packed(tuple(words), dense(tile.registers, 8)))
        return
    if isinstance(tile.form, Packed) and target.name == "f32" and source.bits <= c.table_bits:
        match = matching(tile.layout, result_layout(result), len(op.x.type.shape), c.lanes)
        assert match is not None
        table = decode_table(source)
        loose = (extract(c.b, tile.form.words, tile.form.field(r), loose=True) for r in match)
        c.define(result, tuple(c.b.apply("float", c.b.lookup(table, code)) for code in loose))
        return
    random = [None] * tile.registers if op.random is None else aligned(c, op.random, result)
    values = aligned(c, op.x, result)
    out = [cast(c.b, source, target, x, op.rounding, op.overflow, r) for x, r in zip(values, random, strict=True)]
    c.define(result, tuple(out))


def _byte_table(source: DType, target: DType, op: Cast) -> bool:
    """Whether the cast is a table from bytes to bytes."""
    numbers = not isinstance(source, Bool) and not isinstance(target, Bool)
    return numbers and source.bits <= 8 and target.bits == 8 and op.rounding != "stochastic"


def cast_table(source: DType, target: DType, rounding: Rounding, overflow: Overflow) -> tuple[int, ...]:
    """The target's code for every code of the source, 16 entries at least; shorter tables repeat."""
    count = len(source.values) if isinstance(source, Codebook) else 1 << source.bits
    values = source.decode(np.arange(count).astype(source.code_dtype))
    codes = np.resize(target.encode(values, rounding=rounding, overflow=overflow), 1 << source.bits)
    return tuple(np.resize(codes, max(16, codes.size)).astype(int).tolist())


def result_layout(result: Value) -> Layout:
    assert result.type.layout is not None
    return result.type.layout


def _widens(source: DType, target: DType) -> bool:
    """Whether every code of the source, zero-extended, is the target's code of the same number."""
    return (
        isinstance(source, Int) and isinstance(target, Int) and not source.signed
        and target.bits in (8, 16) and source.bits + target.signed <= target.bits
    )  # fmt: skip


def cast(
    b: Builder, source: DType, target: DType, x: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None
) -> Reg:
    """The value of `target` nearest to the value `x` of `source`."""
    match source:
        case Bool():
            if isinstance(target, Bool):
                return x
            number = b.apply("select", x, b.i32(1), b.i32(0))
            return cast(b, Int(32, signed=True), target, number, rounding, overflow, random)
        case Int():
            if isinstance(target, Int):
                return _integer_to_integer(b, source, target, x, overflow)
            return _float_to(b, target, _as_float(b, source, target, x), rounding, overflow, random)
        case Float() | Codebook():
            return _float_to(b, target, x, rounding, overflow, random)
    raise AssertionError(f"no cast from {source}")


def _float_to(b: Builder, target: DType, x: Reg, rounding: Rounding, overflow: Overflow, random: Reg | None) -> Reg:
    if isinstance(target, Int):
        return encode_integer(b, target, x, rounding, overflow, random)
    if target.name == "f32":
        return x
    return decode(b, target, encode(b, target, x, rounding, overflow, random))


def _as_float(b: Builder, source: Int, target: DType, x: Reg) -> Reg:
    """The integer as an f32 that rounds to `target` as the integer itself would.

    Beyond 24 bits the integer is first rounded to odd at a place that leaves more bits than any narrower float has.
    """
    kind = "sitofp" if source.signed else "uitofp"
    if source.bits < 24 or target.name == "f32":
        return b.apply(kind, x)
    drop = 8 if source.bits == 32 else 40
    rest = b.apply("and", x, b.constant(x.type, (1 << drop) - 1))
    zero = b.constant(x.type, 0)
    sticky = b.apply("select", b.apply("ne", rest, zero), b.constant(x.type, 1 << drop), zero)
    odd = b.apply("or", b.apply("sub", x, rest), sticky)
    absolute = b.apply("smax", x, b.apply("sub", zero, x)) if source.signed else x
    limit = b.constant(x.type, 1 << 24)
    small = b.apply("ult", absolute, limit)
    return b.apply(kind, b.apply("select", small, x, odd))


def _integer_to_integer(b: Builder, source: Int, target: Int, x: Reg, overflow: Overflow) -> Reg:
    if target.bits == 64:
        wide = b.apply("sext" if source.signed else "zext", x) if source.bits <= 32 else x
        if overflow == "sat" and source.signed != target.signed:
            wide = b.apply("smax", wide, b.i64(0))
        return wide
    if overflow == "sat":
        x = _clamp(b, source, target, x)
    if source.bits > 32:
        x = b.apply("trunc", x)
    return wrap(b, target, x)


def _clamp(b: Builder, source: Int, target: Int, x: Reg) -> Reg:
    if int(source.max) > int(target.max):
        kind = "smin" if source.signed else "umin"
        x = b.apply(kind, x, b.constant(x.type, int(target.max)))
    if source.signed and int(source.min) < int(target.min):
        x = b.apply("smax", x, b.constant(x.type, int(target.min)))
    return x


def lower_view(c: Context, result: Value, op: View) -> None:
    b, tile, new = c.b, c.tile(op.x), op.dtype.bits
    layout = result.type.layout
    assert layout is not None
    if op.x.type.dtype.bits == 64:
        halves = [b.apply("lshr", x, b.i64(s)) for x in tile.values(b) for s in (0, 32)]
        words = tuple(b.apply("trunc", h) for h in halves)
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

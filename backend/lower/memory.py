"""Load, Store and the copies between arrays and shared tiles."""

from __future__ import annotations

import numpy as np

from ...vm.dtypes import Bool, DType
from ...vm.expr import Expr, ceildiv, const, modular
from ...vm.ir import Array, Memory, Shared, TileType, Value
from ...vm.layout.relation import Layout
from ...vm.layout.spread import distribute
from ...vm.ops import CopyAsync, Load, Store
from ..lane.ir import Read, Reg, Write
from .access import Window, element_bits, owners, promised, read_fields, write_fields
from .context import Context
from .convert import in_order
from .copies import copy_of
from .decode import decode
from .shared_matrix import read_matrices
from .stored import load_stored, store_stored
from .swar import dense, insert
from .tile import Later, Packed, Tile, coordinates
from .unsupported import UnsupportedAccess


def _window(c: Context, memory: Memory, at: tuple[Expr, ...], shape: tuple[int, ...], layout: Layout) -> Window:
    return Window(c, memory, at, shape, coordinates(layout, len(shape), c.lanes))


def _code_of(dtype: DType, value: float) -> int:
    if isinstance(dtype, Bool):
        return int(value != 0)
    return int(dtype.encode(np.asarray([value], np.float64))[0])


def lower_load(c: Context, result: Value, op: Load) -> None:
    kind = result.type
    assert kind.layout is not None
    if isinstance(op.source, Array) and op.source.storage is not None:
        c.tiles[result] = load_stored(c, op, kind, _code_of(kind.dtype, op.other))
        return
    window = _window(c, op.source, op.at, op.shape, kind.layout)
    other = _code_of(kind.dtype, op.other)
    bits = element_bits(op.source)
    if bits < 8:
        c.tiles[result] = _load_narrow(c, window, kind, bits, other)
        return
    if result in c.grouped:
        c.tiles[result] = Tile(kind, Later(kind.layout.size("reg"), unread))
        return
    if op in c.copied:
        window = _staged(c, window, c.copied[op])
    if c.target.warp and isinstance(window.memory, Shared):
        words = read_matrices(window, bits)
        if words is not None:
            # What has been copied stays where it is for the whole iteration, and is read where it is used.
            held = words if op in c.copied else tuple(words)
            c.tiles[result] = Tile(kind, Packed(held, dense(window.coords.shape[1], bits)))
            return
    fields, each = read_fields(window, bits, other)
    c.tiles[result] = from_fields(c, kind, fields, each, bits)


def unread(register: int) -> Reg:
    """Of a tile that stays in memory."""
    raise AssertionError(f"register {register} is read of what only products of four warps read")


def _staged(c: Context, window: Window, copy: Shared) -> Window:
    """The same tile where it has been copied to."""
    return Window(c, copy, (const(0),) * len(window.at), window.shape, window.coords)


def from_fields(c: Context, kind: TileType, fields: list[Reg], each: int, bits: int) -> Tile:
    """A tile of registers as `read_fields` gives them; elements take `bits` bits each in them."""
    if bits == 64:
        return Tile(kind, tuple(fields))
    registers = kind.layout.size("reg") if kind.layout else 1
    pack = each // bits
    starts = np.arange(registers, dtype=np.int64)
    places = (starts // pack * 32 + starts % pack * bits)[:, None] + np.arange(kind.dtype.bits)
    packed = Tile(kind, Packed(tuple(fields), places))
    if isinstance(kind.dtype, Bool) or kind.dtype.bits == 32:
        return Tile(kind, tuple(decode(c.b, kind.dtype, f) for f in fields) if pack == 1 else packed.values(c.b))
    return packed


def _aligned_bits(window: Window, bits: int, run: int, unit: int) -> bool:
    """Whether every run of `run` registers begins at a multiple of `unit` bits, and is inside or outside as a whole."""
    if not window.is_run(run):
        return False
    for pitch in window.pitches[:-1]:
        multiple, residue = modular(pitch * bits)
        if multiple % unit or residue % unit:
            return False
    multiple, residue = modular(window.at[-1] * bits)
    starts = window.coords[:, ::run, -1] * bits
    return multiple % unit == 0 and residue % unit == 0 and not (starts % unit).any()


def _load_narrow(c: Context, window: Window, kind: TileType, bits: int, other: int) -> Tile:
    """Fields narrower than a byte from a bit stream: by words or bytes where they are aligned, else one by one."""
    registers = window.coords.shape[1]
    for unit in (32, 8):
        run = unit // _gcd(bits, unit)
        if registers % run == 0 and _aligned_bits(window, bits, run, unit):
            return _load_runs(c, window, kind, bits, run, unit, other)
    b = c.b
    last = _stream_bytes(c, window) - 1
    codes = []
    for register in range(registers):
        first = _linear(c, window, register)
        bit = b.apply("mul", first, b.i64(bits))
        byte, shift = b.apply("ashr", bit, b.i64(3)), b.apply("trunc", b.apply("and", bit, b.i64(7)))
        mask = window.mask(register)
        base = c.address(window.memory)
        low = b.read(Read(base, byte, 8, 1, mask))[0]
        after = b.apply("smin", b.apply("add", byte, b.i64(1)), c.index(last))
        high = b.read(Read(base, after, 8, 1, mask))[0]
        both = b.apply("or", low, b.apply("shl", high, b.i32(8)))
        code = b.apply("and", b.apply("lshr", both, shift), b.i32((1 << bits) - 1))
        codes.append(code if mask is None or not other else b.apply("select", mask, code, b.i32(other)))
    places = np.arange(registers, dtype=np.int64)[:, None] * 32 + np.arange(bits)
    return Tile(kind, Packed(tuple(codes), places))


def _gcd(a: int, b: int) -> int:
    return int(np.gcd(a, b))


def _stream_bytes(c: Context, window: Window) -> Expr:
    total: Expr = const(window.memory.dtype.bits)
    for n in window.sizes:
        total = total * n
    return ceildiv(total, 8)


def _linear(c: Context, window: Window, register: int) -> Reg:
    """The element's index in row-major order, as an i64 per lane."""
    b = c.b
    total = b.i64(0)
    for dim, pitch in enumerate(window.pitches):
        along = b.apply("add", c.index(window.at[dim]), b.i64(window.coords[:, register, dim]))
        total = b.apply("add", total, b.apply("mul", along, c.index(pitch)))
    return total


def _byte_address(c: Context, window: Window, register: int, bits: int) -> tuple[Reg, Reg]:
    first = c.b.apply("mul", _linear(c, window, register), c.b.i64(bits))
    return c.address(window.memory), c.b.apply("ashr", first, c.b.i64(3))


def _load_runs(c: Context, window: Window, kind: TileType, bits: int, run: int, unit: int, other: int) -> Tile:
    registers, per = window.coords.shape[1], run * bits // unit
    fields: list[Reg] = []
    for first in range(0, registers, run):
        base, offset = _byte_address(c, window, first, bits)
        mask = window.mask(first)
        align = min(promised(c, window.memory), unit // 8)  # the first bit is a multiple of the unit
        found = c.b.read(Read(base, offset, unit, per, mask, align))
        if mask is not None and other:
            codes = [c.b.i32(other)] * run
            stand = _insert(c, codes, dense(run, bits), unit)
            found = tuple(c.b.apply("select", mask, x, y) for x, y in zip(found, stand, strict=True))
        fields.extend(found)
    stream = dense(registers, bits)
    places = stream // unit * 32 + stream % unit
    return Tile(kind, Packed(tuple(fields), places))


def _insert(
    c: Context, codes: list[Reg], stream: np.ndarray[tuple[int, ...], np.dtype[np.int64]], unit: int
) -> list[Reg]:
    places = stream // unit * 32 + stream % unit
    return insert(c.b, codes, places, int(places.max()) // 32 + 1)


def lower_store(c: Context, op: Store) -> None:
    tile = in_order(c, op, op.value)
    kind = tile.type
    if isinstance(op.target, Array) and op.target.storage is not None:
        store_stored(c, op.target, op.at, tile)
        return
    window = _window(c, op.target, op.at, kind.shape, tile.layout)
    bits = element_bits(op.target)
    if bits < 8:
        _store_narrow(c, window, tile, bits)
        return
    if c.target.warp and window.coords.shape[2]:
        tile, window = _in_memory_order(c, tile, window)
    mine = owners(window.coords)
    pack = window.run(32 // bits) if bits < 32 and bits == kind.dtype.bits else 1
    if bits * pack == 32 and pack > 1 and _same_in_runs(mine, pack):
        write_fields(window, bits, tile.words(c.b), pack, mine)
        return
    write_fields(window, bits, Later(tile.registers, lambda r: tile.code(c.b, r)), 1, mine)


def _in_memory_order(c: Context, tile: Tile, window: Window) -> tuple[Tile, Window]:
    """The registers in the order in which a lane's elements lie in memory, so that more of them go there at once."""
    order = np.lexsort(window.coords[0].T[::-1])
    ordered = Window(c, window.memory, window.at, window.shape, window.coords[:, order])
    return tile.renamed(c.b, tile.type, order.tolist()), ordered


def _same_in_runs(owner: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], pack: int) -> bool:
    runs = owner.reshape(owner.shape[0], -1, pack)
    return bool((runs == runs[:, :, :1]).all())


def _store_narrow(c: Context, window: Window, tile: Tile, bits: int) -> None:
    """Each lane writes whole bytes: the run of fields that it owns begins and ends at byte borders."""
    registers = window.coords.shape[1]
    mine = owners(window.coords)
    for unit in (32, 8):
        run = unit // _gcd(bits, unit)
        if registers % run == 0 and _aligned_bits(window, bits, run, unit) and _same_in_runs(mine, run):
            break
    else:
        raise UnsupportedAccess(
            f"a store of {tile.type.dtype} to {window.memory.name} would make two lanes write one byte",
            f"let rows and tiles begin at multiples of {8 // _gcd(bits, 8)} elements, known to the compiler "
            f"(assume(N % {8 // _gcd(bits, 8)} == 0)), or store the codes as u8",
        )
    per = run * bits // unit
    codes = [tile.code(c.b, r) for r in range(registers)]
    for first in range(0, registers, run):
        fields = _insert(c, codes[first : first + run], dense(run, bits), unit)
        base, offset = _byte_address(c, window, first, bits)
        mask = window.mask(first)
        if not mine[:, first].all():
            own = c.b.constant("i1", mine[:, first].astype(np.int64))
            mask = own if mask is None else c.b.apply("and", mask, own)
        assert len(fields) == per
        c.b.effect(Write(base, offset, unit, tuple(fields), mask, 1))


def lower_copy(c: Context, op: CopyAsync) -> None:
    """Where copies take a time of their own they are started; else they may as well happen at once."""
    if c.target.warp:
        copy = copy_of(c, op)
        if copy is not None:
            copy.start(c)
            return
    layout = distribute(op.shape, c.lanes)
    result = Value("copied", TileType(op.source.dtype, op.shape, layout))
    lower_load(c, result, Load(op.source, op.at, op.shape))
    lower_store(c, Store(op.target, op.to, result))

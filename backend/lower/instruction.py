"""One instruction of the tile IR: what it means is written beside its family."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...vm.dtypes import Bool, Int
from ...vm.expr import Var
from ...vm.ir import Binding, Value
from ...vm.ops import (
    Assert,
    Barrier,
    Binary,
    Cast,
    Commit,
    Convert,
    CopyAsync,
    Dot,
    Expand,
    Fma,
    Full,
    Instruction,
    Iota,
    Item,
    Load,
    Lock,
    Prefetch,
    Print,
    Random,
    Reduce,
    Release,
    Reshape,
    Scalar,
    Store,
    Transpose,
    Unary,
    View,
    Wait,
    Where,
)  # fmt: skip
from ..lane import ir as lane
from ..lane.ir import Exchange, Fail, Fence, Reg, Show, WaitCopies
from .access import Window
from .arithmetic import aligned, lower_binary, lower_fma, lower_unary, lower_where
from .casts import lower_cast, lower_view
from .context import Context
from .convert import lower_convert
from .decode import decode
from .dot import lower_dot
from .memory import lower_copy, lower_load, lower_store
from .philox import lower_random
from .prefetch import prefetch
from .reduce import lower_reduce, tree
from .tile import coordinates, matching, register_type


def lower_op(c: Context, result: Binding | None, op: Instruction) -> None:
    """One instruction; what it means is written beside its family."""
    match op:
        case Item():
            assert isinstance(result, Var)
            c.variables[result] = _item(c, op)
        case Store():
            lower_store(c, op)
        case CopyAsync():
            lower_copy(c, op)
        case Prefetch():
            prefetch(c, op)
        case Commit():
            c.b.effect(lane.Commit())
        case Wait():
            c.b.effect(WaitCopies(op.pending))
            c.b.effect(lane.Barrier())  # what other lanes copied may be read, too
        case Barrier():
            c.b.effect(lane.Barrier())
        case Lock():
            _lock(c, op)
        case Release():
            _release(c, op)
        case Assert():
            values = c.tile(op.condition).values(c.b)
            ok = c.b.vote("all", tree(list(values), lambda x, y: c.b.apply("and", x, y)))
            c.b.effect(Fail(c.b.apply("xor", ok, c.b.constant("i1", 1)), c.failure(op.message)))
        case Print():
            _print(c, op)
        case _:
            assert isinstance(result, Value)
            _lower_value(c, result, op)
            c.keep_shallow(result, op.operands)


def _lower_value(
    c: Context, result: Value,
    op: Load | Full | Scalar | Iota | Reshape | Transpose | Expand | View | Convert | Unary | Binary | Where | Fma
    | Cast     | Reduce | Dot | Random,
) -> None:  # fmt: skip
    match op:
        case Load():
            lower_load(c, result, op)
        case Full():
            number = op.value if isinstance(op.dtype, Bool) else op.dtype.round(np.asarray([op.value]))[0]
            constant = c.b.constant(
                register_type(op.dtype), int(number) if isinstance(op.dtype, Int | Bool) else float(number)
            )
            c.define(result, (constant,) * register_count(result))
        case Scalar():
            c.define(result, (_scalar(c, op),))
        case Iota():
            assert result.type.layout is not None
            where = coordinates(result.type.layout, len(op.shape), c.lanes)
            kind = register_type(op.dtype)
            c.define(result, tuple(c.b.constant(kind, where[:, r, op.dim]) for r in range(where.shape[1])))
        case Reshape() | Transpose():
            lower_seen(c, result, op)
        case Expand():
            c.define(result, aligned(c, op.x, result))
        case View():
            lower_view(c, result, op)
        case Convert():
            lower_convert(c, result, op.x)
        case Unary():
            lower_unary(c, result, op)
        case Binary():
            lower_binary(c, result, op)
        case Where():
            lower_where(c, result, op)
        case Fma():
            lower_fma(c, result, op)
        case Cast():
            lower_cast(c, result, op)
        case Reduce():
            lower_reduce(c, result, op)
        case Dot():
            lower_dot(c, result, op)
        case Random():
            lower_random(c, result, op)
        case _:
            assert_never(op)


def register_count(value: Value) -> int:
    assert value.type.layout is not None
    return value.type.layout.size("reg")


def lower_seen(c: Context, result: Value, op: Reshape | Transpose) -> None:
    """The same registers under other coordinates: the layout of the result says how."""
    tile = c.tile(op.x)
    layout = op.layouts(c.lanes, None, (tile.layout,)).result
    assert layout is not None
    assert result.type.layout is not None
    match = matching(layout, result.type.layout, len(result.type.shape), c.lanes)
    assert match is not None
    c.tiles[result] = tile.renamed(c.b, result.type, match)


def _scalar(c: Context, op: Scalar) -> Reg:
    number = c.index(op.value)
    if isinstance(op.dtype, Bool):
        return c.b.apply("ne", number, c.b.i64(0))
    if op.dtype.bits == 64:
        return number
    word = c.b.apply("trunc", number)
    return (
        word
        if op.dtype.bits == 32
        else decode(c.b, op.dtype, c.b.apply("and", word, c.b.i32((1 << op.dtype.bits) - 1)))
    )


def _item(c: Context, op: Item) -> Reg:
    value = c.b.first(c.tile(op.x).value(c.b, 0))
    dtype = op.x.type.dtype
    if value.type == "i1":
        return c.b.apply("select", value, c.b.i64(1), c.b.i64(0))
    if value.type == "i64":
        return value
    return c.b.apply("sext" if isinstance(dtype, Int) and dtype.signed else "zext", value)


def _lock_address(c: Context, op: Lock | Release) -> tuple[Reg, Reg]:
    window = Window(c, op.array, op.at, (1,) * len(op.at), np.zeros((c.lanes, 1, len(op.at)), np.int64))
    base, offset, _ = window.address(0, 32)
    return base, offset


def _lock(c: Context, op: Lock) -> None:
    base, offset = _lock_address(c, op)
    b = c.b

    def taken(_: list[Reg]) -> Reg:
        return b.apply("ne", b.exchange(Exchange(base, offset, b.i32(0), b.i32(1))), b.i32(0))

    b.repeat([], [], taken, lambda _: [])
    b.effect(Fence())


def _release(c: Context, op: Release) -> None:
    base, offset = _lock_address(c, op)
    c.b.effect(Fence())
    c.b.exchange(Exchange(base, offset, c.b.i32(1), c.b.i32(0)))


def _print(c: Context, op: Print) -> None:
    tile = c.tile(op.x)
    rank = len(tile.type.shape)
    where = coordinates(tile.layout, rank, c.lanes)
    c.b.effect(Show(f"{op.label} {tile.type} ="))
    seen: dict[tuple[int, ...], tuple[int, int]] = {}
    for register in range(where.shape[1]):
        for holder in range(c.lanes):
            seen.setdefault(tuple(where[holder, register].tolist()), (register, holder))
    values = tile.values(c.b)
    for at, (register, holder) in sorted(seen.items()):
        c.b.effect(Show(f"  {list(at)} ", values[register], holder))

"""Tile IR with layouts to lane IR: one statement after the other."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...vm.dtypes import Bool, Int
from ...vm.expr import Expr, Var, const
from ...vm.ir import Array, Binding, Bound, Carried, For, If, Let, Program, Statement, Value, While, walk
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
from ..lane.build import Builder
from ..lane.ir import Exchange, Fail, Fence, Function, Reg, Show, WaitCopies
from ..target import Target
from .access import Window
from .arithmetic import aligned, lower_binary, lower_fma, lower_unary, lower_where
from .casts import lower_cast, lower_view
from .context import Context, byte_table_bits, table_bits
from .convert import converted, lower_convert
from .decode import decode
from .dot import lower_dot
from .index import floor_divide
from .memory import lower_copy, lower_load, lower_store
from .order import barriers_before
from .philox import lower_random
from .prefetch import prefetch_ahead
from .reduce import lower_reduce, tree
from .ring import Ring, Turn, ring_of
from .tile import coordinates, matching, register_type
from .unsupported import Unsupported


def lower(program: Program, target: Target) -> Function:
    """The program for one lane.  Every tile must have its layout (`assign_layouts`)."""
    assert program.lanes is not None, "the layouts stage has not run"
    b = Builder(program.lanes, table_bits(target, program.lanes), byte_table_bits(target, program.lanes))
    names: list[Array | Var | Value] = [*program.parameters, *program.sizes]
    slots = {p: i for i, p in enumerate(names)}
    c = Context(program, target, program.lanes, b, slots)
    for p, slot in slots.items():
        if isinstance(p, Var):
            c.variables[p] = b.slot(slot)
        elif isinstance(p, Value):
            c.define(p, (b.float_slot(slot),))
    _bind_blocks(c)
    if target.warp:
        c.waits = barriers_before(program)
    lower_body(c, program.body)
    return Function(program.name, program.lanes, len(names), c.shared_bytes, b.body, tuple(c.failures))


def _bind_blocks(c: Context) -> None:
    """The position of the block in the grid: the last axis runs fastest."""
    rest = c.b.block()
    for block, count in zip(c.program.blocks, c.program.grid, strict=True):
        c.last[block] = count - 1
    for axis in reversed(range(len(c.program.grid))):
        if axis == 0:
            c.variables[c.program.blocks[0]] = rest
            return
        along = c.index(c.program.grid[axis])
        c.variables[c.program.blocks[axis]] = floor_divide(c.b, rest, along, remainder=True)
        rest = floor_divide(c.b, rest, along, remainder=False)


def lower_body(c: Context, body: tuple[Statement, ...]) -> None:
    for s in body:
        if not isinstance(s, Let):
            _settle(c, s)
        match s:
            case Let():
                _lower_let(c, s)
            case For():
                _lower_for(c, s)
            case While():
                _lower_while(c, s)
            case If():
                _lower_if(c, s)
            case _:
                assert_never(s)


def _lower_let(c: Context, s: Let) -> None:
    if id(s) in c.waits:
        c.b.effect(lane.Barrier())
    try:
        lower_op(c, s.result, s.op)  # type: ignore[arg-type]  # Op is the base of the closed union Instruction
    except Unsupported as refused:
        raise refused.at(s.span) from None


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
            c.define(result, (constant,) * _registers(result))
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


def _registers(value: Value) -> int:
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


# Control flow


def _bind(c: Context, x: Binding, registers: list[Reg]) -> None:
    if isinstance(x, Value):
        c.define(x, tuple(registers))
    else:
        c.variables[x] = registers[0]


def _split(c: Context, xs: list[Binding], registers: list[Reg]) -> None:
    at = 0
    for x in xs:
        count = _registers(x) if isinstance(x, Value) else 1
        _bind(c, x, registers[at : at + count])
        at += count


def _spread(c: Context, x: Bound, like: Binding) -> list[Reg]:
    """The registers of x in the layout that `like` has."""
    if not isinstance(x, Value):
        return [c.index(x)]
    assert isinstance(like, Value)
    return list(converted(c, c.tile(x), like).values(c.b))


def _entering(c: Context, carried: tuple[Carried, ...]) -> tuple[list[Reg], list[bool]]:
    """The registers that enter a loop, and of each whether it is uniform: scalars are, tiles may stop to be."""
    before: list[Reg] = []
    uniform: list[bool] = []
    for x in carried:
        registers = _spread(c, x.before, x.inside)
        before += registers
        uniform += [not isinstance(x.inside, Value)] * len(registers)
    return before, uniform


def _settle(c: Context, s: For | While | If) -> None:
    """Computes what the bodies use of what stands before them: once, and not in every iteration."""
    used: list[Bound] = []
    own: set[Binding | None] = set()  # in an unrolled loop they have tiles already: those of the iteration before
    for inner in walk((s,)):
        match inner:
            case Let():
                used += inner.op.operands
                own.add(inner.result)
            case For() | While():
                used += [y for x in inner.carried for y in (x.before, x.next)]
                own |= {y for x in inner.carried for y in (x.inside, x.after)}
            case If():
                used += [y for x in inner.merged for y in (x.then, x.orelse)]
                own |= {x.after for x in inner.merged}
    for x in dict.fromkeys(used):
        if isinstance(x, Value) and x in c.tiles and x not in own:
            c.tiles[x] = c.tiles[x].settled()


def _lower_for(c: Context, s: For) -> None:
    before, uniform = _entering(c, s.carried)
    c.last[s.var] = s.start + (s.stop - s.start - 1) // s.step * s.step
    c.steps[s.var] = s.step

    def once(var: Reg, registers: list[Reg]) -> list[Reg]:
        c.variables[s.var] = var
        _split(c, [x.inside for x in s.carried], registers)
        if s.stages > 1 and c.target.warp is None:
            prefetch_ahead(c, s)
        lower_body(c, s.body)
        return [r for x in s.carried for r in _spread(c, x.next, x.inside)]

    ring = ring_of(c, s) if s.stages > 1 and c.target.warp else None
    if ring is not None:
        after = _unrolled(c, s, ring.turn(c, once), [*ring.begin(c), *before], [True, True, *uniform], ring)[2:]
        ring.end(c)
    elif s.unroll > 1:
        after = _unrolled(c, s, once, before, uniform)
    else:
        start, stop, step = c.index(s.start), c.index(s.stop), c.b.i64(s.step)
        after = c.b.loop(start, stop, step, before, uniform, once)
    _split(c, [x.after for x in s.carried], after)


def _unrolled(
    c: Context, s: For, once: Turn, before: list[Reg], uniform: list[bool], ring: Ring | None = None
) -> list[Reg]:
    """Whole groups of `unroll` iterations, then what is left one by one."""
    b = c.b
    group = s.step * s.unroll
    count: Expr = (s.stop - s.start + (s.step - 1)) // s.step
    whole = s.start + count // s.unroll * group

    def many(var: Reg, registers: list[Reg]) -> list[Reg]:
        if ring is not None and s.unroll % s.stages == 0:  # every group begins with the ring's first place
            registers = [*ring.places(c, 0), *registers[2:]]
        for k in range(s.unroll):
            registers = once(b.apply("add", var, b.i64(k * s.step)), registers)
        return registers

    start, middle, stop = c.index(s.start), c.index(whole), c.index(s.stop)
    main = b.loop(start, middle, b.i64(group), before, uniform, many)
    if s.start == s.stop or count % s.unroll == const(0):
        return main
    return b.loop(b.apply("smax", start, middle), stop, b.i64(s.step), main, uniform, once)


def _lower_while(c: Context, s: While) -> None:
    before, uniform = _entering(c, s.carried)

    def head(registers: list[Reg]) -> Reg:
        _split(c, [x.inside for x in s.carried], registers)
        lower_body(c, s.head)
        return c.condition(s.condition)

    def body(_: list[Reg]) -> list[Reg]:
        lower_body(c, s.body)
        return [r for x in s.carried for r in _spread(c, x.next, x.inside)]

    _split(c, [x.after for x in s.carried], c.b.repeat(before, uniform, head, body))


def _lower_if(c: Context, s: If) -> None:
    def side(body: tuple[Statement, ...], pick: list[Bound]) -> list[Reg]:
        lower_body(c, body)
        return [r for x, m in zip(pick, s.merged, strict=True) for r in _spread(c, x, m.after)]

    merged = c.b.branch(
        c.condition(s.condition),
        lambda: side(s.then, [m.then for m in s.merged]),
        lambda: side(s.orelse, [m.orelse for m in s.merged]),
    )
    _split(c, [m.after for m in s.merged], merged)

"""Statements one after the other: loops and branches, which are uniform over a block, and what values enter them."""

from __future__ import annotations

from typing import assert_never

from ...vm.expr import Expr, const
from ...vm.ir import Binding, Bound, Carried, For, If, Let, Statement, Value, While, walk
from ..lane import ir as lane
from ..lane.ir import Reg
from .context import Context
from .convert import converted
from .instruction import lower_op, register_count
from .prefetch import prefetch_ahead
from .ring import Ring, Turn, ring_of
from .unsupported import Unsupported


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


def _bind(c: Context, x: Binding, registers: list[Reg]) -> None:
    if isinstance(x, Value):
        c.define(x, tuple(registers))
    else:
        c.variables[x] = registers[0]


def _split(c: Context, xs: list[Binding], registers: list[Reg]) -> None:
    at = 0
    for x in xs:
        count = register_count(x) if isinstance(x, Value) else 1
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

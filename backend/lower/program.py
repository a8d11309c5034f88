"""Tile IR with layouts to lane IR: the program for one lane."""

from __future__ import annotations

from ...vm.expr import Var
from ...vm.ir import Array, Let, Program, Value, walk
from ...vm.ops import Store
from ..lane.build import Builder
from ..lane.ir import Function
from ..target import Target
from .context import Context, byte_table_bits, table_bits
from .control import lower_body
from .index import floor_divide
from .order import barriers_before


def lower(program: Program, target: Target) -> Function:
    """The program for one lane.  Every tile must have its layout (`assign_layouts`)."""
    assert program.lanes is not None, "the layouts stage has not run"
    lanes, slow = program.lanes, target.warp is not None
    b = Builder(lanes, table_bits(target, lanes), byte_table_bits(target, lanes), slow)
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
        ops = [s.op for s in walk(program.body) if isinstance(s, Let)]
        c.written = frozenset(op.target for op in ops if isinstance(op, Store))
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

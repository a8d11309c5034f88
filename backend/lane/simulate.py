"""Runs lane IR in NumPy: what every operation means, all lanes of a block at once, block after block.

    simulate(function, [x, y, 16], blocks=4)

A register is an array with one value per lane, or with one value when it is uniform.  Arrays among the slots are read
and written in place.  Whatever no correct program does stops the run with the statement that did it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from .ir import (
    Apply,
    Atom,
    Barrier,
    Block,
    Commit,
    Constant,
    CopyAsync,
    Exchange,
    Fail,
    Fence,
    First,
    FloatSlot,
    For,
    Function,
    If,
    Let,
    Lookup,
    LookupBytes,
    Operation,
    PickBytes,
    Prefetch,
    Read,
    Reg,
    SharedAddress,
    Show,
    Shuffle,
    Slot,
    Statement,
    Vote,
    WaitCopies,
    While,
    Write,
)
from .meaning import DTYPES, MEANINGS, Lanes
from .spaces import Spaces
from .text import Printer

__all__ = ["LaneError", "simulate"]

Meaning = Callable[..., Lanes]


class LaneError(ValueError):
    """A simulated program did what no correct program does, or reported a failure."""


def simulate(
    function: Function,
    slots: Sequence[NDArray[np.generic] | int | float],
    blocks: int,
    atoms: Mapping[str, Meaning] | None = None,
) -> None:
    """Runs blocks 0 .. blocks - 1.  Arrays must be contiguous; ints are i64 slots, floats f64 slots.

    `atoms` gives the meaning of each hardware instruction by name (by default those of the CPU's table).
    Raises LaneError; a failure that the program reports raises it once its block has ended, with the failure's text.
    """
    if len(slots) != function.slots:
        raise LaneError(f"{function.name} takes {function.slots} slots, but {len(slots)} were given")
    machine = _Machine(function, slots, _cpu_atoms() if atoms is None else atoms)
    for block in range(blocks):
        machine.run_block(block)


def _cpu_atoms() -> Mapping[str, Meaning]:
    from ..llvm.atoms import ROWS  # here, so that simulating for another device does not load LLVM

    return {row.name: row.meaning for row in ROWS}


class _Machine:
    """The registers and memory of the block that runs."""

    def __init__(
        self, function: Function, slots: Sequence[NDArray[np.generic] | int | float], atoms: Mapping[str, Meaning]
    ) -> None:
        self.function = function
        self.lanes = function.lanes
        self.slots = slots
        self.atoms = atoms
        self.printer = Printer()
        self.registers: dict[Reg, Lanes] = {}
        self.block = 0
        self.failure = 0
        arrays = {}
        for index, slot in enumerate(slots):
            if isinstance(slot, np.ndarray):
                if not slot.flags.c_contiguous:
                    raise LaneError(f"slot {index}: the array must be contiguous")
                arrays[index] = slot.reshape(-1).view(np.uint8)
        self.spaces = Spaces(arrays, len(slots), function.shared)

    def run_block(self, block: int) -> None:
        self.block = block
        self.registers.clear()
        self.spaces.forget_shared()
        self.failure = 0
        with np.errstate(all="ignore"):
            self.body(self.function.body)
        if self.failure:
            raise LaneError(self.function.failures[self.failure - 1])

    # Registers

    def get(self, reg: Reg) -> Lanes:
        return self.registers[reg]

    def vector(self, reg: Reg) -> Lanes:
        return np.broadcast_to(self.registers[reg], (self.lanes,))

    def integer(self, reg: Reg) -> int:
        assert reg.uniform, "a uniform register is needed here"
        return int(self.registers[reg][0])

    def define(self, reg: Reg, value: Lanes) -> None:
        """Gives a register its value, which must be of its type and shape."""
        if value.dtype != DTYPES[reg.type]:
            raise TypeError(f"{self.printer.name(reg)} is {reg.type} but gets {value.dtype}")
        shape = (1,) if reg.uniform else (self.lanes,)
        self.registers[reg] = np.broadcast_to(value, shape)

    # Statements

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            match statement:
                case Let():
                    self.let(statement)
                case For():
                    self.loop(statement)
                case While():
                    self.repeat(statement)
                case If():
                    self.branch(statement)
                case _:
                    assert_never(statement)

    def let(self, let: Let) -> None:
        try:
            values = self.operation(let.op)
            for reg, value in zip(let.results, values, strict=True):
                self.define(reg, value)
        except LaneError:
            raise
        except (ValueError, TypeError, KeyError, AssertionError) as error:
            text = self.printer.let(let)
            raise LaneError(f"block {self.block} of {self.function.name}: {error}\n  {text}") from error

    def loop(self, loop: For) -> None:
        start, stop, step = (self.integer(r) for r in (loop.start, loop.stop, loop.step))
        if step <= 0:
            raise LaneError(f"block {self.block} of {self.function.name}: a loop with step {step}")
        held = [self.get(c.before) for c in loop.carried]
        for value in range(start, stop, step):
            self.define(loop.var, np.array([value], np.int64))
            for carried, x in zip(loop.carried, held, strict=True):
                self.define(carried.inside, x)
            self.body(loop.body)
            held = [self.get(c.next) for c in loop.carried]
        for carried, x in zip(loop.carried, held, strict=True):
            self.define(carried.after, x)

    def repeat(self, loop: While) -> None:
        held = [self.get(c.before) for c in loop.carried]
        while True:
            for carried, x in zip(loop.carried, held, strict=True):
                self.define(carried.inside, x)
            self.body(loop.head)
            if not self.integer(loop.condition):
                break
            self.body(loop.body)
            held = [self.get(c.next) for c in loop.carried]
        for carried, x in zip(loop.carried, held, strict=True):
            self.define(carried.after, x)

    def branch(self, choice: If) -> None:
        taken = bool(self.integer(choice.condition))
        self.body(choice.then if taken else choice.orelse)
        for merge in choice.merged:
            self.define(merge.after, self.get(merge.then if taken else merge.orelse))

    # Operations

    def operation(self, op: Operation) -> tuple[Lanes, ...]:
        """The values of the operation's results."""
        match op:
            case Read():
                return self.read(op)
            case Write():
                self.write(op)
            case Prefetch() | Fence() | Barrier() | Commit() | WaitCopies():
                pass  # hints and order: blocks run one after another here
            case CopyAsync():
                words = self.read(Read(op.base, op.offset, 32, op.size // 4, op.mask, op.size))
                address = np.broadcast_to(self.get(op.to) + self.get(op.at).astype(np.int64), (self.lanes,))
                data = np.stack([np.broadcast_to(w, (self.lanes,)) for w in words], axis=1).view(np.uint8)
                self.spaces.write(address, np.ascontiguousarray(data), op.size, "shared")
            case Fail():
                if self.integer(op.condition) and not self.failure:
                    self.failure = op.code
            case Show():
                print(op.text + ("" if op.x is None else self.shown(op.x, op.lane)), flush=True)
            case _:
                return (self.value(op),)
        return ()

    def value(self, op: Operation) -> Lanes:
        match op:
            case Apply():
                return MEANINGS[op.kind](*(self.get(o) for o in op.operands))
            case Constant():
                return constant(op)
            case Slot():
                return np.array([self.slot(op.index)], np.int64)
            case FloatSlot():
                return np.array([self.number(op.index)], np.float32)
            case Block():
                return np.array([self.block], np.int64)
            case SharedAddress():
                return np.array([self.spaces.shared_base + op.offset], np.int64)
            case Shuffle():
                every = np.stack([self.vector(s) for s in op.sources])
                found: Lanes = every[np.array(op.source), np.array(op.lane)]
                return found
            case First():
                return self.get(op.x)[:1]
            case Vote():
                held = self.get(op.x)
                return np.array([held.any() if op.kind == "any" else held.all()])
            case Lookup():
                return lookup(op.table, self.get(op.index))
            case LookupBytes():
                return lookup_bytes(op.table, self.get(op.word))
            case PickBytes():
                return pick_bytes(self.get(op.x), self.get(op.y), op.order)
            case Atom():
                return self.atoms[op.name](*(self.get(o) for o in op.operands))
            case Exchange():
                return self.exchange(op)
        raise AssertionError(f"{type(op).__name__} gives no value")

    def slot(self, index: int) -> int:
        held = self.slots[index]
        if isinstance(held, np.ndarray):
            return self.spaces.base(index)
        return int(np.float64(held).view(np.int64)) if isinstance(held, float) else int(held)

    def number(self, index: int) -> float:
        held = self.slots[index]
        if not isinstance(held, float):
            raise ValueError(f"slot {index} does not hold a float")
        return held

    def addresses(self, op: Read | Write | Exchange) -> NDArray[np.int64]:
        return self.get(op.base).astype(np.int64) + self.get(op.offset).astype(np.int64)

    def active(self, op: Read | Write, lanes: int) -> NDArray[np.bool_]:
        return np.ones(lanes, bool) if op.mask is None else np.broadcast_to(self.get(op.mask), (lanes,)).astype(bool)

    def read(self, op: Read) -> tuple[Lanes, ...]:
        regs = (op.base, op.offset, *([op.mask] if op.mask is not None else []))
        lanes = 1 if all(r.uniform for r in regs) else self.lanes
        on = self.active(op, lanes)
        address = np.broadcast_to(self.addresses(op), (lanes,))
        size = op.bits // 8
        data = np.zeros((lanes, op.count * size), np.uint8)
        data[on] = self.spaces.read(address[on], op.count * size, op.align, op.space)
        fields = data.view(f"<u{size}").T
        return tuple(np.ascontiguousarray(f).astype(np.int64 if size == 8 else np.uint32).view(
            np.int64 if size == 8 else np.int32) for f in fields)  # fmt: skip

    def write(self, op: Write) -> None:
        regs = (op.base, op.offset, *op.values, *([op.mask] if op.mask is not None else []))
        lanes = 1 if all(r.uniform for r in regs) else self.lanes
        on = self.active(op, lanes)
        address = np.broadcast_to(self.addresses(op), (lanes,))
        size = op.bits // 8
        columns = [np.ascontiguousarray(np.broadcast_to(self.get(v), (lanes,))) for v in op.values]
        parts = [c.view(np.uint8).reshape(lanes, -1)[:, :size] for c in columns]
        data = np.concatenate(parts, axis=1)
        self.spaces.write(address[on], data[on], op.align, op.space)

    def exchange(self, op: Exchange) -> Lanes:
        address = self.addresses(op)
        space = "shared" if address[0] >= self.spaces.shared_base else "global"
        old = self.spaces.read(address, 4, 4, space).view(np.int32).reshape(1)
        if old[0] == self.get(op.expected)[0]:
            self.spaces.write(address, self.get(op.new).view(np.uint8).reshape(1, 4), 4, space)
        return old

    def shown(self, reg: Reg, lane: int) -> str:
        held = self.vector(reg)[lane]
        return f"{float(held):.9g}" if reg.type == "f32" else str(int(held))


def constant(op: Constant) -> Lanes:
    """The values as an array of the constant's type; integers may be given signed or unsigned."""
    if op.type == "f32":
        return np.array(op.values, np.float32)
    if op.type == "i1":
        return np.array(op.values).astype(bool)
    bits = 32 if op.type == "i32" else 64
    wrapped = [int(v) & ((1 << bits) - 1) for v in op.values]
    return np.array(wrapped, f"u{bits // 8}").view(DTYPES[op.type])


def lookup(table: Sequence[int], index: Lanes) -> Lanes:
    """The table's entry (32 bits) at `index` modulo its length, which is a power of two."""
    entries = constant(Constant("i32", tuple(table)))
    found: Lanes = entries[index.astype(np.int64) & (len(table) - 1)]
    return found


def lookup_bytes(table: Sequence[int], word: Lanes) -> Lanes:
    """Each byte of each word replaced by the table's entry at that byte modulo the table's length."""
    entries = np.array([v & 0xFF for v in table], np.uint8)
    found: NDArray[np.uint8] = entries[np.ascontiguousarray(word).view(np.uint8) & (len(table) - 1)]
    return found.view(np.int32)


def pick_bytes(x: Lanes, y: Lanes, order: Sequence[int]) -> Lanes:
    """Words of bytes that are taken from those of x and y, by number, or 0."""
    wide = [np.ascontiguousarray(w).view(np.uint8).reshape(-1, 4) for w in np.broadcast_arrays(x, y)]
    bytes_ = np.concatenate([*wide, np.zeros_like(wide[0][:, :1])], axis=1)
    return np.ascontiguousarray(bytes_[:, list(order)]).view(np.int32).reshape(-1)

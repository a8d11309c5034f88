"""Runs lane IR in NumPy: what every operation means, all lanes of a block at once, block after block.

    facts = simulate(function, [x, y, 16], blocks=4)

A register is an array with one value per lane, or with one value when it is uniform.  Arrays among the slots are read
and written in place.  Whatever no correct program does stops the run with the statement that did it.

For a CPU all lanes are in step.  With `warp` lanes of a GPU's warp, nothing but barriers orders what lanes do to
memory, copies are under way until they are waited for, and registers are exchanged within a warp only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from .accesses import Accesses
from .constants import constant, lookup, lookup_bytes, pick_bytes
from .facts import Facts, Tally
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
    PickBytes,
    Prefetch,
    Read,
    ReadMatrix,
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
from .shared_meaning import SharedMeaning
from .spaces import Spaces
from .text import Printer

__all__ = ["LaneError", "simulate"]

Meaning = Callable[..., Lanes | tuple[Lanes, ...]]

_Value = (
    Constant | Slot | FloatSlot | Block | SharedAddress | Shuffle | First | Vote | Lookup | LookupBytes | PickBytes
    | Exchange
)  # fmt: skip
"""Operations of one result, other than arithmetic, reads and atoms."""


class LaneError(ValueError):
    """A simulated program did what no correct program does, or reported a failure."""


def simulate(
    function: Function,
    slots: Sequence[NDArray[np.generic] | int | float],
    blocks: int,
    atoms: Mapping[str, Meaning | SharedMeaning] | None = None,
    warp: int | None = None,
) -> Facts:
    """Runs blocks 0 .. blocks - 1 and tells what they did.

    Arrays must be contiguous; ints are i64 slots, floats f64 slots.  `atoms` gives the meaning of each hardware
    instruction by name (by default those of the CPU's table), `warp` the lanes of a GPU's warp (None: lanes are in
    step).

    Raises LaneError; a failure that the program reports raises it once its block has ended, with the failure's text.
    """
    if len(slots) != function.slots:
        raise LaneError(f"{function.name} takes {function.slots} slots, but {len(slots)} were given")
    machine = _Machine(function, slots, _cpu_atoms() if atoms is None else atoms, warp)
    for block in range(blocks):
        machine.run_block(block)
    return machine.tally.facts(function)


def _cpu_atoms() -> Mapping[str, Meaning]:
    from ..llvm.atoms import ROWS  # here, so that simulating for another device does not load LLVM

    return {row.name: row.meaning for row in ROWS}


class _Machine:
    """The registers and memory of the block that runs."""

    def __init__(
        self,
        function: Function,
        slots: Sequence[NDArray[np.generic] | int | float],
        atoms: Mapping[str, Meaning | SharedMeaning],
        warp: int | None,
    ) -> None:
        self.function = function
        self.lanes = function.lanes
        self.slots = slots
        self.atoms = atoms
        self.warp = warp
        self.tally = Tally(warp)
        self.registers: dict[Reg, Lanes] = {}
        self.constants: dict[int, Lanes] = {}  # what constants and shuffles are made of, by the operation's identity
        self.coming: set[Reg] = set()
        self.block = 0
        self.failure = 0
        arrays = {}
        for index, slot in enumerate(slots):
            if isinstance(slot, np.ndarray):
                if not slot.flags.c_contiguous:
                    raise LaneError(f"slot {index}: the array must be contiguous")
                arrays[index] = slot.reshape(-1).view(np.uint8)
        self.spaces = Spaces(arrays, len(slots), function.shared)
        self.memory = Accesses(self.get, self.lanes, warp, self.spaces, self.tally)

    def run_block(self, block: int) -> None:
        self.block = block
        self.registers.clear()
        self.coming.clear()
        self.memory.begin_block()
        self.failure = 0
        with np.errstate(all="ignore"):
            self.body(self.function.body)
        if self.failure:
            raise LaneError(self.function.failures[self.failure - 1])

    # Registers

    def get(self, reg: Reg) -> Lanes:
        if self.coming and reg in self.coming:
            raise ValueError("a sum of products is taken that nobody has waited for")
        return self.registers[reg]

    def vector(self, reg: Reg) -> Lanes:
        return np.broadcast_to(self.get(reg), (self.lanes,))

    def integer(self, reg: Reg) -> int:
        assert reg.uniform, "a uniform register is needed here"
        return int(self.registers[reg][0])

    def define(self, reg: Reg, value: Lanes) -> None:
        """Gives a register its value, which must be of its type and shape."""
        if value.dtype != DTYPES[reg.type]:
            raise TypeError(f"a register is {reg.type} but gets {value.dtype}")
        shape = (1,) if reg.uniform else (self.lanes,)
        self.registers[reg] = value if value.shape == shape else np.broadcast_to(value, shape)

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
        self.tally.operation(let.op)
        try:
            values = self.operation(let)
            for reg, value in zip(let.results, values, strict=True):
                self.define(reg, value)
        except LaneError:
            raise
        except (ValueError, TypeError, KeyError, AssertionError) as error:
            printer = Printer()
            printer.function(self.function)  # so that registers have the names that `render` gives them
            text = printer.let(let)
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

    def operation(self, let: Let) -> tuple[Lanes, ...]:
        """The values of the operation's results."""
        match let.op:
            case Apply() as op:
                return (MEANINGS[op.kind](*(self.get(o) for o in op.operands)),)
            case Read() as op:
                return self.memory.read(let, op)
            case ReadMatrix() as op:
                return self.memory.read_matrix(let, op)
            case Atom() as op:
                return self.atom(let, op)
            case Write() | CopyAsync() | Commit() | WaitCopies() | Prefetch() | Barrier() | Fence() | Fail() | Show():
                self.effect(let, let.op)
                return ()
            case op:
                return (self.value(op),)

    def effect(
        self, let: Let, op: Write | CopyAsync | Commit | WaitCopies | Prefetch | Barrier | Fence | Fail | Show
    ) -> None:
        match op:
            case Write():
                self.memory.write(let, op)
            case CopyAsync():
                self.memory.copy(let, op)
            case Commit():
                self.memory.commit()
            case WaitCopies():
                self.memory.wait(op.pending)
            case Barrier() | Fence():
                self.spaces.barrier()
            case Prefetch():
                pass  # a hint
            case Fail():
                if self.integer(op.condition) and not self.failure:
                    self.failure = op.code
            case Show():
                print(op.text + ("" if op.x is None else self.shown(op.x, op.lane)), flush=True)
            case _:
                assert_never(op)

    def value(self, op: _Value) -> Lanes:
        match op:
            case Constant():
                return self.constant(op)
            case Slot():
                return np.array([self.slot(op.index)], np.int64)
            case FloatSlot():
                return np.array([self.number(op.index)], np.float32)
            case Block():
                return np.array([self.block], np.int64)
            case SharedAddress():
                return np.array([self.spaces.shared_base + op.offset], np.int64)
            case Shuffle():
                return self.shuffle(op)
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
            case Exchange():
                return self.memory.exchange(op)
            case _:
                assert_never(op)

    def constant(self, op: Constant) -> Lanes:
        if id(op) not in self.constants:
            self.constants[id(op)] = constant(op)
        return self.constants[id(op)]

    def shuffle(self, op: Shuffle) -> Lanes:
        if id(op) not in self.constants:
            lane = np.array(op.lane)
            warp = self.warp or self.lanes
            away = np.flatnonzero(lane // warp != np.arange(self.lanes) // warp)
            if away.size:
                raise ValueError(f"lane {away[0]} takes a register of lane {lane[away[0]]}, which is in another warp")
            self.constants[id(op)] = np.array(op.source) * self.lanes + lane
        every = np.concatenate([self.vector(s) for s in op.sources])
        found: Lanes = every[self.constants[id(op)]]
        return found

    def atom(self, let: Let, op: Atom) -> tuple[Lanes, ...]:
        """One with several results is collective: it takes and gives registers of all lanes, of whole warps."""
        collective = len(let.results) != 1
        if collective and self.lanes % (self.warp or self.lanes):
            raise ValueError(f"{op.name} is done by whole warps of {self.warp} lanes, but there are {self.lanes} lanes")
        meaning = self.atoms[op.name]
        if isinstance(meaning, SharedMeaning):
            return self.shared_atom(let, op, meaning)
        found = meaning(*(self.vector(o) if collective else self.get(o) for o in op.operands))
        return found if isinstance(found, tuple) else (found,)

    def shared_atom(self, let: Let, op: Atom, meaning: SharedMeaning) -> tuple[Lanes, ...]:
        """Products that read shared memory while lanes go on; their sums are `coming` until they are waited for."""
        if meaning.role == "fence":
            self.spaces.fence()
        own = len(op.operands) - (len(let.results) if meaning.takes else 0)
        sums = op.operands[own:]
        for operand in op.operands[:own]:
            self.get(operand)
        held = [np.broadcast_to(self.registers[o], (self.lanes,)) for o in op.operands]
        self.coming.difference_update(sums)
        if meaning.role == "wait":
            self.memory.end_products()
        elif meaning.role == "start":
            self.coming.update(let.results)
        return meaning.run(self.memory.read_for_product, *held)

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

    def shown(self, reg: Reg, lane: int) -> str:
        held = self.vector(reg)[lane]
        return f"{float(held):.9g}" if reg.type == "f32" else str(int(held))

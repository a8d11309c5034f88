"""The lane IR as LLVM IR text: a block's lanes are one vector, its uniform registers are scalars.

The module defines `void @body(ptr slots, i64 begin, i64 end)`, which runs the blocks begin .. end - 1 in
turn.  `slots` points to 8 bytes per argument slot and one more, which receives the code of a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ..lane.ir import (
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
    lets,
)  # fmt: skip
from ..target import Target
from .arithmetic import apply_kind
from .atoms import emit_atom
from .code import Code, Operand, vector_type
from .memory import copy, exchange, prefetch, read, write
from .reads import reads_at_use
from .shuffle import has_byte_shuffle, move_byte, pick, pick_bytes, shift_bytes
from .tables import lookup, lookup_bytes
from .values import ELEMENTS, Values, byte_shift, middle_byte

__all__ = ["emit"]

_STACK_LIMIT = 64 * 1024  # shared memory larger than this comes from the heap


def emit(function: Function, target: Target) -> str:
    """The text of a module that defines @body for the function."""
    return _Emitter(function, target).module()


class _Emitter:
    """Walks a function once and writes its text."""

    def __init__(self, function: Function, target: Target) -> None:
        self.function = function
        self.target = target
        self.code = Code()
        self.values = Values(self.code, target, function.lanes)

    def module(self) -> str:
        code, function = self.code, self.function
        code.start("block_loop")
        code.do("%block = phi i64 [ %begin, %entry ], [ %block_next, %block_end ]")
        self.body(function.body)
        code.jump("block_end")
        code.start("block_end")
        code.do("%block_next = add nsw i64 %block, 1")
        code.do("%block_more = icmp slt i64 %block_next, %end")
        code.branch(Operand("i1", 0, "%block_more"), "block_loop", "done")
        code.start("done")
        heap = function.shared > _STACK_LIMIT
        if heap:
            code.declare("free", "declare void @free(ptr)")
            code.do("call void @free(ptr %shared)")
        code.do("ret void")
        return code.module("\n".join([*self.entry(heap), *code.lines, "}"]))

    def entry(self, heap: bool) -> list[str]:
        """What runs once: slots are loaded, memory is made, and nothing is done for an empty range."""
        lines = ["define void @body(ptr %slots, i64 %begin, i64 %end) {", "entry:"]
        operations = [s.op for s in lets(self.function.body)]
        integers = {op.index for op in operations if isinstance(op, Slot)}
        floats = {op.index for op in operations if isinstance(op, FloatSlot)}
        for index in sorted(integers | floats):
            lines.append(f"  %place{index} = getelementptr i64, ptr %slots, i64 {index}")
            if index in integers:
                lines.append(f"  %slot{index} = load i64, ptr %place{index}, align 8")
                lines.append(f"  %pointer{index} = inttoptr i64 %slot{index} to ptr")
            if index in floats:
                lines.append(f"  %wide{index} = load double, ptr %place{index}, align 8")
                lines.append(f"  %float{index} = fptrunc double %wide{index} to float")
        if heap:
            self.code.declare("aligned_alloc", "declare noalias ptr @aligned_alloc(i64, i64)")
            lines.append(f"  %shared = call ptr @aligned_alloc(i64 64, i64 {-(-self.function.shared // 64) * 64})")
        elif self.function.shared:
            lines.append(f"  %shared = alloca [{self.function.shared} x i8], align 64")
        if self.values.spare:
            lines.append(f"  %spare = alloca [{self.values.spare} x i8], align 64")
        lines.append("  %some = icmp slt i64 %begin, %end")
        lines.append("  br i1 %some, label %block_loop, label %done")
        return lines

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in reads_at_use(statements):
            match statement:
                case Let():
                    self.operation(statement.results, statement.op)
                case For():
                    self.loop(statement)
                case While():
                    self.repeat(statement)
                case If():
                    self.branch(statement)
                case _:
                    assert_never(statement)

    # Control flow

    def phi(self, reg: Reg, incoming: Sequence[tuple[Operand, str]]) -> str:
        """Defines the register as a phi; returns its name."""
        lanes = 0 if reg.uniform else self.function.lanes
        type = vector_type(ELEMENTS[reg.type], lanes)
        ways = ", ".join(f"[ {value.text}, %{label} ]" for value, label in incoming)
        result = self.code.put(ELEMENTS[reg.type], lanes, f"phi {type} {ways}")
        self.values.define(reg, result)
        return result.text

    def enters(self, reg: Reg, wanted: Reg) -> Operand:
        """The operand of `reg` in the shape of `wanted`."""
        return self.values.get(reg) if wanted.uniform else self.values.vector(reg)

    def complete(self, names: Sequence[str], operands: Sequence[Operand], latch: str, marks: Sequence[int]) -> None:
        """Adds the way round a loop to phis that were written before it was known."""
        for name, operand, mark in zip(names, operands, marks, strict=True):
            assert self.code.lines[mark].lstrip().startswith(f"{name} = phi")
            self.code.lines[mark] += f", [ {operand.text}, %{latch} ]"

    def loop(self, loop: For) -> None:
        code, values = self.code, self.values
        start, stop, step = (values.get(r) for r in (loop.start, loop.stop, loop.step))
        enters = [self.enters(c.before, c.inside) for c in loop.carried]
        before, head, inside, after = code.label, *(code.block_name(n) for n in ("head", "loop", "after"))
        code.jump(head)
        code.start(head)
        names, marks = [], []
        for reg, enter in zip((loop.var, *(c.inside for c in loop.carried)), (start, *enters), strict=True):
            marks.append(len(code.lines))
            names.append(self.phi(reg, [(enter, before)]))
        code.branch(code.compare("slt", values.get(loop.var), stop), inside, after)
        code.start(inside)
        with values.scope():
            self.body(loop.body)
            nexts = [self.enters(c.next, c.inside) for c in loop.carried]
        counted = code.put("i64", 0, f"add nsw i64 {names[0]}, {step.text}")
        self.complete(names, [counted, *nexts], code.label, marks)
        code.jump(head)
        code.start(after)
        for carried in loop.carried:
            values.define(carried.after, values.get(carried.inside))

    def repeat(self, loop: While) -> None:
        code, values = self.code, self.values
        enters = [self.enters(c.before, c.inside) for c in loop.carried]
        before, head, inside, after = code.label, *(code.block_name(n) for n in ("head", "loop", "after"))
        code.jump(head)
        code.start(head)
        names, marks = [], []
        for carried, enter in zip(loop.carried, enters, strict=True):
            marks.append(len(code.lines))
            names.append(self.phi(carried.inside, [(enter, before)]))
        self.body(loop.head)
        code.branch(values.get(loop.condition), inside, after)
        code.start(inside)
        with values.scope():
            self.body(loop.body)
            nexts = [self.enters(c.next, c.inside) for c in loop.carried]
        self.complete(names, nexts, code.label, marks)
        code.jump(head)
        code.start(after)
        for carried in loop.carried:
            values.define(carried.after, values.get(carried.inside))

    def branch(self, choice: If) -> None:
        code, values = self.code, self.values
        yes, no, after = (code.block_name(n) for n in ("then", "else", "after"))
        code.branch(values.get(choice.condition), yes, no)
        ways: list[tuple[list[Operand], str]] = []
        for label, body, regs in (
            (yes, choice.then, [m.then for m in choice.merged]),
            (no, choice.orelse, [m.orelse for m in choice.merged]),
        ):
            code.start(label)
            with values.scope():
                self.body(body)
                operands = [self.enters(r, m.after) for r, m in zip(regs, choice.merged, strict=True)]
            ways.append((operands, code.label))
            code.jump(after)
        code.start(after)
        for k, merge in enumerate(choice.merged):
            self.phi(merge.after, [(operands[k], label) for operands, label in ways])

    # Operations

    def operation(self, results: Sequence[Reg], op: Operation) -> None:
        code, values = self.code, self.values
        match op:
            case Read():
                read(values, op, results)
            case Write():
                write(values, op)
            case Prefetch():
                prefetch(values, op)
            case Fence():
                code.do("fence acq_rel")
            case Barrier() | Commit() | WaitCopies():
                pass  # lanes run in lock step, and copies are done at once
            case CopyAsync():
                copy(values, op)
            case ReadMatrix():
                raise AssertionError("warps of GPUs read matrices; nothing is lowered to that for a CPU")
            case Fail():
                self.fail(op)
            case Show():
                self.show(op)
            case Constant():
                values.define_constant(results[0], op)
            case _:
                values.define(results[0], self.value(results[0], op), op)

    def value(self, result: Reg, op: Operation) -> Operand:
        """Operations that give one value."""
        code, values = self.code, self.values
        match op:
            case Apply():
                return self.apply(result, op)
            case Slot():
                return Operand("i64", 0, f"%slot{op.index}")
            case FloatSlot():
                return Operand("float", 0, f"%float{op.index}")
            case Block():
                return Operand("i64", 0, "%block")
            case SharedAddress():
                return code.put(
                    "i64", 0, f"ptrtoint {code.offset(Operand('ptr', 0, '%shared'), op.offset).typed} to i64"
                )
            case Shuffle():
                return pick(code, [values.vector(s) for s in op.sources], op.source, op.lane)
            case First():
                return values.get(op.x) if op.x.uniform else code.extract(values.get(op.x), 0)
            case Vote():
                held = values.get(op.x)
                return code.reduce("or" if op.kind == "any" else "and", held) if held.lanes else held
            case Lookup():
                return lookup(code, self.target, op.table, values.get(op.index))
            case LookupBytes():
                return lookup_bytes(code, self.target, op.table, values.get(op.word))
            case PickBytes():
                shape = values.get if result.uniform else values.vector
                return pick_bytes(code, shape(op.x), shape(op.y), op.order)
            case Atom():
                shape = values.get if result.uniform else values.vector
                return emit_atom(code, self.target, op.name, [shape(o) for o in op.operands])
            case Exchange():
                return exchange(values, op)
        raise AssertionError(f"{type(op).__name__} gives no value")

    def apply(self, result: Reg, op: Apply) -> Operand:
        shape = self.values.get if result.uniform else self.values.vector
        operands = [shape(o) for o in op.operands]
        if op.kind == "select":
            operands[0] = self.values.get(op.operands[0])  # one condition may choose between whole vectors
            if op.operands[1] is op.operands[2]:
                return operands[1]
        shift = byte_shift(self.values, op) if self.target.has("neon") else None
        if shift is not None:
            return shift_bytes(self.code, self.values.vector(shift[0]), shift[1])
        byte = middle_byte(self.values, op)
        if byte is not None and has_byte_shuffle(self.target):
            return move_byte(self.code, self.values.vector(byte[0]), byte[1])
        return apply_kind(self.code, self.target, op.kind, operands)

    def fail(self, op: Fail) -> None:
        code = self.code
        failed, goes_on = code.block_name("fail"), code.block_name("on")
        code.branch(self.values.get(op.condition), failed, goes_on)
        code.start(failed)
        place = code.put("ptr", 0, f"getelementptr i64, ptr %slots, i64 {self.function.slots}")
        code.do(f"store atomic i64 {op.code}, ptr {place.text} monotonic, align 8")
        code.jump(goes_on)
        code.start(goes_on)

    def show(self, op: Show) -> None:
        """printf, flushed at once, so that it stands in order with what other code prints."""
        code = self.code
        code.declare("printf", "declare i32 @printf(ptr, ...)")
        code.declare("fflush", "declare i32 @fflush(ptr)")
        text = code.constant_data(op.text.encode() + b"\0")
        arguments, pattern = f"ptr {text.text}", b"%s\n\0"
        if op.x is not None:
            held = self.values.get(op.x)
            one = code.extract(held, op.lane) if held.lanes else held
            if one.element == "float":
                one, pattern = code.convert("fpext", one, "double"), b"%s%.9g\n\0"
            elif one.element == "i64":
                pattern = b"%s%lld\n\0"
            else:
                one = code.convert("zext", one, "i32") if one.element == "i1" else one
                pattern = b"%s%d\n\0"
            arguments += f", {one.typed}"
        code.do(f"{code.name()} = call i32 (ptr, ...) @printf(ptr {code.constant_data(pattern).text}, {arguments})")
        code.do(f"{code.name()} = call i32 @fflush(ptr null)")

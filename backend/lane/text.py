"""The lane IR as text for people: one statement a line, registers numbered as they appear, uniform ones as %u<n>.

lane function scale lanes=4 slots=2 shared=0 {
  %u0: i64 = slot 0
  %1: i32 = constant 0, 4, 8, 12
  %2: i32 = read.32 %u0 + %1 align 4
  ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

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

__all__ = ["Printer", "render"]

_LONG = 64  # a constant list longer than this is cut in the middle


def render(function: Function) -> str:
    """The whole function."""
    return Printer().function(function)


class Printer:
    """Writes statements; a register keeps the name it got where it was first seen."""

    def __init__(self) -> None:
        self._names: dict[Reg, str] = {}

    def name(self, reg: Reg) -> str:
        if reg not in self._names:
            self._names[reg] = f"%{'u' if reg.uniform else ''}{len(self._names)}"
        return self._names[reg]

    def names(self, regs: Sequence[Reg]) -> str:
        return ", ".join(self.name(reg) for reg in regs)

    def function(self, function: Function) -> str:
        head = (
            f"lane function {function.name} lanes={function.lanes} slots={function.slots} shared={function.shared} {{"
        )
        lines = [head, *self.lines(function.body, "  "), "}"]
        lines += [f"failure {code}: {text}" for code, text in enumerate(function.failures, 1)]
        return "\n".join(lines) + "\n"

    def lines(self, statements: Sequence[Statement], indent: str) -> Iterator[str]:
        for statement in statements:
            match statement:
                case Let():
                    yield indent + self.let(statement)
                case For():
                    yield from self._for(statement, indent)
                case While():
                    yield from self._while(statement, indent)
                case If():
                    yield from self._if(statement, indent)
                case _:
                    assert_never(statement)

    def let(self, let: Let) -> str:
        operation = self.operation(let.op)
        if not let.results:
            return operation
        return f"{', '.join(f'{self.name(r)}: {r.type}' for r in let.results)} = {operation}"

    def _for(self, loop: For, indent: str) -> Iterator[str]:
        var, bounds = self.name(loop.var), self.names((loop.start, loop.stop, loop.step))
        carried = ", ".join(f"{self.name(c.inside)}: {c.inside.type} = {self.name(c.before)}" for c in loop.carried)
        yield f"{indent}for {var} in range({bounds}) carry ({carried}) {{"
        yield from self.lines(loop.body, indent + "  ")
        nexts, after = self.names([c.next for c in loop.carried]), self.names([c.after for c in loop.carried])
        yield f"{indent}}} next ({nexts}) gives ({after})"

    def _while(self, loop: While, indent: str) -> Iterator[str]:
        carried = ", ".join(f"{self.name(c.inside)}: {c.inside.type} = {self.name(c.before)}" for c in loop.carried)
        yield f"{indent}while carry ({carried}) {{"
        yield from self.lines(loop.head, indent + "  ")
        yield f"{indent}}} {self.name(loop.condition)} {{"
        yield from self.lines(loop.body, indent + "  ")
        nexts, after = self.names([c.next for c in loop.carried]), self.names([c.after for c in loop.carried])
        yield f"{indent}}} next ({nexts}) gives ({after})"

    def _if(self, choice: If, indent: str) -> Iterator[str]:
        yield f"{indent}if {self.name(choice.condition)} {{"
        yield from self.lines(choice.then, indent + "  ")
        yield f"{indent}}} ({self.names([m.then for m in choice.merged])}) else {{"
        yield from self.lines(choice.orelse, indent + "  ")
        orelse, after = self.names([m.orelse for m in choice.merged]), self.names([m.after for m in choice.merged])
        yield f"{indent}}} ({orelse}) gives ({after})"

    def operation(self, op: Operation) -> str:
        match op:
            case Apply():
                return f"{op.kind} {self.names(op.operands)}"
            case Constant():
                return f"constant {_numbers(op.values)}"
            case Slot():
                return f"slot {op.index}"
            case FloatSlot():
                return f"float slot {op.index}"
            case Block():
                return "block"
            case SharedAddress():
                return f"shared address {op.offset}"
            case Read() | Write() | Prefetch() | Exchange():
                return self._access(op)
            case Shuffle():
                return f"shuffle {self.names(op.sources)} source {_numbers(op.source)} lane {_numbers(op.lane)}"
            case First():
                return f"first {self.name(op.x)}"
            case Vote():
                return f"{op.kind} {self.name(op.x)}"
            case Lookup():
                return f"lookup {self.name(op.index)} in {_numbers(op.table)}"
            case LookupBytes():
                return f"lookup bytes {self.name(op.word)} in {_numbers(op.table)}"
            case PickBytes():
                return f"pick bytes {_numbers(op.order)} of {self.name(op.x)}, {self.name(op.y)}"
            case Atom():
                return f"atom {op.name} {self.names(op.operands)}"
            case ReadMatrix():
                turned = ".transposed" if op.transposed else ""
                return f"read matrix{turned} x{op.count} {self.name(op.base)} + {self.name(op.offset)}"
            case CopyAsync():
                mask = f" mask {self.name(op.mask)}" if op.mask is not None else ""
                places = f"{self.name(op.base)} + {self.name(op.offset)} to {self.name(op.to)} + {self.name(op.at)}"
                return f"copy.{op.size} {places}{mask}"
            case Commit():
                return "commit"
            case WaitCopies():
                return f"wait {op.pending}"
            case Barrier():
                return "barrier"
            case Fence():
                return "fence"
            case Fail():
                return f"fail {op.code} if {self.name(op.condition)}"
            case Show():
                return f"show {op.text!r}" + (f", lane {op.lane} of {self.name(op.x)}" if op.x is not None else "")
            case _:
                assert_never(op)

    def _access(self, op: Read | Write | Prefetch | Exchange) -> str:
        place = f"{self.name(op.base)} + {self.name(op.offset)}"
        if isinstance(op, Prefetch):
            return f"prefetch.l{op.level} {place}"
        if isinstance(op, Exchange):
            return f"exchange {place} if {self.name(op.expected)} becomes {self.name(op.new)}"
        mask = f" mask {self.name(op.mask)}" if op.mask is not None else ""
        tail = f"{mask} align {op.align}{'' if op.space == 'global' else ' ' + op.space}"
        if isinstance(op, Read):
            return f"read.{op.bits}{f'x{op.count}' if op.count > 1 else ''} {place}{tail}"
        return f"write.{op.bits} {place}{tail} gets {self.names(op.values)}"


def _numbers(values: Sequence[int | float]) -> str:
    shown = [f"{v:.9g}" if isinstance(v, float) else str(v) for v in values]
    if len(shown) > _LONG:
        shown = [*shown[: _LONG // 2], f"... {len(shown) - _LONG} more ...", *shown[-_LONG // 2 :]]
    return ", ".join(shown)

"""The loops of a kernel's body, read from its assembly."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from .instructions import Instruction, Kind, read_instruction

__all__ = ["Body", "Loop", "read_body"]

_BLOCK = re.compile(r"\.?L?(BB\d+_\d+):|(?:#|//|;) %bb\.\d+:")
_INSIDE = re.compile(r"in Loop: Header=(BB\d+_\d+)")
_PARENT = re.compile(r"Parent Loop (BB\d+_\d+) Depth")
_HEADER = re.compile(r"=>\s*This (?:Inner )?Loop Header")


@dataclass(frozen=True)
class Loop:
    """The instructions of a loop that belong to no loop within it; its label, and those of the loops around it."""

    instructions: tuple[Instruction, ...]
    label: str = ""
    around: frozenset[str] = frozenset()

    @cached_property
    def kinds(self) -> Counter[Kind]:
        return Counter(i.kind for i in self.instructions)

    @property
    def registers(self) -> int:
        """Distinct vector registers."""
        return len(frozenset[int]().union(*(i.registers for i in self.instructions)))

    @property
    def loads(self) -> int:
        """Bytes brought into vectors in one iteration."""
        return sum(i.loads for i in self.instructions)

    @property
    def multiplies(self) -> int:
        """Products added up in one iteration."""
        return sum(i.multiplies for i in self.instructions)

    @property
    def saves(self) -> int:
        return sum(i.saves for i in self.instructions)

    @property
    def reloads(self) -> int:
        return sum(i.reloads for i in self.instructions)


@dataclass(frozen=True)
class Body:
    """All instructions of a kernel's body as if it were one loop, and its loops."""

    whole: Loop
    loops: tuple[Loop, ...]


def read_body(text: str, arm: bool) -> Body:
    """The body of the kernel whose assembly, with LLVM's comments, this is."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(r"_?body:", line))
    end = next((i for i in range(start, len(lines)) if re.match(r"\.?Lfunc_end", lines[i])), len(lines))
    header = ""
    block = ""
    around: dict[str, set[str]] = {}
    everything: list[Instruction] = []
    loops: dict[str, list[Instruction]] = {}
    for line in lines[start + 1 : end]:
        if found := _BLOCK.match(line):
            block, header = found.group(1) or "", ""
        if _HEADER.search(line):
            header = block
        elif found := _INSIDE.search(line):
            header = found.group(1)
        if found := _PARENT.search(line):
            around.setdefault(block, set()).add(found.group(1))
        instruction = read_instruction(line, arm)
        if instruction is not None:
            everything.append(instruction)
            if header:
                loops.setdefault(header, []).append(instruction)
    made = (Loop(tuple(own), label, frozenset(around.get(label, ()))) for label, own in loops.items())
    return Body(Loop(tuple(everything)), tuple(made))

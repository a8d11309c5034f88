"""Machine code of NVIDIA's GPUs, read: what NVIDIA's disassembler prints of a cubin, as instructions.

text = disassemble(cubin)            # what nvdisasm prints
for i in read_instructions(text):    # in the order of addresses
    print(i.address, i.guard, i.opcode, i.operands)
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...vm.diagnostic import Diagnostic, Problem
from ..build_error import BuildError

__all__ = ["SassInstruction", "disassemble", "disassembler", "read_instructions"]

_LABEL = re.compile(r"^(\.\w+):")
_LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*?)\s*;")
_TARGET = re.compile(r"`\((\.\w+)\)")
_NOTE = re.compile(r"\s*\(\*(.*)\*\)")
_SECONDS = 60


@dataclass(frozen=True)
class SassInstruction:
    """One instruction.

    address   in bytes from the kernel's first instruction
    guard     the predicate that it runs under (``P0``, ``!UP1``); empty: always
    opcode    with its modifiers, such as ``LDG.E.128.CONSTANT``
    operands  as they are printed
    target    the address that a branch, or the start of a region that converges, names
    spill     whether it does nothing but save a register to local memory or bring it back, as the compiler noted
    """

    address: int
    guard: str
    opcode: str
    operands: tuple[str, ...]
    target: int | None = None
    spill: bool = False

    @cached_property
    def name(self) -> str:
        """The opcode without modifiers."""
        return self.opcode.partition(".")[0]

    @cached_property
    def modifiers(self) -> frozenset[str]:
        return frozenset(self.opcode.split(".")[1:])


def disassemble(cubin: bytes) -> str:
    """The machine code in a cubin as text; a Diagnostic where there is no disassembler."""
    tool = disassembler()
    if tool is None:
        raise Diagnostic(
            Problem(
                "NVIDIA's disassembler nvdisasm is neither in its package nor on the path",
                "install it with: pip install 'bitwright[cuda]'",
            )
        )
    with tempfile.TemporaryDirectory(prefix="bitwright-") as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        done = subprocess.run(
            [tool, "--print-code", str(path)], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    if done.returncode:
        raise BuildError(f"nvdisasm does not read the code: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@functools.cache
def disassembler() -> str | None:
    """Where nvdisasm lies: in its wheel or in a CUDA toolkit, which NVIDIA's pathfinder looks for, or on the path."""
    try:
        from cuda.pathfinder import find_nvidia_binary_utility
    except ImportError:
        return shutil.which("nvdisasm")
    found: str | None = find_nvidia_binary_utility("nvdisasm")
    return found or shutil.which("nvdisasm")


def read_instructions(text: str) -> tuple[SassInstruction, ...]:
    """The instructions of the one kernel in nvdisasm's text, without the padding behind the last one."""
    found: list[tuple[int, str, str, str]] = []
    labels: dict[str, int] = {}
    waiting: list[str] = []
    for line in text.splitlines():
        if label := _LABEL.match(line):
            waiting.append(label.group(1))
        elif match := _LINE.match(line):
            address = int(match.group(1), 16)
            labels |= dict.fromkeys(waiting, address)
            waiting = []
            found.append((address, match.group(2) or "", match.group(3), match.group(4)))
    return _without_padding([_made(labels, *line) for line in found])


def _made(labels: dict[str, int], address: int, guard: str, opcode: str, operands: str) -> SassInstruction:
    label = _TARGET.search(operands)
    target = labels.get(label.group(1)) if label else None
    note = _NOTE.search(operands)
    plain = _NOTE.sub("", operands)
    spill = note is not None and "Spill" in note.group(1)
    return SassInstruction(address, guard, opcode, tuple(filter(None, re.split(r",\s*", plain))), target, spill)


def _without_padding(found: list[SassInstruction]) -> tuple[SassInstruction, ...]:
    """Behind its last instruction a kernel has a branch to itself, which stops what runs past the end, and NOPs."""
    end = len(found)
    while end and found[end - 1].name == "NOP":
        end -= 1
    if end and found[end - 1].target == found[end - 1].address:
        end -= 1
    return tuple(found[:end])

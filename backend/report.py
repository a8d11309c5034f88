"""What a kernel's code costs, counted in the assembly: no timing, so no noise."""

from __future__ import annotations

import re
from collections import Counter

from ..vm.call_arguments import is_buffer
from ..vm.ir import Let, Program, walk
from ..vm.ops import Load
from .llvm.build import assembly
from .pipeline import Compiled

_LABEL = re.compile(r"^(\.?\w+):")
_JUMP = re.compile(r"^\s+j\w+\s+(\.\w+)")
_INSTRUCTION = re.compile(r"^\s+([a-z][\w.]*)")
_SPILL = re.compile(r"^\s+vmov\w+\s+%[xyz]mm\d+, -?\w*\(%r[bs]p\)")
_VECTOR = re.compile(r"%([xyz]mm)(\d+)")


def report(compiled: Compiled, code: bytes) -> dict[str, int | float]:
    """Figures of a kernel.

    object_bytes                   machine code and constants
    lanes, shared_memory_bytes     of one block
    vector_registers               distinct vector registers that the body uses
    spills                         instructions that save a vector register to the stack (x86)
    loop_instructions              instructions in the longest innermost loop
    loop_vector_instructions       those among them that work on vectors
    weights_per_iteration, instructions_per_weight, bytes_per_weight   of kernels that load a packed array
    """
    assert compiled.function is not None
    body = _body(assembly(compiled.ir, compiled.target))
    loop = _innermost(body)
    kinds = Counter(m.group(1) for line in loop if (m := _INSTRUCTION.match(line)))
    vector = sum(1 for line in loop if _VECTOR.search(line))
    figures: dict[str, int | float] = {
        "object_bytes": len(code),
        "lanes": compiled.function.lanes,
        "shared_memory_bytes": compiled.function.shared,
        "vector_registers": len({m.group(2) for line in body for m in _VECTOR.finditer(line)}),
        "spills": sum(1 for line in body if _SPILL.match(line)),
        "loop_instructions": sum(kinds.values()),
        "loop_vector_instructions": vector,
    }
    weights, size = _weights(compiled.program)
    if weights:
        figures["weights_per_iteration"] = weights
        figures["instructions_per_weight"] = sum(kinds.values()) / weights
        figures["bytes_per_weight"] = size
    return figures


def _body(text: str) -> list[str]:
    """The lines of the kernel's body."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("body:"))
    end = next((i for i in range(start, len(lines)) if lines[i].startswith(".Lfunc_end")), len(lines))
    return lines[start:end]


def _innermost(lines: list[str]) -> list[str]:
    """The longest stretch between a label and a jump back to it that holds no other such stretch."""
    labels = {m.group(1): i for i, line in enumerate(lines) if (m := _LABEL.match(line))}
    spans = []
    for i, line in enumerate(lines):
        if (m := _JUMP.match(line)) and labels.get(m.group(1), i) < i:
            spans.append((labels[m.group(1)], i))
    inner = [s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    first, last = max(inner, key=lambda s: s[1] - s[0], default=(0, -1))
    return lines[first : last + 1]


def _weights(program: Program) -> tuple[int, float]:
    """Elements of packed arrays that one pass over their loads takes, and the bytes that each takes up in memory."""
    loads = [s.op for s in walk(program.body) if isinstance(s, Let) and isinstance(s.op, Load)]
    count, bits = 0, 0.0
    for op in loads:
        array = next((a for a in program.arrays if a is op.source and is_buffer(a)), None)
        if array is None:
            continue
        elements = 1
        for n in op.shape:
            elements *= n
        stored = array.dtype.bits * 1.0
        if array.storage is not None:
            stored = array.storage.tile_bytes * 8 / (array.storage.lanes * array.storage.regs)
        count, bits = count + elements, bits + elements * stored
    return count, bits / 8 / count if count else 0.0

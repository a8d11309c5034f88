"""From a tile program to machine code: the stages, in their order.

Each stage is a pure function of what came before it, with a post-condition that is checked right after it.
Vectorization and instruction selection are part of `lower`: both are decided where an access or a product is written
out, from the layouts, so there is no intermediate form in which they could disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..vm.ir import For, If, Let, Program, Value, While, walk
from ..vm.verify import verify
from .cuda import build as cuda_build
from .cuda import emit as cuda_emit
from .cuda.block_memory import block_bytes
from .interface import signature_of
from .lane.ir import Function
from .llvm import build as llvm_build
from .llvm import emit as llvm_emit
from .llvm.entry import ENTRY_PRELUDE, emit_entry
from .lower.layouts import assign_layouts
from .lower.program import lower
from .signature import Signature
from .target import GPU_ALIGN, Target


@dataclass(frozen=True)
class Compiled:
    """What is known of a program as it goes through the stages: each adds its own result."""

    program: Program
    target: Target
    function: Function | None = None
    ir: str = ""
    code: bytes = b""

    @property
    def signature(self) -> Signature:
        assert self.function is not None
        least = GPU_ALIGN if self.target.kind == "cuda" else 1
        return signature_of(self.program, self.function.failures, least)

    @property
    def shared_bytes(self) -> int:
        """What one block takes of shared memory."""
        assert self.function is not None
        return block_bytes(self.function) if self.target.kind == "cuda" else self.function.shared


@dataclass(frozen=True)
class Stage:
    name: str
    reason: str
    run: Callable[[Compiled], Compiled]
    holds: Callable[[Compiled], bool]


def _verified(x: Compiled) -> Compiled:
    verify(x.program)
    return x


def _layouts(x: Compiled) -> Compiled:
    return replace(x, program=assign_layouts(x.program, x.target))


def _laid_out(x: Compiled) -> bool:
    """The rules of the IR still hold, and every tile has a layout on all lanes of the block."""
    verify(x.program)
    lanes = x.program.lanes
    values = [s.result for s in walk(x.program.body) if isinstance(s, Let) and isinstance(s.result, Value)]
    carried = [c.inside for s in walk(x.program.body) if isinstance(s, For | While) for c in s.carried]
    merged = [m.after for s in walk(x.program.body) if isinstance(s, If) for m in s.merged]
    tiles = [v for v in (*values, *carried, *merged) if isinstance(v, Value)]
    return all(v.type.layout is not None and v.type.layout.size("lane") == lanes for v in tiles)


def _lower(x: Compiled) -> Compiled:
    return replace(x, function=lower(x.program, x.target))


def _emit(x: Compiled) -> Compiled:
    assert x.function is not None
    if x.target.kind == "cuda":
        return replace(x, ir=cuda_emit.emit(x.function, x.target))
    text = f"{llvm_emit.emit(x.function, x.target)}\n{ENTRY_PRELUDE}\n{emit_entry(x.signature)}"
    return replace(x, ir=text)


def _emitted(x: Compiled) -> bool:
    return ("__global__" if x.target.kind == "cuda" else "@bw_entry") in x.ir


def _assemble(x: Compiled) -> Compiled:
    build = cuda_build.assemble if x.target.kind == "cuda" else llvm_build.assemble
    return replace(x, code=build(x.ir, x.target))


STAGES = (
    Stage("verify", "refuse a program that breaks the rules of the IR", _verified, lambda x: True),
    Stage("layouts", "place every tile's elements on lanes and registers", _layouts, _laid_out),
    Stage(
        "lower", "write out what one lane does: accesses, decodes, products", _lower, lambda x: x.function is not None
    ),
    Stage("emit", "print lane IR as LLVM IR, lanes as vectors, or as CUDA C++, lanes as threads", _emit, _emitted),
    Stage("assemble", "let LLVM make an object of it, or NVRTC a cubin", _assemble, lambda x: bool(x.code)),
)


def compile_program(program: Program, target: Target, until: str = "assemble") -> Compiled:
    """Runs the stages up to and including `until`."""
    state = Compiled(program, target)
    for stage in STAGES:
        state = stage.run(state)
        assert stage.holds(state), f"after the stage {stage.name}, its post-condition does not hold"
        if stage.name == until:
            break
    return state

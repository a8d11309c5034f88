"""Lane IR as CUDA C++: a lane is a thread, a block's lanes are a thread block.

The text defines one kernel, `bw_kernel`, with a 64-bit parameter per argument slot (s0, s1 ...) and the address of the
word that gets the code of a failure.  It includes nothing.  Shared memory is dynamic, and there is as much of it as
`block_memory.py` says.  The same function gives the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ..lane.ir import (
    Apply,
    Atom,
    Barrier,
    Block,
    Carried,
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
)  # fmt: skip
from ..target import Target
from .arithmetic import apply_kind
from .atoms import select_row
from .block_memory import block_memory, check_block
from .code import Code
from .memory import assembly, atom, copy_async, prefetch, read, read_matrix, write
from .reach import Reach
from .tables import lookup, lookup_bytes, pick_bytes
from .warps import exchange, first, shuffle, vote

__all__ = ["MOST_LANES", "emit"]

MOST_LANES = 1024
"""Of a block of any GPU."""

_TYPES = """typedef unsigned u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;"""


def emit(function: Function, target: Target) -> str:
    """The text of one kernel."""
    if function.lanes > MOST_LANES:
        raise ValueError(
            f"{function.name} asks for {function.lanes} lanes, but a block of a GPU has at most {MOST_LANES}; "
            "give grid(..., lanes=) fewer, or compile for a CPU"
        )
    check_block(function, target)
    return _Emitter(function, target).text()


class _Emitter:
    """Walks a function once and writes its text."""

    def __init__(self, function: Function, target: Target) -> None:
        self.function = function
        self.target = target
        self.code = Code(function.lanes, block_memory(function))
        self.reach = Reach(function)

    def text(self) -> str:
        self.body(self.function.body)
        code, function = self.code, self.function
        parameters = "".join(f"u64 s{k}, " for k in range(function.slots))
        head = f'extern "C" __global__ void __launch_bounds__({function.lanes}) bw_kernel({parameters}i32* failure) {{'
        memory = ["extern __shared__ __align__(1024) unsigned char shared[];"] if code.kept.bytes else []
        beginning = code.beginning()  # which may name arrays that stand outside
        lines = [_TYPES, *memory, *code.outside(), head, *beginning, *code.lines, "}"]
        return "\n".join(lines) + "\n"

    def body(self, statements: Sequence[Statement]) -> None:
        for s in statements:
            match s:
                case Let():
                    self.operation(s.results, s.op)
                case For():
                    self.loop(s)
                case While():
                    self.repeat(s)
                case If():
                    self.branch(s)
                case _:
                    assert_never(s)

    # Control flow

    def enter(self, carried: Sequence[Carried]) -> None:
        """Variables that change from iteration to iteration."""
        for c in carried:
            self.code.alias(c.after, self.code.declare(c.inside, self.code.get(c.before)))

    def step(self, carried: Sequence[Carried]) -> None:
        """All of them get their next values at once: one that another's next value needs is kept aside."""
        code = self.code
        changed = [c for c in carried if code.get(c.next) != code.get(c.inside)]
        inside = {code.get(c.inside) for c in changed}
        nexts = [code.get(c.next) for c in changed]
        for k, name in enumerate(nexts):
            if name in inside:
                nexts[k] = code.fresh("t")
                code.line(f"const auto {nexts[k]} = {name};")
        for c, name in zip(changed, nexts, strict=True):
            code.line(f"{code.get(c.inside)} = {name};")

    def loop(self, loop: For) -> None:
        code = self.code
        start, stop, step = (code.get(r) for r in (loop.start, loop.stop, loop.step))
        self.enter(loop.carried)
        var = code.fresh("n")
        code.alias(loop.var, var)
        code.line("#pragma unroll 1")
        with code.block(f"for (u64 {var} = {start}; (i64){var} < (i64){stop}; {var} += {step})"):
            self.body(loop.body)
            self.step(loop.carried)

    def repeat(self, loop: While) -> None:
        code = self.code
        self.enter(loop.carried)
        code.line("#pragma unroll 1")
        with code.block("while (true)"):
            self.body(loop.head)
            code.line(f"if (!{code.get(loop.condition)}) break;")
            self.body(loop.body)
            self.step(loop.carried)

    def branch(self, choice: If) -> None:
        code = self.code
        names = [code.declare(m.after) for m in choice.merged]
        ways = (
            (f"if ({code.get(choice.condition)})", choice.then, [m.then for m in choice.merged]),
            ("else", choice.orelse, [m.orelse for m in choice.merged]),
        )
        for head, body, values in ways:
            if body or values:
                head = head if head != "else" or choice.then or values else f"if (!{code.get(choice.condition)})"
                with code.block(head):
                    self.body(body)
                    for name, value in zip(names, values, strict=True):
                        code.line(f"{name} = {code.get(value)};")

    # Operations

    def operation(self, results: Sequence[Reg], op: Operation) -> None:
        code = self.code
        if results:
            code.sums.note(results[0], op)
        match op:
            case Read():
                read(code, op, results, op.space == "global" and self.reach.read_only(op.base))
            case Write():
                write(code, op)
            case Prefetch():
                prefetch(code, op)
            case CopyAsync():
                copy_async(code, op)
            case ReadMatrix():
                read_matrix(code, op, results)
            case Commit():
                assembly(code, "cp.async.commit_group;", [], [])
            case WaitCopies():
                assembly(code, f"cp.async.wait_group {op.pending};", [], [])
            case Barrier():
                code.line("__syncthreads();")
            case Fence():
                self.fence()
            case Fail():
                code.line(f"if ({code.get(op.condition)} && lane == 0u) atomicCAS(failure, 0, {op.code});")
            case Show():
                self.show(op)
            case Atom():
                atom(code, select_row(self.target, op.name), op.operands, results)
            case _:
                self.value(results[0], op)

    def value(self, result: Reg, op: Operation) -> None:
        """Operations that give one value."""
        code = self.code
        match op:
            case Apply():
                code.define(result, apply_kind(code, op))
            case Constant():
                code.constant(result, op)
            case Slot():
                code.alias(result, f"s{op.index}")
            case FloatSlot():
                code.define(result, f"__double2float_rn(__longlong_as_double((i64)s{op.index}))")
            case Block():
                code.define(result, "blockIdx.x")
            case SharedAddress():
                more = f" + {op.offset}ull" if op.offset else ""
                code.define(result, f"(u64)__cvta_generic_to_shared(shared){more}")
            case Shuffle():
                shuffle(code, op, result)
            case First():
                first(code, op, result)
            case Vote():
                vote(code, op, result)
            case Lookup():
                lookup(code, op, result)
            case LookupBytes():
                lookup_bytes(code, op, result)
            case PickBytes():
                pick_bytes(code, op, result)
            case Exchange():
                exchange(code, op, result)
            case _:
                raise AssertionError(f"{type(op).__name__} gives no value")

    def fence(self) -> None:
        """Lane 0 fences for the block, which the barriers put before and after it: fences pass on what they follow."""
        self.code.line("__syncthreads();")
        self.code.line("if (lane == 0u) __threadfence();")
        self.code.line("__syncthreads();")

    def show(self, op: Show) -> None:
        """printf by one lane.  Warps wait for each other, so that lines come out in the order of the program."""
        code = self.code
        text = _quoted(op.text)
        if op.x is None:
            code.line(f'if (lane == {op.lane}u) printf("%s\\n", "{text}");')
        else:
            pattern = {"f32": "%.9g", "i64": "%lld"}.get(op.x.type, "%d")
            cast = {"f32": "(double)", "i64": "(i64)"}.get(op.x.type, "(i32)")
            code.line(f'if (lane == {op.lane}u) printf("%s{pattern}\\n", "{text}", {cast}{code.get(op.x)});')
        code.line("__syncthreads();")


def _quoted(text: str) -> str:
    """Inside quotes: what is not plain ASCII, and what C gives a meaning, is written by number."""
    plain = frozenset(range(32, 127)) - frozenset(b'"\\?%')
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode())

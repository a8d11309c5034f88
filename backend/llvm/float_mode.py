"""The processor's floating-point mode around kernels, as LLVM IR text.

Kernels keep subnormal numbers and round to nearest. The calling thread may have been told otherwise (one library built
with fast mathematics is enough), and threads inherit the mode from their maker. So the usual mode is set, and put back.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FloatMode", "float_mode"]


@dataclass(frozen=True)
class FloatMode:
    """Pieces of text: what to declare, and the instructions for a function's entry block and for its end.

    `save` remembers the mode in %saved and sets the usual one; `restore` puts %saved back; `usual` only sets.
    """

    declarations: str
    save: str
    restore: str
    usual: str


_X86_USUAL = """%usual = alloca i32
  store i32 8064, ptr %usual
  call void @llvm.x86.sse.ldmxcsr(ptr %usual)"""  # all exceptions masked, nearest, no flushing

_X86 = FloatMode(
    "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)\n",
    "%saved = alloca i32\n  call void @llvm.x86.sse.stmxcsr(ptr %saved)\n  " + _X86_USUAL,
    "call void @llvm.x86.sse.ldmxcsr(ptr %saved)",
    _X86_USUAL,
)
_ARM = FloatMode(
    "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)\n",
    "%saved = call i64 @llvm.aarch64.get.fpcr()\n  call void @llvm.aarch64.set.fpcr(i64 0)",
    "call void @llvm.aarch64.set.fpcr(i64 %saved)",
    "call void @llvm.aarch64.set.fpcr(i64 0)",
)


def float_mode(triple: str) -> FloatMode:
    """The pieces for an architecture; empty ones for architectures whose mode we do not know how to set."""
    if triple.startswith("x86_64"):
        return _X86
    return _ARM if triple.startswith(("aarch64", "arm64")) else FloatMode("", "", "", "")

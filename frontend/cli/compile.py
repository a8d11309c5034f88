"""`bitwright compile`: a program to the text of any stage, or to an object file or a cubin."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .errors import CliError, show


class Emit(StrEnum):
    tile = "tile"
    lane = "lane"
    llvm = "llvm"
    asm = "asm"
    object = "object"
    cuda = "cuda"
    ptx = "ptx"
    sass = "sass"
    cubin = "cubin"


_EVERY = (Emit.tile, Emit.lane)
_STAGES = {
    "cpu": (*_EVERY, Emit.llvm, Emit.asm, Emit.object),
    "cuda": (*_EVERY, Emit.cuda, Emit.ptx, Emit.sass, Emit.cubin),
}
"""What is there to write for each kind of target; the last one is machine code, no text."""


def compile_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A program; - is stdin.")],
    kernel: Annotated[str | None, typer.Option("--kernel", help="Which kernel of the file.")] = None,
    target: Annotated[
        str, typer.Option("--target", help="cpu (this machine), cpu:znver4, cuda:sm_90a ...; --export takes several.")
    ] = "cpu",
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A compile-time parameter, or a fixed size."),
    ] = None,
    divisible: Annotated[
        list[str] | None, typer.Option("--divisible", metavar="SIZE=N", help="N divides this size at every call.")
    ] = None,
    emit: Annotated[Emit | None, typer.Option("--emit", help="Write this stage of the compiler.")] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is stdout.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Print what the code costs.")] = False,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="DIR", help="Write an artifact: code to call without the compiler."),
    ] = None,
) -> None:
    """Compile a kernel, and write a stage of it or say what the code costs.

    The stages are tile (the language), lane (what one lane does), and then, for a CPU, llvm, asm and object; for a
    GPU, which need not be there, cuda (C++), ptx, sass (its machine code) and cubin. With -o alone the object or the
    cubin is written; with neither --emit nor -o the report is printed. The object's one symbol is `bw_entry`, a
    function of tvm-ffi's calling convention; the cubin's is `bw_kernel`. With --export a folder is written, for one
    target or for several with commas between, which Python's `bitwright.load_artifact` calls on any machine.

    Example: `bitwright compile matmul.bw -p W=u3 --target cpu:znver4 --emit asm -o matmul.s`
    """
    from ...backend.report import describe
    from .program import compile_file, export_file

    if export is not None:
        if emit is not None or output is not None or report:
            raise CliError("--export writes a folder of its own: leave out --emit, --output and --report")
        export_file(file, kernel, target, parameter or [], divisible or [], export)
        return
    made = compile_file(file, kernel, target, parameter or [], divisible or [])
    stages = _STAGES[made.target.kind]
    binary = stages[-1]
    stage = binary if emit is None and output is not None else emit
    if stage is None:
        report = True
    elif stage not in stages:
        raise CliError(f"{made.target.name} has no {stage.value}: --emit {', '.join(stages)}")
    elif stage is binary:
        if output is None:
            raise CliError(
                f"{'an object' if binary is Emit.object else 'a cubin'} is no text: say where it goes with -o FILE"
            )
        _write(made.code, output)
    else:
        _write(made.source(stage.value).encode(), output or "-")
    if report:
        show(describe(made.report()), stderr=_piped(stage, output))


def _piped(stage: Emit | None, output: str | None) -> bool:
    """Whether a stage goes to standard output, so that the report must not."""
    return stage is not None and output in (None, "-")


def _write(data: bytes, output: str) -> None:
    from .files import replace_file

    if output != "-":
        replace_file(Path(output), data)
        return
    sys.stdout.buffer.write(data if data.endswith(b"\n") or not data.isascii() else data + b"\n")
    sys.stdout.buffer.flush()

"""`bitwright compile`: a program to the text of any stage, or to an object file."""

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


def compile_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A program; - is stdin.")],
    kernel: Annotated[str | None, typer.Option("--kernel", help="Which kernel of the file.")] = None,
    target: Annotated[str, typer.Option("--target", help="cpu (this machine), cpu:baseline, cpu:znver4 ...")] = "cpu",
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
) -> None:
    """Compile a kernel, and write a stage of it or say what the code costs.

    The stages are tile (the language), lane (what one lane does), llvm, asm and object. With -o alone an object is
    written; with neither --emit nor -o the report is printed. The object's one symbol is `bw_entry`, a function of
    tvm-ffi's calling convention.

    Example: `bitwright compile matmul.bw -p W=u3 --target cpu:znver4 --emit asm -o matmul.s`
    """
    from ...backend.report import describe
    from .program import compile_file

    made = compile_file(file, kernel, target, parameter or [], divisible or [])
    stage = Emit.object if emit is None and output is not None else emit
    if stage is None:
        report = True
    elif stage is Emit.object:
        if output is None:
            raise CliError("an object is no text: say where it goes with -o FILE")
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

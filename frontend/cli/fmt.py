"""`bitwright fmt`: bring programs into their one canonical form."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from .errors import is_users, show, show_error


def fmt_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Programs or folders of them; - is stdin.")],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; name the files that would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; print what would change.")] = False,
) -> None:
    """Format programs in place; `-` reads stdin and writes stdout.

    A file is replaced as a whole or not at all. With --check or --diff the exit code is 1 when a file would change.

    Example: `bitwright fmt --diff kernels/matmul.bw`
    """
    from .files import program_files

    failed = changed = False
    for name in program_files(files):
        try:
            changed |= _format(name, check, diff)
        except Exception as error:
            if not is_users(error):
                raise
            show_error(error)
            failed = True
    if failed or (changed and (check or diff)):
        raise typer.Exit(1)


def _format(name: str, check: bool, diff: bool) -> bool:
    """Format one file, or say what would change; whether it was not in canonical form."""
    from ..format import format_module
    from ..parse import parse
    from .files import STANDARD, read_program, replace_file, shown_name

    before = read_program(name)
    module = parse(before, shown_name(name))
    after = format_module(module)
    assert parse(after) == module, "formatting must not change what a program means"
    different = before != after
    if diff:
        lines = difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), shown_name(name), "formatted"
        )
        typer.echo("".join(line if line.endswith("\n") else f"{line}\n" for line in lines), nl=False)
    if check and different:
        show(f"{shown_name(name)} would change", stderr=diff)
    if check or diff:
        return different
    if name == STANDARD:
        typer.echo(after, nl=False)
    elif different:
        replace_file(Path(name), after.encode())
        show(f"{name} formatted")
    return different

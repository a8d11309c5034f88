"""`bitwright check`: read programs and report every mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from .errors import CliError, is_users, show, show_error


def check_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Programs or folders of them; - is stdin.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A compile-time parameter.")
    ] = None,
) -> None:
    """Report every mistake in programs. The exit code is 1 when there is one.

    Each kernel is read and built, with the defaults of its compile-time parameters where no -p gives another value. A
    kernel with a parameter that has no value is only read.

    Example: `bitwright check kernels/ -p W=u3`
    """
    from .files import program_files
    from .parameters import split_pairs

    given = split_pairs(parameter or [], "-p")
    used: set[str] = set()
    failed = False
    for name in program_files(files):
        try:
            used |= _check(name, given)
        except Exception as error:
            if not is_users(error):
                raise
            show_error(error)
            failed = True
    if failed:
        raise typer.Exit(1)
    _refuse_unused(given, used)


def _check(name: str, given: Mapping[str, str]) -> set[str]:
    """Check one file; returns which of the given parameters its kernels take."""
    from ...vm.diagnostic import Diagnostic, Problem
    from ..build import build
    from ..parse import parse
    from .files import read_program, shown_name
    from .parameters import parameters_for, required, takes

    kernels = parse(read_program(name), shown_name(name)).kernels
    used: set[str] = set()
    problems: list[Problem] = []
    built = 0
    for kernel in kernels:
        own = {key: text for key, text in given.items() if key in takes(kernel)}
        used |= set(own)
        missing = [parameter for parameter in required(kernel) if parameter not in own]
        if missing:
            options = " ".join(f"-p {parameter}=..." for parameter in missing)
            show(f"{shown_name(name)}: {kernel.name} was only read; to build it give {options}")
            continue
        try:
            build(kernel, parameters_for(kernel, own))
            built += 1
        except Diagnostic as error:
            problems += error.problems
    if problems:
        raise Diagnostic(*problems)
    noun = "kernel" if len(kernels) == 1 else "kernels"
    show(f"{shown_name(name)}: {built} of {len(kernels)} {noun} built, no mistakes")
    return used


def _refuse_unused(given: Mapping[str, str], used: set[str]) -> None:
    if unused := [name for name in given if name not in used]:
        raise CliError(f"no kernel takes the parameter {unused[0]}: remove -p {unused[0]}, or correct its name")

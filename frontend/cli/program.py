"""The kernel that `compile` and `run` work on: a file, one of its kernels, and values for its parameters."""

from __future__ import annotations

from collections.abc import Iterable

from ...backend.target import target as find_target
from ..export import export
from ..kernel import Kernel, KernelSource
from ..parse import parse
from .errors import CliError
from .files import STANDARD, read_program, shown_name
from .parameters import choose_kernel, parameters_for, split_pairs


def compile_file(
    file: str, kernel: str | None, target: str, parameters: Iterable[str], divisible: Iterable[str]
) -> Kernel:
    """The kernel that the options name. Nothing is compiled yet; the program is read and built, so mistakes show."""
    text = read_program(file)
    where = find_target(target)
    chosen = choose_kernel(parse(text, shown_name(file)).kernels, kernel, shown_name(file))
    values = parameters_for(chosen, split_pairs(parameters, "-p"))
    made = Kernel(
        KernelSource(text, shown_name(file), chosen.name), where, values, integers(divisible, "--divisible", lowest=1)
    )
    assert made.program.name == chosen.name
    return made


def export_file(
    file: str, kernel: str | None, targets: str, parameters: Iterable[str], divisible: Iterable[str], folder: str
) -> None:
    """Writes an artifact of the kernel that the options name, for each of the targets between commas."""
    if file == STANDARD and "," in targets:
        raise CliError("standard input is read once: give a file to compile for several targets")
    given, facts = list(parameters), list(divisible)
    made = [compile_file(file, kernel, name.strip(), given, facts) for name in targets.split(",")]
    export(folder, *made)


def integers(texts: Iterable[str], option: str, lowest: int) -> dict[str, int]:
    """`NAME=N` texts as integers of at least `lowest`."""
    found = {}
    for name, text in split_pairs(texts, option).items():
        if not text.isdecimal() or int(text) < lowest:
            raise CliError(f"{option} {name}={text}: write an integer of at least {lowest}")
        found[name] = int(text)
    return found

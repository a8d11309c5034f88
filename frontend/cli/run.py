"""`bitwright run`: a kernel on data made up or read from files, checked and timed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    from ..kernel import Kernel
    from .run_arguments import Given

TIMED_SECONDS = 0.5
"""How long --time goes on calling, in seconds."""


def run_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A program; - is stdin.")],
    kernel: Annotated[str | None, typer.Option("--kernel", help="Which kernel of the file.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A compile-time parameter, or a fixed size."),
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option("--shape", metavar="SIZE=N", help="A size, where no file tells it.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=WHAT", help="A .npy file, random, zeros, ones, arange, or a number."),
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option("--output", metavar="NAME=FILE", help="Save an array to a .npy file.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random numbers.")] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the interpreter; exit code 1 if far off.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, help="Error that --check allows, relative to the largest value."),
    ] = None,
    timed: Annotated[
        bool, typer.Option("--time", help="Time the kernel on this data, which is then in cache.")
    ] = False,
) -> None:
    """Run a kernel and summarise every array that it writes.

    Arrays are random unless --input says otherwise; arrays that are only written begin as zeros. Numbers from files are
    rounded to the array's dtype and packed the way it is stored. --check allows the rounding of the array's own dtype,
    and no error of integers.

    Example: `bitwright run norms.bw --kernel rms_norm --shape M=4 --shape N=512 --input eps=1e-5 --check --time`
    """
    from .program import compile_file, integers
    from .run_arguments import make_arguments

    if tolerance is not None and not check:
        raise CliError("--tolerance is what --check allows: add --check")
    made = compile_file(file, kernel, "cpu", parameter or [], [])
    given = make_arguments(made.program, integers(shape or [], "--shape", lowest=0), _pairs(inputs, "--input"), seed)
    files = _outputs(made, _pairs(output, "--output"))
    before = given.copies()
    sizes = {var.name: given.sizes[var] for var in made.compiled.signature.explicit}
    expected = _interpreted(made, given, sizes) if check else None  # first: it refuses what could harm this process
    _call(made, given, sizes)
    _summarise(made, given, files)
    good = expected is None or _agree(made, given, expected, tolerance)
    if timed:
        show(_timed(made, before, sizes))
    if not good:
        raise typer.Exit(1)


def _call(made: Kernel, given: Given, sizes: dict[str, int]) -> None:
    try:
        made(*given.values, **sizes)
    except RuntimeError as error:  # a check that the kernel itself makes has failed
        raise CliError(f"{made.name} stopped: {error}") from error


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    from .parameters import split_pairs

    return split_pairs(texts or [], option)


def _outputs(made: Kernel, files: dict[str, str]) -> dict[str, str]:
    names = [array.name for array in made.program.arrays]
    for name, file in files.items():
        if name not in names:
            raise CliError(f"--output {name}: {made.name} has no such array; it has {', '.join(names)}")
        if not file.endswith(".npy"):
            raise CliError(f"--output {name}={file}: let the file's name end in .npy")
    return files


def _summarise(made: Kernel, given: Given, files: dict[str, str]) -> None:
    import io
    from pathlib import Path

    import numpy as np

    from ...backend.interface import written
    from .files import replace_file
    from .run_arguments import numbers
    from .run_results import summary

    targets = written(made.program)
    for array, value in given.arrays(made.program):
        if array in targets:
            show(summary(array, numbers(array, value, given.sizes)))
        if array.name in files:
            buffer = io.BytesIO()
            np.save(buffer, numbers(array, value, given.sizes))
            replace_file(Path(files[array.name]), buffer.getvalue())
            show(f"{array.name} saved to {files[array.name]}")


def _interpreted(made: Kernel, given: Given, sizes: dict[str, int]) -> Given:
    """What the interpreter makes of the same data."""
    from ...vm.interpret import interpret
    from .run_arguments import Given

    expected = Given(given.copies(), given.sizes)
    interpret(made.program, *expected.values, sizes=sizes, show=lambda text: None)
    return expected


def _agree(made: Kernel, given: Given, expected: Given, tolerance: float | None) -> bool:
    """Say how far the arrays that the kernel wrote are from the interpreter's; whether that is little enough."""
    from ...backend.interface import written
    from .run_arguments import numbers
    from .run_results import difference

    targets, good = written(made.program), True
    for (array, ours), (_, right) in zip(given.arrays(made.program), expected.arrays(made.program), strict=True):
        if array in targets:
            pair = numbers(array, ours, given.sizes), numbers(array, right, given.sizes)
            found = difference(array, *pair, tolerance)
            show(found.text)
            good &= found.good
    return good


def _timed(made: Kernel, arguments: tuple[object, ...], sizes: dict[str, int]) -> str:
    """The median time of a call. The arrays are in cache where they fit."""
    from statistics import median

    taken: list[float] = []
    end = time.perf_counter() + TIMED_SECONDS
    while time.perf_counter() < end or len(taken) < 3:
        start = time.perf_counter()
        made(*arguments, **sizes)
        taken.append(time.perf_counter() - start)
    best, middle = 1e6 * min(taken), 1e6 * median(taken)
    return f"time: median {middle:,.1f} µs, best {best:,.1f} µs, of {len(taken)} calls"

"""`bitwright bench`: measurements on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    from ...vm.formats import Format
    from ..bench.linear import Plan
    from ..bench.rows import Row
    from ..library.plan import Activations

bench_app = typer.Typer(help="Measure kernels on this machine.", no_args_is_help=True)

WIDTH = 170
"""Columns of the tables when they are not written to a terminal."""


@bench_app.callback()
def _group() -> None:
    """Measure kernels on this machine."""


@bench_app.command("linear")
def linear_command(
    widths: Annotated[
        str | None, typer.Option("--widths", help="Bits of unsigned integers: 1-8, or 2,3,4. Default: 1-8.")
    ] = None,
    types: Annotated[
        str | None, typer.Option("--types", help="Other weights: i4, nf4, f6e3m2, mxfp4 ... or whole formats.")
    ] = None,
    m: Annotated[str, typer.Option("--m", help="Rows of activations.")] = "1,4,16,64,512",
    n: Annotated[int, typer.Option("--n", min=1, help="Rows of weights.")] = 4096,
    k: Annotated[int, typer.Option("--k", min=1, help="Columns of weights.")] = 4096,
    group: Annotated[int, typer.Option("--group", min=1, help="Weights that share a scale.")] = 128,
    activations: Annotated[
        str, typer.Option("--activations", help="What x is rounded to: int8, bf16, f32, f16.")
    ] = "int8,bf16,f32",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Default: all that this process may use.")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Time the other installed libraries too.")] = True,
    cold: Annotated[int, typer.Option("--cold", min=1, help="MiB of weights that rotate: more than the caches.")] = 320,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="How long each contender is timed.")] = 0.6,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures too.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw them as a roofline.")] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="NAME", help="Time what this session tuned, and nothing else.")
    ] = None,
) -> None:
    """Time y[M, N] = x[M, K] @ w[N, K].T at every width, with weights that are not in the caches.

    Each row gives the median time, the rate at which stored weights are read, and what part that is of the rate at
    which memory is read in the same minutes; the rate of multiplications and additions, and what part that is of what
    the processor's instruction for them reaches. Every result is checked against float64 before it is timed. Rows of
    one width are measured in turns, with those of the peers that they are compared with. Compare rows of one run only;
    differences of less than 15 % mean little.

    Example: `bitwright bench linear --widths 3,4 --types nf4 --m 1 --plot roofline.png`
    """
    if session is not None:
        from .bench_session import bench_session

        if any(given is not None for given in (widths, types, plot)):
            raise CliError("--session times what the session tuned: with it go --seconds, --cold and --json only")
        bench_session(session, seconds, cold << 20, as_json)
        return
    from ...backend.llvm.pool import checked_threads
    from ...backend.llvm.pool import threads as usual_threads
    from ..bench.linear import Plan, estimated_seconds, run_plan
    from .files import replace_file

    count = usual_threads() if threads is None else checked_threads(threads)
    plan = Plan(
        _formats(widths, types, group), _range(m, "--m", 1 << 16), n, k, group, _kinds(activations), count, peers,
        cold << 20, seconds,
    )  # fmt: skip
    if plot is not None:
        _check_plot(plot)
    show(
        f"N = {n}, K = {k}, groups of {group}, {count} threads, at least {cold} MiB of weights in rotation; "
        f"this takes about {_duration(estimated_seconds(plan))}"
    )
    rows: list[Row] = []
    with _numpy_threads(count), _progress(plan) as step:
        for found in run_plan(plan):
            rows += found
            step(found)
    _show_tables(rows)
    if as_json is not None:
        from ..bench.record import to_json

        settings = {"threads": count, "cold_mebibytes": cold, "group": group}
        replace_file(as_json, to_json(rows, settings).encode())
    if plot is not None:
        from ..bench.plot import draw

        draw(rows, plot)
    if wrong := [row for row in rows if row.facts.ours and row.figures is None]:
        raise CliError(f"{len(wrong)} of our own products are wrong; please report the lines that say WRONG")


@bench_app.command("plot")
def plot_command(
    source: Annotated[Path, typer.Argument(metavar="FILE.json", help="What `bench linear --json` wrote.")],
    output: Annotated[Path, typer.Argument(metavar="FILE.png", help="The picture.")],
) -> None:
    """Draw a run's figures as a roofline.

    Example: `bitwright bench plot figures.json roofline.png`
    """
    from ..bench.record import rows_of

    _check_plot(output)
    rows = rows_of(source.read_text(encoding="utf-8"))

    from ..bench.plot import draw

    draw(rows, output)
    show(f"drawn in {output}")


def _check_plot(path: Path) -> None:
    """Says what is missing before anything is measured."""
    import importlib.util

    if path.suffix != ".png":
        raise CliError(f"--plot {path}: the picture is a PNG file; let its name end in .png")
    if importlib.util.find_spec("matplotlib") is None:
        raise CliError("a plot needs matplotlib, which is not installed: pip install 'bitwright[bench]'")


def _show_tables(rows: list[Row]) -> None:
    from rich.console import Console

    from .bench_table import tables

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH)
    for table in tables(rows):
        console.print()
        console.print(table)


@contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[tuple[Row, ...]], None]]:
    """What is told about each part of the run when it is done: a bar on a terminal, else the rows, line by line."""
    from ..bench.linear import families
    from .bench_table import line

    if not sys.stdout.isatty():
        yield lambda rows: show("\n".join(line(row) for row in rows))
        return
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task("measuring", total=len(families(plan)) * len(plan.rows))
        yield lambda rows: progress.advance(task)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _formats(widths: str | None, types: str | None, group: int) -> tuple[Format, ...]:
    """The formats of --widths and --types, each once; all widths when nothing is said."""
    from ..bench.problem import format_of

    words = [] if types is None else [word.strip() for word in types.split(",")]
    numbers = _range(widths, "--widths", 8) if widths is not None else () if words else tuple(range(1, 9))
    names = [*(f"u{bits}" for bits in numbers), *words]
    return tuple(dict.fromkeys(format_of(name, group) for name in names))


def _range(text: str, option: str, highest: int) -> tuple[int, ...]:
    """`1-8`, `2,3` or a mix, as numbers from 1 to `highest` in rising order."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise CliError(f"{option} {text}: write numbers and ranges, such as 1-8 or 2,4")
        low, high = int(first), int(last if dash else first)
        if not 1 <= low <= high <= highest:
            raise CliError(f"{option} {text}: numbers are from 1 to {highest}, and ranges rise")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def _kinds(text: str) -> tuple[Activations, ...]:
    from ..library.plan import Activations

    known: dict[str, Activations] = {kind: kind for kind in get_args(Activations)}
    words = [word.strip() for word in text.split(",")]
    if wrong := [word for word in words if word not in known]:
        raise CliError(f"--activations {text}: {wrong[0]!r} is none of {', '.join(known)}")
    return tuple(known[word] for word in dict.fromkeys(words))


def _numpy_threads(count: int) -> AbstractContextManager[object]:
    """Gives NumPy's BLAS as many threads as everything else gets, where the package that can do so is installed."""
    import importlib.util

    if importlib.util.find_spec("threadpoolctl") is None:
        return nullcontext()
    import threadpoolctl

    limits: AbstractContextManager[object] = threadpoolctl.threadpool_limits(count, "blas")
    return limits

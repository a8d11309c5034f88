"""`bitwright bench`: measurements on this machine."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    from ..bench.linear import Row
    from ..library.plan import Activations

bench_app = typer.Typer(help="Measure kernels on this machine.", no_args_is_help=True)

HEAD = (
    f"{'M':>4} {'bits':>4}  {'by':20} {'µs':>10} {'GB/s':>7} {'of DRAM':>8} {'DRAM GB/s':>10} {'GOP/s':>8} {'error':>8}"
)


@bench_app.callback()
def _group() -> None:
    """Measure kernels on this machine."""


@bench_app.command("linear")
def linear_command(
    widths: Annotated[str, typer.Option("--widths", help="Bits of a weight: 1-8, or 2,3,4.")] = "1-8",
    m: Annotated[str, typer.Option("--m", help="Rows of activations.")] = "1,16",
    n: Annotated[int, typer.Option("--n", min=1, help="Rows of weights.")] = 4096,
    k: Annotated[int, typer.Option("--k", min=1, help="Columns of weights.")] = 4096,
    group: Annotated[int, typer.Option("--group", min=1, help="Weights that share a scale.")] = 128,
    activations: Annotated[
        str, typer.Option("--activations", help="What x is rounded to: f32, bf16, f16, int8.")
    ] = "f32,int8",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Default: all that this process may use.")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Time numpy, torch and onnxruntime too.")] = True,
    cold: Annotated[int, typer.Option("--cold", min=1, help="MiB of weights that rotate: more than the caches.")] = 320,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="How long each contender is timed.")] = 0.6,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures too.")] = None,
) -> None:
    """Time y[M, N] = x[M, K] @ w[N, K].T at every width, with weights that are not in the caches.

    Each line gives the median time, the rate at which stored weights are read, and what part that is of the rate at
    which memory is read in the same minutes. Every result is checked against float64 before it is timed. Compare lines
    of one run only; differences of less than 15 % mean little.

    Example: `bitwright bench linear --widths 3,4 --m 1 --no-peers`
    """
    from ...backend.llvm.pool import threads as usual_threads
    from ..bench.linear import Plan, run_plan
    from .files import replace_file

    count = usual_threads() if threads is None else threads
    plan = Plan(
        _range(widths, "--widths", 8), _range(m, "--m", 1 << 16), n, k, group, _kinds(activations), count, peers,
        cold << 20, seconds,
    )  # fmt: skip
    show(f"N = {n}, K = {k}, groups of {group}, {count} threads, at least {cold} MiB of weights in rotation")
    show(HEAD)
    rows = []
    with _numpy_threads(count):
        for row in run_plan(plan):
            rows.append(row)
            show(_line(row))
    if as_json is not None:
        content = json.dumps({"threads": count, "cold_mebibytes": cold, "rows": [vars(row) for row in rows]}, indent=1)
        replace_file(as_json, content.encode())


def _line(row: Row) -> str:
    return (
        f"{row.m:4} {'' if row.bits is None else row.bits:>4}  {row.name:20} {row.microseconds:10,.1f} "
        f"{row.gigabytes_per_second:7.1f} {row.of_bandwidth:8.0%} {row.bandwidth_gigabytes_per_second:10.1f} "
        f"{row.gigaoperations_per_second:8.1f} {row.relative_error:8.1e}"
    )


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

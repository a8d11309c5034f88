"""`bitwright tune linear`, `tune FILE.bw` and `tune resume`: sessions begin and go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(metavar="SESSION", help="The session's name.")]
Shapes = Annotated[
    list[str], typer.Option("--shape", help="MxNxK of a linear, M=1,N=4096 of a kernel; several are fine.")
]
Trials = Annotated[int, typer.Option("--trials", min=1, help="Candidates to try for each problem.")]
Exhaustive = Annotated[bool, typer.Option("--exhaustive", help="Try every candidate there is.")]
Target = Annotated[str, typer.Option("--target", help="What to compile for; it must run here.")]
Storage = Annotated[
    str | None, typer.Option("--storage", metavar="URL", help="A database for the results, as SQLAlchemy names it.")
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="tcp://HOST:PORT", help="Try candidates on a Dask cluster's workers.")
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw what was found, at the end.")]
Strategy = Annotated[
    list[str] | None, typer.Option("--strategy", metavar="MODULE:NAME", help="Another way to build the kernel.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of every random choice.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one measurement may take.")]
Memory = Annotated[float, typer.Option("--memory", min=0.1, help="GiB that one candidate may take.")]


def linear_command(
    shape: Shapes,
    weights: Annotated[str, typer.Option("--weights", help="u3, nf4, mxfp4 or a whole format; several: u2,u3.")] = "u4",
    group: Annotated[int, typer.Option("--group", min=1, help="Weights that share a scale.")] = 128,
    activations: Annotated[str, typer.Option("--activations", help="What x is rounded to: f32, bf16, int8.")] = "f32",
    session: Annotated[str, typer.Option("--session", help="A name; the same name goes on.")] = "linear",
    trials: Trials = 100, exhaustive: Exhaustive = False, target: Target = "cpu", storage: Storage = None,
    cluster: Cluster = None, plot: Plot = None, strategy: Strategy = None, seed: Seed = 0, timeout: Timeout = 30.0,
    memory: Memory = 8.0,
) -> None:  # fmt: skip
    """Tune quantised linears y[M, N] = x[M, K] @ w[N, K].T; `linear` uses what is found from then on.

    Every candidate is checked before it is timed, in a process of its own. The session may be stopped at any moment;
    the same command, or `bitwright tune resume SESSION`, goes on.

    Example: `bitwright tune linear --weights u3 --shape 1x4096x4096 --shape 16x4096x14336 --session llama8b`
    """
    from ..tune.pose import pose
    from .tune_run import host, named, run

    problems = pose(
        "linear", shape, weights=weights, group=group, activations=activations, target=target, strategies=strategy or ()
    )
    run(named(session, storage, seed), problems, trials, exhaustive, host(cluster, timeout, memory), plot)


def kernel_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A program.")],
    shape: Shapes,
    kernel: Annotated[str | None, typer.Option("--kernel", help="Which kernel of the file.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A parameter that is fixed.")
    ] = None,
    divisible: Annotated[
        list[str] | None, typer.Option("--divisible", metavar="SIZE=N", help="What a size is a multiple of.")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=WHAT", help="As `bitwright run` takes it.")
    ] = None,
    reference: Annotated[
        str, typer.Option("--reference", metavar="MODULE:NAME", help="A function that computes what is right.")
    ] = "interpreter",
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=0, help="Error that is right, relative to the largest value.")
    ] = None,
    session: Annotated[str | None, typer.Option("--session", help="A name; the same name goes on.")] = None,
    trials: Trials = 100, exhaustive: Exhaustive = False, target: Target = "cpu", storage: Storage = None,
    cluster: Cluster = None, plot: Plot = None, strategy: Strategy = None, seed: Seed = 0, timeout: Timeout = 30.0,
    memory: Memory = 8.0,
) -> None:  # fmt: skip
    """Tune a kernel of your own: the parameters that its text gives as `tune(...)`.

    What is right is what the interpreter computes, or the function given by --reference: it is called with the numbers
    of all arrays, and all sizes, and returns the numbers of those that are written, by name.

    Example: `bitwright tune matmul.bw --shape M=1,N=4096,K=4096 -p W=u3`
    """
    from ..parse import parse
    from ..tune.pose import pose
    from .files import read_program
    from .parameters import choose_kernel, parameters_for, split_pairs
    from .program import integers
    from .tune_run import host, named, run

    chosen = choose_kernel(parse(read_program(file), file).kernels, kernel, file)
    problems = pose(
        Path(file), shape, kernel=chosen.name, parameters=parameters_for(chosen, split_pairs(parameter or [], "-p")),
        divisible=integers(divisible or [], "--divisible", lowest=1), inputs=split_pairs(inputs or [], "--input"),
        reference=reference, tolerance=tolerance, target=target, strategies=strategy or (),
    )  # fmt: skip
    begun = named(session or Path(file).stem, storage, seed)
    run(begun, problems, trials, exhaustive, host(cluster, timeout, memory), plot)


def resume_command(
    name: Name, storage: Storage = None, cluster: Cluster = None, plot: Plot = None, timeout: Timeout = 30.0,
    memory: Memory = 8.0,
) -> None:  # fmt: skip
    """Go on with a session that was stopped, from exactly where it was.

    Example: `bitwright tune resume llama8b`
    """
    from .tune_run import host, named, resume

    resume(named(name, storage, 0), host(cluster, timeout, memory), plot)

"""What the commands that tune have in common: the session, where candidates are tried, and what is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    from ..tune.problem import Problem
    from ..tune.runners import Host
    from ..tune.search import Result
    from ..tune.session import Session, Task

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def named(name: str, storage: str | None = None, seed: int = 0) -> Session:
    """The session of that name; CliError where the packages that it needs are missing."""
    require("optuna", "filelock")
    from ..tune.session import Session

    return Session(name, storage, seed)


def require(*modules: str) -> None:
    """Says what to install before anything begins."""
    import importlib.util

    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        extra = "tune,cluster" if "distributed" in missing else "tune"
        raise CliError(f"this needs {' and '.join(missing)}, not installed: pip install 'bitwright[{extra}]'")


def host(cluster: str | None, timeout: float, memory: float) -> Host:
    """Where candidates are tried: on a cluster's workers, or here."""
    from ..tune.worker import Limits

    limits = Limits(measure_seconds=timeout, memory=int(memory * 2**30))
    if cluster is not None:
        require("distributed")
        from ..tune.cluster import connect

        return connect(cluster, limits)
    from ..tune.runners import Here

    return Here(limits)


def run(
    session: Session, problems: Sequence[Problem], trials: int, exhaustive: bool, where: Host, picture: Path | None
) -> None:
    """Search for every problem, showing results as they come, and sum up."""
    from ..tune.search import wanted_of

    check_picture(picture)
    wanted = sum(wanted_of(p.space(), None if exhaustive else trials) for p in problems)
    _follow(session, session.work([(p, trials, exhaustive) for p in problems], where), wanted, picture)


def resume(session: Session, where: Host, picture: Path | None) -> None:
    """Go on with a session, and sum up."""
    from ..tune.search import wanted_of

    check_picture(picture)
    wanted = sum(wanted_of(t.problem.space(), None if t.exhaustive else t.trials) for t in session.tasks())
    _follow(session, session.resume(where), wanted, picture)


def check_picture(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix != ".png":
        raise CliError(f"--plot {path}: the picture is a PNG file; let its name end in .png")
    require("matplotlib")


def draw(session: Session, path: Path) -> None:
    from ..tune.plots import plot

    plot(session.tasks(), path)
    show(f"drawn in {path}")


def _uses(tasks: Sequence[Task]) -> list[str]:
    """What becomes of the winners."""
    from ..tune.linear_problem import LinearProblem

    found = []
    won = [t for t in tasks if t.final is not None]
    if any(isinstance(t.problem, LinearProblem) and t.problem.target_name == "cpu" for t in won):
        found.append("`linear` uses these schedules from now on")
    for task in won:
        if task.final is not None and not isinstance(task.problem, LinearProblem):
            chosen = " ".join(f"-p {name}={value}" for name, value in task.final.candidate.values)
            found.append(f"for {task.problem.title}, compile with {chosen}")
    return found


def _follow(session: Session, results: Iterator[Result], wanted: int, picture: Path | None) -> None:
    from rich.console import Console

    from ..tune.live import Board, follow
    from .tune_tables import winners_table

    try:
        follow(results, Board(wanted), Console())
    except KeyboardInterrupt:
        show(f"stopped; nothing is lost: `bitwright tune resume {session.name}` goes on", stderr=True)
        raise typer.Exit(INTERRUPTED) from None
    show(winners_table(session.tasks()))
    for text in _uses(session.tasks()):
        show(text)
    show(f"the session is in {session.folder}")
    if picture is not None:
        draw(session, picture)

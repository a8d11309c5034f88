"""`bitwright tune list`, `show`, `best`, `compare` and `rm`: what sessions know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    from ..tune.outcome import Outcome
    from ..tune.session import Session, Task

Name = Annotated[str, typer.Argument(metavar="SESSION", help="The session's name.")]
Storage = Annotated[str | None, typer.Option("--storage", metavar="URL", help="Where its results are, if not here.")]
Count = Annotated[int, typer.Option("--count", min=1, help="Candidates of each problem.")]


def list_command() -> None:
    """List the sessions of this machine, with how far each is.

    Example: `bitwright tune list`
    """
    from ..tune.session import session_names
    from .tune_run import named
    from .tune_tables import columns, kinds

    rows = [("session", "problems", "tried", "finished", "outcomes")]
    for name in session_names():
        tasks = named(name).tasks()
        outcomes = [o for task in tasks for o in task.outcomes]
        finished = sum(task.final is not None for task in tasks)
        rows.append((name, str(len(tasks)), str(len(outcomes)), f"{finished}/{len(tasks)}", kinds(outcomes)))
    show(columns(rows, frozenset({1, 2})) if len(rows) > 1 else "no session has been begun")


def show_command(
    name: Name,
    count: Count = 5,
    failures: Annotated[bool, typer.Option("--failures", help="Show what failed, and why, instead.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw it too.")] = None,
    storage: Storage = None,
) -> None:
    """Show a session: each problem, its outcomes, and its fastest candidates.

    Example: `bitwright tune show llama8b --failures`
    """
    from .tune_run import check_picture, draw, named
    from .tune_tables import columns, kinds

    check_picture(plot)
    session = named(name, storage)
    for task in session.tasks():
        show(f"{task.problem.title} on {task.device_name}")
        if task.final is None:
            show(f"  {len(task.outcomes)} of {task.trials} tried: {kinds(task.outcomes)}")
        else:
            gain = "" if task.final.gain is None else f", {task.final.gain:.2f}x the default"
            show(f"  finished: {kinds(task.outcomes)}; the winner is {task.final.candidate}{gain}")
        rows = _failures(task.outcomes) if failures else _fastest(task, count)
        if len(rows) > 1:
            show("  " + columns(rows, frozenset() if failures else frozenset({0, 1, 2})).replace("\n", "\n  "))
    if plot is not None:
        draw(session, plot)


def _fastest(task: Task, count: int) -> list[tuple[str, ...]]:
    from .tune_tables import micro

    default = task.default
    rows: list[tuple[str, ...]] = [("µs", "gain", "of allowed error", "candidate")]
    for o in sorted((o for o in task.outcomes if o.score), key=lambda o: o.score or 0.0)[:count]:
        gain = f"{default.score / o.score:.2f}x" if default is not None and default.score and o.score else ""
        rows.append((micro(o), gain, "" if o.error is None else f"{o.error:.1%}", str(o.candidate)))
    return rows


def _failures(outcomes: tuple[Outcome, ...]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("outcome", "candidate", "why")]
    for o in outcomes:
        if not o.ok:
            rows.append((o.kind.replace("_", " "), str(o.candidate), o.message.splitlines()[0] if o.message else ""))
    return rows


def best_command(
    name: Annotated[str | None, typer.Argument(metavar="[SESSION]", help="Of this session only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    storage: Storage = None,
) -> None:
    """Print the winners: of one session, or all that `linear` may use on this machine.

    Example: `bitwright tune best llama8b --json`
    """
    from ..tune.places import winners_file
    from ..tune.table import Table, render
    from .tune_run import named
    from .tune_tables import columns, title_of

    found = Table(winners_file()).winners() if name is None else tuple(named(name, storage).winners())
    if as_json:
        typer.echo(json.dumps(json.loads(render(found))["winners"], indent=1))
        return
    rows = [("problem", "default µs", "best µs", "gain", "best", "in force")]
    for w in found:
        times = f"{1e6 * w.default_seconds:,.1f}", f"{1e6 * w.seconds:,.1f}"
        rows.append((title_of(w), *times, f"{w.gain:.2f}x", str(w.candidate), _force(w.device, w.compiler)))
    show(columns(rows, frozenset({1, 2, 3})) if len(rows) > 1 else "nothing has been won yet")


def _force(device: str, compiler: str) -> str:
    from ..tune.device import compiler_version
    from ..tune.device import device as this_device

    if device != this_device().key:
        return "on another device"
    return "yes" if compiler == compiler_version() else "after `tune validate`"


def compare_command(
    one: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another session.")],
) -> None:
    """Compare what two sessions found for the problems that they share.

    Example: `bitwright tune compare before after`
    """
    from .tune_run import named
    from .tune_tables import columns

    first, second = _ends(named(one)), _ends(named(other))
    rows = [("problem", f"{one} µs", f"{other} µs", f"{other} is", f"{one}'s best", f"{other}'s best")]
    for place in first:
        if place in second:
            (title, a, ours), (_, b, theirs) = first[place], second[place]
            rows.append((title, f"{1e6 * a:,.1f}", f"{1e6 * b:,.1f}", f"{a / b:.2f}x as fast", ours, theirs))
    if len(rows) == 1:
        raise CliError(f"there is no problem that both {one} and {other} have timed on the same kind of device")
    show(columns(rows, frozenset({1, 2, 3})))


def _ends(session: Session) -> dict[tuple[str, str], tuple[str, float, str]]:
    """By problem and device: title, seconds of the winner, or of the best so far, and what it is."""
    found = {}
    for task in session.tasks():
        place, title, best = (task.problem.key, task.device), task.problem.title, task.best
        if task.final is not None:
            found[place] = title, task.final.seconds, str(task.final.candidate)
        elif best is not None and best.score is not None:
            found[place] = title, best.score, str(best.candidate)
    return found


def rm_command(
    names: Annotated[list[str], typer.Argument(metavar="SESSION...", help="Sessions to remove.")],
    winners: Annotated[bool, typer.Option("--winners", help="Forget what they won, too.")] = False,
) -> None:
    """Remove sessions and all that they know; what they won stays in force unless --winners is given.

    Example: `bitwright tune rm llama8b`
    """
    from ..tune.places import winners_file
    from ..tune.table import Table
    from .tune_run import named

    for name in names:
        session = named(name)
        session.remove()
        if winners:
            table = Table(winners_file())
            table.remove([w.place for w in table.winners() if w.session == session.title])
        show(f"removed {name}")

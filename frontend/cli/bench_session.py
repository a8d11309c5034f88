"""`bitwright bench linear --session`: what a session gained, measured anew against the planner's own choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CliError, show

if TYPE_CHECKING:
    from ..tune.session import Task

Row = dict[str, str | float]


def bench_session(name: str, seconds: float, cold: int, as_json: Path | None) -> None:
    """Time every winner of the session in turns with the planner's choice, on weights that are not in the caches."""
    from ..tune.device import device
    from .files import replace_file
    from .tune_run import named
    from .tune_tables import columns

    tasks = [t for t in named(name).tasks() if t.final is not None and t.device == device(t.problem.target).key]
    if not tasks:
        raise CliError(f"{name} has no finished search on this device: `bitwright tune resume {name}` goes on with it")
    rows: list[Row] = []
    for task in tasks:
        rows.append(_measured(task, seconds, cold))
        show(f"{rows[-1]['problem']}: {rows[-1]['gain']:.2f}x")
    cells = [("problem", "planner µs", "tuned µs", "gain", "of memory", "tuned")]
    for row in rows:
        planned, took = f"{row['planner_microseconds']:,.1f}", f"{row['tuned_microseconds']:,.1f}"
        part, problem, tuned = f"{row['of_memory']:.0%}", str(row["problem"]), str(row["tuned"])
        cells.append((problem, planned, took, f"{row['gain']:.2f}x", part, tuned))
    show(columns(cells, frozenset({1, 2, 3, 4})))
    if as_json is not None:
        replace_file(as_json, (json.dumps({"session": name, "rows": rows}, indent=1) + "\n").encode())


def _measured(task: Task, seconds: float, cold: int) -> Row:
    """The median times of both, in turns."""
    from statistics import median

    from ..tune.worker import Executor, Limits

    assert task.final is not None
    problem, limits = task.problem, Limits(cold=cold, timed_seconds=seconds)
    with Executor(problem, limits) as executor:
        default = executor.measure(problem.default, None, seconds)
        found = default
        if default.ok and task.final.candidate.key != problem.default.key:
            found = executor.measure(task.final.candidate, default, seconds)
        least = problem.nbytes / executor.machine.bandwidth
    if not found.ok or found.seconds is None:
        raise CliError(f"{problem.title}: {found.candidate} is {found.kind} now: {found.message}; tune it again")
    planned = median(found.against) if found.against else found.seconds
    return {
        "problem": problem.title,
        "planner_microseconds": planned * 1e6,
        "tuned_microseconds": found.seconds * 1e6,
        "gain": planned / found.seconds,
        "of_memory": least / found.seconds,
        "tuned": str(found.candidate),
    }

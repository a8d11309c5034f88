"""Sessions as tables of text, the same on a terminal and in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tune.outcome import Outcome
    from ..tune.session import Task
    from ..tune.table import Winner


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Rows of cells, the first of which is the heading, each column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def winners_table(tasks: Sequence[Task]) -> str:
    """What each search has won."""
    rows = [("problem", "default µs", "best µs", "gain", "best")]
    for task in tasks:
        final = task.final
        if final is None:
            best = task.best
            rows.append(
                (task.problem.title, micro(task.default), micro(best), "", "not finished" if best else "nothing ran")
            )
            continue
        default = "" if final.default_seconds is None else f"{1e6 * final.default_seconds:,.1f}"
        gain = "" if final.gain is None else f"{final.gain:.2f}x"
        rows.append((task.problem.title, default, f"{1e6 * final.seconds:,.1f}", gain, str(final.candidate)))
    return columns(rows, frozenset({1, 2, 3}))


def title_of(winner: Winner) -> str:
    """The problem's short name; what it is filed under when this version cannot read it."""
    from ..tune.problem import problem_from_json

    try:
        return problem_from_json(winner.spec).title
    except ValueError:
        return winner.problem


def kinds(outcomes: Sequence[Outcome]) -> str:
    """How many outcomes there are of each kind."""
    counts = Counter(o.kind for o in outcomes)
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.most_common()) or "nothing tried"


def micro(outcome: Outcome | None) -> str:
    """Its time in microseconds, or what became of it instead."""
    if outcome is None:
        return ""
    return outcome.kind if outcome.score is None else f"{1e6 * outcome.score:,.1f}"

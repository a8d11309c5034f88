"""What is shown while a session works: a table that changes on a terminal, and plain lines anywhere else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .outcome import Outcome
from .search import Result

__all__ = ["Board", "follow", "line"]

FAILURES = {
    "wrong": "wrong", "crashed": "crashed", "timeout": "hung", "out_of_memory": "out of memory", "failed": "failed",
}  # fmt: skip
"""Kinds of outcomes that are somebody's fault, as they are shown."""


@dataclass
class Row:
    """What is known of one problem on one device."""

    last: Result
    kinds: Counter[str] = field(default_factory=Counter)


@dataclass
class Board:
    """All that is known, and how long the rest will take.

    wanted   results of the whole session, when it is done
    clock    seconds, from any beginning
    """

    wanted: int
    clock: Callable[[], float] = time.monotonic
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    fresh: int = 0
    begun: float = 0.0

    def __post_init__(self) -> None:
        self.begun = self.clock()

    def add(self, result: Result) -> None:
        place = result.problem.key, result.outcome.device
        row = self.rows.setdefault(place, Row(result))
        row.last = result
        row.kinds[result.outcome.kind] += 1
        self.fresh += 1

    @property
    def done(self) -> int:
        return sum(row.last.number for row in self.rows.values())

    @property
    def seconds_left(self) -> float | None:
        """By the results of this run alone; None before the second."""
        if self.fresh < 2:
            return None
        return (self.clock() - self.begun) / self.fresh * max(0, self.wanted - self.done)

    def table(self) -> RenderableType:
        """One row for each problem, and below them how far the session is."""
        columns = ("problem", "", "tried", "default µs", "best µs", "gain", "of memory", "best so far")
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(
                column, justify="right" if column in columns[2:7] else "left", no_wrap=column != columns[-1]
            )
        for row in self.rows.values():
            last = row.last
            bar = ProgressBar(last.trials, min(last.number, last.trials), width=16)
            best = "" if last.best is None else str(last.best.candidate)
            cells = [micro(last.default), micro(last.best), gain(last), part(last)]
            table.add_row(last.problem.title, bar, f"{last.number}/{last.trials}", *cells, best)
        return Group(table, Text(self.summary(), style="dim"))

    def summary(self) -> str:
        """Progress, failures and the time that is left, in one line."""
        kinds = sum((row.kinds for row in self.rows.values()), Counter[str]())
        words = [f"{self.done} of {self.wanted} tried"]
        words += [f"{kinds[kind]} {word}" for kind, word in FAILURES.items() if kinds[kind]]
        if kinds["pruned"]:
            words.append(f"{kinds['pruned']} pruned")
        left = self.seconds_left
        if left is not None and self.done < self.wanted:
            words.append(f"about {duration(left)} left")
        return ", ".join(words)


def follow(results: Iterable[Result], board: Board, console: Console) -> Board:
    """Show results as they come, to their end."""
    if not console.is_terminal:
        for result in results:
            board.add(result)
            console.print(line(result), soft_wrap=True, highlight=False, markup=False)
        return board
    with Live(console=console, refresh_per_second=4, get_renderable=board.table):
        for result in results:
            board.add(result)
    return board


def line(result: Result) -> str:
    """One result as a line of text."""
    o = result.outcome
    took = f"{micro(o)} µs" if o.ok else FAILURES.get(o.kind, o.kind)
    words = [f"{result.number:4}/{result.trials}", result.problem.title, f"{took:>14}"]
    if result.best is not None:
        words += [f"best {micro(result.best)} µs", f"{gain(result)} the default".strip(), f"{part(result)} of memory"]
    text = "  ".join([*words, str(o.candidate)])
    return text if o.ok or not o.message else f"{text}: {o.message.splitlines()[0]}"


def micro(outcome: Outcome | None) -> str:
    """Its time in microseconds."""
    if outcome is None:
        return ""
    return f"{1e6 * outcome.score:,.1f}" if outcome.score is not None else FAILURES.get(outcome.kind, outcome.kind)


def gain(result: Result) -> str:
    """How many times faster than the default the best is."""
    best, default = result.best, result.default
    if best is None or default is None or best.score is None or default.score is None:
        return ""
    return f"{default.score / best.score:.2f}x"


def part(result: Result) -> str:
    """What part of the rate at which memory can be read the best one reaches."""
    best = result.best
    return "" if best is None or best.score is None else f"{result.limit / best.score:.0%}"


def duration(seconds: float) -> str:
    """Seconds, as people say it."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{round(whole / 60)} min"
    return f"{whole / 3600:.1f} h"

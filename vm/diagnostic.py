"""What a user is told when a program is wrong: where, what, and what to do about it.

A `Diagnostic` is an exception that carries one or more `Problem`s. Each problem has a message, a hint and a `Span` in a
`Source`. Printed, a problem looks like this:

    scale.bw:12:9: error: `acc` has no value yet
        acc = dot(a, b, acc)
                        ^^^
    help: give it a value before the loop, for example `acc = zeros(f32, [BM, BN])`

Lines and columns count from 1. A column counts characters, not bytes. A span ends one character after its last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

SHOWN_PROBLEMS = 20
"""How many problems one printed diagnostic shows; the others are counted."""

SHOWN_COLUMNS = 120
"""How many characters of a source line are shown; of a longer line only the part around the caret."""


@dataclass(frozen=True)
class Source:
    """A piece of program text and where it comes from.

    `name` is what the user calls it (a path, or `<string>`). `first_line` is the number, in the user's file, of the
    first line of `text`: a function in the middle of a Python file keeps that file's line numbers.
    """

    name: str
    text: str = field(repr=False)
    first_line: int = 1

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines of the text without their ends."""
        return tuple(self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))

    def line(self, number: int) -> str | None:
        """The text of line `number` of the user's file, or None where this source has no such line."""
        index = number - self.first_line
        return self.lines[index] if 0 <= index < len(self.lines) else None


@dataclass(frozen=True)
class Span:
    """A stretch of a source, from (line, column) up to but not including (end_line, end_column)."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def to(self, last: Span) -> Span:
        """The span that begins where this one begins and ends where `last` ends."""
        return Span(self.source, self.line, self.column, last.end_line, last.end_column)


NOWHERE = Span(Source("<nowhere>", ""), 0, 0, 0, 0)
"""The place of things that no one wrote: nodes and programs made by code."""


@dataclass(frozen=True)
class Note:
    """A second place that explains a problem, such as an earlier definition of the same name."""

    message: str
    span: Span = NOWHERE


@dataclass(frozen=True)
class Problem:
    """One mistake: what is wrong (`message`), what to do (`hint`, may be empty), and where (`span`, may be NOWHERE)."""

    message: str
    hint: str = ""
    span: Span = NOWHERE
    notes: tuple[Note, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _passage("error", self.message, self.span)
        for note in self.notes:
            yield from _passage("note", note.message, note.span)
        if self.hint:
            yield f"help: {self.hint}"


class Diagnostic(Exception):
    """A program was refused. `problems` holds every mistake that was found, at least one, in the order of the text."""

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("a Diagnostic needs at least one Problem")
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        shown = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        hidden = len(self.problems) - len(shown)
        if hidden:
            shown.append(f"and {hidden} more {'problem' if hidden == 1 else 'problems'}")
        return "\n\n".join(shown)


class Problems:
    """Collects problems while a pass goes on, so that one run reports many mistakes.

    >>> problems = Problems()
    >>> problems.add("`x` is not defined", "define it")
    >>> bool(problems)
    True
    """

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def add(self, message: str, hint: str = "", span: Span = NOWHERE, notes: tuple[Note, ...] = ()) -> None:
        """Note one problem. The same problem at the same place is kept once."""
        problem = Problem(message, hint, span, notes)
        if problem not in self._found[-SHOWN_PROBLEMS:]:
            self._found.append(problem)

    def raise_if_any(self) -> None:
        """Raise one Diagnostic with all the problems, sorted by place; do nothing when there are none."""
        if self._found:
            raise Diagnostic(*sorted(self._found, key=lambda problem: (problem.span.line, problem.span.column)))


def _passage(kind: str, message: str, span: Span) -> Iterator[str]:
    """The heading of a message, then the source line it is about with carets under the span."""
    if span is NOWHERE or span == NOWHERE:
        yield f"{kind}: {message}"
        return
    yield f"{span}: {kind}: {message}"
    text = span.source.line(span.line)
    if text is None:
        return
    start = min(max(span.column - 1, 0), len(text))
    end = span.end_column - 1 if span.end_line == span.line else len(text)
    end = max(min(end, len(text)), start + 1)
    cut = 0 if len(text) <= SHOWN_COLUMNS else max(0, min(start - SHOWN_COLUMNS // 2, len(text) - SHOWN_COLUMNS))
    shown = text[cut : cut + SHOWN_COLUMNS]
    left, right = "…" * (cut > 0), "…" * (cut + len(shown) < len(text))
    padding = "".join(sign if sign == "\t" else " " for sign in text[cut:start])
    carets = "^" * (min(end, cut + max(len(shown), 1)) - start or 1)
    yield f"    {left}{_printable(shown)}{right}"
    yield f"    {' ' * len(left)}{padding}{carets}"


def _printable(text: str) -> str:
    """The text with each sign that could disturb a terminal shown as a replacement character of the same width."""
    return "".join(sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}" for sign in text)

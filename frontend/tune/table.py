"""The table of winners: which candidate is fastest for a problem on a device, as sessions have measured it.

One JSON file, replaced as a whole.  An entry counts only on a device of the same kind and for the version of the
compiler that it was measured with: another version may compile the same candidate to slower or to wrong code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .places import made_folder, not_writable, replace_text
from .space import Candidate, Json, SpaceError

if TYPE_CHECKING:
    from .problem import Problem

__all__ = ["Table", "TableError", "Winner", "bucket", "problem_class"]

_VERSION = 1


class TableError(ValueError):
    """A file holds no table of winners; the message says what to do."""


@dataclass(frozen=True)
class Winner:
    """The fastest candidate for a class of problems on a device.

    device           fingerprint of the device that it was measured on
    problem          the class: what `Problem.key` says, with the rows of activations rounded up to a bucket
    candidate        the choices
    compiler         version of the compiler
    seconds          median time of one call; of the planner's own choice in the same run: `default_seconds`
    session, when    where and when (ISO 8601, UTC) it was measured
    spec             the problem itself, in JSON, so that any version can build and check the candidate again
    """

    device: str
    problem: str
    candidate: Candidate
    compiler: str
    seconds: float
    default_seconds: float
    session: str
    when: str
    spec: Mapping[str, Json]

    @property
    def place(self) -> tuple[str, str, str]:
        """What there is one winner of."""
        return self.device, self.problem, self.compiler

    @property
    def gain(self) -> float:
        """How many times faster than the planner's choice."""
        return self.default_seconds / self.seconds


def bucket(m: int) -> int:
    """The number of rows that stands for m: the next power of two.

    >>> [bucket(m) for m in (1, 2, 3, 5, 64, 65)]
    [1, 2, 4, 8, 64, 128]
    """
    return 1 << (m - 1).bit_length() if m > 1 else 1


def problem_class(problem: Problem) -> str:
    """What stands for this problem in the table: problems with as many rows of activations, or a few less, share it."""
    from .linear_problem import LinearProblem

    return replace(problem, m=bucket(problem.m)).key if isinstance(problem, LinearProblem) else problem.key


@dataclass(frozen=True)
class Table:
    """The winners in a file, which several processes may read and change at once."""

    path: Path

    def winners(self) -> tuple[Winner, ...]:
        """All of them; none if there is no file."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        return parsed(text, str(self.path))

    def put(self, winners: Iterable[Winner]) -> None:
        """Add winners, each in place of an older one for the same device, problem and compiler."""
        self.change(winners, ())

    def remove(self, places: Iterable[tuple[str, str, str]]) -> None:
        """Take out the winners of these places."""
        self.change((), places)

    def change(self, new: Iterable[Winner], gone: Iterable[tuple[str, str, str]]) -> None:
        """Take winners out and put others in, in one step for every reader."""
        from filelock import FileLock  # reading needs no lock, and not this package

        made_folder(self.path.parent)
        try:
            with FileLock(self.path.with_name(self.path.name + ".lock")):
                left = {w.place: w for w in self.winners()}
                for place in gone:
                    left.pop(place, None)
                for winner in new:
                    if winner.when >= left.get(winner.place, winner).when:
                        left[winner.place] = winner
                replace_text(self.path, render(left.values()))
        except OSError as error:
            raise not_writable(self.path, error) from error


def render(winners: Iterable[Winner]) -> str:
    """The text of a table, in an order that does not depend on when things were found."""
    rows = [vars(w) | {"candidate": w.candidate.to_json()} for w in sorted(winners, key=lambda w: w.place)]
    return json.dumps({"bitwright_winners": _VERSION, "winners": rows}, indent=1) + "\n"


def parsed(text: str, name: str) -> tuple[Winner, ...]:
    """The winners in the text of a table; TableError if it is none."""
    try:
        content = json.loads(text)
        version = content["bitwright_winners"]
        if version != _VERSION:
            raise TableError(f"{name} is a table of version {version}; this bitwright reads version {_VERSION}")
        return tuple(_winner(row) for row in content["winners"])
    except (json.JSONDecodeError, KeyError, TypeError, SpaceError) as error:
        raise TableError(
            f"{name} is no table of winners ({type(error).__name__}: {error}): remove it, or export it again"
        ) from error


def _winner(row: Mapping[str, Json]) -> Winner:
    """A row of the file, of which nothing is taken on trust."""

    def text(key: str) -> str:
        value = row[key]
        if not isinstance(value, str):
            raise TypeError(f"{key} is {value!r}, not a text")
        return value

    def seconds(key: str) -> float:
        value = row[key]
        if not isinstance(value, int | float) or not value > 0:
            raise TypeError(f"{key} is {value!r}, not a time")
        return float(value)

    candidate, spec = row["candidate"], row["spec"]
    if not isinstance(candidate, dict) or not isinstance(spec, dict):
        raise TypeError("a candidate and a spec are objects")
    return Winner(
        text("device"), text("problem"), Candidate.from_json(candidate), text("compiler"), seconds("seconds"),
        seconds("default_seconds"), text("session"), text("when"), spec,
    )  # fmt: skip

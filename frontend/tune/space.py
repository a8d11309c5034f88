"""What a session may choose from: named parameters with finite choices, per strategy, and the rules that exclude some.

>>> fits = Rule("a tile is wider than its columns", lambda values: int(values["BN"]) <= 4096)
>>> space = Space((Branch("tiles", (Parameter("BN", (64, 128)), Parameter("BM", (1, 2))), (fits,)),))
>>> space.size, str(next(iter(space)))
(4, 'tiles BN=64 BM=1')
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod

Choice = int | float | bool | str
"""A value of a parameter; dtypes and layouts are given by their texts."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class SpaceError(ValueError):
    """A candidate that is not in a space, or a space that makes no sense."""


@dataclass(frozen=True)
class Candidate:
    """One choice of everything: a strategy by name, and a value for each of its parameters."""

    strategy: str
    values: tuple[tuple[str, Choice], ...] = ()

    @classmethod
    def of(cls, strategy: str, values: Mapping[str, Choice]) -> Candidate:
        return cls(strategy, tuple(values.items()))

    def __getitem__(self, name: str) -> Choice:
        return dict(self.values)[name]

    @property
    def mapping(self) -> dict[str, Choice]:
        return dict(self.values)

    def __str__(self) -> str:
        return " ".join((self.strategy, *(f"{name}={value}" for name, value in self.values)))

    @property
    def key(self) -> str:
        """A text that is the same for equal candidates only, in whatever order their values stand."""
        return json.dumps([self.strategy, dict(sorted(self.values))])

    def to_json(self) -> dict[str, Json]:
        values: dict[str, Json] = dict(self.values)
        return {"strategy": self.strategy, "values": values}

    @classmethod
    def from_json(cls, text: Mapping[str, Json]) -> Candidate:
        strategy, values = text["strategy"], text["values"]
        if not isinstance(strategy, str) or not isinstance(values, dict):
            raise SpaceError(f"{text} is no candidate: it needs a strategy and values")
        plain: dict[str, Choice] = {}
        for name, value in values.items():
            if value is None or isinstance(value, list | dict):
                raise SpaceError(f"{name} of a candidate is {value!r}: choices are numbers, truth values and texts")
            plain[name] = value
        return cls.of(strategy, plain)


@dataclass(frozen=True)
class Parameter:
    """A name and what it may be; the first choice is the default."""

    name: str
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if not self.choices or len({(type(c), c) for c in self.choices}) < len(self.choices):
            raise SpaceError(f"the parameter {self.name} needs choices, each listed once: it has {self.choices}")


@dataclass(frozen=True)
class Rule:
    """What every candidate must fulfil, known before anything is compiled; `reason` says what is wrong otherwise."""

    reason: str
    holds: Callable[[Mapping[str, Choice]], bool] = field(compare=False)


@dataclass(frozen=True)
class Branch:
    """The part of a space that belongs to one strategy."""

    strategy: str
    parameters: tuple[Parameter, ...]
    rules: tuple[Rule, ...] = ()

    @property
    def size(self) -> int:
        """How many combinations there are, those that rules exclude included."""
        return prod(len(p.choices) for p in self.parameters)

    @property
    def default(self) -> Candidate:
        return Candidate(self.strategy, tuple((p.name, p.choices[0]) for p in self.parameters))

    def refusal(self, values: Mapping[str, Choice]) -> str | None:
        """Why there is no such candidate; None if there is one."""
        if set(values) != {p.name for p in self.parameters}:
            wanted = ", ".join(p.name for p in self.parameters) or "none"
            return f"{self.strategy} has the parameters {wanted}, not {', '.join(values) or 'none'}"
        for p in self.parameters:
            if values[p.name] not in p.choices:
                return f"{p.name} is {values[p.name]!r}: the choices are {', '.join(map(str, p.choices))}"
        return next((rule.reason for rule in self.rules if not rule.holds(values)), None)

    def __iter__(self) -> Iterator[Candidate]:
        """Every candidate that no rule excludes; the default's choices come first."""
        names = [p.name for p in self.parameters]
        for chosen in product(*(p.choices for p in self.parameters)):
            values = dict(zip(names, chosen, strict=True))
            if all(rule.holds(values) for rule in self.rules):
                yield Candidate.of(self.strategy, values)


@dataclass(frozen=True)
class Space:
    """All candidates of a problem: one branch for each strategy that applies."""

    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        names = [b.strategy for b in self.branches]
        if not names or len(set(names)) < len(names):
            raise SpaceError(f"a space needs strategies of different names: it has {', '.join(names) or 'none'}")

    def branch(self, strategy: str) -> Branch:
        """The branch of that strategy; SpaceError if there is none."""
        for branch in self.branches:
            if branch.strategy == strategy:
                return branch
        known = ", ".join(b.strategy for b in self.branches)
        raise SpaceError(f"there is no strategy {strategy}: the space has {known}")

    @property
    def size(self) -> int:
        """How many combinations there are, those that rules exclude included."""
        return sum(b.size for b in self.branches)

    def refusal(self, candidate: Candidate) -> str | None:
        """Why the candidate is not in the space; None if it is."""
        try:
            branch = self.branch(candidate.strategy)
        except SpaceError as error:
            return str(error)
        return branch.refusal(candidate.mapping)

    def __iter__(self) -> Iterator[Candidate]:
        """Every candidate that no rule excludes, branch by branch."""
        for branch in self.branches:
            yield from branch

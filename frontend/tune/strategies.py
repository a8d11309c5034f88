"""The way in for new ideas: a strategy is a named way of building a problem's kernel, with choices of its own.

A session is told of strategies by their place, "module:attribute", so that the processes that compile and measure can
import them too.  Nothing registers itself.
"""

from __future__ import annotations

import importlib
from typing import Protocol, runtime_checkable

from .problem import Executable, Problem
from .space import Branch, Candidate, Space


class StrategyError(ValueError):
    """A strategy that cannot be found, or that is none."""


@runtime_checkable
class Strategy(Protocol):
    """One way of building kernels for problems of some kind."""

    @property
    def name(self) -> str:
        """Names the strategy in candidates and results."""
        ...

    def branch(self, problem: Problem) -> Branch | None:
        """The choices for this problem, the default ones first; None when the strategy does not apply to it."""
        ...

    def build(self, problem: Problem, candidate: Candidate) -> Executable:
        """Compiles a candidate of the branch, in a process of its own.  Raises Diagnostic when it cannot be."""
        ...


def find_strategy(place: str) -> Strategy:
    """The strategy at "module:attribute"; StrategyError says what is wrong with the place."""
    module, _, attribute = place.partition(":")
    if not module or not attribute:
        raise StrategyError(f'the strategy {place!r} must be given as "module:attribute"')
    try:
        found: object = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise StrategyError(
            f"the strategy {place} cannot be imported: {error}; is its folder on PYTHONPATH?"
        ) from error
    except AttributeError as error:
        raise StrategyError(f"the module {module} has no {attribute}") from error
    if not isinstance(found, Strategy):
        raise StrategyError(f"{place} is no strategy: it needs a name, and methods branch(problem) and build(...)")
    return found


def space_of(problem: Problem) -> Space:
    """The branches of all strategies of a problem that apply to it."""
    branches = (find_strategy(place).branch(problem) for place in problem.strategies)
    return Space(tuple(b for b in branches if b is not None))


def build_with(problem: Problem, candidate: Candidate) -> Executable:
    """Lets the candidate's strategy build it."""
    for place in problem.strategies:
        strategy = find_strategy(place)
        if strategy.name == candidate.strategy:
            return strategy.build(problem, candidate)
    raise StrategyError(
        f"{problem.title} has no strategy {candidate.strategy!r}: it has {', '.join(problem.strategies)}"
    )

"""Winners that come from elsewhere, or from another version of the compiler, are built, checked and timed again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from .device import compiler_version, device
from .kernel_problem import INTERPRETER
from .places import now
from .problem import problem_from_json
from .runners import Host
from .search import FINAL_SECONDS
from .table import Winner, problem_class

__all__ = ["Refused", "accepted", "of_here"]

OWN = "bitwright."
"""What the names of modules begin with whose strategies a table may name: it shall not make us import anything else."""


@dataclass(frozen=True)
class Refused:
    """Why a winner is not accepted."""

    reason: str


def of_here(winner: Winner) -> bool:
    """Whether it was measured on a device of this machine's kind."""
    return winner.device == device().key


def accepted(winner: Winner, host: Host) -> Winner | Refused:
    """The winner as it holds good here, or why it does not.

    One of this compiler's version and this kind of device is taken as it is.  One of another version must be a
    candidate still, be right, and be faster than the default now.
    """
    if not of_here(winner):
        return Refused("it was measured on another kind of device")
    if strange := _strange(winner):
        return Refused(f"it needs code that does not come with bitwright ({strange}): tune the problem here instead")
    try:
        return winner if winner.compiler == compiler_version() and _fits(winner) else _again(winner, host)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        return Refused(f"it cannot be built any more ({error})")


def _strange(winner: Winner) -> str:
    """Code of others that the problem names."""
    places = cast("list[str]", winner.spec.get("strategies", []))
    reference = str(winner.spec.get("reference", INTERPRETER))
    named = [*map(str, places), *([] if reference == INTERPRETER else [reference])]
    return ", ".join(place for place in named if not place.startswith(OWN))


def _fits(winner: Winner) -> bool:
    """Whether it is what it says: a candidate for that class of problems."""
    problem = problem_from_json(winner.spec)
    return problem_class(problem) == winner.problem and problem.space().refusal(winner.candidate) is None


def _again(winner: Winner, host: Host) -> Winner | Refused:
    problem = problem_from_json(winner.spec)
    if problem_class(problem) != winner.problem:
        return Refused("it is entered for another problem than it was measured on")
    (view,) = host.views(problem)
    if reason := view.space.refusal(winner.candidate):
        return Refused(f"this version has no such candidate ({reason})")
    with host.runner(view, ()) as runner:
        (default,) = runner.run([view.default])
        if not default.ok or default.seconds is None:
            return Refused(f"the default does not run here: {default.message or default.kind}")
        found = default
        if winner.candidate.key != view.default.key:
            found = runner.measure(winner.candidate, default, FINAL_SECONDS)
    if not found.ok:
        return Refused(f"its result is not right any more: {found.kind}, {found.message}")
    ratio = 1.0 if found is default else found.ratio
    if ratio is None or ratio > 1.0:
        return Refused("it is not faster than the planner's choice any more")
    return replace(
        winner,
        compiler=compiler_version(),
        seconds=default.seconds * ratio,
        default_seconds=default.seconds,
        when=now(),
    )

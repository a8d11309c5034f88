"""What `linear` asks: the schedule that a session found fastest for a product of this kind on this machine.

The table is read once.  A product that nothing is known of costs one look-up.
"""

from __future__ import annotations

import functools
import warnings

from ...vm.formats import Format
from ..library.plan import Activations, Schedule
from .places import winners_file
from .space import SpaceError
from .table import Table, TableError, Winner, bucket

__all__ = ["forget", "tuned"]

Known = dict[tuple[str, int, int, int], dict[str, Schedule]]
"""By activations, rows rounded up to a bucket, N and K: the schedule for each format that is known."""


def tuned(format: Format, activations: Activations, m: int, n: int, k: int) -> Schedule | None:
    """The fastest schedule that is known for x[m, k] and weights [n, k] of this format; None when none is known."""
    known = _known()
    if not known:
        return None
    found = known.get((activations, bucket(m), n, k))
    return None if found is None else found.get(str(format))


def forget() -> None:
    """Read the table anew when it is next asked."""
    _known.cache_clear()


@functools.cache
def _known() -> Known:
    """The winners for this device and version of the compiler."""
    try:
        winners = [w for w in Table(winners_file()).winners() if w.problem.startswith("linear ")]
    except (OSError, TableError) as error:
        warnings.warn(f"the table of tuned choices is not used: {error}", stacklevel=4)
        return {}
    return _in_force(winners) if winners else {}


def _in_force(winners: list[Winner]) -> Known:
    from .device import compiler_version, device

    here, version = device().key, compiler_version()
    known: Known = {}
    old = 0
    for winner in winners:
        if winner.device != here:
            continue
        if winner.compiler != version:
            old += 1
        else:
            _enter(known, winner)
    if old:
        warnings.warn(
            f"{old} tuned choices were measured with another version of bitwright, so they are not used: "
            "`bitwright tune validate` checks them",
            stacklevel=5,
        )
    return known


def _enter(known: Known, winner: Winner) -> None:
    """Those of strategies that are not the library's own are for their authors to use."""
    from .linear_problem import LinearProblem
    from .linear_strategy import schedule_of

    try:
        problem, schedule = LinearProblem.from_json(winner.spec), schedule_of(winner.candidate)
    except (SpaceError, ValueError, KeyError, TypeError):
        return
    if problem.target_name == "cpu":
        place = problem.activations, bucket(problem.m), problem.n, problem.k
        known.setdefault(place, {})[problem.format] = schedule

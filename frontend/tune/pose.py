"""Problems from what users say: "linear" with shapes, a program with sizes, a function under @jit."""

from __future__ import annotations

from collections.abc import Sequence

from .problem import Problem


def pose(what: object, shapes: Sequence[object], **options: object) -> list[Problem]:
    """The problems."""
    if isinstance(what, Problem):
        return [what]
    if isinstance(what, Sequence) and not isinstance(what, str):
        return [p for p in what if isinstance(p, Problem)]
    raise ValueError("what is to be tuned?")

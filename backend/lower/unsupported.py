"""What a well-typed program may ask for that no code can be written for: the user is told where, why and what to do."""

from __future__ import annotations

from typing import Self

from ...vm.diagnostic import NOWHERE, Diagnostic, Problem, Span


class Unsupported(Diagnostic):
    """A statement that cannot be lowered.  The stage that goes through the statements adds the place."""

    def __init__(self, message: str, hint: str, span: Span = NOWHERE) -> None:
        super().__init__(Problem(message, hint, span))
        self.message, self.hint, self.span = message, hint, span

    def at(self, span: Span | None) -> Self:
        """The same, found in the statement at `span`; a place that is known already stays."""
        return self if span is None or self.span is not NOWHERE else type(self)(self.message, self.hint, span)


class UnsupportedAccess(Unsupported):
    """A store that would make two lanes write one byte."""


class UnsupportedLayout(Unsupported):
    """A layout that does not fit its tile, or the block's lanes."""

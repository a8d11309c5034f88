"""What the interpreter says about a call or a program that does something wrong."""

from __future__ import annotations

from .diagnostic import NOWHERE, Note, Problem, Span


class AccessError(ValueError):
    """A memory is used in a way that has no meaning.  The interpreter adds the block and the statement."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InterpretError(ValueError):
    """A program, or a call of it, does something that has no meaning.

    `message` says what is wrong and `hint` what to do.  `block` (its index along each axis of the grid), `statement`
    (its text) and `span` say where; they are empty for a mistake in the call itself.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        block: tuple[int, ...] = (),
        statement: str = "",
        span: Span | None = None,
    ) -> None:
        where = f"{f'in block {list(block)}, ' if block else ''}in the statement `{statement}`"
        notes = (Note(where),) if statement else ()
        super().__init__(str(Problem(message, hint, span or NOWHERE, notes)))
        self.message, self.hint = message, hint
        self.block, self.statement, self.span = block, statement, span

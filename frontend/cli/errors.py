"""What the command line says when something goes wrong: a message on stderr, exit code 1, and no traceback."""

from __future__ import annotations

import re

from rich.console import Console
from rich.text import Text

from ...vm.diagnostic import Diagnostic

_CARETS = re.compile(r"^ +[\t ^…]*\^+$")
_PACKAGE = __name__.partition(".")[0]


class CliError(ValueError):
    """Arguments of a command that make no sense together; the message says what to do."""


def is_users(error: BaseException) -> bool:
    """Whether an error is about what the user gave: a program, a file or an argument, rather than a defect of ours."""
    if isinstance(error, Diagnostic):
        return True
    if isinstance(error, OSError):
        return not isinstance(error, BrokenPipeError)
    return isinstance(error, ValueError) and type(error).__module__.partition(".")[0] == _PACKAGE


def show_error(error: BaseException) -> None:
    """Print an error on stderr, coloured on a terminal."""
    if isinstance(error, Diagnostic):
        show(styled(str(error)), stderr=True)
        return
    text = str(error)
    if isinstance(error, OSError) and error.strerror is not None:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    headed = re.match(r"(.*: )?error: ", text) is not None
    show(styled(text if headed else f"error: {text}"), stderr=True)


def show(text: str | Text, *, stderr: bool = False) -> None:
    """Print text as it is: colours only on a terminal, no wrapping, no markup."""
    Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True).print(text)


def styled(message: str) -> Text:
    """The printed form of a diagnostic with its marks coloured; its characters stay the same."""
    return Text("\n").join(_line(line) for line in message.split("\n"))


def _line(line: str) -> Text:
    text = Text(line)
    if _CARETS.match(line):
        text.stylize("bold red")
        return text
    if line.startswith("    "):
        return text
    for word, style in (("error:", "bold red"), ("note:", "bold yellow"), ("help:", "bold cyan")):
        if line.startswith(word) or f": {word}" in line:
            start = line.index(word)
            text.stylize("bold", 0, start)
            text.stylize(style, start, start + len(word))
            break
    return text

"""`bitwright tune export`, `import` and `validate`: winners travel, and are checked before they are trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    from ..tune.table import Winner

Session = Annotated[str | None, typer.Option("--session", help="Only what this session won.")]


def export_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="The file to write.")], session: Session = None
) -> None:
    """Write the winners to a file, for other machines of the same kind.

    Example: `bitwright tune export winners.json --session llama8b`
    """
    from ..tune.places import winners_file
    from ..tune.table import Table, render
    from .files import replace_file

    found = [w for w in Table(winners_file()).winners() if session in (None, w.session)]
    if not found:
        raise CliError("there is nothing to export: " + (f"{session} has won nothing" if session else "tune something"))
    replace_file(file, render(found).encode())
    show(f"{len(found)} winners in {file}")


def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="What `tune export` wrote.")],
) -> None:
    """Take over winners from another machine of the same kind.

    Those that another version of the compiler was measured with are built, checked and timed here first. Those for
    other kinds of devices are left out.

    Example: `bitwright tune import winners.json`
    """
    from ..tune.table import parsed

    _take(parsed(file.read_text(encoding="utf-8"), str(file)), ())


def validate_command() -> None:
    """Build, check and time once more the winners that another version of the compiler was measured with.

    Until then they are not used. Those that still win stay, with their new times; the others go.

    Example: `bitwright tune validate`
    """
    from ..tune.device import compiler_version
    from ..tune.places import winners_file
    from ..tune.table import Table
    from ..tune.validate import of_here

    old = [w for w in Table(winners_file()).winners() if of_here(w) and w.compiler != compiler_version()]
    if not old:
        show("every winner for this machine is of this version of the compiler")
        return
    _take(old, [w.place for w in old])


def _take(winners: list[Winner] | tuple[Winner, ...], gone: list[tuple[str, str, str]] | tuple[()]) -> None:
    """Put those into the table that hold good here, and say what became of each."""
    from ..tune.places import winners_file
    from ..tune.runners import Here
    from ..tune.table import Table
    from ..tune.validate import Refused, accepted
    from .tune_tables import title_of

    good: list[Winner] = []
    for winner in winners:
        found = accepted(winner, Here())
        if isinstance(found, Refused):
            show(f"{title_of(winner)}: left out, since {found.reason}")
        else:
            good.append(found)
            show(f"{title_of(winner)}: {found.gain:.2f}x the default, {found.candidate}")
    Table(winners_file()).change(good, gone)
    show(f"{len(good)} of {len(winners)} winners are in force")

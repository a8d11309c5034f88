"""`bitwright tune`: sessions that search for the fastest kernel, and what is known from them."""

from __future__ import annotations

from typing import cast

import typer
from typer.core import TyperGroup

from .tune_known import best_command, compare_command, list_command, rm_command, show_command
from .tune_search import kernel_command, linear_command, resume_command
from .tune_winners import export_command, import_command, validate_command

__all__ = ["tune_app"]


class _Tune(TyperGroup):
    """The group, in which the name of a program stands for the command that tunes it."""

    def parse_args(self, ctx: object, args: list[str]) -> list[str]:
        context = cast(typer.Context, ctx)  # of Click, or of Typer's own copy of it, depending on Typer's version
        if args and args[0].endswith(".bw"):
            args = ["kernel", *args]
        result: list[str] = super().parse_args(context, args)
        return result


tune_app = typer.Typer(
    cls=_Tune,
    help="Search for the fastest kernel here: `tune linear ...`, or `tune FILE.bw ...` for one of your own.",
    no_args_is_help=True,
)

tune_app.command("linear")(linear_command)
tune_app.command("kernel", hidden=True)(kernel_command)
tune_app.command("list")(list_command)
tune_app.command("show")(show_command)
tune_app.command("resume")(resume_command)
tune_app.command("best")(best_command)
tune_app.command("export")(export_command)
tune_app.command("import")(import_command)
tune_app.command("validate")(validate_command)
tune_app.command("compare")(compare_command)
tune_app.command("rm")(rm_command)


@tune_app.callback()
def _group() -> None:
    """Search for the fastest kernel here: `tune linear ...`, or `tune FILE.bw ...` for one of your own."""

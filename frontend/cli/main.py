"""The command `bitwright`: its global options, and one command per file beside this one.

A command imports what it needs when it runs, so that a broken part of an installation stops only the commands that need
it, and `bitwright doctor` still tells what is wrong.
"""

from __future__ import annotations

from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from .bench import bench_app
from .cache import cache_command
from .check import check_command
from .compile import compile_command
from .doctor import doctor_command
from .errors import is_users, show, show_error
from .fmt import fmt_command
from .layout import layout_command
from .quantize import quantize_command
from .run import run_command
from .tune import tune_app

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """The group of all commands: it turns what a user did wrong into a message."""

    def invoke(self, ctx: object) -> object:
        context = cast(typer.Context, ctx)  # of Click, or of Typer's own copy of it, depending on Typer's version
        try:
            result: object = super().invoke(context)
            return result
        except Exception as error:
            if context.params.get("traceback") or not is_users(error):
                raise
            show_error(error)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="bitwright",
    cls=_Commands,
    help="Kernels for tensors of any bit width: check, format, compile, run and measure them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        show(f"bitwright {version('bitwright')}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show Python's traceback of an error.")] = False,
) -> None:
    pass


app.command("check")(check_command)
app.command("fmt")(fmt_command)
app.command("compile")(compile_command)
app.command("run")(run_command)
app.command("layout")(layout_command)
app.command("quantize")(quantize_command)
app.command("doctor")(doctor_command)
app.command("cache")(cache_command)
app.add_typer(tune_app, name="tune")
app.add_typer(bench_app, name="bench")


def main() -> None:
    """Run the command that the process's arguments name; the process's exit code is 0, 1 (an error) or 2 (usage)."""
    app()

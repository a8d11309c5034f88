"""`bitwright cache`: the compiled code that is kept on disk."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .errors import show


class Action(StrEnum):
    info = "info"
    clear = "clear"


def cache_command(
    action: Annotated[Action, typer.Argument(help="Say what the cache holds, or empty it.")] = Action.info,
) -> None:
    """Say what the cache of compiled kernels holds, or empty it.

    The folder is $BITWRIGHT_CACHE_DIR, or where the system keeps caches. Whatever is removed is compiled again when it
    is next needed.

    Example: `bitwright cache clear`
    """
    from ...backend.cache import default_cache

    cache = default_cache()
    if action is Action.clear:
        show(f"removed {cache.clear()} entries from {cache.directory}")
        return
    found = cache.stats()
    show(f"folder   {found.directory}")
    show(f"entries  {found.entries}")
    show(f"size     {found.nbytes / 2**20:.1f} MiB of at most {found.limit / 2**20:.0f} MiB")

"""How many processors this process may use: what the system lets it run on, and what its container lets it spend."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import ceil
from pathlib import Path

__all__ = ["processors", "quota"]


def processors() -> int:
    """At least 1: the processors of its affinity, or fewer where a control group limits its time (as containers do)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = quota(Path("/"))
    return count if share is None else max(1, min(count, ceil(share)))


def quota(root: Path) -> float | None:
    """How many processors' time the control groups of this process grant it; None for no limit.

    Every group above it limits too. Version 2 writes "quota period" or "max period" into `cpu.max`; version 1 writes
    the two into files of their own, with -1 for no limit. Where a container sees only its own groups, the path that
    the system tells may not be there; its group is then the root.
    """
    shares: list[float] = []
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            shares += _shares(root / "sys/fs/cgroup", path, _second)
        elif "cpu" in controllers.split(","):
            shares += _shares(root / "sys/fs/cgroup" / "cpu", path, _first)
            shares += _shares(root / "sys/fs/cgroup" / controllers, path, _first)
    return min(shares, default=None)


def _shares(top: Path, path: str, read: Callable[[Path], list[str]]) -> list[float]:
    """The limits of the group at `path`, and of those that hold it."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    found = []
    for depth in range(len(parts) + 1):
        words = read(top.joinpath(*parts[:depth]))
        if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
            found.append(int(words[0]) / int(words[1]))
    return found


def _second(group: Path) -> list[str]:
    return " ".join(_lines(group / "cpu.max")).split()


def _first(group: Path) -> list[str]:
    return [*_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []

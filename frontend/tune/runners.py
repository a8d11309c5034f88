"""Where candidates are tried: on this machine, in processes of their own. Clusters are in `cluster.py`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from .device import Device, device
from .outcome import Outcome
from .problem import Problem
from .search import Result, Runner
from .space import Candidate, Space
from .worker import Executor, Limits

__all__ = ["Here", "Host", "View", "merged"]


@dataclass(frozen=True, eq=False)
class View:
    """A problem as it presents itself on one kind of device."""

    problem: Problem
    device: Device
    space: Space
    default: Candidate


class Host(Protocol):
    """One or more devices to try candidates on."""

    def views(self, problem: Problem) -> list[View]:
        """One for each kind of device there is."""
        ...

    def runner(self, view: View, history: Sequence[Outcome]) -> AbstractContextManager[Runner]:
        """What tries candidates on this kind of device, and compares them with the best of the history."""
        ...


@dataclass(frozen=True)
class Here:
    """This machine."""

    limits: Limits = field(default_factory=Limits)

    def views(self, problem: Problem) -> list[View]:
        return [View(problem, device(problem.target), problem.space(), problem.default)]

    def runner(self, view: View, history: Sequence[Outcome]) -> AbstractContextManager[Runner]:
        return Executor(view.problem, self.limits, history)


def merged(lines: Sequence[Iterator[Result]]) -> Iterator[Result]:
    """The results of several searches that go on beside each other, as they come.

    An error in one ends all, as soon as each has its next result.
    """
    if len(lines) == 1:
        yield from lines[0]
        return
    results: queue.Queue[Result | BaseException | None] = queue.Queue()
    stop = threading.Event()

    def follow(line: Iterator[Result]) -> None:
        try:
            for result in line:
                results.put(result)
                if stop.is_set():
                    break
        except BaseException as error:  # it is raised again in the thread that waits for results
            results.put(error)
        finally:
            results.put(None)

    threads = [threading.Thread(target=follow, args=(line,), daemon=True) for line in lines]
    try:
        for thread in threads:
            thread.start()
        left = len(threads)
        while left:
            found = results.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()

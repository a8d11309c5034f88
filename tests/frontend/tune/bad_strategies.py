"""Strategies that misbehave in every way that real ones may: they build the right kernel and then spoil something."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bitwright.frontend.tune.kernel_problem import KernelProblem
from bitwright.frontend.tune.kernel_strategy import KernelExecutable
from bitwright.frontend.tune.problem import Data, Executable, Problem, Reals, Run
from bitwright.frontend.tune.space import Branch, Candidate

PIDS = "BITWRIGHT_TEST_PIDS"
"""Names a file into which HANG writes its process and its parent's."""


@dataclass(frozen=True, eq=False)
class Spoiled:
    """The right kernel, with something done when it is compiled, reported on, or bound."""

    right: Executable
    name: str
    bound: Callable[[Run], Run]

    def digest(self) -> str:
        return self.name

    def report(self) -> Mapping[str, float]:
        return self.right.report()

    def bind(self, data: Data, cold: int) -> Run:
        return self.bound(self.right.bind(data, cold))


@dataclass(frozen=True)
class Bad:
    """One way of going wrong: `built` runs when the candidate is compiled, `bound` when it is bound to its inputs."""

    name: str
    built: Callable[[], object] = lambda: None
    bound: Callable[[Run], Run] = lambda run: run

    def branch(self, problem: Problem) -> Branch | None:
        return Branch(self.name, ())

    def build(self, problem: Problem, candidate: Candidate) -> Executable:
        assert isinstance(problem, KernelProblem)
        self.built()
        return Spoiled(KernelExecutable(problem, problem.kernel(problem.default)), self.name, self.bound)


def instead(action: Callable[[], object]) -> Callable[[Run], Run]:
    """Calls do this and nothing else."""
    return lambda run: replace(run, call=action)


def hang() -> None:
    if PIDS in os.environ:
        Path(os.environ[PIDS]).write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(1000)


def eat() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))


def raise_() -> None:
    raise ZeroDivisionError("on purpose")


def complain() -> None:
    print("last words", file=sys.stderr, flush=True)
    os.abort()


def leave_a_child() -> None:
    """A process that outlives the candidate if nobody looks after it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    Path(os.environ[PIDS]).write_text(f"{child.pid} {os.getppid()}")
    time.sleep(1000)


def later(run: Run) -> Run:
    """Right in the first calls, and then no longer."""
    count = [0]

    def call() -> None:
        count[0] += 1
        if count[0] < 5:
            run.call()
        else:
            run.reset()

    return replace(run, call=call)


def off(run: Run) -> Run:
    """One number a little off."""

    def result() -> Mapping[str, Reals]:
        found = {name: value.copy() for name, value in run.result().items()}
        for value in found.values():
            value.flat[7] *= 1.001
        return found

    return replace(run, result=result)


def print_forever() -> None:
    while True:
        sys.stdout.write("x" * (1 << 20))


WRONG = Bad("wrong", bound=off)
NOTHING = Bad("nothing", bound=instead(lambda: None))
LATER = Bad("later", bound=later)
CRASH = Bad("crash", bound=instead(lambda: ctypes.string_at(0)))
CRASH_EARLY = Bad("crash_early", built=lambda: ctypes.string_at(0))
ABORT = Bad("abort", built=complain)
KILLED = Bad("killed", bound=instead(lambda: os.kill(os.getpid(), signal.SIGKILL)))
HANG = Bad("hang", bound=instead(hang))
HANG_EARLY = Bad("hang_early", built=lambda: time.sleep(1000))
MEMORY = Bad("memory", bound=instead(eat))
RAISE = Bad("raise", bound=instead(raise_))
EXIT = Bad("exit", bound=instead(lambda: os._exit(0)))
CHILD = Bad("child", bound=instead(leave_a_child))
LOUD = Bad("loud", bound=instead(print_forever))
NO_STRATEGY = 7

"""A device that does not exist: candidates take the times that a formula says, at once and always the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from bitwright.frontend.tune.cost import Machine
from bitwright.frontend.tune.device import Device
from bitwright.frontend.tune.kernel_problem import KernelProblem
from bitwright.frontend.tune.outcome import Kind, Outcome
from bitwright.frontend.tune.problem import Problem
from bitwright.frontend.tune.runners import View
from bitwright.frontend.tune.search import Runner
from bitwright.frontend.tune.space import Candidate

PROGRAM = """
def double(
    x: f32[M, N], y: f32[M, N],
    *, BM: int = tune(1, 2, 4, 8), BN: int = tune(16, 32, 64, 128), R: int = tune(1, 2, 3), S: int = tune(0, 1, 2, 3),
):
    m, n = grid((M, BM), (N, BN))
    store(y, [m, n], load(x, [m, n], [BM, BN]) * 2.0)
"""


def problem(m: int = 8, n: int = 256, text: str = PROGRAM) -> KernelProblem:
    """With 192 candidates."""
    return KernelProblem.of(text, {"M": m, "N": n})


def formula(candidate: Candidate) -> float:
    """Seconds that a candidate takes: choices have factors of their own, and pairs of equal R and S one more."""
    v = candidate.mapping
    time = 1e-6 * (1 + abs(int(v["BM"]) - 4)) * (1 + abs(int(v["BN"]) - 32) / 64) * (1 + 0.1 * int(v["R"]))
    return time * (0.8 if v["S"] == v["R"] else 1.0)


def fate(candidate: Candidate) -> Kind:
    """Most are right; of those with S=3, one in four is not."""
    lot = hashlib.sha256(candidate.key.encode()).digest()[0]
    kinds: tuple[Kind, ...] = ("wrong", "crashed", "timeout", "pruned", "failed", "out_of_memory")
    return kinds[lot % 6] if lot < 64 and candidate["S"] == 3 else "ok"


@dataclass(frozen=True)
class MadeUp:
    """The device as a host, and what it runs candidates with. `pause` seconds go by before each outcome."""

    pause: float = 0.0
    key: str = "made-up"
    speed: float = 1.0

    @property
    def machine(self) -> Machine:
        return Machine(1e9 * self.speed, 1e9)

    def views(self, problem: Problem) -> list[View]:
        return [View(problem, Device(f"a {self.key} device", self.key, 1, 0), problem.space(), problem.default)]

    def runner(self, view: View, history: Sequence[Outcome]) -> AbstractContextManager[Runner]:
        return nullcontext(self)

    def run(self, candidates: Sequence[Candidate]) -> Iterator[Outcome]:
        for candidate in reversed(candidates):
            time.sleep(self.pause)
            yield self.outcome(candidate)

    def measure(self, candidate: Candidate, against: Outcome | None = None, seconds: float | None = None) -> Outcome:
        return self.outcome(candidate, () if against is None else against.times)

    def outcome(self, candidate: Candidate, against: tuple[float, ...] = ()) -> Outcome:
        kind, seconds = fate(candidate), formula(candidate) / self.speed
        if kind != "ok":
            return Outcome(candidate, kind, message="made up", device=self.key)
        return Outcome(candidate, kind, (seconds,) * 3, against, seconds, device=self.key, compiler="made up")

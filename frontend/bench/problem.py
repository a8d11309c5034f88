"""The product that is measured: quantised weights of random codes, activations, and the exact result."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from ...backend.buffers import aligned_copy
from ...backend.target import target
from ...vm.formats import Format
from ..library.plan import Activations, prepare
from ..linear import linear
from ..tensor import QTensor
from .timing import Contender

LIMITS = {"f32": 1e-4, "f16": 1e-2, "bf16": 3e-2, "int8": 3e-2}
"""Largest relative error of a result by the type of activations; above it, something is broken."""


class WrongResult(ValueError):
    """A contender's result is not the product: it is not timed."""


@dataclass(frozen=True, eq=False)
class Problem:
    """x[M, K], weights w[N, K], and what x @ w.T is in float64. `cold` bytes of weights rotate through the caches."""

    x: npt.NDArray[np.float32]
    q: QTensor
    exact: npt.NDArray[np.float64]
    cold: int

    def error(self, y: npt.NDArray[np.floating]) -> float:
        """The largest error of a result, relative to the largest number of the exact one."""
        wrong = np.abs(y.astype(np.float64) - self.exact).max()
        return float(wrong / np.abs(self.exact).max())

    def checked(self, name: str, y: npt.NDArray[np.floating], activations: str) -> float:
        """The error of a result; WrongResult when no rounding of activations explains it."""
        found = self.error(y)
        if not found <= LIMITS[activations]:
            limit = LIMITS[activations]
            raise WrongResult(f"{name} computes a wrong product: its relative error is {found:.2g}, above {limit}")
        return found

    def copies(self, nbytes: int) -> int:
        """How many copies of weights of that many bytes do not stay in the caches."""
        return max(2, -(-self.cold // nbytes))


def make_problem(bits: int, m: int, n: int, k: int, group: int, cold: int, seed: int = 0) -> Problem:
    """Random codes of `bits` bits with f16 scales and integer zero points, and normal activations."""
    rng = np.random.default_rng(seed)
    format = Format.parse(f"u{bits}:g{group}:f16+zero")
    codes = rng.integers(0, 1 << bits, (n, k), np.uint8)
    sides = (n, format.groups(k))
    scales = (rng.uniform(0.5, 1.5, sides) / 2**bits).astype(np.float16).view(np.uint16)
    zeros = rng.integers((1 << bits) // 4, (1 << bits) * 3 // 4 + 1, sides, np.uint8)
    q = QTensor.from_codes(codes, scales, format, zeros)
    x = rng.standard_normal((m, k)).astype(np.float32)
    return Problem(x, q, x.astype(np.float64) @ q.dequantize(np.float64).T, cold)


def ours(problem: Problem, activations: Activations) -> Contender:
    """`linear`, as a user calls it, on copies of the tensor whose prepared buffers lie at different addresses."""
    prepared = prepare(problem.q, activations, target("cpu"))
    twins: list[QTensor] = []
    for _ in range(problem.copies(prepared.nbytes)):
        own = replace(
            prepared,
            weights=aligned_copy(prepared.weights),
            scales=prepared.scales.copy(),
            zeros=prepared.zeros.copy(),
        )
        twin = copy.copy(problem.q)
        twin._prepared.update({key: own for key, value in problem.q._prepared.items() if value is prepared})
        twins.append(twin)
    name = f"bitwright {activations}"
    errors = [
        problem.checked(name, np.asarray(linear(problem.x, twin, activations=activations)), activations)
        for twin in (twins[0], twins[-1])
    ]
    turn = count()

    def call() -> object:
        return linear(problem.x, twins[next(turn) % len(twins)], activations=activations)

    return Contender(name, problem.q.format.element.bits, prepared.nbytes, max(errors), 1, call)

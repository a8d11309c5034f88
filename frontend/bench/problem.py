"""The product that is measured: quantised weights of random codes, activations, the exact result, and `linear` on it.

This file is the only one of the measurements that calls `linear`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np
import numpy.typing as npt

from ...backend.target import target
from ...vm.dtypes import Int, dtype
from ...vm.formats import NAMED_FORMATS, Format
from ..library.plan import Activations, LinearError, Prepared, prepare
from ..linear import linear
from ..tensor import CodeArray, QTensor, value_table
from .timing import Contender, Facts

LIMITS = {"f32": 1e-4, "f16": 1e-2, "bf16": 3e-2, "int8": 3e-2}
"""Largest relative error of a result by the type of activations; above it, something is broken."""


class WrongResult(ValueError):
    """A contender's result is not the product: it is not timed. `error` is how far off it is."""

    def __init__(self, message: str, error: float) -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True, eq=False)
class Weights:
    """Quantised weights w[N, K]; `cold` bytes of copies of them rotate through the caches."""

    q: QTensor
    cold: int

    @cached_property
    def values(self) -> npt.NDArray[np.float64]:
        """The numbers that the codes stand for [N, K]."""
        return self.q.dequantize(np.float64)

    def copies(self, nbytes: int) -> int:
        """How many copies of weights of that many bytes do not stay in the caches."""
        return max(2, -(-self.cold // nbytes))


@dataclass(frozen=True, eq=False)
class Problem:
    """x[M, K], and what x @ w.T is in float64."""

    x: npt.NDArray[np.float32]
    exact: npt.NDArray[np.float64]

    def error(self, y: npt.NDArray[np.floating]) -> float:
        """The largest error of a result, relative to the largest number of the exact one."""
        wrong = np.abs(y.astype(np.float64) - self.exact).max()
        return float(wrong / np.abs(self.exact).max())

    def checked(self, facts: Facts, y: npt.NDArray[np.floating]) -> float:
        """The error of a result; WrongResult when no rounding of activations explains it."""
        found, limit = self.error(y), LIMITS[facts.activations]
        if not found <= limit:
            raise WrongResult(
                f"{facts.name} computes a wrong product of {facts.weights} weights: "
                f"its relative error is {found:.2g}, above {limit}",
                found,
            )
        return found


@dataclass(frozen=True, eq=False)
class Loaded:
    """A library with its copies of the weights, ready for any x.

    `start` gives the contender for a problem, its results checked; it raises WrongResult.
    """

    facts: Facts
    start: Callable[[Problem], Contender]


def format_of(text: str, group: int) -> Format:
    """The format that is measured for `u3` (groups of `group`, f16 scales, zero points for unsigned integers), or the
    one that `mxfp4` or `u3:g64:bf16` is by itself.
    """
    if ":" in text or text.strip().lower() in NAMED_FORMATS:
        return Format.parse(text)
    element = dtype(text.strip())
    zero = "+zero" if isinstance(element, Int) and not element.signed else ""
    return Format.parse(f"{element}:g{group}:f16{zero}")


def make_weights(format: Format, n: int, k: int, cold: int, seed: int = 0) -> Weights:
    """Random codes that stand for finite numbers, random scales around 1 / the largest number, and zero points."""
    rng = np.random.default_rng(seed)
    table = value_table(format.element)
    known = np.flatnonzero(np.isfinite(table)).astype(np.uint8)
    codes = known[rng.integers(0, known.size, (n, k))]
    sides = (n, format.groups(k))
    scales = rng.uniform(0.5, 1.5, sides) / np.abs(table[known]).max()
    q = QTensor.from_codes(codes, format.scale.encode(scales), format, _zeros(format, sides, rng))
    return Weights(q, cold)


def _zeros(format: Format, sides: tuple[int, int], rng: np.random.Generator) -> CodeArray | None:
    """Zero points within the middle half of the codes, or offsets of up to half a weight."""
    kind = format.zero_dtype
    if kind is None:
        return None
    if format.zero == "int":
        low, high = (1 << kind.bits) // 4, (1 << kind.bits) * 3 // 4
        return rng.integers(low, high + 1, sides, np.uint8)
    return kind.encode(rng.uniform(-0.5, 0.5, sides))


def make_problem(m: int, values: npt.NDArray[np.float64], seed: int = 1) -> Problem:
    """Normal activations [m, K], and their product with the values [N, K]."""
    x = np.random.default_rng(seed).standard_normal((m, values.shape[1])).astype(np.float32)
    return against(x, values)


def against(x: npt.NDArray[np.float32], values: npt.NDArray[np.floating]) -> Problem:
    """The problem of multiplying x by weights of these values: for libraries that store numbers of their own."""
    return Problem(x, x.astype(np.float64) @ values.astype(np.float64).T)


def load_ours(weights: Weights, modes: Sequence[Activations]) -> list[Loaded]:
    """`linear`, as a user calls it, on copies of the tensor whose prepared buffers lie at different addresses.

    Modes that the element type does not have are left out.
    """
    here, sizes = target("cpu"), dict[Activations, int]()
    for mode in modes:
        try:
            sizes[mode] = prepare(weights.q, mode, here).nbytes
        except LinearError:
            continue
    if not sizes:
        return []
    twins = [_twin(weights.q) for _ in range(weights.copies(min(sizes.values())))]
    element = weights.q.format.element
    return [
        _ours(twins, Facts(f"bitwright {mode}", str(element), element.bits, mode, nbytes, ours=True))
        for mode, nbytes in sizes.items()
    ]


def _twin(q: QTensor) -> QTensor:
    """The tensor with copies of everything that has been prepared for it."""
    twin = copy.copy(q)
    own = {key: x.elsewhere() if isinstance(x, Prepared) else x for key, x in q._prepared.items()}
    object.__setattr__(twin, "_prepared", own)
    return twin


def _ours(twins: Sequence[QTensor], facts: Facts) -> Loaded:
    mode = facts.activations

    def start(problem: Problem) -> Contender:
        errors = [
            problem.checked(facts, np.asarray(linear(problem.x, twin, activations=mode)))
            for twin in (twins[0], twins[-1])
        ]
        turn = count()
        return Contender(
            facts, max(errors), 1, lambda: linear(problem.x, twins[next(turn) % len(twins)], activations=mode)
        )

    return Loaded(facts, start)

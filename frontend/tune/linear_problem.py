"""Tuning the quantised linear: y[m, n] = x[m, k] @ w[n, k].T for one format, one kind of activations and one shape."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from ...backend.target import Target, target
from ...vm.dtypes import dtype
from ...vm.formats import Format
from ..bench.problem import make_weights
from ..library.plan import Prepared, plan, prepare
from ..library.prepared import COLUMNS_PER_LANE, Activations
from ..tensor import QTensor
from .problem import Data, Executable, ProblemError, Reals
from .space import Candidate, Json, Space
from .strategies import build_with, space_of

SCHEDULES = tuple(f"bitwright.frontend.tune.linear_strategy:{name}" for name in ("DIRECT", "PANEL"))
ROWS_AT_ONCE = 512
"""Of weights that the reference takes at once."""

UNIT = 2.0**-24
"""The largest relative error of one f32 rounding."""


@dataclass(frozen=True, eq=False)
class LinearInputs:
    """x[m, k], and the weights."""

    x: NDArray[np.float32]
    q: QTensor


@dataclass(frozen=True)
class LinearProblem:
    """A shape, a format as `Format.parse` reads it, and what x is rounded to ("f32", "bf16", "f16" or "int8")."""

    format: str
    activations: Activations
    m: int
    n: int
    k: int
    target_name: str = "cpu"
    strategies: tuple[str, ...] = SCHEDULES

    def __post_init__(self) -> None:
        if min(self.m, self.n, self.k) < 1:
            raise ProblemError(f"the shape {self.m}x{self.n}x{self.k} must be MxNxK, each at least 1")
        if self.activations not in get_args(Activations):
            raise ProblemError(f"activations are {', '.join(get_args(Activations))}, not {self.activations!r}")
        object.__setattr__(self, "format", str(Format.parse(self.format)))

    @property
    def key(self) -> str:
        return f"{self.title} {self.target_name}"

    @property
    def title(self) -> str:
        return f"linear {self.format} {self.activations} {self.m}x{self.n}x{self.k}"

    @property
    def target(self) -> Target:
        return target(self.target_name)

    @property
    def default(self) -> Candidate:
        from .linear_strategy import candidate_of

        return candidate_of(plan(sample(self), self.activations, self.m, self.target))

    @property
    def operations(self) -> int:
        return 2 * self.m * self.n * self.k

    @property
    def nbytes(self) -> int:
        weights = self.n * self.k * Format.parse(self.format).bits_per_weight(self.k) / 8
        return int(weights) + 4 * self.m * (self.k + self.n)

    def space(self) -> Space:
        return space_of(self)

    def build(self, candidate: Candidate) -> Executable:
        return build_with(self, candidate)

    def warm(self, candidate: Candidate, data: Data) -> None:
        """Packs the weights, which all schedules share."""
        assert isinstance(data.inputs, LinearInputs)
        prepare(data.inputs.q, self.activations, self.target)

    def data(self, seed: int) -> Data:
        q = make_weights(Format.parse(self.format), self.n, self.k, 0, seed).q
        x = np.random.default_rng([seed, 1]).standard_normal((self.m, self.k)).astype(np.float32)
        taken = rounded(x, self.activations)
        right, allowed = np.empty((self.m, self.n)), np.empty((self.m, self.n))
        for start in range(0, self.n, ROWS_AT_ONCE):
            columns = slice(start, start + ROWS_AT_ONCE)
            part = _rows(q, columns)
            weights = part.dequantize(np.float64)
            right[:, columns] = taken.astype(np.float64) @ weights.T
            allowed[:, columns] = _roundings(self.k) * (np.abs(x) @ _size_of_terms(part).T) + 1e-36
            if self.activations == "int8":
                allowed[:, columns] += _of_steps(x, weights, q.format.group_length(self.k))
        return Data(LinearInputs(x, q), {"y": right}, {"y": allowed})

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": "linear", "format": self.format, "activations": self.activations, "m": self.m, "n": self.n,
            "k": self.k, "target": self.target_name, "strategies": list(self.strategies),
        }  # fmt: skip

    @classmethod
    def from_json(cls, text: Mapping[str, Json]) -> LinearProblem:
        """The problem that `to_json` wrote."""
        m, n, k = (int(cast(int, text[name])) for name in ("m", "n", "k"))
        activations = cast(Activations, text["activations"])
        strategies = tuple(cast("list[str]", text["strategies"]))
        return cls(str(text["format"]), activations, m, n, k, str(text["target"]), strategies)


def sample(problem: LinearProblem) -> Prepared:
    """Weights as the planner and kernels ask for them: their shape is the problem's, but few columns are packed."""
    return _sample(problem.format, problem.activations, problem.n, problem.k, problem.target)


@functools.lru_cache(maxsize=8)
def _sample(format: str, activations: Activations, n: int, k: int, where: Target) -> Prepared:
    few = min(n, where.lanes * COLUMNS_PER_LANE)
    return prepare(make_weights(Format.parse(format), few, k, 0).q, activations, where).planned_for(n)


def _rows(q: QTensor, rows: slice) -> QTensor:
    """Some rows of the weights."""
    zeros = None if q.zeros is None else q.zeros[rows]
    packed = q.packed[rows]
    return QTensor((packed.shape[0], q.shape[1]), q.format, packed, q.scales[rows], zeros, q.second)


def _size_of_terms(q: QTensor) -> NDArray[np.float32]:
    """[N, K]: (|code| + |zero|) |scale|, or |code scale| + |zero| for offsets: what roundings are relative to."""
    repeat, k = q.format.group_length(q.shape[1]), q.shape[1]

    def spread(side: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.repeat(np.abs(side), repeat, axis=1)[:, :k]

    value = np.abs(q.format.element.decode(q.codes).astype(np.float32))
    scale = spread(q.scale_values * np.float32(abs(q.second)))
    if q.zero_values is None:
        return value * scale
    zero = spread(q.zero_values)
    return value * scale + zero if q.format.zero == "min" else (value + zero) * scale


def rounded(x: NDArray[np.float32], activations: Activations) -> NDArray[np.float32]:
    """x as kernels take it: rounded to the type, except for int8, whose steps are for kernels to choose."""
    if activations in ("f32", "int8"):
        return x
    kind = dtype(activations)
    return np.asarray(kind.decode(kind.encode(x)), np.float32)


def _roundings(k: int) -> float:
    """What the roundings of k f32 additions may come to, relative to the sum of all sizes.

    They go one way and the other, so they grow with the root of k; twice that, and a few more for scales, are far above
    what is seen, and far below what one term that is left out makes.
    """
    return (16 + 2 * sqrt(k)) * UNIT


def _of_steps(x: NDArray[np.float32], weights: Reals, group: int) -> Reals:
    """[M, N]: what int8 activations may come to: each x is off by up to half a step, at random.

    A step is a 127th of the largest |x| of a group, or of parts of it, for which it is less.  Eight standard deviations
    of the sum are allowed.
    """
    half = np.zeros(x.shape)
    for start in range(0, x.shape[1], group):
        columns = slice(start, start + group)
        half[:, columns] = np.abs(x[:, columns]).max(axis=1, keepdims=True) / 254
    return np.asarray(8 * np.sqrt((half**2 / 3) @ (weights**2).T))

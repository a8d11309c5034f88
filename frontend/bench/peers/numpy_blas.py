"""NumPy: the weights as f32, multiplied by its BLAS (whose threads the caller sets)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from ....backend.buffers import aligned_copy
from ..problem import Loaded, Problem, Weights
from ..timing import Contender, Facts


def load_numpy(weights: Weights, threads: int) -> Iterator[Loaded]:
    """x @ w.T in f32."""
    w = weights.q.dequantize()
    copies = [aligned_copy(w) for _ in range(weights.copies(w.nbytes))]
    facts = Facts("numpy", "f32", 32, "f32", w.nbytes)

    def start(problem: Problem) -> Contender:
        error = problem.checked(facts, problem.x @ copies[-1].T)
        turn = count()
        return Contender(facts, error, 1, lambda: problem.x @ copies[next(turn) % len(copies)].T)

    yield Loaded(facts, start)

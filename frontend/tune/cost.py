"""A guess at how long a candidate takes, from what the compiler reports of it, corrected by what was measured.

A machine reads memory and computes at the same time, so the guess begins with the longer of

    bytes of one call / bytes per second        and        instructions of one call / instructions per second

and has both as terms too, with spills.  The weights of the terms are fitted by least squares as results come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRIOR = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
"""Of the terms 1, reading, computing, the longer of both, spilling: what is believed before anything is measured."""

BELIEF = 0.3
"""How heavy the prior is, in results."""

LEAST_RESULTS = 10
"""Below which nothing is called hopeless."""

HOPELESS = 1.6
"""Times the best: what is expected to take longer, beyond three standard deviations of the model's errors, is out."""


@dataclass(frozen=True)
class Machine:
    """What the machine reaches with all threads: bytes read per second, and vector instructions per second."""

    bandwidth: float = 30e9
    instructions: float = 5e9


class CostModel:
    """The guess for one problem on one machine."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = Machine() if machine is None else machine
        self._weights: NDArray[np.float64] = PRIOR
        self._terms: list[NDArray[np.float64]] = []
        self._seconds: list[float] = []

    def predict(self, figures: Mapping[str, float]) -> float:
        """Seconds of one call; 0 when the figures say nothing of the size of the work."""
        terms = self._of(figures)
        return 0.0 if terms is None else max(float(terms @ self._weights), 1e-9)

    def learn(self, figures: Mapping[str, float], seconds: float) -> None:
        """Takes one measurement into account."""
        terms = self._of(figures)
        if terms is None:
            return
        self._terms.append(terms)
        self._seconds.append(seconds)
        rows, right = np.array(self._terms), np.array(self._seconds)
        scale = float(np.median(right))
        units = np.array([1.0 / scale, 1.0, 1.0, 1.0, 1.0])
        # Relative errors count; the prior is some more rows.
        matrix = np.vstack([rows / right[:, None], BELIEF * np.diag(units)])
        wanted = np.concatenate([np.ones(len(rows)), BELIEF * PRIOR])
        self._weights = np.linalg.lstsq(matrix, wanted, rcond=None)[0]

    def spread(self) -> float:
        """The standard deviation of the logarithm of guess over measurement."""
        if not self._terms:
            return float("inf")
        guesses = np.maximum(np.array(self._terms) @ self._weights, 1e-9)
        return float(np.sqrt(np.mean(np.log(guesses / np.array(self._seconds)) ** 2)))

    def hopeless(self, figures: Mapping[str, float], best: float) -> str | None:
        """Why a candidate need not be measured; None when it may win."""
        guess = self.predict(figures)
        if len(self._terms) < LEAST_RESULTS or guess <= HOPELESS * best * np.exp(3 * self.spread()):
            return None
        return f"the cost model expects {guess * 1e6:,.0f} µs, and the best takes {best * 1e6:,.0f} µs"

    def _of(self, figures: Mapping[str, float]) -> NDArray[np.float64] | None:
        """The terms of the guess."""
        reading = figures.get("call.bytes", 0.0) / self.machine.bandwidth
        computing = figures.get("call.instructions", 0.0) / self.machine.instructions
        if not reading and not computing:
            return None
        share = figures.get("main.spill", 0.0) / max(figures.get("main.instructions", 0.0), 1.0)
        return np.array([1.0, reading, computing, max(reading, computing), share * computing])

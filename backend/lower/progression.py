"""Codebooks that are integers in disguise: their values rise by a power of two from each code to the next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import frexp

from ...vm.dtypes import Codebook, DType

__all__ = ["Progression", "progression"]


@dataclass(frozen=True)
class Progression:
    """value = first + code * 2**exponent."""

    first: float
    exponent: int


@lru_cache(maxsize=256)
def progression(source: DType) -> Progression | None:
    """What a codebook's values are, where that is so and none lies so far off 0 that sums of codes would be too large.

    Codes without a value do not occur.
    """
    if not isinstance(source, Codebook):
        return None
    first, step = source.values[0], source.values[1] - source.values[0]
    if step <= 0 or frexp(step)[0] != 0.5 or any(v != first + step * k for k, v in enumerate(source.values)):
        return None
    if abs(first) > step * (1 << source.bits):
        return None
    return Progression(first, frexp(step)[1] - 1)

"""The figures of one contender, and how ours compare with the others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from ..library.plan import Activations
from .timing import Contender, Facts

PRECISION: Mapping[Activations, int] = {"int8": 0, "bf16": 1, "f16": 1, "f32": 2}
"""Activations in rising order of what they keep of x."""


@dataclass(frozen=True)
class Figures:
    """What the time of one product comes to. Rates are of stored bytes, and of multiplications and additions.

    Limits are what the machine gave in the same minutes: its reading of memory, and the instruction that multiplies
    such activations.
    """

    microseconds: float
    gigabytes_per_second: float
    gigaoperations_per_second: float
    bandwidth_gigabytes_per_second: float
    of_bandwidth: float
    peak_gigaoperations_per_second: float
    of_peak: float


@dataclass(frozen=True)
class Row:
    """One contender at one size. One whose product is wrong has an error, but no figures."""

    facts: Facts
    m: int
    n: int
    k: int
    error: float
    figures: Figures | None

    @property
    def operations_per_byte(self) -> float:
        """Of weights that are read once."""
        return 2 * self.m * self.n * self.k / self.facts.nbytes


@dataclass(frozen=True)
class Comparison:
    """One of our rows beside the fastest peer, and how many times that peer's time is of ours.

    alike  the same with the peers that round activations no further than we do
    """

    row: Row
    best: Row | None
    ratio: float | None
    alike: Row | None
    alike_ratio: float | None


def measured_row(contender: Contender, m: int, n: int, k: int, seconds: float, readings: Mapping[str, float]) -> Row:
    """What follows from a time and the machine's limits: "bandwidth", and a peak for each kind of product."""
    facts, operations = contender.facts, 2 * m * n * k / seconds
    bandwidth, peak = readings["bandwidth"], readings[peak_of(facts.activations, readings)]
    figures = Figures(
        microseconds=seconds * 1e6,
        gigabytes_per_second=facts.nbytes / seconds / 1e9,
        gigaoperations_per_second=operations / 1e9,
        bandwidth_gigabytes_per_second=bandwidth / 1e9,
        of_bandwidth=facts.nbytes / seconds / bandwidth,
        peak_gigaoperations_per_second=peak / 1e9,
        of_peak=operations / peak,
    )
    return Row(facts, m, n, k, contender.error, figures)


def peak_of(activations: Activations, peaks: Iterable[str]) -> str:
    """Which of the machine's peaks bounds products of such activations: f32's where it has no narrower ones."""
    return activations if activations in ("int8", "bf16") and activations in peaks else "f32"


def compare(row: Row, rows: Iterable[Row]) -> Comparison:
    """The fastest peer with the same number of rows and the same width, or the next wider one that any peer has."""
    peers = [r for r in rows if not r.facts.ours and r.m == row.m and r.figures is not None]
    best = _fastest(row, peers)
    precision = PRECISION[row.facts.activations]
    alike = _fastest(row, [r for r in peers if PRECISION[r.facts.activations] >= precision])
    return Comparison(row, best, _ratio(best, row), alike, _ratio(alike, row))


def microseconds(row: Row) -> float:
    """Of one product; infinite where it is wrong."""
    return row.figures.microseconds if row.figures is not None else inf


def _fastest(row: Row, peers: list[Row]) -> Row | None:
    bits = min((peer.facts.bits for peer in peers if peer.facts.bits >= row.facts.bits), default=None)
    return min((peer for peer in peers if peer.facts.bits == bits), key=microseconds, default=None)


def _ratio(peer: Row | None, row: Row) -> float | None:
    return None if peer is None or row.figures is None else microseconds(peer) / microseconds(row)

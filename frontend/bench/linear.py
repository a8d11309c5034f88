"""The measurement behind `bitwright bench linear`: every width against the memory's bandwidth and other libraries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...backend.llvm.pool import set_threads, threads
from ..library.plan import Activations
from .bandwidth import Reader, make_reader
from .peers import packed_peers, plain_peers
from .problem import make_problem, ours
from .timing import Contender, measure


@dataclass(frozen=True)
class Plan:
    """What is measured. `cold` is how many bytes of copies of the weights rotate; `seconds` how long each is timed."""

    widths: tuple[int, ...]
    rows: tuple[int, ...]
    n: int
    k: int
    group: int
    activations: tuple[Activations, ...]
    threads: int
    peers: bool
    cold: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """One contender's figures. The rates are of stored bytes; `bandwidth` is what memory gave in the same minutes."""

    name: str
    bits: int | None
    m: int
    n: int
    k: int
    group: int
    microseconds: float
    gigabytes_per_second: float
    bandwidth_gigabytes_per_second: float
    of_bandwidth: float
    gigaoperations_per_second: float
    relative_error: float


def run_plan(plan: Plan) -> Iterator[Row]:
    """Measure everything, contenders of one width and number of rows in turns; rows come as they are known."""
    before = threads()
    set_threads(plan.threads)
    try:
        reader = make_reader(max(plan.cold, 1 << 20), plan.threads)
        for m in plan.rows:
            yield from _of_rows(plan, m, reader)
    finally:
        set_threads(before)


def _of_rows(plan: Plan, m: int, reader: Reader) -> Iterator[Row]:
    if plan.peers:
        problem = make_problem(8, m, plan.n, plan.k, plan.group, plan.cold)
        yield from _measured(list(plain_peers(problem, plan.threads)), plan, m, reader)
    for bits in plan.widths:
        problem = make_problem(bits, m, plan.n, plan.k, plan.group, plan.cold)
        contenders = [ours(problem, activations) for activations in plan.activations]
        contenders += packed_peers(problem, plan.threads) if plan.peers else ()
        yield from _measured(contenders, plan, m, reader)


def _measured(contenders: Sequence[Contender], plan: Plan, m: int, reader: Reader) -> Iterator[Row]:
    timing = measure(list(contenders), reader.sample, plan.seconds)
    for contender, seconds in zip(contenders, timing.seconds, strict=True):
        yield Row(
            name=contender.name,
            bits=contender.bits,
            m=m,
            n=plan.n,
            k=plan.k,
            group=plan.group,
            microseconds=seconds * 1e6,
            gigabytes_per_second=contender.nbytes / seconds / 1e9,
            bandwidth_gigabytes_per_second=timing.bandwidth / 1e9,
            of_bandwidth=contender.nbytes / seconds / timing.bandwidth,
            gigaoperations_per_second=2 * m * plan.n * plan.k / seconds / 1e9,
            relative_error=contender.error,
        )

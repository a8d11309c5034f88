"""The measurement behind `bitwright bench linear`: every type against the machine's limits and other libraries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...backend.llvm.pool import set_threads, threads
from ...vm.formats import Format
from ..library.plan import Activations
from .bandwidth import Reader, make_reader
from .peaks import Meter, make_meters
from .peers import DENSE, PACKED, PEER_BITS, load_peers
from .problem import Loaded, Problem, Weights, WrongResult, format_of, load_ours, make_problem, make_weights
from .rows import Row, measured_row
from .timing import PAUSE, ROUNDS, Contender, measure

SLOW = 60e9
"""Operations per second of a contender that is slow at many rows, for the estimate of the time that all takes."""

LOADING = 2.5
"""Seconds in which a contender gets its copies of the weights, with N and K of 4096."""

RUNNERS_PER_WEIGHTS = 6
"""Peers that one type of weights has, about."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    formats  of the weights that are multiplied by `linear`
    rows     of activations
    cold     bytes of copies of the weights that rotate
    seconds  how long each contender is timed
    """

    formats: tuple[Format, ...]
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
class Family:
    """Weights that are measured in turns: formats of ours, and those that only peers multiply."""

    formats: tuple[Format, ...]
    peers_only: tuple[Format, ...]
    dense: bool


@dataclass(frozen=True, eq=False)
class Meters:
    """What the machine is measured by."""

    reader: Reader
    peaks: dict[str, Meter]


def families(plan: Plan) -> list[Family]:
    """The formats by the width that the peers of theirs have: what is compared is measured in the same minutes."""
    if not plan.peers:
        return [Family((format,), (), False) for format in plan.formats]
    found: list[Family] = []
    for bits in PEER_BITS:
        own = tuple(format for format in plan.formats if _peer_bits(format) == bits)
        if own:
            shared = format_of(f"u{bits}", plan.group)
            found.append(Family(own, () if shared in own else (shared,), dense=not found))
    return found


def _peer_bits(format: Format) -> int:
    return next(bits for bits in PEER_BITS if bits >= format.element.bits)


def estimated_seconds(plan: Plan) -> float:
    """About how long the plan takes."""
    total = 0.0
    for family in families(plan):
        runners = len(family.formats) * len(plan.activations)
        if plan.peers:
            runners += RUNNERS_PER_WEIGHTS + 3 * family.dense
        total += runners * LOADING * plan.n * plan.k / (1 << 24)
        for m in plan.rows:
            one = 2 * m * plan.n * plan.k / SLOW
            total += runners * (max(plan.seconds, ROUNDS * one) + ROUNDS * (PAUSE + one))
    return total


def run_plan(plan: Plan) -> Iterator[tuple[Row, ...]]:
    """Measure everything; the rows of one family and one number of activations' rows come when they are known."""
    before = threads()
    set_threads(plan.threads)
    try:
        meters = Meters(make_reader(max(plan.cold, 1 << 20), plan.threads), dict(make_meters()))
        for family in families(plan):
            yield from _of_family(plan, family, meters)
    finally:
        set_threads(before)


def _of_family(plan: Plan, family: Family, meters: Meters) -> Iterator[tuple[Row, ...]]:
    loaded = [_load(plan, family, format) for format in (*family.formats, *family.peers_only)]
    for m in plan.rows:
        contenders: list[Contender] = []
        wrong: list[Row] = []
        for weights, runners in loaded:
            problem = make_problem(m, weights.values)
            for runner in runners:
                _start(runner, problem, plan, contenders, wrong)
        yield (*_timed(contenders, plan, m, meters), *wrong)


def _load(plan: Plan, family: Family, format: Format) -> tuple[Weights, Sequence[Loaded]]:
    weights = make_weights(format, plan.n, plan.k, plan.cold)
    ours = load_ours(weights, plan.activations) if format in family.formats else []
    if not plan.peers:
        return weights, ours
    # Dense weights are those of one format of the first family: any would do.
    dense = family.dense and format == family.formats[0]
    return weights, [*ours, *load_peers(PACKED + DENSE if dense else PACKED, weights, plan.threads)]


def _start(runner: Loaded, problem: Problem, plan: Plan, contenders: list[Contender], wrong: list[Row]) -> None:
    try:
        contenders.append(runner.start(problem))
    except WrongResult as result:
        wrong.append(Row(runner.facts, problem.x.shape[0], plan.n, plan.k, result.error, None))


def _timed(contenders: list[Contender], plan: Plan, m: int, meters: Meters) -> Iterator[Row]:
    samples = {"bandwidth": meters.reader.sample, **{kind: meter.sample for kind, meter in meters.peaks.items()}}
    timing = measure(contenders, samples, plan.seconds)
    for contender, seconds in zip(contenders, timing.seconds, strict=True):
        yield measured_row(contender, m, plan.n, plan.k, seconds, timing.readings)

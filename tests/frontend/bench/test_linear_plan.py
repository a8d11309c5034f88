from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import pytest

from bitwright.frontend.bench import linear as module
from bitwright.frontend.bench import peers, timing
from bitwright.frontend.bench.linear import Plan, estimated_seconds, families, run_plan
from bitwright.frontend.bench.peers import Peer, load_peers
from bitwright.frontend.bench.problem import Loaded, Problem, Weights, format_of, make_weights
from bitwright.frontend.bench.timing import Contender, Facts

PLAN = Plan(
    formats=tuple(format_of(f"u{bits}", 32) for bits in (1, 2, 3)), rows=(1, 2), n=32, k=64, group=32,
    activations=("f32",), threads=1, peers=True, cold=1, seconds=0.001,
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)


def test_widths_are_measured_with_the_peers_that_they_are_compared_with() -> None:
    found = families(PLAN)
    assert [[str(format.element) for format in family.formats] for family in found] == [["u1", "u2"], ["u3"]]
    assert [[str(format.element) for format in family.peers_only] for family in found] == [[], ["u4"]]
    assert [family.dense for family in found] == [True, False]
    alone = families(replace(PLAN, peers=False))
    assert [len(family.formats) for family in alone] == [1, 1, 1]
    assert not any(family.peers_only or family.dense for family in alone)


def test_the_estimate_grows_with_what_is_asked_for() -> None:
    less = estimated_seconds(PLAN)
    assert less > 0
    for more in (
        replace(PLAN, rows=(1, 2, 4)),
        replace(PLAN, activations=("f32", "int8")),
        replace(PLAN, n=4096),
        replace(PLAN, seconds=1.0),
    ):
        assert estimated_seconds(more) > less
    assert estimated_seconds(replace(PLAN, peers=False)) < less


def _wrong(weights: Weights, threads: int) -> Iterator[Loaded]:
    facts = Facts("them", "x2", 2, "f32", 100)

    def start(problem: Problem) -> Contender:
        error = problem.checked(facts, problem.exact * (1.5 if len(problem.x) == 2 else 1.0))
        return Contender(facts, error, 1, lambda: None)

    yield Loaded(facts, start)


def test_a_wrong_peer_is_shown_and_not_timed() -> None:
    plan = replace(PLAN, formats=(format_of("u2", 32),))
    with patch.object(module, "PACKED", (Peer(("numpy",), _wrong),)), patch.object(module, "DENSE", ()):
        one, two = run_plan(plan)
    assert [(row.facts.name, row.m) for row in one] == [("bitwright f32", 1), ("them", 1)]
    assert [(row.facts.name, row.m) for row in two] == [("bitwright f32", 2), ("them", 2)]
    assert one[1].figures is not None
    assert two[0].figures is not None
    assert two[1].figures is None
    assert two[1].error == pytest.approx(0.5)


def test_a_library_that_fails_is_left_out_with_a_warning() -> None:
    def failing(weights: Weights, threads: int) -> Iterator[Loaded]:
        raise RuntimeError("no such operator")
        yield

    weights = make_weights(format_of("u2", 32), 32, 64, cold=1)
    libraries = (Peer(("numpy",), failing), Peer(("no_such_package",), failing), Peer(("numpy",), _wrong))
    with pytest.warns(UserWarning, match="numpy is left out: no such operator") as caught:
        found = load_peers(libraries, weights, 1)
    assert len(caught) == 1
    assert [loaded.facts.name for loaded in found] == ["them"]


def test_every_library_of_the_extra_is_asked() -> None:
    packages = {package for peer in (*peers.DENSE, *peers.PACKED) for package in peer.packages}
    assert packages == {"numpy", "torch", "onnxruntime", "openvino", "llama_cpp", "libggml"}

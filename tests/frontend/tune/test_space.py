"""Spaces against plain enumeration; candidates and outcomes through JSON."""

from __future__ import annotations

import json
from itertools import product

import pytest

from bitwright.frontend.tune.outcome import KINDS, Kind, Outcome, OutcomeError
from bitwright.frontend.tune.space import Branch, Candidate, Json, Parameter, Rule, Space, SpaceError

ODD = Rule("the sum is odd", lambda values: (int(values["x"]) + int(values["y"])) % 2 == 0)
SPACE = Space((Branch("a", (Parameter("x", (3, 1, 2)), Parameter("y", (1, 2))), (ODD,)), Branch("b", ())))


def test_candidates_are_all_that_fulfil_the_rules() -> None:
    wanted = {("a", x, y) for x, y in product((1, 2, 3), (1, 2)) if (x + y) % 2 == 0} | {("b",)}
    assert {(c.strategy, *c.mapping.values()) for c in SPACE} == wanted
    assert SPACE.size == 7
    assert SPACE.branch("a").default == next(iter(SPACE)) == Candidate.of("a", {"x": 3, "y": 1})


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (Candidate.of("a", {"x": 3, "y": 1}), None),
        (Candidate.of("a", {"x": 3, "y": 2}), "the sum is odd"),
        (Candidate.of("a", {"x": 4, "y": 2}), "x is 4: the choices are 3, 1, 2"),
        (Candidate.of("a", {"x": 3}), "a has the parameters x, y, not x"),
        (Candidate.of("b", {"x": 3}), "b has the parameters none, not x"),
        (Candidate("c"), "there is no strategy c: the space has a, b"),
    ],
)
def test_refusals_say_why(candidate: Candidate, reason: str | None) -> None:
    assert SPACE.refusal(candidate) == reason


def test_spaces_that_make_no_sense() -> None:
    with pytest.raises(SpaceError, match="the parameter x needs choices"):
        Parameter("x", ())
    with pytest.raises(SpaceError, match="each listed once"):
        Parameter("x", (1, 2, 1))
    with pytest.raises(SpaceError, match="strategies of different names: it has a, a"):
        Space((Branch("a", ()), Branch("a", ())))
    with pytest.raises(SpaceError, match="it has none"):
        Space(())
    assert Parameter("x", (1, True)).choices == (1, True)


def test_keys_are_equal_for_equal_candidates_only() -> None:
    one, other = Candidate.of("a", {"x": 1, "y": "u4"}), Candidate.of("a", {"y": "u4", "x": 1})
    assert one.key == other.key
    different = [one, Candidate.of("b", one.mapping), Candidate.of("a", {"x": True, "y": "u4"}), Candidate("a")]
    different += [Candidate.of("a", {"x": 1.5, "y": "u4"}), Candidate.of("a", {"x": "1", "y": "u4"})]
    assert len({c.key for c in different}) == len(different)
    for candidate in different:
        assert Candidate.from_json(json.loads(json.dumps(candidate.to_json()))) == candidate


@pytest.mark.parametrize("kind", KINDS)
def test_outcomes_come_back_from_json(kind: Kind) -> None:
    candidate = Candidate.of("a", {"x": 1, "y": "u4", "z": 0.5, "t": True})
    outcome = Outcome(
        candidate, kind, (3e-4, 1e-4, 2e-4), (4e-4,), 1e-4, True, 0.25, "text", {"spills": 3.0}, "c0de", 1.5, 2.5, 1e9,
        "device", "compiler",
    )  # fmt: skip
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    assert outcome.seconds == 2e-4
    assert outcome.ratio == 0.5
    assert outcome.ok == (kind == "ok")


@pytest.mark.parametrize("text", [{}, {"kind": "good"}, {"kind": "ok", "candidate": {"strategy": "a"}}])
def test_what_is_no_outcome(text: dict[str, Json]) -> None:
    with pytest.raises(OutcomeError, match="this is no outcome"):
        Outcome.from_json(text)

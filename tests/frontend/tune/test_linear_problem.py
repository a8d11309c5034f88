"""The quantised linear as a problem: right results by another route, errors that are found, schedules as candidates."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest

from bitwright.frontend.library.plan import plan, prepare, schedules
from bitwright.frontend.library.prepared import Activations
from bitwright.frontend.tune.linear_problem import LinearInputs, LinearProblem, sample
from bitwright.frontend.tune.linear_strategy import candidate_of, schedule_of
from bitwright.frontend.tune.lock import MachineLock
from bitwright.frontend.tune.problem import Data, ProblemError, problem_from_json
from bitwright.frontend.tune.space import Candidate, SpaceError
from bitwright.frontend.tune.trial import check, errors
from bitwright.frontend.tune.worker import Executor, Limits
from bitwright.tests.linear_bounds import exact

SMALL = LinearProblem("u3:g32:f16+zero", "f32", 3, 96, 160)


def inputs(data: Data) -> LinearInputs:
    assert isinstance(data.inputs, LinearInputs)
    return data.inputs


@pytest.mark.parametrize("format", ["u3:g32:f16+zero", "i4:g64:bf16", "u5:g32:f16+min", "nvfp4", "u2:row:f32+zero"])
def test_the_right_result_is_right(format: str) -> None:
    data = LinearProblem(format, "f32", 3, 600, 160).data(1)
    given = inputs(data)
    np.testing.assert_allclose(data.expected["y"], exact(given.x, given.q), rtol=1e-12)


@pytest.mark.parametrize("mode", ["bf16", "f16"])
def test_rounded_activations_are_the_references_too(mode: Activations) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    data = LinearProblem("u3:g32:f16+zero", mode, 3, 96, 160).data(1)
    kind = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}[mode]
    given = inputs(data)
    np.testing.assert_allclose(data.expected["y"], exact(given.x.astype(kind).astype(np.float32), given.q), rtol=1e-12)


@pytest.mark.parametrize("mode", get_args(Activations))
@pytest.mark.parametrize("format", ["u3:g32:f16+zero", "u5:g32:f16+min"])
def test_every_schedule_is_right(format: str, mode: Activations) -> None:
    problem = LinearProblem(format, mode, 5, 96, 160)
    data = problem.data(2)
    problem.warm(problem.default, data)
    some = list(problem.space())
    for candidate in [some[0], some[len(some) // 2], some[-1]]:
        error, message = check(problem.build(candidate).bind(data, 1 << 16), data, 2)
        assert error <= 1, f"{candidate}: {message}"


def test_a_weight_that_is_left_out_is_found() -> None:
    """In f32, at the depth of real models: one weight of 4096 in every column."""
    data = LinearProblem("u4:g128:f16+zero", "f32", 1, 64, 4096).data(3)
    given = inputs(data)
    weights = given.q.dequantize(np.float64)
    where = int(np.argmax(np.abs(given.x[0])))
    found = data.expected["y"] - given.x[:, [where]].astype(np.float64) * weights[:, where]
    assert errors({"y": found}, data)["y"][0] > 10


def test_a_group_that_is_left_out_is_found_in_int8_too() -> None:
    data = LinearProblem("u4:g128:f16+zero", "int8", 1, 64, 4096).data(3)
    given = inputs(data)
    weights = given.q.dequantize(np.float64)
    found = given.x[:, 128:].astype(np.float64) @ weights[:, 128:].T
    assert errors({"y": found}, data)["y"][0] > 1


@pytest.mark.parametrize("n", [5, 96, 300, 4096])
def test_the_default_is_what_linear_runs(n: int) -> None:
    """The planner cuts rows the finer the fewer columns there are, so it must see the problem's own."""
    problem = LinearProblem("u3:g32:f16+zero", "int8", 64, n, 160)
    packed = prepare(inputs(problem.data(0)).q, "int8", problem.target)
    assert schedule_of(problem.default) == plan(packed, "int8", 64, problem.target)
    assert sample(problem).shape == packed.shape


def test_candidates_are_the_planners_schedules_its_own_first() -> None:
    q = inputs(SMALL.data(0)).q
    p = prepare(q, "f32", SMALL.target)
    known = schedules(p, "f32", 3, SMALL.target)
    assert {c.key for c in SMALL.space()} == {candidate_of(s).key for s in known}
    assert schedule_of(SMALL.default) == plan(p, "f32", 3, SMALL.target)
    assert SMALL.space().branches[0].default == SMALL.default
    assert {(s.form, s.next) for s in known} == {("direct", False), ("direct", True), ("panel", False)}
    kept = [Candidate.from_json(json.loads(json.dumps(candidate_of(s).to_json()))) for s in known]
    assert [schedule_of(c) for c in kept] == list(known)
    before = Candidate("direct", (("ahead", 8), ("rows", 1)))  # of a version that had no "next"
    for other in (Candidate("direct"), before, Candidate("panel", (("rows", 0), ("depth", 64), ("share", 32)))):
        with pytest.raises(SpaceError, match="is no schedule"):
            schedule_of(other)


def test_both_forms_are_tried_early() -> None:
    pytest.importorskip("optuna")
    from bitwright.frontend.tune.chooser import Chooser
    from bitwright.frontend.tune.ranking import rank

    problem = LinearProblem("u3:g32:f16+zero", "int8", 16, 96, 160)
    pool = Chooser(problem.space(), problem.default, 0, rank).pool
    assert pool[0] == problem.default
    assert {c.strategy for c in pool[:3]} == {"direct", "panel"}
    assert {c.key for c in pool} == {c.key for c in problem.space()}


def test_problems_come_back_from_json() -> None:
    assert problem_from_json(json.loads(json.dumps(SMALL.to_json()))) == SMALL
    assert SMALL.key == "linear u3:g32:f16+zero f32 3x96x160 cpu"
    assert LinearProblem("mxfp4", "f32", 1, 64, 64).key == "linear f4e2m1:g32:e8m0 f32 1x64x64 cpu"
    assert SMALL.operations == 2 * 3 * 96 * 160
    assert SMALL.nbytes == 96 * 160 * 3 // 8 + 96 * 5 * 2 + 96 * 5 * 3 // 8 + 4 * 3 * (96 + 160)


@pytest.mark.parametrize(
    ("mode", "shape", "says"),
    [("f32", (0, 1, 1), "must be MxNxK"), ("f31", (1, 1, 1), "activations are .* not 'f31'")],
)
def test_what_is_no_problem(mode: Activations, shape: tuple[int, int, int], says: str) -> None:
    with pytest.raises(ProblemError, match=says):
        LinearProblem("u4:g32:f16", mode, *shape)


def test_a_whole_trial() -> None:
    """In real processes: the default and another schedule, timed in turns."""
    limits = Limits(cold=1 << 20, timed_seconds=0.02, prune=False)
    with Executor(SMALL, limits, lock=MachineLock()) as executor:
        first, second = (next(iter(executor.run([c]))) for c in list(SMALL.space())[:2])
        assert (first.kind, second.kind) == ("ok", "ok"), second.message
        assert second.ratio is not None
        assert first.figures["call.instructions"] > 0
        assert executor.machine.bandwidth > 1e8
        final = executor.measure(second.candidate, first, 0.1)
        assert final.ratio is not None
        assert executor.incumbent in (first, second)

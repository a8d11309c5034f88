"""Any kernel as a problem: its space, its inputs, its right results, and its form in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bitwright.frontend.tune.kernel_problem import KernelProblem
from bitwright.frontend.tune.problem import ProblemError, problem_from_json
from bitwright.frontend.tune.space import Candidate
from bitwright.frontend.tune.trial import check, errors
from bitwright.tests.frontend.tune.kernels import SCALE, scale

PACKED = """
def expand(w: W[K, N] @ L, s: f16[N], y: f32[K, N], *, W: dtype, R: int = 16, L: layout = tune(
    'tiled("spatial(1, 16) * local(8, 1)", container=8)', 'tiled("local(1, 2) * spatial(1, 16) * local(16, 1)")',
)):
    k, n = grid((K, R), (N, 32))
    store(y, [k, n], cast(load(w, [k, n], [R, 32]), f32) * reshape(cast(load(s, [n], [32]), f32), [1, 32]))
"""


def test_the_space_is_what_the_text_lists() -> None:
    assert {str(c) for c in scale().space()} == {f"tune B={b} R={r}" for b in (64, 128, 256) for r in (1, 2)}
    assert str(scale().default) == "tune B=64 R=1"
    fixed = KernelProblem.of(SCALE, {"M": 16, "N": 512}, parameters={"B": 256})
    assert [str(c) for c in fixed.space()] == ["tune R=1", "tune R=2"]
    assert fixed.kernel(fixed.default).parameters == {"B": 256, "R": 1}


def test_what_there_is_nothing_to_tune_of() -> None:
    problem = KernelProblem.of(SCALE, {"M": 16, "N": 512}, parameters={"B": 256, "R": 1})
    with pytest.raises(ProblemError, match="scale has nothing to tune: give a parameter choices"):
        problem.space()


def test_problems_come_back_from_json(tmp_path: Path) -> None:
    file = tmp_path / "scale.bw"
    file.write_text(SCALE)
    problem = KernelProblem.of(
        file, {"N": 512, "M": 16}, "scale", parameters={"B": 64}, divisible={"N": 64}, inputs={"x": "ones"},
        reference="a:b", tolerance=0.5, strategies=("c:d",),
    )  # fmt: skip
    back = problem_from_json(json.loads(json.dumps(problem.to_json())))
    assert back == problem
    assert back.key == problem.key
    file.write_text("something else")
    assert back.key == problem.key, "the text is taken at once"
    with pytest.raises(ProblemError, match="no problems of the kind 'x'"):
        problem_from_json({"kind": "x"})
    with pytest.raises(ProblemError, match="this is no problem to tune"):
        problem_from_json({"kind": "kernel"})


def test_keys_tell_problems_apart() -> None:
    one = scale()
    others = [KernelProblem.of(SCALE, {"M": 16, "N": 256}), KernelProblem.of(SCALE + "\n", {"M": 16, "N": 512})]
    others += [KernelProblem.of(SCALE, {"M": 16, "N": 512}, divisible={"N": 64}), scale("HANG")]
    assert len({p.key for p in (one, *others)}) == 5
    assert scale().key == one.key


def test_inputs_are_the_same_however_they_are_stored() -> None:
    """u3 in two layouts: the right result does not depend on the candidate, and both kernels compute it."""
    problem = KernelProblem.of(PACKED, {"K": 32, "N": 64}, parameters={"W": "u3"})
    data = problem.data(5)
    for candidate in problem.space():
        run = problem.build(candidate).bind(data, 1 << 16)
        error, message = check(run, data, 3)
        assert error <= 1, message
    made = problem.kernel(problem.default)
    w, s, _ = problem.arguments(made, 5).values
    assert problem.space().size == 2
    assert isinstance(w, np.ndarray)
    assert isinstance(s, np.ndarray)
    storage = made.program.arrays[0].storage
    assert storage is not None
    right = storage.unpack(w.view(np.uint8), (32, 64)).astype(np.float64) * s.astype(np.float64)
    np.testing.assert_allclose(data.expected["y"], right, rtol=1e-6)


def test_a_result_is_measured_against_what_is_allowed() -> None:
    problem = scale()
    data = problem.data(0)
    right, allowed = data.expected["y"], data.allowed["y"]
    for off, limit in ((0.0, 0.0), (0.5, 0.5), (2.0, 2.0)):
        found = right.copy()
        found[3, 4] += off * allowed
        assert errors({"y": found}, data)["y"][0] == pytest.approx(limit, rel=1e-3)
    for value in (np.nan, np.inf):
        found = right.copy()
        found[3, 4] = value
        assert errors({"y": found}, data)["y"][0] == np.inf
        assert "at [3, 4]" in errors({"y": found}, data)["y"][1]
    assert errors({"y": right[:1]}, data)["y"][0] == np.inf
    assert errors({}, data)["y"][1] == "missing: its shape should be [16, 512]"


def test_integers_are_exact_and_the_tolerance_can_be_given() -> None:
    text = """
def add(x: i32[N], y: i32[N], *, B: int = tune(64, 128)):
    n = grid((N, B))
    store(y, [n], load(x, [n], [B]) + 1)
"""
    problem = KernelProblem.of(text, {"N": 256})
    assert problem.data(0).allowed == {"y": 0.0}
    data = KernelProblem.of(text, {"N": 256}, tolerance=0.1).data(0)
    assert data.allowed["y"] == pytest.approx(0.1 * np.abs(data.expected["y"]).max())
    run = problem.build(Candidate.of("tune", {"B": 128})).bind(problem.data(0), 1 << 12)
    assert check(run, problem.data(0), 4)[0] == 0.0

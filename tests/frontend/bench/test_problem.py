from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest

from bitwright.frontend.bench import problem as module
from bitwright.frontend.bench.problem import (
    Problem,
    WrongResult,
    against,
    format_of,
    load_ours,
    make_problem,
    make_weights,
)
from bitwright.frontend.bench.timing import Facts
from bitwright.frontend.linear import linear
from bitwright.frontend.tensor import QTensor

FACTS = Facts("them", "u3", 3, "f32", 100)


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_exact_result_is_that_of_the_formula(bits: int) -> None:
    weights = make_weights(format_of(f"u{bits}", 32), 5, 64, cold=1)
    q, p = weights.q, make_problem(3, weights.values)
    scale, zero = q.scale_values.astype(np.float64), q.zero_values
    assert zero is not None
    w = (q.codes - zero.astype(np.float64).repeat(32, axis=1)) * scale.repeat(32, axis=1)
    np.testing.assert_allclose(p.exact, (p.x[:, None, :].astype(np.float64) * w).sum(axis=2), rtol=1e-12)
    assert q.codes.max() == (1 << bits) - 1
    assert p.error(p.exact) == 0


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("u3", "u3:g64:f16+zero"),
        ("i4", "i4:g64:f16"),
        ("nf4", "nf4:g64:f16"),
        ("f6e3m2", "f6e3m2:g64:f16"),
        ("mxfp4", "f4e2m1:g32:e8m0"),
        ("q5_1", "u5:g32:f16+min"),
        ("u3:g16:bf16", "u3:g16:bf16"),
    ],
)
def test_a_type_is_measured_with_the_usual_scales_and_a_format_as_it_is(text: str, whole: str) -> None:
    assert str(format_of(text, 64)) == whole


@pytest.mark.parametrize("text", ["i4", "f8e4m3fn", "f8e5m2", "ternary", "mxfp4", "nvfp4", "q5_1", "tq2_0"])
def test_weights_of_every_kind_are_finite_and_of_many_codes(text: str) -> None:
    weights = make_weights(format_of(text, 32), 16, 256, cold=1)
    assert np.isfinite(weights.values).all()
    assert np.unique(weights.q.codes).size >= 3
    assert 0.2 < np.abs(weights.values).max() < 3


def test_copies_fill_more_than_the_caches_and_lie_apart() -> None:
    weights = make_weights(format_of("u4", 64), 64, 128, cold=100_000)
    (loaded,) = load_ours(weights, ["f32"])
    contender = loaded.start(make_problem(1, weights.values))
    used: list[int] = []

    def spy(x: object, q: QTensor, activations: str) -> object:
        (prepared,) = q._prepared.values()
        used.append(prepared.weights.ctypes.data)  # type: ignore[attr-defined]  # a Prepared
        return linear(x, q, activations=activations)  # type: ignore[arg-type]  # a mode

    with patch.object(module, "linear", spy):
        for _ in range(2 * weights.copies(loaded.facts.nbytes)):
            contender.call()
    distinct = list(dict.fromkeys(used))
    assert len(distinct) * loaded.facts.nbytes >= 100_000
    assert used == distinct * 2  # in turns
    assert min(np.diff(sorted(distinct))) >= 64 * 128 // 2


def test_every_way_of_rounding_activations_that_the_type_has_is_measured() -> None:
    p = make_weights(format_of("u4", 64), 16, 64, cold=1)
    assert [loaded.facts.activations for loaded in load_ours(p, ["int8", "bf16", "f32"])] == ["int8", "bf16", "f32"]
    q = make_weights(format_of("nf4", 64), 16, 64, cold=1)  # whose values are no integers
    assert [loaded.facts.activations for loaded in load_ours(q, ["int8", "f32"])] == ["f32"]
    assert load_ours(q, ["int8"]) == []


def test_a_wrong_result_is_refused() -> None:
    weights = make_weights(format_of("u3", 64), 16, 64, cold=1)
    p = make_problem(2, weights.values)
    assert p.checked(FACTS, p.exact * (1 + 1e-6)) == pytest.approx(1e-6, rel=1e-3)
    with pytest.raises(WrongResult, match="them computes a wrong product of u3 weights") as caught:
        p.checked(FACTS, p.exact * 1.01)
    assert caught.value.error == pytest.approx(0.01)
    with pytest.raises(WrongResult):
        p.checked(FACTS, np.full_like(p.exact, np.nan))
    (loaded,) = load_ours(weights, ["f32"])
    with patch.object(module, "linear", lambda x, q, activations: p.exact + 1), pytest.raises(WrongResult):
        loaded.start(p)


def test_a_library_with_numbers_of_its_own_is_held_to_those() -> None:
    x = np.array([[1.0, 2.0]], np.float32)
    p = against(x, np.array([[3.0, 4.0], [0.5, 0.25]], np.float32))
    assert isinstance(p, Problem)
    assert p.exact.tolist() == [[11.0, 1.0]]

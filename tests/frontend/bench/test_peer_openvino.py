from __future__ import annotations

import numpy as np
import pytest

from bitwright.frontend.bench.problem import Problem, WrongResult, format_of, make_problem, make_weights

openvino = pytest.importorskip("openvino")

from bitwright.frontend.bench.peers.openvino import (  # noqa: E402  # only where it is installed
    PRODUCTS_PER_MODEL,
    TYPES,
    NotPacked,
    _check_packed,
    load_openvino,
)


@pytest.mark.parametrize("text", TYPES)
def test_it_multiplies_the_same_quantised_weights(text: str) -> None:
    weights = make_weights(format_of(text, 32), 32, 128, cold=1)
    loaded = list(load_openvino(weights, threads=1))
    found = {runner.facts.activations for runner in loaded}
    assert {"f32"} <= found <= {"int8", "bf16", "f32"}
    assert ("int8" in found) == (text != "nf4")
    bits = weights.q.format.element.bits
    zeros = 32 * 4 * bits // 8 if text[0] == "u" else 0
    for runner in loaded:
        assert runner.facts.nbytes == 32 * 128 * bits // 8 + 32 * 4 * 2 + zeros
        for m in (1, 3):
            contender = runner.start(make_problem(m, weights.values))
            assert contender.error < {"f32": 1e-5}.get(runner.facts.activations, 0.03)
            assert contender.products == PRODUCTS_PER_MODEL
            contender.call()


def test_a_wrong_product_is_found_out() -> None:
    weights = make_weights(format_of("u4", 32), 32, 64, cold=1)
    problem = make_problem(1, weights.values)
    (*_, loaded) = load_openvino(weights, threads=1)
    with pytest.raises(WrongResult, match="openvino computes a wrong product of u4"):
        loaded.start(Problem(problem.x, np.roll(problem.exact, 1, axis=1)))


def test_a_model_that_holds_wider_weights_is_refused() -> None:
    from openvino import opset15 as op

    x = op.parameter([1, 64], openvino.Type.f32)
    results = [op.result(op.matmul(x, op.constant(np.ones((32, 64), np.float32) * i), False, True)) for i in range(8)]
    compiled = openvino.Core().compile_model(openvino.Model(results, [x]), "CPU")
    with pytest.raises(NotPacked, match="not u4 weights"):
        _check_packed(compiled, "u4")


@pytest.mark.parametrize("text", ["u3", "f4e2m1", "u4:g32:f32", "u4:g32:f16+min", "u4:g48:f16", "u4:row:f16"])
def test_other_weights_have_no_such_product(text: str) -> None:
    assert list(load_openvino(make_weights(format_of(text, 32), 32, 64, cold=1), threads=1)) == []

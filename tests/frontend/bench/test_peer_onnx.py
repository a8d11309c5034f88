from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest

from bitwright.frontend.bench.peers.onnx import PRODUCTS_PER_SESSION, load_onnx
from bitwright.frontend.bench.peers.onnx_model import Node, model
from bitwright.frontend.bench.problem import Problem, WrongResult, format_of, make_problem, make_weights


def test_a_model_is_one_that_the_runtime_reads() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    a, b = np.random.default_rng(0).normal(size=(2, 7, 300)).astype(np.float32)
    nodes = [Node("Gemm", ["x", "a"], ["p"], {"transB": 1}, ""), Node("Gemm", ["x", "b"], ["q"], {"transB": 1}, "")]
    content = model(nodes, {"a": a, "b": b}, {"x": ("rows", 300)}, {"p": ("rows", 7), "q": ("rows", 7)})
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for rows in (2, 5):
        x = np.random.default_rng(1).normal(size=(rows, 300)).astype(np.float32)
        p, q = session.run(["p", "q"], {"x": x})
        np.testing.assert_allclose(p, x @ a.T, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(q, x @ b.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text", ["u2", "u4", "u8", "i4", "i8"])
def test_the_runtime_multiplies_the_same_quantised_weights(text: str) -> None:
    pytest.importorskip("onnxruntime")
    weights = make_weights(format_of(text, 32), 32, 160, cold=20_000)
    (loaded,) = load_onnx(weights, threads=1)
    bits = int(text[1])
    assert loaded.facts.bits == bits
    zeros = 32 * -(-5 * bits // 8) if text[0] == "u" else 0
    assert loaded.facts.nbytes == 32 * 160 * bits // 8 + 32 * 5 * 4 + zeros
    for m in (1, 3):
        contender = loaded.start(make_problem(m, weights.values))
        assert contender.error < 0.03
        assert contender.products == PRODUCTS_PER_SESSION
        contender.call()


def test_every_product_of_every_session_is_checked() -> None:
    pytest.importorskip("onnxruntime")
    weights = make_weights(format_of("u4", 32), 32, 64, cold=20 * (32 * 64 // 2 + 32 * 2 * 4 + 32))
    (loaded,) = load_onnx(weights, threads=1)
    problem = make_problem(1, weights.values)
    with patch.object(Problem, "checked", autospec=True, side_effect=Problem.checked) as checked:
        loaded.start(problem)
    assert checked.call_count == 3 * PRODUCTS_PER_SESSION  # the least number of sessions that holds 20 copies
    with pytest.raises(WrongResult):
        loaded.start(Problem(problem.x, np.roll(problem.exact, 1, axis=1)))


@pytest.mark.parametrize(("text", "group"), [("u3", 32), ("u4", 40), ("u4", 64), ("nf4", 32), ("u4:g32:f16", 32)])
def test_other_weights_have_no_such_product(text: str, group: int) -> None:
    assert list(load_onnx(make_weights(format_of(text, group), 32, 160, cold=1), threads=1)) == []

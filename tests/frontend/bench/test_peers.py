from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest

from bitwright.frontend.bench.onnx_model import Node, model
from bitwright.frontend.bench.peers import PRODUCTS_PER_SESSION, packed_peers, plain_peers
from bitwright.frontend.bench.problem import Problem, make_problem


def test_a_model_is_one_that_the_runtime_reads() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    a, b = np.random.default_rng(0).normal(size=(2, 7, 300)).astype(np.float32)
    nodes = [Node("Gemm", ["x", "a"], ["p"], {"transB": 1}, ""), Node("Gemm", ["x", "b"], ["q"], {"transB": 1}, "")]
    content = model(nodes, {"a": a, "b": b}, {"x": (2, 300)}, {"p": (2, 7), "q": (2, 7)})
    x = np.random.default_rng(1).normal(size=(2, 300)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    p, q = session.run(["p", "q"], {"x": x})
    np.testing.assert_allclose(p, x @ a.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(q, x @ b.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_runtime_multiplies_the_same_quantised_weights(bits: int) -> None:
    pytest.importorskip("onnxruntime")
    p = make_problem(bits, 3, 32, 160, 32, cold=20_000)
    (peer,) = packed_peers(p, threads=1)
    assert peer.bits == bits
    assert peer.error < 0.03
    assert peer.products == PRODUCTS_PER_SESSION
    assert peer.nbytes == 32 * 160 * bits // 8 + 32 * 5 * 4 + 32 * -(-5 * bits // 8)
    peer.call()


def test_every_product_of_every_session_is_checked() -> None:
    pytest.importorskip("onnxruntime")
    p = make_problem(4, 1, 32, 64, 32, cold=20 * (32 * 64 // 2 + 32 * 2 * 4 + 32))
    with patch.object(Problem, "checked", autospec=True, side_effect=Problem.checked) as checked:
        list(packed_peers(p, threads=1))
    assert checked.call_count == 3 * PRODUCTS_PER_SESSION  # the least number of sessions that holds 20 copies


def test_other_widths_and_groups_have_no_packed_peer() -> None:
    for bits, group in ((3, 32), (4, 40), (4, 64)):
        assert list(packed_peers(make_problem(bits, 1, 32, 160, group, cold=1), threads=1)) == []


def test_a_runtime_that_fails_is_left_out_with_a_warning() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    p = make_problem(4, 1, 32, 64, 32, cold=1)
    with (
        patch.object(onnxruntime, "InferenceSession", side_effect=RuntimeError("no such operator")),
        pytest.warns(UserWarning, match="left out: no such operator"),
    ):
        assert list(packed_peers(p, threads=1)) == []


def test_numpy_and_torch_multiply_the_numbers() -> None:
    pytest.importorskip("torch")
    p = make_problem(8, 2, 48, 64, 32, cold=40_000)
    peers = {peer.name: peer for peer in plain_peers(p, threads=1)}
    assert list(peers) == ["numpy f32", "torch f32", "torch bf16"]
    assert [peer.nbytes for peer in peers.values()] == [48 * 64 * 4, 48 * 64 * 4, 48 * 64 * 2]
    for peer in peers.values():
        y = np.asarray(peer.call().float() if "torch" in peer.name else peer.call(), np.float64)
        assert p.error(y) <= (1e-2 if "bf16" in peer.name else 1e-5)

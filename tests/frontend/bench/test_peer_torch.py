from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest

from bitwright.frontend.bench.peers import torch_packed
from bitwright.frontend.bench.peers.numpy_blas import load_numpy
from bitwright.frontend.bench.peers.torch_dense import load_torch_dense
from bitwright.frontend.bench.peers.torch_packed import load_torch_packed
from bitwright.frontend.bench.problem import Problem, WrongResult, against, format_of, make_problem, make_weights

torch = pytest.importorskip("torch")


def test_numpy_and_torch_multiply_the_numbers() -> None:
    weights = make_weights(format_of("u8", 32), 48, 64, cold=40_000)
    loaded = [*load_numpy(weights, 1), *load_torch_dense(weights, 1)]
    assert [(one.facts.name, one.facts.weights) for one in loaded] == [
        ("numpy", "f32"), ("torch", "f32"), ("torch", "bf16")
    ]  # fmt: skip
    assert [one.facts.nbytes for one in loaded] == [48 * 64 * 4, 48 * 64 * 4, 48 * 64 * 2]
    for m in (1, 2):
        p = make_problem(m, weights.values)
        for one in loaded:
            y = one.start(p).call()
            y = np.asarray(y if one.facts.name == "numpy" else y.float(), np.float64)  # type: ignore[attr-defined]
            assert p.error(y) <= (1e-2 if one.facts.weights == "bf16" else 1e-5)
    with pytest.raises(WrongResult):
        loaded[2].start(Problem(p.x, p.exact * 1.1))


@pytest.mark.parametrize("text", ["u4", "i4"])
def test_four_bits_keep_groups_and_zero_points(text: str) -> None:
    weights = make_weights(format_of(text, 32), 64, 128, cold=1)
    (loaded,) = load_torch_packed(weights, 1)
    p = make_problem(3, weights.values)
    contender = loaded.start(p)
    y = contender.call().float().numpy()  # type: ignore[attr-defined]  # a tensor
    assert p.error(y) == contender.error < 0.02
    assert loaded.facts.nbytes == 64 * 128 // 2 + 64 * 4 * 2 * 2
    with pytest.raises(WrongResult):
        loaded.start(Problem(p.x, np.roll(p.exact, 1, axis=1)))


def test_eight_bits_are_rounded_again_by_row_and_held_to_that() -> None:
    weights = make_weights(format_of("u8", 32), 64, 128, cold=1)
    loaded = list(load_torch_packed(weights, 1))
    assert [(one.facts.name, one.facts.activations) for one in loaded] == [
        ("torch int8pack", "bf16"), ("torch dynamic", "int8")
    ]  # fmt: skip
    p = make_problem(3, weights.values)
    for one in loaded:
        y = one.start(p).call().float().numpy()  # type: ignore[attr-defined]  # a tensor
        assert p.error(y) < 0.05  # the weights are others, but not by much
    wrong = patch.object(torch_packed, "against", lambda x, values: against(x, values * 1.1))
    with wrong, pytest.raises(WrongResult):
        loaded[0].start(p)


@pytest.mark.parametrize("text", ["u3", "nf4", "u4:g48:f16+zero", "u8:g32:f16+min"])
def test_other_weights_have_no_such_product(text: str) -> None:
    assert list(load_torch_packed(make_weights(format_of(text, 32), 32, 96, cold=1), 1)) == []

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest

from bitwright.frontend.bench import problem as module
from bitwright.frontend.bench.problem import WrongResult, make_problem, ours


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_exact_result_is_that_of_the_formula(bits: int) -> None:
    p = make_problem(bits, 3, 5, 64, 32, cold=1)
    scale, zero = p.q.scale_values.astype(np.float64), p.q.zero_values.astype(np.float64)
    w = (p.q.codes - zero.repeat(32, axis=1)) * scale.repeat(32, axis=1)
    np.testing.assert_allclose(p.exact, (p.x[:, None, :].astype(np.float64) * w).sum(axis=2), rtol=1e-12)
    assert p.q.codes.max() == (1 << bits) - 1
    assert p.error(p.exact) == 0


def test_copies_fill_more_than_the_caches_and_lie_apart() -> None:
    p = make_problem(4, 1, 64, 128, 64, cold=100_000)
    contender = ours(p, "f32")
    used: list[int] = []
    real = module.linear

    def spy(x: object, q: object, activations: str) -> object:
        (prepared,) = q._prepared.values()  # type: ignore[attr-defined]  # a QTensor
        used.append(prepared.weights.ctypes.data)
        return real(x, q, activations=activations)

    with patch.object(module, "linear", spy):
        for _ in range(2 * p.copies(contender.nbytes)):
            contender.call()
    distinct = list(dict.fromkeys(used))
    assert len(distinct) * contender.nbytes >= 100_000
    assert used == distinct * 2  # in turns
    assert min(np.diff(sorted(distinct))) >= 64 * 128 // 2


def test_a_wrong_result_is_refused() -> None:
    p = make_problem(3, 2, 16, 64, 64, cold=1)
    assert p.checked("ours", p.exact * (1 + 1e-6), "f32") == pytest.approx(1e-6, rel=1e-3)
    with pytest.raises(WrongResult, match="ours computes a wrong product"):
        p.checked("ours", p.exact * 1.01, "f32")
    with pytest.raises(WrongResult):
        p.checked("ours", np.full_like(p.exact, np.nan), "int8")
    with patch.object(module, "linear", lambda x, q, activations: p.exact + 1), pytest.raises(WrongResult):
        ours(p, "f32")

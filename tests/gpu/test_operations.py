"""A GPU against the simulator, for every operation of the lane IR and every instruction of the GPU's table."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.tests.backend.lane.writing import Body
from bitwright.tests.backend.llvm.test_emit import NEAR, same
from bitwright.tests.gpu.device import here, needs_gpu, run_device
from bitwright.tests.lane_case import Case
from bitwright.tests.lane_cases import cases

pytestmark = needs_gpu


@pytest.mark.parametrize("case", cases(here()), ids=lambda case: case.name)
def test_a_gpu_does_what_the_simulator_does(case: Case) -> None:
    given = case.arguments()
    case.check(given, run_device(case.function, given, case.blocks))


@pytest.mark.parametrize("kind", sorted(NEAR))
def test_elementary_functions_are_within_four_units_of_the_last_place(kind: str) -> None:
    """Of the function in more digits, over all magnitudes, and near multiples of pi / 2."""
    rng = np.random.default_rng(5)
    parts = [
        rng.integers(0, 2**32, 1 << 16, dtype=np.uint64).astype(np.uint32).view(np.float32),
        rng.uniform(-140, 140, 1 << 16).astype(np.float32),
        rng.normal(1, 0.4, 1 << 16).astype(np.float32),
        (np.arange(1 << 16) * 2.5 * np.pi).astype(np.float32),
    ]
    x = np.concatenate(parts)
    body = Body(128)
    body.save(1, body.apply(kind, "f32", body.load(0, "f32")))
    y = np.zeros_like(x)
    run_device(body.function(2), [x, y], x.size // 128)
    with np.errstate(all="ignore"):
        exact = getattr(np, kind)(x.astype(np.longdouble)).astype(np.float64)
        rounded = exact.astype(np.float32)
    special = ~np.isfinite(rounded)
    assert same(y[special], rounded[special], False).all()
    unit = np.exp2(np.floor(np.log2(np.maximum(abs(exact[~special]), 2.0**-126))) - 23)
    assert (abs(y[~special] - exact[~special]) / unit).max() < 4

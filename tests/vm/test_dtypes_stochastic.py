"""Stochastic rounding: two neighbours, the right mean, and exactly variant A."""

import numpy as np
import pytest

from bitwright.vm.dtypes import Codebook, codebook, dtype


@pytest.mark.parametrize("name", ["f4e2m1", "f8e4m3fn", "f6e3m2", "bf16", "nf4", "i4", "ue6m2", "uf5e3m2_nosubnormal"])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_stochastic_rounding_has_two_values_and_the_right_mean(name: str, share: float) -> None:
    d = dtype(name)
    generator = np.random.default_rng(5)
    codes = np.unique(np.array([0, 1, 2, d.bits, 2 ** (d.bits - 2) - 3]))
    values = np.unique(d.decode(codes).astype(np.float64))
    for a in values:
        b = float(d.round(np.nextafter(a, np.inf), "rup"))
        x = a + (b - a) * share
        n = 40_000
        got = d.round(np.full(n, x), "stochastic", random=generator.integers(0, 2**32, n, np.uint32)).astype(np.float64)
        assert set(got.tolist()) == {a, b}
        spread = (b - a) * np.sqrt(share * (1 - share) / n)
        assert abs(got.mean() - x) < 5 * spread


def test_stochastic_rounding_is_variant_a() -> None:
    random = np.array([0, 2**30 * 3 - 1, 2**30 * 3, 2**32 - 1], np.uint32)
    for sign in (1, -1):
        x = np.full(4, sign * 2.25)  # a quarter of the way from 2 to 3
        assert dtype("f4e2m1").round(x, "stochastic", random=random).tolist() == [sign * v for v in (2, 2, 3, 3)]
        assert dtype("i4").round(x, "stochastic", random=random).tolist() == [sign * v for v in (2, 2, 3, 3)]
    assert codebook([-3, -2], "two").round(np.full(4, -2.75), "stochastic", random=random).tolist() == [-3, -3, -2, -2]


@pytest.mark.parametrize("name", ["f4e2m1", "f8e5m2", "e8m0", "i5", "nf4"])
def test_stochastic_rounding_keeps_what_is_on_the_grid(name: str) -> None:
    d = dtype(name)
    values = d.decode(np.arange(len(d.values) if isinstance(d, Codebook) else 2**d.bits))
    values = values[np.isfinite(values)]
    random = np.full(values.shape, 2**32 - 1, np.uint32)
    assert np.array_equal(d.round(values, "stochastic", random=random), values)

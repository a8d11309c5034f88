"""Lesson 4: kernels as Python functions. `@bw.jit` takes their text; nothing of it runs as Python.

python examples/04_jit.py
"""

# The names in the kernels are words of the kernel language, which Python's tools do not know.
# ruff: noqa: F821

# Python would look up f32 and M when the function is defined; this line makes it leave annotations alone.
from __future__ import annotations

import numpy as np

import bitwright as bw


@bw.jit
def softmax(x: f32[M, N], y: f32[M, N], *, T: int = 1024):
    """y = exp(x - max) / sum over each row; one block for a row of at most T columns."""
    m = grid(M)
    row = load(x, [m, 0], [1, T], other=-inf)  # past the end of the row: -inf, and exp(-inf) is 0
    e = exp(row - max(row, dim=1, keepdim=True))
    store(y, [m, 0], e / sum(e, dim=1, keepdim=True))


@bw.jit
def rms_norm(x: D[M, N], weight: D[N], y: D[M, N], eps: f32, *, D: dtype, T: int = 1024):
    """y = x / sqrt(mean(x * x) + eps) * weight, computed in f32 for any float dtype D."""
    m = grid(M)
    row = cast(load(x, [m, 0], [1, T]), f32)
    mean = sum(row * row, dim=1, keepdim=True) / cast(N, f32)
    gain = cast(reshape(load(weight, [0], [T]), [1, T]), f32)
    store(y, [m, 0], cast(row * rsqrt(mean + eps) * gain, D))


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 500)).astype(np.float32)
    y = np.empty_like(x)
    softmax(x, y)
    exact = np.exp(x - x.max(axis=1, keepdims=True).astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    error = np.abs(y / exact - 1).max()
    assert error < 1e-5
    print(f"softmax of 7 rows of 500: largest relative error {error:.1e}, sums {y.sum(axis=1).round(6)}")

    # The same function serves other dtypes: D is read off the arrays, and each kind is compiled once.
    for kind, allowed in ((np.float32, 1e-5), (np.float16, 1e-3)):
        values, gain = x.astype(kind), rng.uniform(0.5, 2, 500).astype(kind)
        out = np.empty_like(values)
        rms_norm(values, gain, out, 1e-5)
        wide = values.astype(np.float64)
        expected = wide / np.sqrt((wide**2).mean(axis=1, keepdims=True) + 1e-5) * gain.astype(np.float64)
        error = np.abs(out - expected).max() / np.abs(expected).max()
        assert error < allowed
        print(f"rms_norm in {np.dtype(kind).name}: error {error:.1e} of the largest value")

    # A compile-time parameter is given by name.
    softmax(x, y, T=512)
    assert np.abs(y / exact - 1).max() < 1e-5
    print("softmax with T=512: the same")


if __name__ == "__main__":
    main()

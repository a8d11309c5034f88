"""What `linear` promises, worked out from a quantised tensor's own codes in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitwright.frontend.tensor import QTensor
from bitwright.vm.dtypes import Codebook, Float
from bitwright.vm.formats import Format

Reals = NDArray[np.float64]
UNIT = 2.0**-24  # the largest relative error of one f32 rounding


def random_tensor(format: Format | str, n: int, k: int, seed: int = 0) -> QTensor:
    """Every code of the element type that is a finite number, with scales of both signs where the type has them."""
    format = Format.parse(format) if isinstance(format, str) else format
    random = np.random.default_rng(seed)
    element, zero_type = format.element, format.zero_dtype
    count = len(element.values) if isinstance(element, Codebook) else 1 << element.bits
    finite = np.flatnonzero(np.isfinite(element.decode(np.arange(count).astype(np.uint8)).astype(np.float64)))
    codes = random.choice(finite, (n, k)).astype(np.uint8)
    sides = (n, format.groups(k))
    numbers = np.exp2(random.uniform(-6, 2, sides))
    if isinstance(format.scale, Float) and format.scale.signed:
        numbers *= random.choice([-1.0, 1.0], sides)
    zeros = None
    if format.zero == "int":
        zeros = random.integers(0, count, sides).astype(np.uint8)
    elif zero_type is not None:
        zeros = zero_type.encode(random.normal(size=sides) * (3.0 if format.zero == "float" else 1.0))
    second = 1.0 if format.second is None else 0.37
    return QTensor.from_codes(codes, format.scale.encode(numbers), format, zeros, second)


def size_of_terms(q: QTensor) -> Reals:
    """[N, K]: (|code| + |zero|) |scale|, or |code scale| + |zero| for offsets: what roundings are relative to."""
    k = q.shape[1]

    def spread(side: NDArray[np.float32]) -> Reals:
        return np.repeat(np.abs(side.astype(np.float64)), q.format.group_length(k), axis=1)[:, :k]

    value = np.abs(q.format.element.decode(q.codes).astype(np.float64))
    scale = spread(q.scale_values) * abs(q.second)
    if q.zero_values is None:
        return value * scale
    if q.format.zero == "min":
        return value * scale + spread(q.zero_values)
    return (value + spread(q.zero_values)) * scale


def bound(x: NDArray[np.float32], q: QTensor, bias: NDArray[np.float32] | None = None) -> Reals:
    """[M, N]: how far y may be from x @ w.T + bias when x is taken as it is.

    A term meets at most one rounding for each other term of its group (a chain of fused multiply-adds, or the sum of x
    that a zero point is multiplied with), one for each group, and fewer than a dozen for scale, zero point, step and
    bias, each of at most 2^-24 of what has been summed up.  G + K / G is at most K + 1, so K + 16 covers them.
    """
    total = np.abs(x.astype(np.float64)) @ size_of_terms(q).T
    if bias is not None:
        total = total + np.abs(bias.astype(np.float64))
    return (q.shape[1] + 16) * UNIT * total * (1 + 1e-3) + 1e-36


def rounding_bound(x: NDArray[np.float32], q: QTensor, part: int) -> Reals:
    """[M, N]: what 8-bit activations add: each x of a part is off by 1.0001 max|x| / 254 of the part."""
    weights = np.abs(q.dequantize(np.float64))
    off = np.zeros(x.shape)
    for start in range(0, x.shape[1], part):
        columns = slice(start, start + part)
        off[:, columns] = np.abs(x[:, columns]).max(axis=1, keepdims=True) * (1.0001 / 254)
    return off @ weights.T


def exact(x: NDArray[np.floating], q: QTensor, bias: NDArray[np.float32] | None = None) -> Reals:
    y: Reals = x.astype(np.float64) @ q.dequantize(np.float64).T
    return y if bias is None else y + bias


def assert_within(y: NDArray[np.floating], right: Reals, limit: Reals) -> None:
    assert y.shape == right.shape
    off = np.abs(y.astype(np.float64) - right)
    worst = np.unravel_index(np.argmax(off / limit), off.shape) if off.size else None
    assert worst is None or (off <= limit).all(), f"y{worst} = {y[worst]}, not {right[worst]} within {limit[worst]}"

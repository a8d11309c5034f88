"""Products of bytes by a GPU's warps: the lowered code, run by the simulator, against exact sums.

Integer products are exact.  Those of fp8 are exact too, and so are their sums where few terms are not 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.frontend.library.bytes_cuda import byte_storage
from bitwright.vm.dtypes import Float, dtype
from bitwright.vm.layout.storage import Packing, Tiled, default_planes

HOPPER = "cuda:sm_90a"
SUMS = """
def sums(x: X[M, K], w: W[K, N] @ L, c: i32[N, M], y: i32[N, M], z: f32[N, M],
         *, X: dtype, W: dtype, L: layout, V: dtype, BM: int = 8, BN: int = 64):
    n0, m0 = grid((N, BN), (M, BM), lanes=64)
    a = transpose(cast(load(w, [0, n0], [K, BN]), V))
    b = transpose(load(x, [m0, 0], [BM, K]))
    store(y, [n0, m0], dot(a, b, load(c, [n0, m0], [BN, BM])))
    store(z, [n0, m0], cast(dot(a, b), f32))
"""


def _storage(kind: str, to: str) -> Tiled:
    return byte_storage(dtype(kind), dtype(to), 4, 4)


def _sums(x: NDArray[np.generic], kind: str, value: str, codes: NDArray[np.uint8], planes: Tiled | None = None) -> None:
    """y = c + w^T x^T and z = w^T x^T, for x of its own type and codes of w that are multiplied as `value`."""
    (m, depth), n = x.shape, codes.shape[1]
    storage = _storage(kind, value) if planes is None else planes
    kernel = bw.compile(SUMS, target=HOPPER, X="i8" if x.dtype == np.int8 else "u8", W=kind, L=storage, V=value,
                        M=m, K=depth, N=n, BM=8 * (-(-m // 8)))  # fmt: skip
    c = np.random.default_rng(0).integers(-1 << 31, 1 << 31, (n, m)).astype(np.int32)
    y, z = np.zeros((n, m), np.int32), np.zeros((n, m), np.float32)
    bw.simulate(kernel, x, kernel.pack("w", codes), c, y, z)
    exact = dtype(kind).decode(codes).astype(np.int64).T @ x.astype(np.int64).T
    np.testing.assert_array_equal(y, (exact + c).astype(np.int32))
    np.testing.assert_array_equal(z, exact.astype(np.float32))
    assert "mma_" in kernel.source("lane")


def _codes(bits: int, depth: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(bits).integers(0, 1 << bits, (depth, columns)).astype(np.uint8)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("value", ["i8", "u8"])
def test_bytes_of_either_sign(value: str, signed: bool) -> None:
    x = np.random.default_rng(1).integers(0, 256, (8, 128)).astype(np.uint8)
    _sums(x.view(np.int8) if signed else x, value, value, _codes(8, 128, 64))


@pytest.mark.parametrize("kind", [f"{sign}{bits}" for bits in range(1, 8) for sign in "ui"])
def test_narrow_codes_as_bytes(kind: str) -> None:
    x = np.random.default_rng(1).integers(-128, 128, (5, 128)).astype(np.int8)
    codes = _codes(dtype(kind).bits, 128, 64)
    if kind.startswith("i"):
        _sums(x, kind, "i8", codes)
    else:
        _sums(x.view(np.uint8), kind, "u8", codes)


@pytest.mark.parametrize("bits", [3, 5, 7])
def test_codes_in_planes(bits: int) -> None:
    """However codes are stored, they are the same bytes; into signed bytes the sign's place stays 0."""
    x = np.random.default_rng(1).integers(-128, 128, (5, 128)).astype(np.int8)
    storage = replace(_storage(f"u{bits}", "i8"), packing=Packing(bits, 8, default_planes(bits)))
    _sums(x, f"u{bits}", "i8", _codes(bits, 128, 64), storage)


@pytest.mark.parametrize("depth", [128, 256])  # up to 128 terms, sums begin as numbers
@pytest.mark.parametrize(("kind", "code"), [("u8", 255), ("u5", 31), ("u4", 15), ("u1", 1)])
def test_the_largest_sums(kind: str, code: int, depth: int) -> None:
    x = np.full((8, depth), -128, np.int8)
    x[1::2] = 127
    _sums(x, kind, "u8", np.full((depth, 64), code, np.uint8))


def test_the_largest_sums_of_unsigned_bytes() -> None:
    x = np.full((8, 128), 255, np.uint8)
    x[1::2] = 0
    _sums(x, "u8", "u8", np.full((128, 64), 255, np.uint8))
    _sums(x, "u7", "u8", np.full((128, 64), 127, np.uint8))


def test_several_rows_of_x() -> None:
    x = np.random.default_rng(1).integers(-128, 128, (21, 128)).astype(np.int8)
    _sums(x, "u3", "u8", _codes(3, 128, 128))


@pytest.mark.parametrize(
    ("kind", "to"),
    [(k, "f8e4m3fn") for k in ("u1", "u2", "u3", "u4", "i3", "f4e2m1", "f6e2m3", "f6e3m2", "f5e3m1", "f8e4m3fn")]
    + [(k, "f8e5m2") for k in ("u3", "u4", "f6e3m2", "f6e2m3", "f8e5m2")],
)
def test_every_code_as_fp8(kind: str, to: str) -> None:
    """Products with 1 and 0 are the values, rounded to `to`; each code is at every place of a lane's words."""
    source, target = dtype(kind), dtype(to)
    assert isinstance(target, Float)
    n, depth = 64, 128
    codes = (np.arange(depth)[:, None] * 37 + np.arange(n) * 5 + np.arange(depth)[:, None] // 7) % (1 << source.bits)
    text = """
def picked(x: V[M, K], w: W[K, N] @ L, y: f32[N, M], *, W: dtype, L: layout, V: dtype):
    n0 = grid((N, 64), lanes=64)
    a = transpose(cast(load(w, [0, n0], [K, 64]), V))
    store(y, [n0, 0], dot(a, transpose(load(x, [0, 0], [M, K]))))
"""
    kernel = bw.compile(text, target=HOPPER, W=kind, L=_storage(kind, to), V=to, M=depth, K=depth, N=n)
    one = int(target.encode(np.ones(1))[0])
    x = (np.eye(depth) * one).astype(np.uint8)
    y = np.zeros((n, depth), np.float32)
    bw.simulate(kernel, x, kernel.pack("w", codes.astype(np.uint8)), y)
    values = source.decode(codes.astype(np.uint8)).astype(np.float32)
    wanted = target.decode(target.encode(values)).astype(np.float32)
    bad = np.isnan(wanted).any(axis=0) | np.isinf(wanted).any(axis=0)  # which no 0 takes out of a sum
    assert not bad.all() or source.bits == 8
    np.testing.assert_array_equal(y.T[:, ~bad], wanted[:, ~bad])
    assert np.isnan(y.T[:, bad]).any(axis=0).all()
    assert ("mma_e4m3" if to == "f8e4m3fn" else "mma_e5m2") in kernel.source("lane")


def test_a_word_of_four_codes_is_one_mask() -> None:
    """u4 and u2 need no shift: the power of two that a field lies at is put right on the sums."""
    for kind in ("u4", "u2"):
        kernel = bw.compile(SUMS, target=HOPPER, X="i8", W=kind, L=_storage(kind, "u8"), V="u8", M=8, K=128, N=64)
        text = kernel.source("lane")
        assert "lshr" not in text
        assert "shl" not in text

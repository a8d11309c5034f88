"""Accesses of several storage tiles of which the last are not there: `other` is read, nothing is written, nowhere."""

import numpy as np
import pytest

import bitwright as bw

KERNEL = """
def copy(x: W[K, N] @ L, v: f32[K, 64], y: W[K, N] @ L, *, W: dtype, L: layout):
    k0, n0 = grid((K, 32), (N, 64))
    t = load(x, [k0, n0], [32, 64], other=OTHER)
    store(v, [k0, 0], cast(t, f32))
    store(y, [k0, n0], t)
"""
LAYOUT = 'tiled("local(32, 1) * spatial(1, 16)", container=8)'


@pytest.mark.parametrize(
    ("name", "other"), [("u3", 5), ("u4", 0), ("nf4", 1.0), ("i5", -7), ("f6e3m2", 28.0), ("u8", 200)]
)
@pytest.mark.parametrize("columns", [10, 16, 33, 64])
def test_tiles_that_are_not_there(name: str, other: float, columns: int) -> None:
    kernel, kind = bw.compile(KERNEL.replace("OTHER", str(other)), W=name, L=LAYOUT), bw.dtype(name)
    codes = np.random.default_rng(columns).integers(0, 1 << kind.bits, (32, columns)).astype(np.uint8)
    stored = -(-columns // 16) * 16
    expected = np.full((32, 64), other, np.float32)
    expected[:, :stored] = kind.decode(np.uint8(0))
    expected[:, :columns] = kind.decode(codes)
    x = kernel.pack("x", codes)
    guard = np.full(1024, 0xA5, np.uint8)

    def native(*arguments: np.ndarray) -> None:
        kernel(*arguments, N=columns)

    def simulated(*arguments: np.ndarray) -> None:
        bw.simulate(kernel, *arguments, sizes={"N": columns})

    def interpreted(*arguments: np.ndarray) -> None:
        bw.interpret(kernel.program, *arguments, sizes={"N": columns})

    for run in (interpreted, simulated, native):
        room = np.concatenate([np.zeros_like(x), guard])
        v, y = np.zeros((32, 64), np.float32), room[: x.size]
        run(x, v, y)
        assert np.array_equal(v, expected), run.__name__
        assert np.array_equal(y, x), run.__name__
        assert np.array_equal(room[x.size :], guard), run.__name__

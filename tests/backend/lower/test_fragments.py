"""Codes as operands of warps' products: the dot of weights with unit vectors is each weight's value, bit for bit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import bitwright as bw
from bitwright.backend.lower.fragments import storage_of
from bitwright.vm.dtypes import Codebook, DType, codebook, dtype
from bitwright.vm.layout.packing import Packing, default_planes
from bitwright.vm.layout.relation import Digit, Layout
from bitwright.vm.layout.storage import Tiled

K, N, ROWS = 32, 32, 4
HALVES = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}

KERNEL = """
def alone(x: D[K, M], w: W[K, N] @ L, y: f32[N, M], *, W: dtype, L: layout, D: dtype, K: int, M: int, N: int):
    t = grid(1, lanes=32)
    a = transpose(cast(load(w, [0, 0], [K, N]), D), [1, 0])
    store(y, [0, 0], dot(a, load(x, [0, 0], [K, M]), zeros(f32, [N, M])))
"""


def tiled(packing: Packing) -> Tiled:
    """Tiles of 32 by 32, each lane's registers in the order in which it multiplies them."""
    make = Digit.make
    digits = (
        make(4, {"lane": 1, "d0": 2}), make(8, {"lane": 4, "d1": ROWS}), make(2, {"reg": 1, "d0": 1}),
        make(ROWS, {"reg": 2, "d1": 1}), make(2, {"reg": 2 * ROWS, "d0": 8}),
        make(K // 16, {"reg": 4 * ROWS, "d0": 16}),
    )  # fmt: skip
    return Tiled(Layout(digits), packing, 1)


def count(kind: DType) -> int:
    return len(kind.values) if isinstance(kind, Codebook) else 1 << kind.bits


def hold(name: str, to: str, packing: Packing, target: str) -> None:
    """Every code comes to every register of a lane, among neighbours that differ, with one term of a sum at a time."""
    kind, storage = OWN.get(name) or dtype(name), tiled(packing)
    kernel = bw.compile(KERNEL, target=target, W=kind, L=storage, D=to, K=K, M=K, N=N)
    lane, register = np.moveaxis(storage.tile.places(("d0", "d1"), ("lane", "reg")), -1, 0)
    unit = np.eye(K, dtype=HALVES[to])
    zero = int(np.flatnonzero(np.isfinite(kind.decode(np.arange(count(kind)).astype(np.uint8))))[0])
    for first in range(0, count(kind), 32):
        codes = ((first + lane + 11 * register) % count(kind)).astype(np.uint8)
        codes = np.where(np.isfinite(kind.decode(codes)), codes, zero).astype(np.uint8)
        got = np.full((N, K), np.nan, np.float32)
        bw.simulate(kernel, unit.view(np.uint16) if to == "bf16" else unit, kernel.pack("w", codes), got)
        wanted = kind.decode(codes).astype(HALVES[to]).astype(np.float32)
        np.testing.assert_array_equal(got.T, wanted)


OWN = {"halves": codebook([-3.75 + 0.5 * k for k in range(13)], "halves")}
NAMES = (
    *(f"u{n}" for n in range(1, 9)), *(f"i{n}" for n in range(1, 9)), "f3e1m1", "f4e2m1", "f4e3m0", "f5e2m2", "f5e3m1",
    "f6e3m2", "f6e2m3", "f7e3m3", "f8e4m3fn", "f8e5m2", "f8e3m4", "nf4", "iq4nl", "ternary", "b1", "nf3", "nf5",
    "halves",
)  # fmt: skip


@pytest.mark.parametrize("to", ["f16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_code_is_its_value(name: str, to: str) -> None:
    machine = bw.target("cuda:sm_90a")
    hold(name, to, storage_of(machine, OWN.get(name) or dtype(name), dtype(to), ROWS), "cuda:sm_90a")


@pytest.mark.parametrize("name", ["u3", "u6", "i7", "u8", "f6e3m2", "f8e4m3fn", "nf4"])
def test_storage_of_another_kind_is_read_too(name: str) -> None:
    bits = dtype(name).bits
    for packing in (
        Packing(bits, 16, default_planes(bits)),
        Packing(bits, 8, default_planes(bits)),
        Packing.dense(bits),
    ):
        for to in HALVES:
            hold(name, to, packing, "cuda:sm_80")


@pytest.mark.parametrize("target", ["cuda:sm_80", "cuda:sm_90a"])
@pytest.mark.parametrize("to", ["f16", "bf16"])
def test_not_a_number_stays_so(target: str, to: str) -> None:
    """NaN and infinity poison the whole column that they are in, and only that."""
    for name, specials in (("f8e4m3fn", (0x7F, 0xFF)), ("f8e5m2", (0x7C, 0xFC, 0x7D, 0xFF))):
        kind = dtype(name)
        packing = storage_of(bw.target(target), kind, dtype(to), ROWS)
        kernel = bw.compile(KERNEL, target=target, W=name, L=tiled(packing), D=to, K=K, M=8, N=N)
        codes = np.full((K, N), 0x38, np.uint8)
        codes[np.arange(len(specials)) * 5, np.arange(len(specials)) * 3] = specials
        got = np.zeros((N, 8), np.float32)
        ones = np.ones((K, 8), HALVES[to])
        bw.simulate(kernel, ones.view(np.uint16) if to == "bf16" else ones, kernel.pack("w", codes), got)
        wanted = kind.decode(codes).astype(np.float64).sum(axis=0)
        np.testing.assert_array_equal(got, np.repeat(wanted[:, None], 8, axis=1).astype(np.float32))


@pytest.mark.parametrize("name", ["u8", "i4", "f6e3m2"])
@pytest.mark.parametrize("columns", [8, 64])
def test_bf16_keeps_its_range(name: str, columns: int) -> None:
    """Weights as tiny numbers do not cost x its range: to 2^64, below which nothing is lost that an f32 sum would keep.

    Larger ones are infinite, and never a wrong number.
    """
    kind = dtype(name)
    storage = tiled(storage_of(bw.target("cuda:sm_90a"), kind, dtype("bf16"), ROWS))
    kernel = bw.compile(KERNEL, target="cuda:sm_80", W=name, L=storage, D="bf16", K=K, M=columns, N=N)
    luck = np.random.default_rng(5)
    codes = luck.integers(0, 1 << kind.bits, (K, N)).astype(np.uint8)
    values = kind.decode(codes).astype(np.float64)
    for power in (-60, -20, 0, 40, 63):
        x = (luck.uniform(-1, 1, (K, columns)) * 2.0**power).astype(ml_dtypes.bfloat16)
        got = np.full((N, columns), np.nan, np.float32)
        bw.simulate(kernel, x.view(np.uint16), kernel.pack("w", codes), got)
        wide = x.astype(np.float64)
        most = np.abs(values).T @ np.abs(wide)
        assert (np.abs(got - values.T @ wide) <= 1e-6 * most).all()
    x = np.full((K, columns), 2.0**65, ml_dtypes.bfloat16)
    got = np.zeros((N, columns), np.float32)
    bw.simulate(kernel, x.view(np.uint16), kernel.pack("w", np.full((K, N), 1, np.uint8)), got)
    wanted = np.float32(K * float(kind.decode(np.array([1]))[0]) * 2.0**65)
    assert ((got == wanted) | ~np.isfinite(got)).all()

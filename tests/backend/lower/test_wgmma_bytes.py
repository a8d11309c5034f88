"""Products of four warps whose factors are bytes, in whole programs: every width that bytes are, against exact sums."""

from __future__ import annotations

from typing import Literal

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.backend.cuda.sass import read_instructions
from bitwright.backend.lower.group_tile import GroupTile
from bitwright.frontend.library.bytes_cuda import byte_storage
from bitwright.vm.dtypes import dtype
from bitwright.vm.ir import Shared

HOPPER = "cuda:sm_90a"
N = 128  # columns of w: 32 for each of four warps
SUMS = """
def sums(x: X[M, K], w: W[K, 128] @ L, c: C[128, M], y: C[128, M], z: f32[128, M],
         *, X: dtype, W: dtype, L: layout, V: dtype, C: dtype, BM: int, BK: int = 128, K: int = 256):
    m0 = grid((M, BM), lanes=128)
    acc = load(c, [0, m0], [128, BM])
    total = zeros(f32, [128, BM])
    for k in range(0, K, BK, stages=2):
        a = transpose(cast(load(w, [k, 0], [BK, 128]), V))
        b = transpose(load(x, [m0, k], [BM, BK]))
        acc = dot(a, b, acc)
        total = total + cast(dot(a, b), f32)
    store(y, [0, m0], acc)
    store(z, [0, m0], total)
"""
ROWS = {64: 70, 128: 128, 8: 3, 16: 27}
FP8 = np.dtype(ml_dtypes.float8_e4m3fn)
KINDS = [
    *(("i8", f"{sign}{bits}", "i8" if sign == "i" else "u8") for bits in range(1, 9) for sign in "iu"),
    ("u8", "u3", "u8"), ("u8", "i5", "i8"),
    *(("f8e4m3fn", kind, "f8e4m3fn") for kind in ("u1", "u2", "u3", "u4", "f4e2m1", "f6e2m3", "f6e3m2", "f8e4m3fn")),
]  # fmt: skip


def _bytes_of_x(kind: str, m: int, k: int) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Codes, and what they stand for."""
    random = np.random.default_rng(m)
    if kind == "f8e4m3fn":
        x = random.integers(-4, 5, (m, k)).astype(FP8)
        return x.view(np.uint8), x.astype(np.float64)
    codes = random.integers(0, 256, (m, k)).astype(np.uint8)
    held = codes.view(np.int8) if kind == "i8" else codes
    return held, held.astype(np.float64)


def _codes_of(kind: str, k: int) -> NDArray[np.uint8]:
    """Every code, but those of fp8 that are no small integers: so all sums are exact."""
    element = dtype(kind)
    codes = np.arange(1 << element.bits).astype(np.uint8)
    if kind == "f8e4m3fn":
        values = element.decode(codes)
        codes = codes[np.isfinite(values) & (np.abs(values) <= 64) & (values * 8 == np.round(values * 8))]
    return np.random.default_rng(element.bits).choice(codes, (k, N))


@pytest.mark.parametrize(("number", "kinds"), list(enumerate(KINDS)))
def test_every_width(number: int, kinds: tuple[str, str, str]) -> None:
    """y = c + w^T x^T, and z = w^T x^T; ragged rows of x."""
    of_x, kind, value = kinds
    whole = of_x != "f8e4m3fn"
    bm = (64, 128)[number % 2] if whole else (8, 16, 64, 128)[number % 4]
    m, k = ROWS[bm], 256
    x, numbers = _bytes_of_x(of_x, m, k)
    codes, total = _codes_of(kind, k), "i32" if whole else "f32"
    storage = byte_storage(dtype(kind), dtype(value), 4, 4)
    kernel = bw.compile(SUMS, target=HOPPER, X=of_x, W=kind, L=storage, V=value, C=total, BM=bm, M=m)
    assert f"wgmma_{_name(of_x, value)}_n{bm}" in kernel.source("lane")
    assert "mma_" not in kernel.source("lane").replace("wgmma_", "")
    low, high = (-1 << 31, 1 << 31) if whole else (-100, 100)
    c = np.random.default_rng(0).integers(low, high, (N, m)).astype(np.int32 if whole else np.float32)
    y, z = np.zeros_like(c), np.zeros((N, m), np.float32)
    facts = bw.simulate(kernel, x, kernel.pack("w", codes), c, y, z)
    assert not facts.conflicts
    exact = dtype(kind).decode(codes).astype(np.float64).T @ numbers.T
    np.testing.assert_array_equal(y, (exact + c).astype(np.int64).astype(np.int32) if whole else exact + c)
    np.testing.assert_array_equal(z, exact)


def _name(of_x: str, value: str) -> str:
    if of_x == "f8e4m3fn":
        return "e4m3"
    return {("i8", "i8"): "s8", ("u8", "u8"): "u8", ("u8", "i8"): "us8", ("i8", "u8"): "su8"}[value, of_x]


@pytest.mark.parametrize("depth", [32, 64, 96])
def test_short_steps(depth: int) -> None:
    """Rows of a tile are spans of 32 or 64 bytes."""
    m, k = 70, 2 * depth
    x, numbers = _bytes_of_x("i8", m, k)
    codes = _codes_of("u4", k)
    storage = byte_storage(dtype("u4"), dtype("u8"), depth // 32, 4)
    kernel = bw.compile(SUMS, target=HOPPER, X="i8", W="u4", L=storage, V="u8", C="i32", BM=64, M=m, BK=depth, K=k)
    assert "wgmma_us8_n64" in kernel.source("lane")
    c, z = np.zeros((N, m), np.int32), np.zeros((N, m), np.float32)
    y = np.zeros_like(c)
    bw.simulate(kernel, x, kernel.pack("w", codes), c, y, z)
    exact = codes.astype(np.int64).T @ numbers.T.astype(np.int64)
    np.testing.assert_array_equal(y, exact)
    np.testing.assert_array_equal(z, exact)


@pytest.mark.parametrize(
    ("target", "of_x", "bm"),
    [
        (HOPPER, "i8", 32),  # a warp's own products of integers are native
        ("cuda:sm_89", "i8", 64),
        ("cuda:sm_89", "f8e4m3fn", 64),
        ("cuda:sm_120a", "f8e4m3fn", 8),
    ],
)
def test_where_warps_multiply_alone(target: str, of_x: str, bm: int) -> None:
    value = "u8" if of_x == "i8" else of_x
    storage = byte_storage(dtype("u4"), dtype(value), 4, 4)
    total = "i32" if of_x == "i8" else "f32"
    kernel = bw.compile(SUMS, target=target, X=of_x, W="u4", L=storage, V=value, C=total, BM=bm, M=8)
    assert "wgmma" not in kernel.source("lane")
    assert "mma_" in kernel.source("lane")


@pytest.mark.parametrize(("rows", "terms"), [(64, 128), (16, 64), (8, 96), (8, 256)])
def test_every_byte_has_its_own_place(rows: int, terms: int) -> None:
    """And eight neighbouring rows have their pieces of 16 bytes in all banks."""
    tile = GroupTile(Shared("x", dtype("i8"), (rows, terms)))
    places = tile.places(np.moveaxis(np.indices((rows, terms)), 0, -1))
    assert sorted(places.reshape(-1)) == list(range(tile.size))
    for first in range(0, rows, 8):
        for piece in range(0, terms, 16):
            banks = places[first : first + 8, piece] % 128 // 16
            assert len(set(banks.tolist())) == 8


@pytest.mark.parametrize(
    ("element", "activations", "m", "instruction", "most"),
    [
        ("i4", "int8", 64, "IGMMA.64x64x32.S8.S8", 3.05),
        ("u4", "f8e4m3fn", 64, "QGMMA.64x64x32.F32.E4M3.E4M3", 2.55),
        ("f8e4m3fn", "f8e4m3fn", 1, "QGMMA.64x8x32.F32.E4M3.E4M3", 1.1),
    ],
)
def test_the_librarys_kernel(
    element: str, activations: Literal["int8", "f8e4m3fn"], m: int, instruction: str, most: float
) -> None:
    """Nothing is spilled, products go on while the next weights are decoded, and few instructions are needed."""
    pytest.importorskip("cuda.bindings.nvrtc")
    kernel = bw.linear_kernel(
        element, 128, m, activations, HOPPER, zero_point=False, n=8192, k=8192 if m == 1 else 1024
    )
    report = kernel.report()
    assert report["spills"] == 0
    assert report["issue_slots_per_weight"] <= most
    found = [
        i
        for i in read_instructions(kernel.source("sass"))
        if "GMMA" in i.name or i.opcode.startswith("WARPGROUP.DEPBAR")
    ]
    products = [i for i in found if "GMMA" in i.name]
    assert {i.opcode for i in products} == {instruction}
    waits = [i.operands[1] for i in found if i.name == "WARPGROUP"]
    steps = len(products) // 8  # two for each 32 terms
    assert waits == ["0x1", "0x0"] * steps

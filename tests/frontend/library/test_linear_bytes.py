"""Quantised linears of bytes for GPUs: the code lowered for them, run by the simulator, against float64."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import bitwright as bw
from bitwright.backend.cuda.architectures import ARCHITECTURES
from bitwright.frontend.library.bytes_cuda import Bytes, byte_storage, prepare_bytes
from bitwright.frontend.library.plan_bytes import (
    ByteSchedule,
    bytes_kernel,
    plan_bytes,
    quantize_kernel,
    schedules_bytes,
    shared_bytes,
)
from bitwright.frontend.library.plan_cuda import width
from bitwright.frontend.library.prepared import LinearError, Prepared

HOPPER = "cuda:sm_90a"
CODES: dict[Bytes, np.dtype[np.generic]] = {"int8": np.dtype(np.int8), "f8e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn)}


def quantised(p: Prepared, x: NDArray[np.generic], kind: Bytes, rows: int = 8) -> tuple[NDArray[np.generic], ...]:
    """Bytes of x, their steps and their sums, with room for a multiple of `rows`; x is as near as is promised."""
    name, m, parts = x.dtype.name, len(x), p.shape.depth // p.shape.part
    source = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}[name]
    q = np.full((m, p.shape.depth), 99, np.int8 if kind == "int8" else np.uint8)
    sides = np.full((2, parts, -(-m // rows) * rows), np.nan, np.float32)
    bw.simulate(quantize_kernel(p, source, kind, bw.target(HOPPER)), _plain(x), q, *sides)
    assert np.isnan(sides[:, :, m:]).all()
    step, total = sides[:, :, :m].transpose(0, 2, 1)
    held = q.view(CODES[kind]).astype(np.float64).reshape(m, parts, -1)
    full = np.zeros((m, p.shape.depth))
    full[:, : p.shape.k] = x.astype(np.float64)
    full = full.reshape(m, parts, -1)
    peak = np.abs(full).max(axis=2, keepdims=True)
    off = np.abs(full - held * step[:, :, None])
    if kind == "int8":
        assert (off <= 1.0001 * peak / 254 + 1e-36).all()
    else:  # half a unit of three bits of a fraction, or of the least exponent
        assert (off <= 1.0001 * np.maximum(np.abs(full) / 16, peak / 448 / 1024) + 1e-36).all()
    np.testing.assert_array_equal(total, held.sum(axis=2))
    return q, *sides


def _plain(x: NDArray[np.generic]) -> NDArray[np.generic]:
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x


def run(
    element: str, m: int, n: int = 41, k: int = 259, group: int | None = 128, zero: bool = False, kind: Bytes = "int8",
    schedule: ByteSchedule | None = None, x_type: str = "float16",
) -> bw.Kernel:  # fmt: skip
    """Simulates one linear with random weights: with the bytes of x, it is off by what sums in f32 are."""
    random = np.random.default_rng([m, n, k])
    q = bw.quantize(random.standard_normal((n, k)).astype(np.float32), element, group=group, zero_point=zero)
    p, where = prepare_bytes(q, kind), bw.target(HOPPER)
    s = schedule or plan_bytes(p, m, where)
    x = random.standard_normal((m, k)).astype(np.dtype(x_type))
    bias = random.standard_normal(n).astype(np.float32)
    bytes_, step, total = quantised(p, x, kind, s.rows)
    y = np.full((m, n), np.nan, np.float32)
    part = np.full((s.splits, m, n) if s.splits > 1 else (0, 0, n), np.nan, np.float32)
    state = np.zeros((2, p.shape.columns // width(p), -(-m // s.rows)), np.int32)
    kernel = bytes_kernel(p, s, kind, bw.dtype("f32"), True, where)
    facts = bw.simulate(kernel, bytes_, step, total, p.weights, p.scales, p.zeros, bias, part, state, y)
    assert not facts.conflicts or p.shape.part < 128, "lanes meet in a bank"
    assert not state.any(), "the next call finds the state as this one did"
    steps = step[:, :m].T.repeat(p.shape.part, axis=1)
    taken = (bytes_.view(CODES[kind]).astype(np.float64) * steps)[:, :k]
    wanted = taken @ q.dequantize().astype(np.float64).T + bias
    size = np.abs(taken) @ _size(q, p.shift).T + np.abs(bias)
    bound = (k + 16) * 2.0**-24
    assert (np.abs(y - wanted) <= bound * size).all(), np.max(np.abs(y - wanted) / size) / bound
    return kernel


def _size(q: bw.QTensor, shift: int) -> NDArray[np.float64]:
    """[N, K]: (|code| + |zero| + shift) |scale|."""
    k = q.shape[1]
    group = q.format.group or k
    codes = np.abs(q.format.element.decode(q.codes).astype(np.float64)) + shift

    def spread(sides: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.abs(np.asarray(sides, np.float64)).repeat(group, axis=1)[:, :k]

    zeros = 0.0 if q.zero_values is None else spread(q.zero_values)
    return (codes + zeros) * spread(q.scale_values) * q.second


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("many", [False, True])
def test_every_width(bits: int, many: bool) -> None:
    unsigned = (bits % 2 == 0) == many
    m = (16 if bits % 4 < 2 else 33) if many else (1 if bits % 4 < 2 else 5)
    run(f"{'u' if unsigned else 'i'}{bits}", m, zero=unsigned)


@pytest.mark.parametrize("group", [32, 96, None])
def test_groups(group: int | None) -> None:
    run("u4", 2, group=group, zero=True, x_type="bfloat16")


@pytest.mark.parametrize("element", ["i4", "i5", "u3", "f4e2m1", "f6e2m3", "f8e4m3fn"])
def test_fp8(element: str) -> None:
    run(element, 3, kind="f8e4m3fn", zero=element == "u3")


@pytest.mark.parametrize(
    ("element", "m", "kind", "zero", "n", "name"),
    [
        ("i4", 70, "int8", False, 130, "s8_n64"),
        ("u3", 66, "int8", True, 128, "us8_n64"),
        ("i8", 64, "int8", True, 128, "s8_n64"),
        ("u4", 3, "f8e4m3fn", False, 130, "e4m3_n8"),
        ("i4", 9, "f8e4m3fn", True, 128, "e4m3_n16"),
        ("f6e3m2", 37, "f8e4m3fn", False, 130, "e4m3_n64"),
    ],
)
def test_four_warps_together(element: str, m: int, kind: Bytes, zero: bool, n: int, name: str) -> None:
    kernel = run(element, m, n=n, kind=kind, zero=zero)
    assert f"wgmma_{name}_new" in kernel.source("lane")


def test_floats_whose_values_are_bytes() -> None:
    run("f4e2m1", 2, x_type="float32")


def test_blocks_that_share_a_sum() -> None:
    run("u5", 4, k=1024, zero=True, schedule=ByteSchedule(8, 4, 2))


@pytest.mark.parametrize("kind", ["int8", "f8e4m3fn"])
def test_twice_as_many_columns(kind: Bytes) -> None:
    """Of three tiles of 128 columns: the second block has one of them, and others share its sums."""
    kernel = run("u4", 70, n=300, k=512, zero=True, kind=kind, schedule=ByteSchedule(64, 2, 2, 2))
    assert "wgmma" in kernel.source("lane")


def test_rows_of_zeros_and_of_small_numbers() -> None:
    q = bw.quantize(np.ones((8, 130), np.float32), "i4")
    x = np.zeros((3, 130), np.float32)
    x[1], x[2] = 1e-37, np.linspace(-1e-30, 1e-30, 130)
    bytes_, _, total = quantised(prepare_bytes(q, "int8"), x, "int8")
    assert not bytes_[:2].any()
    assert not total[:, :2].any()
    assert np.abs(bytes_[2]).max() == 127


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_schedules_fit_every_gpu(name: str) -> None:
    where = bw.target(f"cuda:{name}")
    q = bw.quantize(np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32), "u8")
    p = prepare_bytes(q, "int8").planned_for(8192)
    for m in (1, 16, 33, 1000):
        found = schedules_bytes(p, m, where)
        assert found[0] == plan_bytes(p, m, where)
        assert all(shared_bytes(p, s) <= ARCHITECTURES[name].shared_bytes for s in found)
    compiled = bytes_kernel(p, plan_bytes(p, 32, where), "int8", bw.dtype("f16"), False, where).compiled
    assert compiled.shared_bytes <= shared_bytes(p, plan_bytes(p, 32, where))


@pytest.mark.parametrize(
    ("element", "kind", "group", "what"),
    [
        ("nf4", "int8", 64, "nf4 weights have no exact form as bytes"),
        ("u5", "f8e4m3fn", 64, "u5 weights are not exact in f8e4m3fn"),
        ("u4", "int8", 48, "groups of 48 weights do not divide into 32s"),
    ],
)
def test_what_no_bytes_are_is_refused(element: str, kind: Bytes, group: int, what: str) -> None:
    q = bw.quantize(np.ones((8, 192), np.float32), element, group=group)
    with pytest.raises(LinearError, match=what):
        prepare_bytes(q, kind)


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("bits", range(1, 9))
def test_a_lane_reads_sixteen_bytes(bits: int, steps: int) -> None:
    storage = byte_storage(bw.dtype(f"u{bits}"), bw.dtype("u8"), steps, 16 // steps)
    assert storage.vector == 4
    assert storage.tile_bytes * 8 == storage.regs * storage.lanes * bits, "nothing is padded"

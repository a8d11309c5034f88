"""Every kernel of the library: the interpreter, the simulator (of a GPU too) and native code agree with NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.target import target
from bitwright.frontend.build import ParameterValue
from bitwright.frontend.kernel import Kernel, KernelSource, simulate
from bitwright.frontend.library.plan import library
from bitwright.vm.dtypes import dtype
from bitwright.vm.interpret import interpret
from bitwright.vm.layout.storage import Packing, Tiled, default_planes
from bitwright.vm.layout.views import column_local, spatial

ml_dtypes = pytest.importorskip("ml_dtypes")

TARGETS = ("cpu", "cpu:x86-64-v3", "cpu:baseline")
FLOATS = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
UNITS = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}

Array = NDArray[np.generic]


def results(
    name: str, file: str, inputs: Sequence[Array | float], outputs: Sequence[Array], **parameters: ParameterValue
) -> list[list[Array]]:
    """What each way to run the kernel leaves in the outputs, which come after the arrays among the inputs."""
    source = KernelSource(library(file), file, name)
    found = []
    for way in ("interpret", "simulate", "simulate a GPU", *TARGETS):
        where = way if way in TARGETS else "cuda:sm_90a" if way == "simulate a GPU" else "cpu"
        kernel = Kernel(source, target(where), parameters)
        arrays = [x for x in inputs if isinstance(x, np.ndarray)]
        numbers = [x for x in inputs if not isinstance(x, np.ndarray)]
        left = [np.zeros_like(y) for y in outputs]
        call = [plain(x) for x in (*arrays, *left)] + numbers
        if way == "interpret":
            interpret(kernel.program, *call)
        elif way.startswith("simulate"):
            simulate(kernel, *call)
        else:
            kernel(*call)
        found.append(left)
    return found


def plain(x: Array) -> Array:
    """bf16 as its codes: the same memory."""
    return x.view(np.uint16) if x.dtype == FLOATS["bf16"] else x


def normal(kind: str, *shape: int) -> Array:
    return cast(Array, np.random.default_rng(len(shape)).normal(size=shape).astype(FLOATS[kind]))


def near(found: list[list[Array]], right: NDArray[np.float64], kind: str, sums: int = 8) -> None:
    """Rounded once to the dtype, after f32 work with `sums` roundings of the result's size."""
    limit = np.abs(right) * (1.01 * UNITS[kind] + sums * UNITS["f32"]) + 1e-7 * sums * UNITS["f32"]
    for (y,) in found:
        off = np.abs(y.astype(np.float64) - right)
        assert (off <= limit).all(), f"{off.max()} off, at {np.argmax(off - limit)}"


def equal(found: list[list[Array]], *right: Array) -> None:
    for ys in found:
        for y, expected in zip(ys, right, strict=True):
            assert y.dtype == expected.dtype
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("n", [1, 100, 128])
def test_softmax(n: int) -> None:
    x = normal("f32", 5, n) * 5
    exps = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True).astype(np.float64))
    right = exps / exps.sum(axis=1, keepdims=True)
    # the exponent is off by 2^-24 of itself, the exponential by two units, the sum by n
    near(results("softmax", "norms.bw", [x], [np.empty_like(x)], T=128), right, "f32", sums=n + 40)


@pytest.mark.parametrize("kind", list(FLOATS))
@pytest.mark.parametrize("n", [100, 128])
def test_rms_norm(kind: str, n: int) -> None:
    x, weight, y = normal(kind, 5, n), normal(kind, n), normal(kind, 5, n)
    wide = x.astype(np.float64)
    right = wide / np.sqrt((wide**2).mean(axis=1, keepdims=True) + 1e-5) * weight.astype(np.float64)
    near(results("rms_norm", "norms.bw", [x, weight, 1e-5], [y], D=dtype(kind), T=128), right, kind, sums=n + 8)


@pytest.mark.parametrize("kind", list(FLOATS))
@pytest.mark.parametrize("shape", [(48, 32), (19, 33)])
def test_transpose(kind: str, shape: tuple[int, int]) -> None:
    x = normal(kind, *shape)
    y = np.empty(shape[::-1], FLOATS[kind])
    equal(results("transpose", "movement.bw", [x], [y], D=dtype(kind), T=16), np.ascontiguousarray(x.T))


@pytest.mark.parametrize("kind", list(FLOATS))
@pytest.mark.parametrize("n", [150, 1])
def test_add(kind: str, n: int) -> None:
    x, y = normal(kind, n), normal(kind, n, 1)[:, 0].copy()
    right = (x.astype(np.float64) + y.astype(np.float64)).astype(np.float32).astype(FLOATS[kind])
    equal(results("add", "elementwise.bw", [x, y], [np.empty_like(x)], D=dtype(kind), T=64), right)


@pytest.mark.parametrize("kind", list(FLOATS))
def test_silu_mul(kind: str) -> None:
    gate, up = normal(kind, 75), normal(kind, 75, 1)[:, 0].copy()
    wide = gate.astype(np.float64)
    right = wide / (1 + np.exp(-wide)) * up.astype(np.float64)
    near(
        results("silu_mul", "elementwise.bw", [gate, up], [np.empty_like(gate)], D=dtype(kind), T=32),
        right,
        kind,
        sums=16,
    )


@pytest.mark.parametrize("source", list(FLOATS))
@pytest.mark.parametrize("to", list(FLOATS))
def test_convert(source: str, to: str) -> None:
    x = normal(source, 150)
    right = x.astype(np.float32).astype(FLOATS[to])
    y = np.empty(150, FLOATS[to])
    equal(results("convert", "elementwise.bw", [x], [y], D=dtype(source), E=dtype(to), T=64), right)


@pytest.mark.parametrize("bits", range(1, 9))
def test_pack_and_unpack(bits: int) -> None:
    storage = Tiled(column_local(32, 1) * spatial(1, 16), Packing(bits, 8, default_planes(bits)))
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (64, 48)).astype(np.uint8)
    packed = storage.pack(codes)
    kind: dict[str, ParameterValue] = {"W": dtype(f"u{bits}"), "L": storage, "K": 64, "N": 48, "BN": 16}
    equal(results("pack", "movement.bw", [codes], [np.empty_like(packed)], **kind), packed)
    equal(results("unpack", "movement.bw", [packed], [np.empty_like(codes)], **kind), codes)


@pytest.mark.parametrize(("group", "piece"), [(128, 128), (256, 128), (32, 32), (7, 1)])
def test_group_sums(group: int, piece: int) -> None:
    x, total = normal("f32", 3, 2 * group), np.empty((3, 2), np.float32)
    parts = x.reshape(3, 2, group).astype(np.float64)
    for (y,) in results("group_sums", "activations.bw", [x], [total], G=group, T=piece):
        assert (np.abs(y - parts.sum(axis=2)) <= group * UNITS["f32"] * np.abs(parts).sum(axis=2)).all()


@pytest.mark.parametrize(("near", "out"), [("bf16", "bf16"), ("bf16", "f32"), ("f16", "f32")])
def test_round_rows(near: str, out: str) -> None:
    x = normal("f32", 3, 64)
    x[2, 32] = 1e5  # beyond f16
    with np.errstate(over="ignore"):
        rounded = x.astype(FLOATS[near]).astype(FLOATS[out])
    parts = rounded.astype(np.float64).reshape(3, 2, 32)
    sizes = np.abs(parts).sum(axis=2)
    outputs: list[Array] = [np.empty_like(rounded), np.empty((3, 2), np.float32)]
    kind: dict[str, ParameterValue] = {"R": dtype(near), "Q": dtype(out), "G": 32, "T": 32}
    for q, total in results("round_rows", "activations.bw", [x], outputs, **kind):
        np.testing.assert_array_equal(q, rounded)
        there = np.isfinite(sizes)
        assert (np.abs(total[there] - parts.sum(axis=2)[there]) <= 32 * UNITS["f32"] * sizes[there]).all()
        np.testing.assert_array_equal(np.isinf(total), ~there)


@pytest.mark.parametrize("part", [128, 100, 7])
def test_quantize_rows(part: int) -> None:
    x = normal("f32", 3, 2 * part)
    x[0, :part] = 0
    x[1, :part] = 1e-38
    groups = x.reshape(3, 2, part).astype(np.float64)
    peak = np.abs(groups).max(axis=2, keepdims=True)
    outputs: list[Array] = [np.empty(x.shape, np.int8), np.empty((3, 2), np.float32), np.empty((3, 2), np.int32)]
    for q, step, total in results("quantize_rows", "activations.bw", [x], outputs, A=part):
        codes = q.reshape(3, 2, part).astype(np.float64)
        np.testing.assert_allclose(step, peak[..., 0] / 127, rtol=2.0**-22, atol=1e-44)
        np.testing.assert_array_equal(total, codes.sum(axis=2))
        assert (codes[:2, 0] == 0).all()
        assert (np.abs(codes).max(axis=2).ravel()[[1, 3, 4, 5]] == 127).all()
        assert (np.abs(codes * step[..., None] - groups) <= np.maximum(peak * 1.0001 / 254, 1e-36)).all()


def test_quantize_rows_rounds_to_nearest_even() -> None:
    """Groups whose step is 1: q is x rounded, ties and all."""
    x = np.arange(-127, 129, 0.5, dtype=np.float32).reshape(2, 256)[:, :252].reshape(8, 63)
    x = np.pad(x, ((0, 0), (0, 1)), constant_values=127)
    x = np.clip(x, -127, 127)
    outputs: list[Array] = [np.empty(x.shape, np.int8), np.empty((8, 1), np.float32), np.empty((8, 1), np.int32)]
    right = np.rint(x.astype(np.float64))
    for q, step, total in results("quantize_rows", "activations.bw", [x], outputs, A=64):
        np.testing.assert_array_equal(q, right)
        np.testing.assert_allclose(step.astype(np.float64), 1, rtol=2.0**-22)
        np.testing.assert_array_equal(total[:, 0], right.sum(axis=1))


@pytest.mark.parametrize("far", [np.inf, -np.inf, np.nan, -np.nan])
def test_quantize_rows_that_are_not_finite(far: float) -> None:
    """Nothing is known of such a group but that it is not finite: its step says so, and no other group is touched."""
    x = normal("f32", 2, 64)
    alone = x.copy()
    x[0, 40] = far
    outputs: list[Array] = [np.empty(x.shape, np.int8), np.empty((2, 2), np.float32), np.empty((2, 2), np.int32)]
    plain = results("quantize_rows", "activations.bw", [alone], outputs, A=32)
    for (q, step, total), (q0, step0, total0) in zip(
        results("quantize_rows", "activations.bw", [x], outputs, A=32), plain, strict=True
    ):
        assert not np.isfinite(step[0, 1])
        assert (q[0, 32:] == 0).all()
        assert total[0, 1] == 0
        np.testing.assert_array_equal(q[1], q0[1])
        np.testing.assert_array_equal(q[0, :32], q0[0, :32])
        np.testing.assert_array_equal(step.ravel()[[0, 2, 3]], step0.ravel()[[0, 2, 3]])
        np.testing.assert_array_equal(total.ravel()[[0, 2, 3]], total0.ravel()[[0, 2, 3]])


@pytest.mark.parametrize(
    ("name", "most", "parameters"),
    [
        ("quantize_rows", 84, {"A": 128}),
        ("group_sums", 48, {"G": 128, "T": 128}),
        ("round_rows", 138, {"G": 128, "T": 128, "R": dtype("bf16"), "Q": dtype("bf16")}),
        ("round_rows", 56, {"G": 128, "T": 128, "R": dtype("f16"), "Q": dtype("f32")}),
    ],
)
def test_instructions_for_128_activations(name: str, most: int, parameters: dict[str, ParameterValue]) -> None:
    """With 512-bit vectors.  To quantise takes at least 70: to load, |x|, maximum, product, conversion, store and sum
    for each of 8 vectors, and four steps across lanes for the maximum and the sum.
    """
    source = KernelSource(library("activations.bw"), "activations.bw", name)
    figures = Kernel(source, target("cpu:znver4"), parameters).report()
    assert 0 < figures["main.instructions"] <= most
    assert figures["main.spills"] == figures["main.reloads"] == 0

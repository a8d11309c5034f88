"""Samples of casts, views and of how every dtype is stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitwright.tests.samples import Sample, array, of, zeros
from bitwright.vm.dtypes import NAMED, Float, Int, dtype

STORED = [name for name, d in NAMED.items() if d.bits <= 8 and name != "bool"]
WIDE = ["f16", "bf16", "f32", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]


def samples() -> Iterator[Sample]:
    """Types of 8 bits are both stored and wide, so some casts come up twice; they are given once."""
    found = {s.name: s for part in (_decodes, _encodes, _between, _rounding, _views) for s in part()}
    yield from found.values()


def _cast(name: str, source: str, target: str, options: str = "", near: float = 0.0) -> Sample:
    """1000 elements in blocks of 128, so that the last block has an edge."""
    text = f"""
def f(x: {source}[N], y: {target}[N]):
    assume(N % 8 == 0)
    n0 = grid((N, 128))
    store(y, [n0], cast(load(x, [n0], [128]), {target}{options}))
"""
    return Sample(name, text, lambda rng: [array(rng, source, 1000), zeros(target, 1000)], {"N": 1000}, near)


def _decodes() -> Iterator[Sample]:
    for name in STORED:
        d = dtype(name)
        targets = (
            ["f32", "f16", "bf16"] if not isinstance(d, Int) else ["f32", "f16", "i8" if d.signed else "u8", "i32"]
        )
        for target in targets:
            yield _cast(f"cast {name} to {target}", name, target)


def _encodes() -> Iterator[Sample]:
    for name in STORED:
        for source in ("f32", "f16", "bf16"):
            yield _cast(f"cast {source} to {name}", source, name)
        yield _cast(f"cast f32 to {name}, ieee", "f32", name, ', overflow="ieee"')
        if isinstance(dtype(name), Int):
            yield _cast(f"cast i32 to {name}", "i32", name)
            yield _cast(f"cast i16 to {name}, wrapping", "i16", name, ', overflow="ieee"')


def _between() -> Iterator[Sample]:
    for source in WIDE:
        for target in WIDE:
            if source != target:
                yield _cast(f"cast {source} to {target}", source, target)
    for source, target in [
        ("u3", "f4e2m1"),
        ("f6e3m2", "f6e2m3"),
        ("nf4", "u4"),
        ("i5", "i3"),
        ("u7", "u2"),
        ("u1", "i1"),
    ]:
        yield _cast(f"cast {source} to {target}", source, target)
    yield _cast("cast bool to f32", "bool", "f32")
    yield _cast("cast bool to i8", "bool", "i8")


def _rounding() -> Iterator[Sample]:
    targets = [
        "f16",
        "bf16",
        "f8e4m3fn",
        "f8e5m2",
        "f6e3m2",
        "f4e2m1",
        "f3e1m1",
        "e8m0",
        "ue4m3",
        "i4",
        "u3",
        "i8",
        "nf4",
    ]
    for target in targets:
        for rounding in ("rna", "rtz", "rup", "rdn"):
            options = f', rounding="{rounding}"'
            yield _cast(f"cast f32 to {target}, {rounding}", "f32", target, options)
        if isinstance(dtype(target), Float):
            yield _cast(f"cast i32 to {target}, rdn", "i32", target, ', rounding="rdn"')
        if target != "nf4":  # a codebook has no exact share of a gap
            yield _stochastic(target)


def _stochastic(target: str) -> Sample:
    text = f"""
def f(x: f32[N], y: {target}[N], seed: int):
    assume(N % 8 == 0)
    n0 = grid((N, 64))
    v = load(x, [n0], [64])
    store(y, [n0], cast(v, {target}, rounding="stochastic", random=random(seed, n0, [64])))
"""
    return Sample(
        f"cast f32 to {target}, stochastic",
        text,
        lambda rng: [array(rng, "f32", 1000), zeros(target, 1000), 12345678901],
    )


def _views() -> Iterator[Sample]:
    for source, target in [
        ("u32", "f32"),
        ("f32", "i32"),
        ("u16", "bf16"),
        ("i8", "u8"),
        ("u8", "f8e4m3fn"),
        ("u8", "u4"),
        ("u8", "u1"),
        ("u8", "u3"),
        ("u16", "u6"),
        ("u32", "u8"),
        ("i16", "i8"),
        ("u4", "u8"),
        ("u3", "u8"),
        ("u6", "f6e3m2"),
        ("u4", "nf4"),
        ("u8", "u32"),
        ("i64", "u32"),
        ("u32", "u64"),
        ("u2", "u6"),
        ("f4e2m1", "u8"),
        ("u5", "u8"),
    ]:
        old, new = dtype(source).bits, dtype(target).bits
        text = f"""
def f(x: {source}[R, 96], y: {target}[R, {96 * old // new}]):
    r0 = grid((R, 4))
    store(y, [r0, 0], view(load(x, [r0, 0], [4, 96]), {target}))
"""
        yield Sample(
            f"view {source} as {target}",
            text,
            lambda rng, s=source, t=target, n=96 * old // new: [array(rng, s, 8, 96), zeros(t, 8, n)],  # type: ignore[misc]  # a closure over the loop
            {"R": 8},
        )
    for target, count in (("u16", 96), ("u32", 48), ("i8", 192)):
        text = f"""
def f(x: f16[R, 96], y: {target}[R, {count}]):
    r0 = grid((R, 4))
    store(y, [r0, 0], view(load(x, [r0, 0], [4, 96]), {target}))
"""
        # Numbers only: which NaN a float tile holds is not specified.
        yield Sample(
            f"view f16 as {target}",
            text,
            lambda rng, t=target, n=count: [of(rng.standard_normal((7, 96)), "f16"), zeros(t, 7, n)],  # type: ignore[misc]  # a closure over the loop
        )
    text = """
def f(x: u3[N, 64], y: f32[N, 64]):
    i = grid(N)
    flat = reshape(load(x, [i, 0], [1, 64]), [64])
    store(y, [i, 0], reshape(cast(view(view(flat, u8), u3), f32), [1, 64]))
"""
    yield Sample("view there and back", text, lambda rng: [array(rng, "u3", 5, 64), np.zeros((5, 64), np.float32)])
    yield Sample(
        "view of one number",
        "def f(y: u32[1], x: f32):\n    store(y, [0], reshape(view(x, u32), [1]))\n",
        lambda rng: [np.zeros(1, np.uint32), -1.25],
    )
    text = "def f(x: f32[N], y: u8[N]):\n    store(y, [0], cast(cast(load(x, [0], [9]), u4), u8))\n"
    yield Sample("cast twice", text, lambda rng: [of(rng.random(9) * 20, "f32"), zeros("u8", 9)])

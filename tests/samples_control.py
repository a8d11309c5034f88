"""Samples of control flow, locks, and of what programs report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitwright.tests.samples import Sample, array, zeros


def samples() -> Iterator[Sample]:
    yield from _loops()
    yield from _branches()
    yield from _items()
    yield from _locks()
    yield from _reports()


def _loops() -> Iterator[Sample]:
    for unroll, stages in [(1, 1), (4, 1), (3, 2), (1, 3)]:
        text = f"""
def f(x: i32[M, N], y: i32[M], n: int):
    m0 = grid((M, 4))
    total = zeros(i32, [4])
    last = full(i32, [4], -1)
    for n0 in range(0, n, 5, unroll={unroll}, stages={stages}):
        v = load(x, [m0, n0], [4, 5])
        last, total = total, total * 3 + sum(v, dim=1)
    store(y, [m0], total - last)
"""
        for n in (0, 3, 17, 40):
            yield Sample(
                f"carried tiles, unroll {unroll}, stages {stages}, {n}",
                text,
                lambda g, n=n: [array(g, "i32", 10, 40), zeros("i32", 10), n],  # type: ignore[misc]  # a closure over the loop
            )
    text = """
def f(y: i64[N], low: int, high: int):
    i = grid(N)
    total = 0
    a, b = 1, i
    for k in range(low, high, 3):
        for j in range(k, k + 2):
            a, b = b, a + b - j
        total = total + a * k // 7 + b % 5
    store(y, [i], full(i64, [1], total))
"""
    for low, high in [(0, 10), (-9, 8), (5, 5), (3, -3)]:
        yield Sample(f"carried scalars {low} {high}", text, lambda g, a=low, b=high: [zeros("i64", 6), a, b])  # type: ignore[misc]  # a closure over the loop
    text = """
def f(x: i32[N], y: i32[N]):
    i = grid(N)
    v = load(x, [i], [1])
    steps = 0
    while item(v) > 1:
        if item(v) % 2 == 0:
            v = v // 2
        else:
            v = v * 3 + 1
        steps = steps + 1
    store(y, [i], full(i32, [1], steps))
"""
    yield Sample("while with branches", text, lambda g: [g.integers(-3, 100, 20).astype(np.int32), zeros("i32", 20)])
    text = """
def f(y: f32[N], n: int):
    i = grid(N)
    a = full(f32, [4], 1.0)
    k = n + i
    while k > 0:
        j = 0
        while j < k:
            a = a * 0.5 + 1.0
            j = j + 2
        k = k - 3
    store(y, [i], sum(a, dim=0, keepdim=True))
"""
    yield Sample("while in while", text, lambda g: [zeros("f32", 5), 4], {}, 1e-6)


def _branches() -> Iterator[Sample]:
    text = """
def f(x: f32[N], y: f32[N], n: int):
    i = grid((N, 16))
    v = load(x, [i], [16])
    k = 0
    if i < n:
        v = v + 1
        if i % 32 == 0:
            k = 5
        else:
            v = v * 2
            k = i
    elif n > 100:
        v = abs(v)
    else:
        k = -1
    store(y, [i], v + k)
"""
    for n in (-1, 40, 101, 1000):
        yield Sample(f"nested branches {n}", text, lambda g, n=n: [array(g, "f32", 150), zeros("f32", 150), n])  # type: ignore[misc]  # a closure over the loop
    text = """
def f(y: i32[N], a: int, b: int):
    i = grid(N)
    low = min(a, b + i) if a < b or i > 3 else max(a, b) - i
    flag = not (a == b) and low % 2 == 0
    r = (low << 2) ^ (a & b | 5) if flag else low // 3 - low % 3
    store(y, [i], full(i32, [1], r))
"""
    for a, b in [(0, 0), (3, -4), (-5, 17), (1 << 20, 3)]:
        yield Sample(f"scalar expressions {a} {b}", text, lambda g, a=a, b=b: [zeros("i32", 9), a, b])  # type: ignore[misc]  # a closure over the loop


def _items() -> Iterator[Sample]:
    for kind in ("i32", "u8", "i64", "i8", "u16", "u32"):
        text = f"""
def f(x: {kind}[N], y: i64[N]):
    i = grid(N)
    k = item(load(x, [i], [1]))
    store(y, [i], full(i64, [1], k * 2 - k % 10))
"""
        yield Sample(
            f"item of {kind}",
            text,
            lambda g, k=kind: [g.integers(0, 100, 12).astype(array(g, k, 1).dtype), zeros("i64", 12)],  # type: ignore[misc]  # a closure over the loop
        )
    text = """
def f(x: i32[N], where_to: i32[N], y: i32[N]):
    i = grid(N)
    at = item(load(where_to, [i], [1]))
    if item(any(load(x, [i], [1]) > 0, dim=0)):
        store(y, [at], load(x, [i], [1]))
"""
    yield Sample(
        "scattered stores", text, lambda g: [array(g, "i32", 30), g.permutation(30).astype(np.int32), zeros("i32", 30)]
    )


def _locks() -> Iterator[Sample]:
    for kind in ("i32", "u16", "i64"):
        text = f"""
def f(x: {kind}[M, 20], y: {kind}[2, 20], locks: i32[2]):
    i, j = grid(M, 1)
    lock(locks, [i % 2])
    store(y, [i % 2, 0], load(y, [i % 2, 0], [1, 20]) + load(x, [i, 0], [1, 20]))
    release(locks, [i % 2])
"""
        yield Sample(
            f"sums under locks of {kind}",
            text,
            lambda g, k=kind: [array(g, k, 11, 20), zeros(k, 2, 20), zeros("i32", 2)],  # type: ignore[misc]  # a closure over the loop
        )


def _reports() -> Iterator[Sample]:
    for kind in ("f32", "i32", "u8"):
        text = f"""
def f(x: {kind}[N], y: {kind}[N]):
    i = grid((N, 8))
    v = load(x, [i], [8])
    print("v", v)
    assert v == v, "every number is itself"
    assert i < N, "blocks begin inside"
    store(y, [i], v + v)
"""
        yield Sample(
            f"print and assert of {kind}",
            text,
            lambda g, k=kind: [np.arange(20).astype(array(g, k, 1).dtype), zeros(k, 20)],  # type: ignore[misc]  # a closure over the loop
        )

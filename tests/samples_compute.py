"""Samples of arithmetic: element by element, reductions, products, random numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitwright.tests.samples import Sample, array, of, zeros
from bitwright.vm.dtypes import dtype

FLOATS = ["f32", "f16", "bf16"]
INTS = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]
# What a function of the target may differ by, relative to the value: some units in the last place.
NEAR = {"f32": 1e-6, "f16": 2e-3, "bf16": 2e-2}
APPROXIMATE = ["exp", "exp2", "log", "log2", "sin", "cos", "tanh", "sigmoid", "rsqrt"]
EXACT = ["sqrt", "floor", "ceil", "round"]
OPERATORS = ["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>", "<", "<=", "==", "!=", ">", ">="]


def samples() -> Iterator[Sample]:
    yield from _unary()
    yield from _binary()
    yield from _choices()
    yield from _reductions()
    yield from _products()
    yield from _random()


def _one(name: str, kind: str, body: str, out: str, near: float = 0.0, scale: float = 0.0) -> Sample:
    """300 elements of one dtype, of all sorts."""
    text = f"""
def f(x: {kind}[N], y: {out}[N]):
    n0 = grid((N, 64))
    x = load(x, [n0], [64])
    store(y, [n0], {body})
"""
    text = text.replace("x = load(x", "v = load(x").replace("(x)", "(v)").replace("-x", "-v").replace("~x", "~v")
    return Sample(name, text, lambda rng: [array(rng, kind, 300), zeros(out, 300)], {}, near, scale)


def _unary() -> Iterator[Sample]:
    for kind in FLOATS:
        for function in APPROXIMATE:
            scale = 1.0 if function in ("sin", "cos", "log", "log2") else 0.0
            yield _one(f"{function} of {kind}", kind, f"{function}(x)", kind, NEAR[kind], scale)
        for function in [*EXACT, "abs"]:
            yield _one(f"{function} of {kind}", kind, f"{function}(x)", kind)
        yield _one(f"negative {kind}", kind, "-x", kind)
    for kind in INTS:
        yield _one(f"abs of {kind}", kind, "abs(x)", kind)
        yield _one(f"negative {kind}", kind, "-x", kind)
        yield _one(f"not {kind}", kind, "~x", kind)
    yield _one("not bool", "bool", "~x", "bool")


def _two(name: str, kind: str, body: str, out: str) -> Sample:
    text = f"""
def f(x: {kind}[N], y: {kind}[N], z: {out}[N]):
    n0 = grid((N, 64))
    a = load(x, [n0], [64])
    b = load(y, [n0], [64])
    store(z, [n0], {body})
"""
    return Sample(name, text, lambda rng: [array(rng, kind, 500), array(rng, kind, 500), zeros(out, 500)])


def _binary() -> Iterator[Sample]:
    for op in OPERATORS:
        comparison = op[0] in "<>=!" and op not in ("<<", ">>")
        kinds = INTS if op in ("//", "%", "&", "|", "^", "<<", ">>") else INTS + FLOATS
        for kind in kinds:
            yield _two(f"{kind} {op} {kind}", kind, f"a {op} b", "bool" if comparison else kind)
    for op in ("&", "|", "^", "==", "!="):
        yield _two(f"bool {op} bool", "bool", f"a {op} b", "bool")
    for kind in FLOATS:
        yield _two(f"{kind} / {kind}", kind, "a / b", kind)
    for kind in INTS + FLOATS:
        yield _two(f"min of {kind}", kind, "min(a, b)", kind)
        yield _two(f"max of {kind}", kind, "max(a, b)", kind)
        yield _two(f"{kind} with numbers", kind, "(a + 3) * b - 1", kind)
    for kind in INTS:
        for by in (-7, -1, 1, 2, 3, 8, 10, 127):
            if by > 0 or dtype(kind).min < 0:
                yield _two(f"{kind} by {by}", kind, f"a // {by} + b % {by}", kind)
        yield _two(f"{kind} shifted by numbers", kind, "(a << 3) ^ (b >> 2) ^ (a >> 7)", kind)


def _choices() -> Iterator[Sample]:
    for kind in INTS + FLOATS:
        yield _two(f"where of {kind}", kind, "where(a < b, a, where(a == b, b + 1, b))", kind)
    yield _two("where of bool", "bool", "where(a, b, a ^ b)", "bool")
    yield _two("fma", "f32", "fma(a, b, a)", "f32")
    yield _two("fma of squares", "f32", "fma(a, a, fma(b, b, -a))", "f32")
    text = """
def f(x: f32[M, N], row: f32[N], column: f32[M], y: f32[M, N]):
    m0, n0 = grid((M, 3), (N, 20))
    a = load(x, [m0, n0], [3, 20])
    r = load(row, [n0], [20])
    c = reshape(load(column, [m0], [3]), [3, 1])
    store(y, [m0, n0], where(a < r, a * r, c) + c * r + 0.5)
"""
    yield Sample(
        "rows and columns",
        text,
        lambda rng: [array(rng, "f32", 7, 33), array(rng, "f32", 33), array(rng, "f32", 7), zeros("f32", 7, 33)],
    )
    yield Sample(
        "a fused multiply-add of rows and columns",
        text.replace("where(a < r, a * r, c) + c * r + 0.5", "fma(a, r, c) + fma(r, c, a)"),
        lambda rng: [array(rng, "f32", 7, 33), array(rng, "f32", 33), array(rng, "f32", 7), zeros("f32", 7, 33)],
    )


def _reduction(kind: str, function: str, shape: tuple[int, int], dim: int, keep: bool, near: float) -> Sample:
    rows, columns = shape
    out = "bool" if function in ("any", "all") else kind
    kept = (1, columns) if dim == 0 else (rows, 1)
    tile = f"{function}(load(x, [i * {rows}, 0], [{rows}, {columns}]), dim={dim}, keepdim={keep})"
    tile = tile if keep else f"reshape({tile}, [{kept[0]}, {kept[1]}])"
    text = f"""
def f(x: {kind}[M, {columns}], y: {out}[P, {kept[1]}]):
    i = grid(3)
    store(y, [i * {kept[0]}, 0], {tile})
"""

    def make(rng: np.random.Generator) -> list[np.ndarray]:  # type: ignore[type-arg]  # of any element type
        x = array(rng, kind, 3 * rows, columns) if not near else of(rng.standard_normal((3 * rows, columns)), kind)
        return [x, zeros(out, 3 * kept[0], kept[1])]

    return Sample(f"{function} of {kind}{list(shape)} dim {dim} keep {keep}", text, make, {}, near, 8.0)


def _reductions() -> Iterator[Sample]:
    shapes = [((5, 7), 0), ((5, 7), 1), ((1, 64), 1), ((16, 32), 0), ((16, 32), 1), ((48, 3), 0), ((3, 100), 1)]
    for n, (shape, dim) in enumerate(shapes):
        for kind in INTS + FLOATS:
            functions = ["max", "min"] + (["sum"] if dtype(kind).bits >= 16 else [])
            for function in functions:
                near = NEAR[kind] * 4 if function == "sum" and kind in FLOATS else 0.0
                yield _reduction(kind, function, shape, dim, n % 2 == 0, near)
        yield _reduction("bool", "any", shape, dim, n % 2 == 1, 0.0)
        yield _reduction("bool", "all", shape, dim, n % 2 == 1, 0.0)


def _product(kind: str, m: int, n: int, k: int, bm: int, bn: int, bk: int) -> Sample:
    out = "i32" if kind in ("i8", "u8") else "f32"
    text = f"""
def f(a: {kind}[M, K], b: {kind}[K, N], c: {out}[M, N]):
    m0, n0 = grid((M, {bm}), (N, {bn}))
    acc = zeros({out}, [{bm}, {bn}])
    for k0 in range(0, K, {bk}):
        acc = dot(load(a, [m0, k0], [{bm}, {bk}]), load(b, [k0, n0], [{bk}, {bn}]), acc)
    store(c, [m0, n0], acc)
"""

    def make(rng: np.random.Generator) -> list[np.ndarray]:  # type: ignore[type-arg]  # of any element type
        if out == "i32":
            return [array(rng, kind, m, k), array(rng, kind, k, n), zeros(out, m, n)]
        a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        return [of(a, kind), of(b, kind), zeros(out, m, n)]

    near = 0.0 if out == "i32" else 1e-5
    return Sample(f"dot of {kind} {m}x{n}x{k} by {bm}x{bn}x{bk}", text, make, {}, near, 8.0)


def _products() -> Iterator[Sample]:
    for kind in ("f32", "f16", "bf16", "i8", "u8"):
        yield _product(kind, 4, 32, 64, 4, 32, 16)
        yield _product(kind, 5, 37, 50, 2, 16, 8)
        yield _product(kind, 1, 48, 33, 1, 16, 4)
        yield _product(kind, 7, 9, 11, 3, 5, 7)
    text = """
def f(a: i8[M, K], b: u8[K, N], c: i32[M, N]):
    m0, n0 = grid((M, 4), (N, 16))
    acc = zeros(i32, [4, 16])
    for k0 in range(0, K, 8):
        acc = dot(load(a, [m0, k0], [4, 8]), load(b, [k0, n0], [8, 16]), acc)
    store(c, [m0, n0], acc)
"""
    yield Sample(
        "dot of i8 and u8", text, lambda g: [array(g, "i8", 9, 40), array(g, "u8", 40, 30), zeros("i32", 9, 30)]
    )
    text = text.replace("a: i8", "a: u8").replace("b: u8", "b: i8")
    yield Sample(
        "dot of u8 and i8", text, lambda g: [array(g, "u8", 9, 40), array(g, "i8", 40, 30), zeros("i32", 9, 30)]
    )


def _random() -> Iterator[Sample]:
    for name, shape in [("one", "[64]"), ("odd", "[37]"), ("rows", "[3, 5]")]:
        sizes = [int(n) for n in shape.strip("[]").split(",")]
        zero = f"[{', '.join(['i * ' + str(sizes[0])] + ['0'] * (len(sizes) - 1))}]"
        text = f"""
def f(y: u32[M{"".join(f", {n}" for n in sizes[1:])}], seed: int, first: int):
    i = grid(3)
    store(y, {zero}, random(seed, first + i * 1000, {shape}))
"""
        for seed, first in [(0, 0), (-1, 1 << 40), (0x0123456789ABCDEF, -5)]:
            yield Sample(
                f"random {name} {seed} {first}",
                text,
                lambda rng, s=sizes, a=seed, b=first: [zeros("u32", 3 * s[0], *s[1:]), a, b],  # type: ignore[misc]  # a closure over the loop
            )

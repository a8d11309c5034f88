"""Samples of memory: edges, dense streams, tiles, shared tiles, copies, and tiles seen in other ways."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitwright.tests.samples import Sample, array, buffer, random_codes, zeros
from bitwright.vm.dtypes import dtype


def samples() -> Iterator[Sample]:
    yield from _edges()
    yield from _streams()
    yield from _tiles()
    yield from _shared()
    yield from _copies()
    yield from _prefetched()
    yield from _made()
    yield from _seen()


def _edges() -> Iterator[Sample]:
    for kind in (
        "f32",
        "f16",
        "bf16",
        "i8",
        "u8",
        "i16",
        "i32",
        "u64",
        "i64",
        "f8e4m3fn",
        "nf4",
        "bool",
        "hif8",
        "e8m0",
    ):
        other = "True" if kind == "bool" else "-1.0" if kind in ("f32", "f16", "bf16", "nf4") else "1"
        narrow = dtype(kind).bits < 8 and kind != "bool"
        columns = 24 if narrow else 21
        assume = "    assume(N % 8 == 0)\n" if narrow else ""
        other = "1.0" if kind in ("f8e4m3fn", "hif8", "e8m0") else other
        text = f"""
def f(x: {kind}[M, N], y: {kind}[M, N], z: {kind}[4, 40]):
{assume}    m0, n0 = grid((M, 4), (N, 16))
    store(y, [m0, n0], load(x, [m0, n0], [4, 16]))
    if m0 == 0:
        if n0 == 0:
            store(z, [0, 0], load(x, [M - 3, 8], [4, 40], other={other}))
"""
        yield Sample(
            f"edges of {kind}",
            text,
            lambda rng, k=kind, n=columns: [array(rng, k, 10, n), zeros(k, 10, n), zeros(k, 4, 40)],  # type: ignore[misc]  # a closure over the loop
            {"M": 10, "N": columns},
        )
    for rank in (1, 2, 3, 4):
        shape, tile = (3, 5, 4, 6)[-rank:], (2, 3, 4, 5)[-rank:]
        names = ["A", "B", "C", "D"][:rank]
        starts = [f"{n.lower()}0" for n in names]
        grid = ", ".join(f"({n}, {t})" for n, t in list(zip(names, tile, strict=True))[:3])
        last = "    for d0 in range(0, D, 5):\n    " if rank == 4 else ""
        text = f"""
def f(x: f32[{", ".join(names)}], y: f32[{", ".join(names)}]):
    {", ".join(starts[:3])} = grid({grid})
{last}    store(y, [{", ".join(starts)}], load(x, [{", ".join(starts)}], {list(tile)}) + 1)
"""
        yield Sample(
            f"rank {rank}",
            text,
            lambda rng, s=shape: [array(rng, "f32", *s), zeros("f32", *s)],  # type: ignore[misc]  # a closure over the loop
        )


def _streams() -> Iterator[Sample]:
    """Sub-byte elements that begin anywhere in a byte, and whole bytes."""
    for kind in (
        "u1",
        "u2",
        "u3",
        "u4",
        "u5",
        "u6",
        "u7",
        "i1",
        "i3",
        "i5",
        "i7",
        "f3e1m1",
        "f5e2m2",
        "f6e2m3",
        "f7e3m3",
    ):
        text = f"""
def f(x: {kind}[M, N], y: f32[M, N], at: int):
    m0, n0 = grid((M, 2), (N, 11))
    store(y, [m0, n0], cast(load(x, [m0, n0], [2, 11]), f32))
"""
        yield Sample(
            f"{kind} from any bit",
            text,
            lambda rng, k=kind: [array(rng, k, 5, 29), zeros("f32", 5, 29), 0],  # type: ignore[misc]  # a closure over the loop
        )
        text = f"""
def f(x: {kind}[N], y: {kind}[N]):
    n0 = grid((N, 32))
    store(y, [n0], load(x, [n0], [32]))
"""
        yield Sample(
            f"{kind} with an end within a byte",
            text.replace("    n0", "    assume(N % 8 == 0)\n    n0", 1),
            lambda rng, k=kind: [array(rng, k, 104), zeros(k, 104)],  # type: ignore[misc]  # a closure over the loop
            {"N": 104},
        )
        text = f"""
def f(x: {kind}[N], y: f32[M], first: int):
    store(y, [0], cast(load(x, [first], [40]), f32))
"""
        yield Sample(
            f"{kind} from a start that is not known",
            text,
            lambda rng, k=kind: [array(rng, k, 77), zeros("f32", 40), 13],  # type: ignore[misc]  # a closure over the loop
            {"N": 77},
        )


TILES = [
    ("u3", 8, "[2, 1]", 1),
    ("u4", 8, "[4]", 1),
    ("u5", 16, "[4, 1]", 2),
    ("u6", 32, "[4, 2]", 1),
    ("u7", 8, "[4, 2, 1]", 1),
    ("u1", 8, "[1]", 4),
    ("i2", 16, "[2]", 1),
    ("f6e3m2", 8, "[4, 2]", 1),
    ("nf4", 16, "[4]", 2),
    ("u8", 8, "[8]", 1),
    ("f16", 16, "[16]", 1),
    ("i5", 32, "[]", 1),
    ("f4e2m1", 8, "[4]", 1),
    ("f32", 32, "[32]", 2),
    ("u3", 32, "[]", 1),
]


def _tiles() -> Iterator[Sample]:
    for kind, container, planes, vector in TILES:
        for tile, rows, columns in (("local(32, 1) * spatial(1, 16)", 32, 16), ("spatial(4, 4) * local(2, 4)", 8, 16)):
            planes_text = "" if planes == "[]" else f", planes={planes}"
            container_text = "" if planes == "[]" else f", container={container}"
            at = f'tiled("{tile}"{container_text}{planes_text}, vector={vector})'
            text = f"""
def f(x: {kind}[M, N] @ L, y: {kind}[M, N] @ L, z: f32[M, N], *, L: layout = {at}):
    m0, n0 = grid((M, {rows * 2}), (N, {columns}))
    v = load(x, [m0, n0], [{rows * 2}, {columns}])
    store(y, [m0, n0], v)
    store(z, [m0, n0], cast(v, f32))
"""
            shape = (rows * 4, columns * 2 + 3)

            def make(rng: np.random.Generator, k: str = kind, text: str = text, shape: tuple[int, int] = shape) -> list:  # type: ignore[type-arg]  # of any element type
                storage = Sample("", text, lambda rng: []).program.arrays[0].storage
                assert storage is not None
                codes = random_codes(rng, dtype(k), shape)
                return [storage.pack(codes), np.zeros(storage.nbytes(shape), np.uint8), zeros("f32", *shape)]

            yield Sample(
                f"tiles of {kind} {container} {planes} {vector} {tile}", text, make, {"M": shape[0], "N": shape[1]}
            )


def _shared() -> Iterator[Sample]:
    for kind in ("f32", "f16", "u8", "i64", "u4", "bool", "bf16", "u3", "i16"):
        text = f"""
def f(x: {kind}[M, 32], y: {kind}[M, 32]):
    m0 = grid((M, 4))
    s = shared({kind}, [4, 40])
    store(s, [0, 8], load(x, [m0, 0], [4, 32]))
    barrier()
    for i in range(0, 4):
        store(y, [m0 + i, 0], load(s, [3 - i, 8], [1, 32]))
"""
        yield Sample(
            f"through a shared tile of {kind}",
            text,
            lambda rng, k=kind: [array(rng, k, 8, 32), zeros(k, 8, 32)],  # type: ignore[misc]  # a closure over the loop
            {"M": 8},
        )
    text = """
def f(x: f32[M, N], y: f32[N, M]):
    m0, n0 = grid((M, 8), (N, 16))
    s = shared(f32, [8, 16])
    store(s, [0, 0], load(x, [m0, n0], [8, 16]))
    barrier()
    store(y, [n0, m0], transpose(load(s, [0, 0], [8, 16]), order=[1, 0]))
"""
    yield Sample("transpose through a shared tile", text, lambda g: [array(g, "f32", 19, 37), zeros("f32", 37, 19)])
    text = """
def f(x: i32[64], y: i32[64]):
    s = shared(i32, [64])
    store(s, [0], load(x, [0], [64]))
    barrier()
    for step in range(0, 3):
        v = load(s, [0], [64]) + load(s, [32], [64], other=7)
        barrier()
        store(s, [0], v)
        barrier()
    store(y, [0], load(s, [0], [64]))
"""
    yield Sample("rounds of a shared tile", text, lambda g: [array(g, "i32", 64), zeros("i32", 64)])


def _copies() -> Iterator[Sample]:
    for kind in ("f32", "f16", "u8", "u4", "i64"):
        text = f"""
def f(x: {kind}[M, 32], y: {kind}[M, 32]):
    s = shared({kind}, [2, 2, 32])
    flat = shared({kind}, [4, 32])
    copy_async(x, [0, 0], flat, [0, 0], [2, 32])
    commit()
    for m0 in range(0, M, 2):
        if m0 + 2 < M:
            copy_async(x, [m0 + 2, 0], flat, [(m0 + 2) % 4, 0], [2, 32])
        commit()
        wait(1)
        barrier()
        store(y, [m0, 0], load(flat, [m0 % 4, 0], [2, 32]))
        barrier()
"""
        text = text.replace(f"    s = shared({kind}, [2, 2, 32])\n", "")
        yield Sample(
            f"copies of {kind}",
            text,
            lambda rng, k=kind: [array(rng, k, 7, 32), zeros(k, 7, 32)],  # type: ignore[misc]  # a closure over the loop
            {"M": 7},
        )


def _prefetched() -> Iterator[Sample]:
    """Tiles that are read later, and past the end of the array; the last of an array that is written, too."""
    for kind in ("f32", "u8", "u3"):
        assume = "    assume(N % 8 == 0)\n" if kind == "u3" else ""
        text = f"""
def f(x: {kind}[M, N], y: {kind}[M, N]):
{assume}    m0 = grid((M, 2))
    for n in range(0, N, 16, stages=2):
        prefetch(x, [m0 + 2, n + 3], [2, 40])
        store(y, [m0, n], load(x, [m0, n], [2, 16]))
        prefetch(y, [m0, n], [2, 16])
"""
        yield Sample(
            f"prefetch of rows of {kind}",
            text,
            lambda rng, k=kind: [array(rng, k, 5, 72), zeros(k, 5, 72)],  # type: ignore[misc]  # a closure over the loop
            {"M": 5, "N": 72},
        )
    text = """
def f(x: u4[M, N] @ L, y: u8[M, N], *, L: layout = tiled("local(32, 1) * spatial(1, 16)", container=8, planes=[4])):
    n0 = grid((N, 16))
    for m in range(0, M, 32):
        if m // 32 % 2 == 0:
            prefetch(x, [m, n0 + 16], [64, 16])
        store(y, [m, n0], cast(load(x, [m, n0], [32, 16]), u8))
"""

    def tiles(rng: np.random.Generator) -> list:  # type: ignore[type-arg]  # of any element type
        storage = Sample("", text, lambda rng: []).program.arrays[0].storage
        assert storage is not None
        return [storage.pack(random_codes(rng, dtype("u4"), (96, 40))), zeros("u8", 96, 40)]

    yield Sample("prefetch of tiles", text, tiles, {"M": 96, "N": 40})


def _made() -> Iterator[Sample]:
    values = [
        ("f32", "-0.1"),
        ("f16", "1e-5"),
        ("bf16", "3e38"),
        ("f32", "inf"),
        ("f32", "nan"),
        ("i8", "-128"),
        ("u8", "255"),
        ("i64", "-9223372036854775807"),
        ("u64", "1 << 40"),
        ("i16", "-300"),
        ("f8e4m3fn", "0.3"),
        ("bool", "True"),
    ]
    for kind, value in values:
        text = f"""
def f(y: {kind}[M, N]):
    m0, n0 = grid((M, 3), (N, 10))
    store(y, [m0, n0], full({kind}, [3, 10], {value}))
"""
        yield Sample(f"full of {kind} {value}", text, lambda rng, k=kind: [zeros(k, 5, 13)])  # type: ignore[misc]  # a closure over the loop
    for kind in ("i16", "u16", "i32", "u32", "i64", "u64"):
        for dim in (0, 1, 2):
            text = f"""
def f(y: {kind}[3, 5, 7], k: int):
    store(y, [0, 0, 0], iota({kind}, [3, 5, 7], {dim}) * 3 + k)
"""
            yield Sample(
                f"iota of {kind} along {dim}",
                text,
                lambda rng, k=kind: [zeros(k, 3, 5, 7), -70000],  # type: ignore[misc]  # a closure over the loop
            )
    text = """
def f(x: i32[N], y: i32[N], z: f32[N], k: int):
    n0 = grid((N, 16))
    store(y, [n0], where(load(x, [n0], [16]) < k, ones(i32, [16]), zeros(i32, [16])) + arange(16) * (k // 3))
    store(z, [n0], full(f32, [16], 2) * k)
"""
    yield Sample("scalars as tiles", text, lambda g: [array(g, "i32", 40), zeros("i32", 40), zeros("f32", 40), -12345])


def _seen() -> Iterator[Sample]:
    text = """
def f(x: f32[M, 24], y: f32[P, 6]):
    i = grid(2)
    v = load(x, [i * 3, 0], [3, 24])
    store(y, [i * 12, 0], reshape(v, [12, 6]) + reshape(reshape(v, [72]), [12, 6]))
"""
    yield Sample("reshape", text, lambda g: [array(g, "f32", 6, 24), zeros("f32", 24, 6)])
    for order, shape in [([1, 0, 2], (3, 2, 8)), ([2, 0, 1], (8, 2, 3)), ([2, 1, 0], (8, 3, 2))]:
        text = f"""
def f(x: f16[2, 3, 8], y: f16[{shape[0]}, {shape[1]}, {shape[2]}]):
    store(y, [0, 0, 0], transpose(load(x, [0, 0, 0], [2, 3, 8]), order={order}))
"""
        yield Sample(f"transpose {order}", text, lambda g, s=shape: [array(g, "f16", 2, 3, 8), zeros("f16", *s)])  # type: ignore[misc]  # a closure over the loop
    for narrow, wide in [("[1, 16]", "[4, 16]"), ("[4, 1]", "[4, 16]"), ("[1, 1]", "[4, 16]")]:
        text = f"""
def f(x: i32[4, 16], y: i32[4, 16]):
    store(y, [0, 0], expand(load(x, [0, 0], {narrow}), {wide}) * 2 + expand(load(x, [0, 0], {narrow}), {wide}))
"""
        yield Sample(f"expand {narrow}", text, lambda g: [array(g, "i32", 4, 16), zeros("i32", 4, 16)])
    layouts = ["spatial(4, 4) * local(2, 4)", "local(8, 1) * spatial(1, 16)", "spatial(16, 1) * local(1, 8)"]
    for kind in ("f32", "u8", "i64", "f16"):
        for first, second in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2)]:
            a, b = layouts[first], layouts[second]
            shape = [(8, 16), (8, 16), (16, 8)]
            if shape[first] != shape[second]:
                a, b = a.replace("local(8, 1)", "local(16, 1)"), b.replace("local(8, 1)", "local(16, 1)")
                a, b = (t.replace("local(2, 4)", "local(4, 4)").replace("local(1, 8)", "local(1, 16)") for t in (a, b))
            m = 8 if shape[first] == shape[second] else 16
            text = f"""
def f(x: {kind}[{m}, 16], y: {kind}[{m}, 16]):
    v = load(x, [0, 0], [{m}, 16], layout="{a}")
    store(y, [0, 0], convert(v + 1, "{b}"))
"""
            yield Sample(
                f"convert {kind} from {a} to {b}",
                text,
                lambda g, k=kind, m=m: [array(g, k, m, 16), zeros(k, m, 16)],  # type: ignore[misc]  # a closure over the loop
            )
    text = """
def f(x: u4[N], y: u8[N]):
    assume(N % 8 == 0)
    n0 = grid((N, 64))
    store(y, [n0], convert(cast(load(x, [n0], [64]), u8), "local(4) * spatial(16)"))
"""
    codes = np.arange(96, dtype=np.uint8) % 16
    yield Sample("convert decoded fields", text, lambda g: [buffer(codes, "u4"), zeros("u8", 96)])

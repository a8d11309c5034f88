"""Random kernels that move tiles: shapes, starts, edges, element types and layouts of all sorts."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from hypothesis import strategies as st

from bitwright.tests.backend.lower.three_ways import Case
from bitwright.tests.samples import array, zeros
from bitwright.vm.dtypes import dtype

WIDE = ("f32", "u8", "i8", "f16", "i16", "bf16", "i64", "bool", "f8e4m3fn")
NARROW = ("u1", "u2", "u3", "u4", "u5", "u6", "u7", "i3", "f6e3m2")


@st.composite
def layouts(draw: st.DrawFn, shape: tuple[int, ...], most: int = 64) -> tuple[str, int]:
    """A layout of a tile as text, and its lanes: every factor of every dimension in registers or over lanes."""
    factors = [(d, f) for d, n in enumerate(shape) for f in _factors(n)]
    factors = draw(st.permutations(factors))
    terms, lanes = [], 1
    for dim, factor in factors:
        spread = lanes * factor <= most and draw(st.booleans())
        lanes *= factor if spread else 1
        extents = ", ".join(str(factor if d == dim else 1) for d in range(len(shape)))
        terms.append(f"{'spatial' if spread else 'local'}({extents})")
    copies = draw(st.sampled_from([1, 1, 1, 2, 3]))
    if lanes * copies <= most and copies > 1:
        terms.insert(draw(st.integers(0, len(terms))), f"replicate({copies})")
        lanes *= copies
    ones = ", ".join("1" for _ in shape)
    return " * ".join(terms) or f"local({ones})", lanes


def _factors(n: int) -> list[int]:
    found, p = [], 2
    while n > 1:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found


@dataclass(frozen=True)
class Dimension:
    """One dimension of a move: its symbol or constant, its size in y, its tile, and how the kernel walks along it."""

    name: str
    size: int
    source: int
    tile: int
    walk: str

    @property
    def constant(self) -> bool:
        return self.name.isdigit()

    @property
    def index(self) -> str:
        return "pqr"[["A", "B", "C"].index(self.name)] if not self.constant else "0"


EXPRESSIONS = (
    "{i} + {k}", "{i} - {k}", "{i} * {k} + {j}", "{n} - {k} - {i}", "{i} // {k} * {k}", "{i} ^ {k}", "{i} & {j}",
    "{i} | {k}", "min({i}, {k})", "max({i}, {n} - {k})", "{i} % {k} + {j}", "{n} // {k} + {i}", "{j} - {i}",
    "({i} + {k}) // {k} - 1",
    "{i} * ({i} < {k})", "({j} <= {i}) * {k}", "{k}", "{n} - 1 - {i}",
)  # fmt: skip


@st.composite
def starts(draw: st.DrawFn, names: list[str], size: str, tile: int, limit: str) -> str:
    """A start that lies inside `limit` for any values."""
    i, j, n = (draw(st.sampled_from([*names, size])) for _ in range(3))
    k = draw(st.sampled_from([1, 2, 3, 4, 8, tile]))
    inner = draw(st.sampled_from(EXPRESSIONS)).format(i=i, j=j, n=n, k=k)
    wrap = draw(st.sampled_from(["({e}) % {n}", "max(min({e}, {n} - 1), 0)", "max(min({e}, {n} - {t}), 0)"]))
    return wrap.format(e=inner, n=limit, t=tile)


@st.composite
def moves(draw: st.DrawFn, kinds: tuple[str, ...] = WIDE) -> Case:
    """y[...] = a tile of x[...], walked by the grid and by loops; x is larger than y here and there."""
    rank = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(kinds))
    tiles = [draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16, 20] if rank < 3 else [1, 2, 3, 4])) for _ in range(rank)]
    sizes = [draw(st.integers(1, 20 if rank < 3 else 6)) for _ in range(rank)]
    divisible = {}
    for d, (n, t) in enumerate(zip(sizes, tiles, strict=True)):
        if draw(st.booleans()):
            sizes[d] = -(-n // t) * t
            divisible["ABC"[d]] = draw(st.sampled_from([1, t]))
    sources = [n + draw(st.sampled_from([0, 0, 0, 1, 4, 7])) for n in sizes]
    walks = [draw(st.sampled_from(["grid", "grid", "loop", "short"])) for _ in range(rank)]
    lines, indent, names, at = _walk(draw, sizes, tiles, walks)
    given = ["XYZ"[d] if s != n else "ABC"[d] for d, (s, n) in enumerate(zip(sources, sizes, strict=True))]
    straight = [draw(st.booleans()) for _ in range(rank)]
    where = [
        a if s else draw(starts(names, "ABC"[d], tiles[d], given[d]))
        for d, (a, s) in enumerate(zip(at, straight, strict=True))
    ]
    layout, lanes = draw(layouts(tuple(tiles)))
    chosen = draw(st.sampled_from(["", f', layout="{layout}"']))
    if "grid(" in lines[0] and draw(st.booleans()):
        lines[0] = (
            lines[0][:-1]
            + f", lanes={lanes * draw(st.sampled_from([1, 2])) if chosen else draw(st.sampled_from([4, 16, 32, 6]))})"
        )
    out = kind if kind not in NARROW else "f32"
    beyond = "True" if kind == "bool" else "1.0" if kind[0] in "fb" else "-1" if kind[0] == "i" else "1"
    beyond = draw(st.sampled_from(["", f", other={beyond}"]))
    value = f"load(x, [{', '.join(where)}], {tiles}{beyond}{chosen})"
    value = value if out == kind else f"cast({value}, {out})"
    body = [*lines, f"{indent}store(y, [{', '.join(at)}], {value})"]
    text = f"def f(x: {kind}[{', '.join(given)}], y: {out}[{', '.join('ABC'[:rank])}]):\n" + "\n".join(body) + "\n"
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    arguments = (array(rng, kind, *sources), zeros(out, *sizes))
    known = dict(zip(given, sources, strict=True)) | dict(zip("ABC", sizes, strict=False))
    explicit = {n: v for n, v in known.items() if kind in NARROW and n in given}
    return Case(text, arguments, explicit, divisible)


def _walk(
    draw: st.DrawFn, sizes: list[int], tiles: list[int], walks: list[str]
) -> tuple[list[str], str, list[str], list[str]]:
    """The lines that walk over y, their indentation at the end, the names that then have values, and the start in y."""
    lines, names, at = [], [], []
    indent = "    "
    axes = [d for d, w in enumerate(walks) if w == "grid"]
    if axes:
        names += ["pqr"[d] for d in axes]
        along = ", ".join(f"({'ABC'[d]}, {tiles[d]})" for d in axes)
        lines.append(f"    {', '.join(names)} = grid({along})")
    for d, walk in enumerate(walks):
        if walk != "grid":
            step = tiles[d] if walk == "loop" else max(1, tiles[d] - 1)
            options = draw(st.sampled_from(["", ", unroll=2", ", unroll=3", ", stages=3", ", unroll=2, stages=2"]))
            lines.append(f"{indent}for {'pqr'[d]} in range(0, {'ABC'[d]}, {step}{options}):")
            names.append("pqr"[d])
            indent += "    "
        at.append("pqr"[d])
    return lines, indent, names, at


@st.composite
def streams(draw: st.DrawFn) -> Case:
    """Dense sub-byte rows copied as they are; every row and tile begins at a whole byte, known to the compiler."""
    kind = draw(st.sampled_from(NARROW))
    bits = dtype(kind).bits
    unit = 8 // int(np.gcd(bits, 8))
    rows, columns = draw(st.integers(1, 6)), unit * draw(st.integers(1, 9))
    tall, wide = draw(st.integers(1, 4)), unit * draw(st.sampled_from([1, 2, 3, 4, 8]))
    layout, _ = draw(layouts((tall, wide)))
    chosen = draw(st.sampled_from(["", f', layout="{layout}"']))
    text = f"""
def f(x: {kind}[A, B], y: {kind}[A, B]):
    p, q = grid((A, {tall}), (B, {wide}))
    store(y, [p, q], load(x, [p, q], [{tall}, {wide}]{chosen}))
"""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    arguments = (array(rng, kind, rows, columns), zeros(kind, rows, columns))
    return Case(text, arguments, {"A": rows, "B": columns}, {"B": unit})


@st.composite
def scatters(draw: st.DrawFn) -> Case:
    """Tiles of x stored one after the other at starts anywhere in y, later ones over earlier ones."""
    kind = draw(st.sampled_from(WIDE))
    tall, wide = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 3, 4, 8, 12]))
    count, rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 18))
    at = [draw(starts(["i", "j", "i * 4"], n, t, n)) for n, t in (("A", tall), ("B", wide))]
    layout, _ = draw(layouts((tall, wide)))
    chosen = draw(st.sampled_from(["", f', layout="{layout}"']))
    options = draw(st.sampled_from(["", ", unroll=2", ", unroll=3, stages=2"]))
    text = f"""
def f(x: {kind}[N, {tall}, {wide}], y: {kind}[A, B]):
    for i in range(0, N{options}):
        for j in range(i, N, 2):
            store(y, [{at[0]}, {at[1]}], reshape(load(x, [i, 0, 0], [1, {tall}, {wide}]), [{tall}, {wide}]))
            v = load(y, [{at[0]}, {at[1]}], [{tall}, {wide}]{chosen})
            store(y, [{at[1]} % A, {at[0]} % B], v)
"""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    assert prod((count, tall, wide))
    return Case(text, (array(rng, kind, count, tall, wide), array(rng, kind, rows, columns)))

"""Random kernels whose tiles are wanted in several layouts: transposes, reductions, products, views, loops."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import strategies as st

from bitwright.tests.backend.lower.random_access import layouts
from bitwright.tests.backend.lower.three_ways import Case
from bitwright.tests.samples import array, zeros

Shape = tuple[int, ...]
SHAPES: tuple[Shape, ...] = (
    (4, 8),
    (8, 4),
    (6, 4),
    (4, 6),
    (1, 12),
    (3, 5),
    (2, 16),
    (8, 8),
    (5, 1),
    (2, 3, 4),
    (16,),
    (24,),
)


class Kernel:
    """A kernel's lines, and the i32 tiles that it has so far by name."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.tiles: dict[str, Shape] = {}
        self.loaded: list[Shape] = []

    def put(self, text: str, shape: Shape, indent: int = 4) -> str:
        name = f"t{len(self.tiles)}"
        self.lines.append(" " * indent + f"{name} = {text}")
        self.tiles[name] = shape
        return name

    def load(self) -> str:
        shape = self.draw(st.sampled_from(SHAPES))
        at = ", ".join("0" for _ in shape)
        chosen = f', layout="{self.layout(shape)}"' if self.draw(st.booleans()) else ""
        self.loaded.append(shape)
        return self.put(f"load(x{len(self.loaded) - 1}, [{at}], {list(shape)}{chosen})", shape)

    def layout(self, shape: Shape) -> str:
        return self.draw(layouts(shape, 24))[0]

    def any(self, rank: int | None = None) -> str:
        return self.draw(
            st.sampled_from([n for n, s in self.tiles.items() if rank in (None, len(s))] or list(self.tiles))
        )

    def like(self, name: str) -> str:
        """A tile that broadcasts against `name`: another of its shape, a reduction of one, or one transposed."""
        shape = self.tiles[name]
        same = [n for n, s in self.tiles.items() if s == shape]
        other = self.draw(st.sampled_from(same))
        ways = [other, f'convert({other}, "{self.layout(shape)}")']
        ways += [f"sum({other}, dim={d}, keepdim=True)" for d in range(len(shape))]
        ways += [f"max({other}, dim={d}, keepdim=True)" for d in range(len(shape))]
        turned = [n for n, s in self.tiles.items() if s == shape[::-1]]
        ways += [f"transpose({n})" for n in turned[:2] if len(shape) > 1]
        return self.draw(st.sampled_from(ways))


def _transpose(k: Kernel) -> None:
    name = k.any()
    order = k.draw(st.permutations(range(len(k.tiles[name]))))
    k.put(f"transpose({name}, order={list(order)})", tuple(k.tiles[name][d] for d in order))


def _reshape(k: Kernel) -> None:
    name = k.any()
    total = prod(k.tiles[name])
    first = k.draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
    second = k.draw(st.sampled_from([d for d in range(1, total // first + 1) if total // first % d == 0]))
    shape = k.draw(st.sampled_from([(total,), (first, total // first), (first, second, total // first // second)]))
    k.put(f"reshape({name}, {list(shape)})", shape)


def _combine(k: Kernel) -> None:
    name = k.any()
    kind = k.draw(st.sampled_from(["{} + {}", "{} - {}", "{} * {}", "max({}, {})", "where({} < {}, 5, 7)", "{} ^ {}"]))
    k.put(kind.format(name, k.like(name)), k.tiles[name])


def _reduce(k: Kernel) -> None:
    name = k.any()
    shape = k.tiles[name]
    dim = k.draw(st.integers(0, len(shape) - 1))
    if len(shape) > 1:
        k.put(f"{k.draw(st.sampled_from(['sum', 'max', 'min']))}({name}, dim={dim})", (*shape[:dim], *shape[dim + 1 :]))


def _outer(k: Kernel) -> None:
    name = k.any(2)
    if len(k.tiles[name]) == 2:
        k.put(f"sum({name}, dim=1, keepdim=True) - min({k.like(name)} + {name}, dim=0, keepdim=True)", k.tiles[name])


def _dot(k: Kernel) -> None:
    a = k.any(2)
    if len(k.tiles[a]) != 2:
        return
    m, depth = k.tiles[a]
    fits = [n for n, s in k.tiles.items() if len(s) == 2 and s[0] == depth]
    b = k.draw(st.sampled_from([*fits, f"transpose({a})"]))
    n = k.tiles[b][1] if b in k.tiles else m
    kinds = [k.draw(st.sampled_from(["i8", "u8"])) for _ in "ab"]
    sums = [name for name, s in k.tiles.items() if s == (m, n)]
    acc = k.draw(st.sampled_from(["", *(f", {s}" for s in sums[:2])]))
    k.put(f"dot(cast({a}, {kinds[0]}), cast({b}, {kinds[1]}){acc})", (m, n))


def _view(k: Kernel) -> None:
    name = k.any()
    shape = k.tiles[name]
    kind, times = k.draw(st.sampled_from([("u8", 4), ("i16", 2), ("u4", 8), ("i32", 1), ("u1", 32)]))
    wide = (*shape[:-1], shape[-1] * times)
    chosen = f', layout="{k.layout(wide)}"' if k.draw(st.booleans()) and prod(wide) < 200 else ""
    seen = f"cast(view({name}, {kind}{chosen}), i32)"
    if prod(wide) < 200:
        k.put(seen, wide)
    elif len(shape) > 1:
        k.put(f"sum({seen}, dim={len(shape) - 1})", shape[:-1])


def _convert(k: Kernel) -> None:
    name = k.any()
    k.put(f'convert({name}, "{k.layout(k.tiles[name])}")', k.tiles[name])


def _loop(k: Kernel) -> None:
    name = k.any()
    carried = k.put(f"{name} + 0", k.tiles[name])
    options = k.draw(st.sampled_from(["", ", unroll=2", ", unroll=4, stages=2"]))
    k.lines.append(f"    for i in range({k.draw(st.sampled_from(['0, n', '1, 4', '-3, n, 2', 'n, 2']))}{options}):")
    k.lines.append(f"        {carried} = {k.like(carried)} + {carried} * 3 + i")


def _while(k: Kernel) -> None:
    name = k.any()
    carried = k.put(f"{name} + 0", k.tiles[name])
    k.lines.append("    count = 0")
    k.lines.append("    while count < n:")
    k.lines.append(f"        {carried} = {carried} - {k.like(carried)}")
    k.lines.append("        count = count + 1")


def _branch(k: Kernel) -> None:
    name = k.any()
    merged = k.put(f"{name} + 1", k.tiles[name])
    k.lines.append(f"    if n < {k.draw(st.integers(0, 5))}:")
    k.lines.append(f"        {merged} = {k.like(name)} + {name}")
    if k.draw(st.booleans()):
        k.lines.append("    else:")
        k.lines.append(f'        {merged} = convert({name} * 2, "{k.layout(k.tiles[name])}")')


STEPS = (_transpose, _reshape, _combine, _combine, _reduce, _outer, _dot, _view, _convert, _loop, _while, _branch)


@st.composite
def tangles(draw: st.DrawFn) -> Case:
    """A few loads, then steps that want their operands in different layouts; the last tiles are stored."""
    k = Kernel(draw)
    for _ in range(draw(st.integers(1, 2))):
        k.load()
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)):
        step(k)
    kept = list(k.tiles.items())[-3:]
    parameters = [f"x{i}: i32[{', '.join(map(str, s))}]" for i, s in enumerate(k.loaded)]
    parameters += [f"y{i}: i32[{', '.join(map(str, s)) or '1'}]" for i, (_, s) in enumerate(kept)]
    for i, (name, shape) in enumerate(kept):
        value = name if shape else f"reshape({name}, [1])"
        k.lines.append(f"    store(y{i}, [{', '.join('0' for _ in shape) or '0'}], {value})")
    lanes = draw(st.sampled_from(["", "", "    p = grid(1, lanes=72)\n"]))
    explicit = any('"' in line for line in k.lines)
    text = f"def f({', '.join(parameters)}, n: int):\n{'' if explicit else lanes}" + "\n".join(k.lines) + "\n"
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    inputs = [array(rng, "i32", *s) for s in k.loaded]
    outputs = [zeros("i32", *(s or (1,))) for _, s in kept]
    return Case(text, (*inputs, *outputs, draw(st.integers(0, 5))))

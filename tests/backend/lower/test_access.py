"""What the lowering claims of an access, against every value that its variables can take.

A window may leave a guard out, join registers into one access, and promise an alignment.  Each claim is checked by
enumeration: all block indices, all counters, and small sizes that meet the facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitwright.backend.lane.build import Builder
from bitwright.backend.lower.access import Window
from bitwright.backend.lower.context import Context
from bitwright.backend.target import target
from bitwright.tests.kernels import program
from bitwright.vm.dtypes import dtype
from bitwright.vm.expr import Expr, ExprError, Var, binary, ceildiv, const, evaluate, lt, min_, select
from bitwright.vm.ir import Array

EMPTY = program("def f(x: f32[1]):\n    store(x, [0], zeros(f32, [1]))\n")


@dataclass(frozen=True)
class Space:
    """Variables that stand where a kernel has them: sizes, a block index, and the counter of a loop inside it."""

    sizes: tuple[Var, ...]
    block: Var
    blocks: Expr
    counter: Var
    start: Expr
    stop: Expr
    step: int

    @property
    def variables(self) -> tuple[Var, ...]:
        return (*self.sizes, self.block, self.counter)

    @property
    def last(self) -> dict[Var, Expr]:
        return {
            self.block: self.blocks - 1,
            self.counter: self.start + (self.stop - self.start - 1) // self.step * self.step,
        }

    @property
    def steps(self) -> dict[Var, int]:
        return {self.block: 1, self.counter: self.step}

    def values(self) -> Iterator[Mapping[Var, int]]:
        """Every state in which the body of the loop runs."""
        ranges = [(0, 1, 3, 4, 8, 12) for _ in self.sizes]
        for sizes in product(*ranges):
            env = dict(zip(self.sizes, sizes, strict=True))
            if any(n % v.multiple for v, n in env.items()):
                continue
            for block in range(evaluate(self.blocks, env)):
                inner = env | {self.block: block}
                for counter in range(evaluate(self.start, inner), evaluate(self.stop, inner), self.step):
                    yield inner | {self.counter: counter}


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    multiples = draw(st.tuples(st.sampled_from([1, 2, 4, 6, 8]), st.sampled_from([1, 3, 4])))
    high = draw(st.sampled_from([None, 13]))
    sizes = tuple(Var(n, 0, high, m) for n, m in zip("NK", multiples, strict=True))
    tile = draw(st.sampled_from([1, 2, 3, 4, 8]))
    blocks = draw(st.sampled_from([const(3), ceildiv(sizes[0], tile), sizes[1]]))
    block = Var("p", 0, None if not isinstance(blocks, type(const(1))) else 2)
    step = draw(st.sampled_from([1, 2, 3, 4, 8]))
    start = draw(st.sampled_from([const(0), const(-4), block * step, const(4)]))
    stop = draw(st.sampled_from([sizes[0], sizes[1], const(12), sizes[0] - 4]))
    low = start.facts.low
    counter = Var("i", low, None, int(np.gcd.reduce([step, start.facts.multiple, start.facts.residue])))
    return Space(sizes, block, blocks, counter, start, stop, step)


@st.composite
def origins(draw: st.DrawFn, leaves: list[Expr], depth: int = 3) -> Expr:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(leaves) | st.integers(-5, 20).map(const))
    x, y = draw(origins(leaves, depth - 1)), draw(origins(leaves, depth - 1))
    kind = draw(
        st.sampled_from(["add", "add", "sub", "mul", "floordiv", "mod", "xor", "and", "or", "min", "max", "select"])
    )
    try:
        if kind == "select":
            return select(lt(x, y), draw(origins(leaves, depth - 1)), y)
        if kind in ("floordiv", "mod"):
            y = const(draw(st.sampled_from([1, 2, 3, 4, 8, 16])))
        return binary(kind, x, y)  # type: ignore[arg-type]  # one of the kinds above
    except ExprError:
        return x


@st.composite
def windows(draw: st.DrawFn) -> tuple[Space, Window]:
    space = draw(spaces())
    rank = draw(st.integers(1, 3))
    sizes: list[Expr] = [*space.sizes, const(16), const(5), space.sizes[0] * 4, space.sizes[1] + 3]
    leaves: list[Expr] = [space.block, space.counter, space.counter // space.step, space.block * 4, *space.sizes]
    shape = tuple(draw(st.sampled_from(sizes)) for _ in range(rank))
    tile = tuple(draw(st.sampled_from([1, 2, 3, 4, 8])) for _ in range(rank))
    at = []
    for n, t in zip(shape, tile, strict=True):
        wild = draw(origins(leaves))
        at.append(draw(st.sampled_from([wild, space.counter, space.block * t, n - t, min_(wild, n - t), wild % 8])))
    lanes, registers = draw(st.sampled_from([(1, 1), (2, 4), (4, 8), (3, 2), (1, 16), (4, 2)]))
    coords = draw(_coordinates(lanes, registers, tile))
    context = Context(EMPTY, target("cpu"), lanes, Builder(lanes), {})
    for v in space.variables:
        context.variables[v] = context.b.slot(len(context.variables))
    context.last.update(space.last)
    context.steps.update(space.steps)
    memory = Array("x", dtype("f32"), shape)
    context.slots[memory] = 20
    return space, Window(context, memory, tuple(at), tile, coords)


@st.composite
def _coordinates(draw: st.DrawFn, lanes: int, registers: int, tile: tuple[int, ...]) -> np.ndarray:  # type: ignore[type-arg]
    """Rows of registers, now and then with steps that are not one, within the tile."""
    start = [draw(st.integers(0, n - 1)) for n in tile]
    across = [draw(st.sampled_from([0, 1, 2, 4])) for _ in tile]
    along = [draw(st.sampled_from([0, 0, 1])) for _ in tile[:-1]] + [draw(st.sampled_from([1, 1, 1, 0, 2]))]
    lane, reg = np.meshgrid(np.arange(lanes), np.arange(registers), indexing="ij")
    run = draw(st.sampled_from([1, 2, 4, 8, 16]))
    columns = [(s + lane * a + (reg % run) * b) % n for s, a, b, n in zip(start, across, along, tile, strict=True)]
    return np.stack(columns, axis=-1)


def _inside(window: Window, env: Mapping[Var, int]) -> np.ndarray:  # type: ignore[type-arg]
    """[lanes, registers, rank]: whether each coordinate lies before the end of the array."""
    at = np.array([evaluate(a, env) for a in window.at])
    sizes = np.array([evaluate(n, env) for n in window.sizes])
    inside: np.ndarray = window.coords + at < sizes  # type: ignore[type-arg]
    return inside


def _bytes(window: Window, env: Mapping[Var, int], size: int) -> np.ndarray:  # type: ignore[type-arg]
    at = np.array([evaluate(a, env) for a in window.at])
    pitches = np.array([evaluate(p, env) for p in window.pitches])
    places: np.ndarray = ((window.coords + at) * pitches).sum(axis=-1) * size  # type: ignore[type-arg]
    return places


@settings(max_examples=80, deadline=None)
@given(windows())
def test_claims_hold_for_every_value(given_: tuple[Space, Window]) -> None:
    space, window = given_
    registers = window.coords.shape[1]
    runs = [r for r in (2, 4, 8, 16) if window.is_run(r)]
    aligned = [window.address(r, 8 * size)[2] for size in (1, 4) for r in range(registers)]
    seen = 0
    for env in space.values():
        seen += 1
        try:
            inside = _inside(window, env)
        except ExprError:
            continue
        for dim, is_open in enumerate(window.open):
            assert is_open or inside[..., dim].all(), f"{window.at[dim]} + {window.shape[dim]} > {window.sizes[dim]}"
        for run in runs:
            _run_holds(window, env, inside.all(axis=-1), run)
        for size, claims in ((1, aligned[:registers]), (4, aligned[registers:])):
            places = _bytes(window, env, size)
            for register, align in enumerate(claims):
                assert not (places[:, register] % align).any()
    assume(seen)


def _run_holds(window: Window, env: Mapping[Var, int], inside: np.ndarray, run: int) -> None:  # type: ignore[type-arg]
    places = _bytes(window, env, 1)
    groups = places.reshape(len(places), -1, run)
    assert (groups - groups[:, :, :1] == np.arange(run)).all()
    alike = inside.reshape(len(places), -1, run)
    assert (alike == alike[:, :, :1]).all()


def _context(last: Mapping[Var, Expr], steps: Mapping[Var, int]) -> Context:
    return Context(EMPTY, target("cpu"), 1, Builder(1), {}, last=dict(last), steps=dict(steps))


def test_a_start_that_falls_with_the_counter_is_judged_at_its_largest() -> None:
    i = Var("i", 0, None, 4)
    c = _context({i: const(12)}, {i: 4})
    assert not c.proves_inside(8 - i // 4, 1, const(6))  # 5 at the end, but 8 at first
    assert c.proves_inside(i // 4, 1, const(4))
    assert not c.proves_inside(i // 4, 2, const(4))


def test_tiles_that_divide_their_array_need_no_guard() -> None:
    n, p = Var("N", 0, None, 16), Var("p", 0)
    c = _context({p: ceildiv(n, 16) - 1}, {})
    assert c.proves_inside(p * 16, 16, n)
    assert not c.proves_inside(p * 16, 17, n)
    assert not c.proves_inside(p * 16 + 1, 16, n)


def test_the_last_step_of_a_loop_may_stop_early() -> None:
    n, i = Var("N", 0), Var("i", 0, None, 8)
    for stop, extent, proven in ((n, 8, False), (n, 1, True), (n - 7, 8, True), (n // 8 * 8, 8, True)):
        c = _context({i: (stop - 1) // 8 * 8}, {i: 8})
        assert c.proves_inside(i, extent, n) == proven, f"range(0, {stop}, 8) with tiles of {extent}"

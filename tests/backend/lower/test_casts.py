"""Casts between integers, floats and bool: once rounded, at every width, by lanes and by native code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Apply, Function, Let, Read, Reg, Write
from bitwright.backend.lane.simulate import simulate
from bitwright.backend.lower.casts import cast
from bitwright.backend.lower.whole import as_float
from bitwright.frontend.kernel import compile
from bitwright.tests.backend.llvm.native import run_native
from bitwright.tests.backend.lower.every_dtype import borders, same_numbers
from bitwright.tests.backend.lower.lane_kernels import MACHINES, run_simulated
from bitwright.vm.diagnostic import Diagnostic
from bitwright.vm.dtypes import Bool, DType, Float, Int, Overflow, Rounding, codebook, dtype

COUNT = 2048
INTEGERS = tuple(Int(bits, signed) for bits in (1, 5, 8, 16, 27, 32, 40, 64) for signed in (True, False))
WIDE_BOOK = codebook([0.0, 1e9, -7.0, 16777216.0, 16777218.0, -3e9, 2.0**40, 9.2e18, 1.8e19], "wide")
TARGETS: tuple[DType, ...] = (
    *INTEGERS, *(dtype(n) for n in ("f32", "f16", "bf16", "f8e4m3fn", "f8e5m2", "f4e2m1", "ue4m3", "e8m0", "nf4")),
    dtype("f8e4m3bn30_nosubnormal"), dtype("f8e4m3bn30"), WIDE_BOOK,
)  # fmt: skip
MODES: tuple[Rounding, ...] = ("rne", "rna", "rtz", "rup", "rdn")


@dataclass(frozen=True)
class Way:
    """One cast from an integer, float or bool."""

    source: DType
    target: DType
    rounding: Rounding
    overflow: Overflow


def _held(kind: DType) -> tuple[str, bool]:
    """The register in which a value of it is held."""
    if isinstance(kind, Bool):
        return "i1", False
    if isinstance(kind, Int):
        return ("i64" if kind.bits > 32 else "i32"), kind.signed
    return "f32", True


def _function(ways: Sequence[Way], lanes: int) -> Function:
    """Slot 0: 64-bit words [ways, COUNT]; slot 1: 64-bit results."""
    b = Builder(lanes)
    lane = b.i32(np.arange(lanes) * 8)
    for row, way in enumerate(ways):
        start = b.apply("mul", b.apply("add", b.apply("mul", b.block(), b.i64(lanes)), b.i64(row * COUNT)), b.i64(8))
        (word,) = b.read(Read(b.apply("add", b.slot(0), start), lane, 64, 1, None, 8))
        kind, _ = _held(way.source)
        x = word if kind == "i64" else b.apply("trunc", word)
        x = b.apply("ne", x, b.i32(0)) if kind == "i1" else b.apply("float", x) if kind == "f32" else x
        y = cast(b, way.source, way.target, x, way.rounding, way.overflow, None)
        y = b.apply("bits", y) if y.type == "f32" else y
        y = y if y.type == "i64" else b.apply("sext", y)
        b.effect(Write(b.apply("add", b.slot(1), start), lane, 64, (y,), None, 8))
    return Function("casts", lanes, 2, 0, b.body)


@lru_cache(maxsize=32)
def _integers(source: Int) -> NDArray[np.generic]:
    """Every magnitude; beside powers of two, halfway between floats of every precision, and the ends."""
    rng = np.random.default_rng(source.bits)
    high = source.bits - source.signed
    top = rng.integers(0, high + 1, COUNT)
    numbers = []
    for power in top.tolist():
        fine = int(rng.integers(0, power + 1))
        n = (1 << power) + int(rng.integers(-3, 4)) * (1 << fine) + int(rng.integers(-1, 2))
        numbers.append(-n if source.signed and rng.random() < 0.5 else n)
    ends = [source.min, source.max, source.max - 1, source.min + 1, 0, 16777219, 16777217, (1 << 53) + 1]
    inside = [min(max(n, source.min), source.max) for n in [*ends, *numbers][:COUNT]]
    return np.array(inside, source.carrier)


def _inputs(way: Way) -> NDArray[np.generic]:
    return _integers(way.source) if isinstance(way.source, Int) else _others(way.source, way.target)


@lru_cache(maxsize=128)
def _others(source: DType, target: DType) -> NDArray[np.generic]:
    rng = np.random.default_rng(1)
    if isinstance(source, Bool):
        return rng.random(COUNT) < 0.5
    some = borders(target, rng, COUNT) if target.bits <= 8 else borders(dtype("bf16"), rng, COUNT)
    edge = np.ldexp(rng.integers(1, 1 << 24, COUNT).astype(np.float64), rng.integers(-24, 66, COUNT))
    return np.where(rng.random(COUNT) < 0.5, some, edge * rng.choice([1, -1], COUNT)).astype(np.float32)


def _words(values: NDArray[np.generic]) -> NDArray[np.int64]:
    if values.dtype == np.float32:
        return values.view(np.int32).astype(np.int64)
    return values.view(np.int64) if values.dtype.itemsize == 8 else values.astype(np.int64)


def _check(way: Way, values: NDArray[np.generic], found: NDArray[np.int64]) -> None:
    given = values.astype(np.int64) if values.dtype == np.bool_ else values
    codes = way.target.encode(given, way.rounding, way.overflow)
    if isinstance(way.target, Int):
        right = way.target.decode(codes)
        if way.target.bits == 32 and not way.target.signed:  # a word, which the function has sign-extended
            found = found & 0xFFFFFFFF
        got = found.view(way.target.carrier)
    else:  # lanes give the code, or for f32 the number
        got, right = found.astype(codes.dtype), codes
    same = got == right
    if isinstance(way.target, Float) and way.target.bits >= 16:
        same = same_numbers(way.target.decode(got), way.target.decode(right))
    bad = [(values[i], got[i], right[i]) for i in np.flatnonzero(~same)[:4]]
    assert same.all(), f"{way}: {(~same).sum()} of {COUNT} differ: (value, cast, right) {bad}"


def _ways(sources: Sequence[DType]) -> list[Way]:
    """Roundings matter between numbers of different kinds only."""
    return [
        Way(s, t, r, o)
        for s in sources for t in TARGETS for o in get_args(Overflow) for r in MODES
        if r == "rne" or not (isinstance(s, Int | Bool) and isinstance(t, Int))
    ]  # fmt: skip


@pytest.mark.parametrize("source", [*INTEGERS, dtype("f32"), dtype("bool")], ids=str)
def test_simulated_lanes_cast_between_kinds(source: DType) -> None:
    ways = _ways([source])
    values = [_inputs(w) for w in ways]
    words = np.stack([_words(v) for v in values])
    out = np.zeros_like(words)
    simulate(_function(ways, COUNT), [words, out], 1)
    for way, given, found in zip(ways, values, out, strict=True):
        _check(way, given, found)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m[0])
def test_native_lanes_cast_between_kinds(machine: tuple[str, int, int]) -> None:
    """One in 37 of all ways, another one on each machine."""
    name, lanes, _ = machine
    ways = _ways([*INTEGERS, dtype("f32"), dtype("bool")])[MACHINES.index(machine) :: 37]
    values = [_inputs(w) for w in ways]
    words = np.stack([_words(v) for v in values])
    out = np.zeros_like(words)
    assert run_native(_function(ways, lanes), name, [words, out], COUNT // lanes) == 0
    for way, given, found in zip(ways, values, out, strict=True):
        _check(way, given, found)


@pytest.mark.parametrize("signed", [False, True])
def test_integers_become_floats_without_a_conversion(signed: bool) -> None:
    """Where conversions are slow: of up to 23 bits, the ends included, to the f32 that NumPy gives."""

    def converted(bits: int, b: Builder, words: Sequence[Reg]) -> Reg:
        found = as_float(b, Int(bits, signed), words[0], "rne")
        assert not any(isinstance(s, Let) and isinstance(s.op, Apply) and "itofp" in s.op.kind for s in b.body)
        return found

    widths = (1, 2, 9, 22, 23)
    values = np.stack([np.linspace(Int(n, signed).min, Int(n, signed).max, 600).astype(np.int32) for n in widths])
    found = run_simulated([partial(converted, n) for n in widths], values.view(np.uint32)[:, :, None], 0, True)
    np.testing.assert_array_equal(found.view(np.float32), values.astype(np.float32))


def test_integers_beside_ties_are_not_rounded_twice() -> None:
    """2^k + half a step + 1 goes up, although the nearest f32 is the tie, which goes down."""
    source, target = Int(32, True), dtype("bf16")
    way = Way(source, target, "rne", "ieee")
    values = np.array([(1 << 30) + (1 << 22) + 1, (1 << 30) + (1 << 22), (1 << 30) + (1 << 22) - 1] * 8, np.int64)
    words = np.resize(values, COUNT)[None]
    out = np.zeros_like(words)
    simulate(_function([way], COUNT), [words, out], 1)
    assert target.decode(out[0, :3].astype(np.uint16)).tolist() == [2.0**30 + 2.0**23, 2.0**30, 2.0**30]


@pytest.mark.parametrize(("source", "target", "message"), [
    ("f32", "nf4", "stochastic rounding to the codebook nf4 is not defined"),
    ("i32", "f16", "stochastic rounding of i32 to f16 is not defined"),
    ("u64", "f32", "stochastic rounding of u64 to f32 is not defined"),
])  # fmt: skip
def test_stochastic_casts_without_an_exact_chance_are_refused(source: str, target: str, message: str) -> None:
    text = f"""
def f(x: {source}[N], y: {target}[N]):
    i = grid((N, 64))
    t = load(x, [i], [64])
    store(y, [i], cast(t, {target}, rounding="stochastic", random=random(1, i, [64])))
"""
    with pytest.raises(Diagnostic, match=message):
        assert compile(text).program

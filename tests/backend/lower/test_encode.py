"""Every rounding and overflow mode of every dtype, where it is decided: at borders and beside them, and at the ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import get_args

import ml_dtypes
import numpy as np
import pytest

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Reg
from bitwright.backend.lower.encode import encode
from bitwright.tests.backend.lower.every_dtype import BOOKS, FLOATS, HALVES, INTS, NARROW, borders, dice, same_numbers
from bitwright.tests.backend.lower.lane_kernels import MACHINES, Step, Words, run_on, run_simulated
from bitwright.vm.dtypes import Codebook, DType, Int, Overflow, Rounding, dtype

COUNT = 2048
MODES: list[tuple[Rounding, Overflow]] = list(product(get_args(Rounding), get_args(Overflow)))
WIDE = (*HALVES, *(Int(bits, signed) for bits in (12, 16, 27, 32) for signed in (True, False)))


@dataclass(frozen=True)
class Way:
    """One cast from f32."""

    kind: DType
    rounding: Rounding
    overflow: Overflow

    @property
    def step(self) -> Step:
        return partial(_encode, self)


def _encode(way: Way, b: Builder, words: Sequence[Reg]) -> Reg:
    random = words[1] if way.rounding == "stochastic" else None
    return encode(b, way.kind, b.apply("float", words[0]), way.rounding, way.overflow, random)


def _ways(kinds: Sequence[DType]) -> list[Way]:
    """All modes; codebooks have no stochastic one."""
    every = [Way(k, r, o) for k in kinds for r, o in MODES]
    return [w for w in every if not (isinstance(w.kind, Codebook) and w.rounding == "stochastic")]


@lru_cache(maxsize=512)
def _inputs(kind: DType) -> Words:
    """[COUNT, 2]: numbers, and random bits."""
    rng = np.random.default_rng(5)
    if isinstance(kind, Int) and kind.bits > 12:  # too many values to list them
        near = np.array([kind.min, kind.max, 1 << kind.bits, 1 << 63, 0, 1 << 40, 3 << 39, 1 << 24], np.float64)
        fine = rng.choice(near, COUNT) + rng.integers(-8, 9, COUNT) / 4
        exact = np.where(rng.random(COUNT) < 0.7, fine * rng.choice([1, -1], COUNT), borders(INTS[1], rng, COUNT))
        numbers = exact.astype(np.float32)
    else:
        numbers = borders(kind, rng, COUNT)
    return np.stack([numbers.view(np.uint32), dice(rng, COUNT)], axis=1)


def _check(ways: Sequence[Way], words: Words, found: Words) -> None:
    for way, given, got in zip(ways, words, found, strict=True):
        numbers = np.ascontiguousarray(given[:, 0]).view(np.float32)
        random = np.ascontiguousarray(given[:, 1]) if way.rounding == "stochastic" else None
        right = way.kind.encode(numbers, way.rounding, way.overflow, random)
        same = got == right
        if way.kind.name == "f16":  # the machine's own conversion keeps the payload of NaN
            same |= same_numbers(way.kind.decode(got), way.kind.decode(right))
        wrong = np.flatnonzero(~same)
        bad = [(numbers[i], int(got[i]), int(right[i])) for i in wrong[:4]]
        assert not len(wrong), f"{way}: {len(wrong)} of {COUNT} differ: (number, code, right) {bad}"


@pytest.mark.parametrize("rounding", get_args(Rounding))
def test_simulated_lanes_round_every_dtype(rounding: Rounding) -> None:
    ways = [w for w in _ways((*NARROW, *WIDE)) if w.rounding == rounding]
    words = np.stack([_inputs(w.kind) for w in ways])
    _check(ways, words, run_simulated([w.step for w in ways], words, 0))


def test_codebooks_are_searched_by_tables_as_by_comparisons() -> None:
    ways = _ways(BOOKS)
    words = np.stack([_inputs(w.kind) for w in ways])
    assert np.array_equal(
        run_simulated([w.step for w in ways], words, 6), run_simulated([w.step for w in ways], words, 0)
    )


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m[0])
def test_native_lanes_round_every_dtype(machine: tuple[str, int, int]) -> None:
    """Every seventh float, each in one mode; on the next machine the next ones, and other modes."""
    number = MACHINES.index(machine)
    kinds = (*FLOATS[number::7], *BOOKS, *INTS[number::3], *WIDE)
    ways = []
    for index, kind in enumerate(kinds):
        rounding, overflow = MODES[(5 * index + number) % len(MODES)]
        ways.append(Way(kind, "rna" if isinstance(kind, Codebook) and rounding == "stochastic" else rounding, overflow))
    words = np.stack([_inputs(w.kind) for w in ways])
    _check(ways, words, run_on(machine, [w.step for w in ways], words))


ORACLES = {
    "f8e4m3fn": ml_dtypes.float8_e4m3fn, "f8e5m2": ml_dtypes.float8_e5m2, "f8e4m3": ml_dtypes.float8_e4m3,
    "f8e3m4": ml_dtypes.float8_e3m4, "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz, "bf16": ml_dtypes.bfloat16, "f16": np.float16,
}  # fmt: skip


def test_rounding_to_nearest_agrees_with_ml_dtypes() -> None:
    """Without saturation, as ml_dtypes rounds; NaN has any code that means it."""
    ways = [Way(dtype(name), "rne", "ieee") for name in ORACLES]
    words = np.stack([_inputs(w.kind) for w in ways])
    found = run_simulated([w.step for w in ways], words, 0)
    for way, given, row in zip(ways, words, found, strict=True):
        oracle = np.dtype(ORACLES[way.kind.name])
        with np.errstate(over="ignore", invalid="ignore"):
            right = np.ascontiguousarray(given[:, 0]).view(np.float32).astype(oracle)
        nan = np.isnan(right.astype(np.float32))
        got = row.astype(f"u{oracle.itemsize}")
        assert np.array_equal(got[~nan], right.view(got.dtype)[~nan])
        assert np.isnan(got[nan].view(oracle).astype(np.float32)).all()

"""Every instruction, in whole programs: the interpreter, the simulated lanes and native code agree.

The interpreter says what is right.  Results are equal, bit for bit but for the NaN that is meant; floats that a target
sums in another order, or computes by its own functions, are within the sample's bound.
"""

from __future__ import annotations

import os
from collections import Counter
from math import prod

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.llvm.build import load
from bitwright.backend.llvm.entry import make_function
from bitwright.backend.llvm.pool import parallel_address
from bitwright.backend.pipeline import compile_program
from bitwright.backend.simulated import simulate_on
from bitwright.backend.target import target
from bitwright.tests.samples import Sample, outputs, samples
from bitwright.vm.call_arguments import Argument, bind
from bitwright.vm.dtypes import DType, Float
from bitwright.vm.expr import evaluate
from bitwright.vm.interpret import interpret
from bitwright.vm.ir import Let, walk
from bitwright.vm.ops import Instruction

Results = dict[str, tuple[DType, NDArray[np.generic]]]

SAMPLES = samples()
NAMES = [s.name for s in SAMPLES]


def instructions(sample: Sample) -> set[str]:
    """The instructions of a sample, each with its kind: `Binary add`, `Reduce max`, `Load`."""
    ops = (s.op for s in walk(sample.program.body) if isinstance(s, Let))
    return {f"{type(op).__name__} {getattr(op, 'kind', '')}".strip() for op in ops}


def some(step: int, first: int) -> list[Sample]:
    """Each `step`-th sample, and one for each instruction that is in none of these.

    BITWRIGHT_SAMPLES=all takes all (many minutes).
    """
    if os.environ.get("BITWRIGHT_SAMPLES") == "all":
        return SAMPLES
    chosen = SAMPLES[first::step]
    missing = set[str]().union(*map(instructions, SAMPLES)) - set[str]().union(*map(instructions, chosen))
    for sample in SAMPLES:
        if missing & instructions(sample):
            chosen.append(sample)
            missing -= instructions(sample)
    return chosen


def name_of(sample: Sample) -> str:
    return sample.name


def arguments(sample: Sample) -> list[Argument]:
    return sample.make_arguments(np.random.default_rng(7))


def interpreted(sample: Sample) -> Results:
    given = arguments(sample)
    interpret(sample.program, *given, sizes=sample.sizes, show=lambda text: None)
    return outputs(sample, given)


def simulated(sample: Sample, name: str = "cpu") -> Results:
    given, where = arguments(sample), target(name)
    function = compile_program(sample.program, where, until="lower").function
    assert function is not None
    call = bind(sample.program, tuple(given), sample.sizes, set())
    slots = [*given, *(call.scalars[v] for v in sample.program.sizes)]
    blocks = prod(evaluate(n, call.scalars) for n in sample.program.grid)
    simulate_on(where, function, slots, blocks)
    return outputs(sample, given)


def native(sample: Sample, name: str = "cpu") -> Results:
    given = arguments(sample)
    compiled = compile_program(sample.program, target(name))
    run = make_function(load(compiled.code, {"bw_parallel": parallel_address()}))
    run(*given, *(sample.sizes[v.name] for v in compiled.signature.explicit))
    return outputs(sample, given)


def agree(sample: Sample, found: Results, expected: Results) -> None:
    for name, (kind, right) in expected.items():
        got = found[name][1]
        if sample.near and isinstance(kind, Float):
            with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
                _near(sample, name, got.astype(np.float64), right.astype(np.float64))
            continue
        same = (got == right) | ((got != got) & (right != right))
        if isinstance(kind, Float):
            same &= (np.signbit(got) == np.signbit(right)) | np.isnan(right)
        where = np.argwhere(~same)
        assert not len(where), _difference(name, got, right, where)


def _near(sample: Sample, name: str, got: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    finite = np.isfinite(right) & np.isfinite(got)
    with np.errstate(all="ignore"):
        bound = sample.near * np.maximum(np.abs(right), max(sample.scale, 1e-37))
        same = np.where(finite, np.abs(got - right) <= bound, (got == right) | (np.isnan(got) & np.isnan(right)))
    where = np.argwhere(~same)
    assert not len(where), _difference(name, got, right, where)


def _difference(name: str, got: NDArray[np.generic], right: NDArray[np.generic], where: NDArray[np.intp]) -> str:
    first = [f"{name}{list(map(int, i))} is {got[tuple(i)]!r}, not {right[tuple(i)]!r}" for i in where[:5]]
    return f"{len(where)} of {right.size} differ: {'; '.join(first)}"


def test_samples_use_every_instruction() -> None:
    used: Counter[str] = Counter()
    for sample in SAMPLES:
        used.update({type(s.op).__name__ for s in walk(sample.program.body) if isinstance(s, Let)})
    for family in Instruction.__args__:
        for op in getattr(family, "__args__", (family,)):
            assert used[op.__name__] >= 3, f"{op.__name__} is in {used[op.__name__]} samples"
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_the_interpreter_runs_every_sample(sample: Sample) -> None:
    for kind, numbers in interpreted(sample).values():
        assert numbers.dtype == kind.carrier


@pytest.mark.parametrize("sample", some(11, 0), ids=name_of)
def test_lanes_do_what_the_interpreter_does(sample: Sample) -> None:
    agree(sample, simulated(sample), interpreted(sample))


@pytest.mark.parametrize("sample", some(29, 3), ids=name_of)
def test_so_do_the_lanes_of_a_gpu(sample: Sample) -> None:
    """Nothing races, and no copy is read before it was waited for: that would be an error."""
    agree(sample, simulated(sample, "cuda:sm_90a"), interpreted(sample))


@pytest.mark.parametrize("sample", some(37, 5), ids=name_of)
def test_native_code_does_what_the_interpreter_does(sample: Sample) -> None:
    agree(sample, native(sample), interpreted(sample))


@pytest.mark.parametrize("processor", ["cpu:x86-64-v3", "cpu:baseline"])
@pytest.mark.parametrize("sample", some(211, 7), ids=name_of)
def test_so_does_code_for_older_processors(sample: Sample, processor: str) -> None:
    agree(sample, native(sample, processor), interpreted(sample))

"""Whole programs as PTX: what NVRTC makes of the printed CUDA text does, emulated, what the interpreter does."""

from __future__ import annotations

import pytest

from bitwright.backend.target import target
from bitwright.tests.backend.cuda.emulated import emulate
from bitwright.tests.samples import Sample, outputs
from bitwright.tests.test_every_instruction import SAMPLES, agree, arguments, interpreted, name_of, some
from bitwright.vm.interpret import interpret

pytest.importorskip("cuda.bindings.nvrtc")


def emulated(sample: Sample, name: str) -> None:
    given = arguments(sample)
    emulate(sample.program, target(name), given, sample.sizes)
    agree(sample, outputs(sample, given), interpreted(sample))


@pytest.mark.parametrize("sample", some(59, 3), ids=name_of)
def test_printed_code_does_what_the_interpreter_does(sample: Sample) -> None:
    emulated(sample, "cuda:sm_90a")


@pytest.mark.parametrize("sample", SAMPLES[13::60], ids=name_of)
def test_so_it_does_for_an_older_gpu(sample: Sample) -> None:
    emulated(sample, "cuda:sm_80")


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.name.startswith("print")], ids=name_of)
def test_it_prints_what_the_interpreter_prints(sample: Sample) -> None:
    expected: list[str] = []
    interpret(sample.program, *arguments(sample), sizes=sample.sizes, show=expected.append)
    printed = emulate(sample.program, target("cuda:sm_90a"), arguments(sample), sample.sizes)
    heads = [line.partition(" =")[0] for line in printed if "=" in line]
    assert heads == [line.partition(" =")[0] for line in expected]
    numbers = [float(line.split()[1]) for line in printed if "=" not in line]
    assert numbers == [float(n) for line in expected for n in line.partition("= [")[2].rstrip("]").split()]

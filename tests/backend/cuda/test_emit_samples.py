"""Whole programs for GPUs: their lanes do what the interpreter does, and NVRTC compiles what they are printed as."""

from __future__ import annotations

from math import prod

import pytest

from bitwright.backend.pipeline import compile_program
from bitwright.backend.simulated import simulate_on
from bitwright.backend.target import target
from bitwright.tests.samples import Sample, outputs
from bitwright.tests.test_every_instruction import Results, agree, arguments, interpreted, name_of, some
from bitwright.vm.call_arguments import bind
from bitwright.vm.expr import evaluate


def simulated(sample: Sample, name: str) -> Results:
    given = arguments(sample)
    function = compile_program(sample.program, target(name), until="lower").function
    assert function is not None
    call = bind(sample.program, tuple(given), sample.sizes, set())
    slots = [*given, *(call.scalars[v] for v in sample.program.sizes)]
    simulate_on(target(name), function, slots, prod(evaluate(n, call.scalars) for n in sample.program.grid))
    return outputs(sample, given)


@pytest.mark.parametrize("sample", some(47, 9), ids=name_of)
def test_lanes_of_gpus_do_what_the_interpreter_does(sample: Sample) -> None:
    agree(sample, simulated(sample, "cuda:sm_90a"), interpreted(sample))


@pytest.mark.parametrize("name", ["cuda:sm_80", "cuda:sm_90a"])
@pytest.mark.parametrize("sample", some(197, 11), ids=name_of)
def test_nvrtc_compiles_them(sample: Sample, name: str) -> None:
    assert compile_program(sample.program, target(name)).code[:4] == b"\x7fELF"

"""Programs at the end of each tile stage still print as the language, and come back as the same programs."""

from __future__ import annotations

import pytest

import bitwright as bw
from bitwright.backend.lower.layouts import assign_layouts
from bitwright.backend.pipeline import STAGES, compile_program
from bitwright.backend.target import target
from bitwright.frontend.build import build
from bitwright.frontend.parse import parse
from bitwright.tests.samples import Sample, samples
from bitwright.vm.ir import Program
from bitwright.vm.same import same
from bitwright.vm.text import print_program

HERE = target("cpu")
SAMPLES = samples()


def comes_back(program: Program) -> None:
    """The text of a program with layouts, read and laid out anew, is that program."""
    placed = assign_layouts(program, HERE)
    text = print_program(placed)
    read = build(parse(text).kernels[0], {})
    assert print_program(read) == text
    assert same(assign_layouts(read, HERE), placed)


@pytest.mark.parametrize("sample", SAMPLES[::5], ids=lambda s: s.name)
def test_samples_with_layouts_come_back(sample: Sample) -> None:
    comes_back(sample.program)


@pytest.mark.parametrize("activations", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("element", ["u3", "nf4", "i8"])
def test_linears_with_layouts_come_back(element: str, activations: str) -> None:
    if (element, activations) == ("nf4", "int8"):
        element = "f4e2m1"  # nf4 has no exact form as bytes
    comes_back(bw.linear_kernel(element, activations=activations, n=128, k=256).program)


def test_each_stage_adds_its_own_result() -> None:
    program = bw.linear_kernel("u3", n=128, k=256).program
    for stage in STAGES:
        state = compile_program(program, HERE, until=stage.name)
        assert stage.reason
        assert stage.holds(state), stage.name
    laid_out = compile_program(program, HERE, until="layouts")
    assert laid_out.function is None
    assert laid_out.program.lanes == HERE.lanes
    lowered = compile_program(program, HERE, until="lower")
    assert lowered.function is not None
    assert not lowered.ir
    assert compile_program(program, HERE, until="emit").ir
    assert compile_program(program, HERE).code

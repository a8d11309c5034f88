from __future__ import annotations

from types import SimpleNamespace

import pytest

from bitwright.backend.target import target
from bitwright.frontend.bench import peaks
from bitwright.frontend.bench.peaks import BLOCKS, STEPS, PeakError, make_meters, products

INSTRUCTIONS = {"f32": "vfmadd", "bf16": "vdpbf16ps", "int8": "vpdpbusd"}


def test_a_machine_is_measured_by_the_instructions_that_it_has() -> None:
    names = {kind: product.instruction for kind, product in products(target("cpu:znver4")).items()}
    assert names == {"f32": "f32 FMA", "bf16": "vdpbf16ps", "int8": "vpdpbusd"}
    assert list(products(target("cpu:x86-64-v3"))) == ["f32", "int8"]


def test_loops_multiply_and_nothing_else() -> None:
    for kind, meter in make_meters().items():
        instruction = INSTRUCTIONS[kind]
        code = [line.strip() for line in meter.kernel.source("asm").splitlines()]
        found = [line for line in code if line.startswith(instruction)]
        if not target("cpu").has("avx512vnni"):
            continue
        assert len(found) >= 16
        assert not any("(" in line for line in found)  # operands lie in registers
        sums = {line.split(",")[-1] for line in found}
        assert len(sums) == 16  # so many that each has time to become ready again


def test_a_rate_counts_multiplications_and_additions_of_the_best_run(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = make_meters()["f32"]
    lanes = target("cpu").lanes
    ticks = iter([0.0, 2.0, 3.0, 4.0, 5.0, 9.0])
    monkeypatch.setattr(peaks, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert meter.sample() == 2 * (4 * 4 * lanes) * STEPS * BLOCKS  # in one second


def test_a_kernel_that_skips_steps_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "PROGRAM", peaks.PROGRAM.replace("range(R)", "range(R - 1)"))
    with pytest.raises(PeakError, match="wrong sums"):
        make_meters()

"""The lane functions that GPUs are tested with use every operation, and do in emulated PTX what the simulator does."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from bitwright.backend.cuda.architectures import ARCHITECTURES
from bitwright.backend.cuda.block_memory import block_bytes
from bitwright.backend.cuda.build import to_ptx
from bitwright.backend.cuda.emit import emit
from bitwright.backend.lane.ir import KINDS, Apply, Operation, Show, lets
from bitwright.backend.target import target
from bitwright.tests.lane_case import WAVES, Case
from bitwright.tests.lane_cases import cases, plain_rows
from bitwright.tests.ptx.machine import run

MACHINE = target("cuda:sm_90a")
CASES = cases(MACHINE)
EMULATED = [case for case in CASES if not case.name.startswith(WAVES)]  # these need local memory for large numbers


def test_every_operation_occurs() -> None:
    used = [let.op for case in CASES for let in lets(case.function.body)]
    assert {type(op) for op in used} == set(get_args(Operation)) - {Show}
    assert {op.kind for op in used if isinstance(op, Apply)} == set(KINDS)
    assert {name.removeprefix("instruction ") for name in (c.name for c in CASES) if "instruction" in name} == set(
        plain_rows(MACHINE)
    )
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_gpu_has_its_cases(name: str) -> None:
    assert len(cases(target(f"cuda:{name}"))) > 60


@pytest.mark.parametrize("case", EMULATED, ids=lambda case: case.name)
def test_emulated_ptx_does_what_the_simulator_does(case: Case) -> None:
    given = case.arguments()
    text = to_ptx(emit(case.function, MACHINE), MACHINE)
    slots = [int(np.float64(s).view(np.int64)) if isinstance(s, float) else s for s in given]
    failure, _ = run(text, slots, case.blocks, case.function.lanes, block_bytes(case.function))
    case.check(given, failure)

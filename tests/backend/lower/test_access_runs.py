"""Random loads and stores: the simulated lanes and native code do what the interpreter does.

The simulator also refuses accesses outside an array, broken promises of alignment, and two lanes that write one byte.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitwright.tests.backend.lower.random_access import NARROW, moves, scatters, streams
from bitwright.tests.backend.lower.three_ways import Case, agree

quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
slow = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(moves())
def test_tiles_move_as_the_interpreter_moves_them(case: Case) -> None:
    agree(case)


@quick
@given(moves(NARROW))
def test_fields_of_bit_streams_are_found(case: Case) -> None:
    agree(case)


@quick
@given(streams())
def test_bit_streams_are_written_by_whole_bytes(case: Case) -> None:
    agree(case)


@quick
@given(scatters())
def test_stores_anywhere(case: Case) -> None:
    agree(case)


@pytest.mark.parametrize(
    "cases", [moves(), moves(NARROW), streams(), scatters()], ids=["wide", "narrow", "streams", "scatters"]
)
@pytest.mark.parametrize("name", ["cpu", "cpu:x86-64-v3"])
def test_native_code_agrees(cases: st.SearchStrategy[Case], name: str) -> None:
    @slow
    @given(cases)
    def run(case: Case) -> None:
        agree(case, machine=True, targets=(name,))

    run()

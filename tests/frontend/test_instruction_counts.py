"""The main loops of `linear` take no more instructions than they did: see `instruction_bounds.py`."""

from __future__ import annotations

import pytest

from bitwright.tests.instruction_bounds import (
    CASES,
    INSTRUCTIONS,
    STACK_TRAFFIC,
    Case,
    counted,
    instructions,
    stack_traffic,
)

EVERY = [(case, bits) for case, widths in CASES.items() for bits in widths]


def test_the_tables_are_whole() -> None:
    for table in (INSTRUCTIONS, STACK_TRAFFIC):
        assert {case: len(bounds) for case, bounds in table.items()} == {c: len(w) for c, w in CASES.items()}


@pytest.mark.parametrize(("case", "bits"), EVERY, ids=str)
def test_instructions_for_64_weights(case: Case, bits: int) -> None:
    place = CASES[case].index(bits)
    assert 0 < instructions(case, bits) <= INSTRUCTIONS[case][place]
    assert stack_traffic(case, bits) <= STACK_TRAFFIC[case][place]


@pytest.mark.parametrize(("case", "bits"), EVERY, ids=str)
def test_each_weight_is_multiplied_with_every_row_at_hand(case: Case, bits: int) -> None:
    """So the loop that is counted is the right one, and no weight is counted twice."""
    figures = counted(case, bits)
    name = "product" if "product.weights" in figures else "main"
    rows, rest = divmod(figures[f"{name}.multiply_adds"], figures[f"{name}.weights"])
    assert rest == 0
    assert rows == 1 if case[2] == 1 else 1 < rows <= case[2]
    if name == "product":
        assert figures["decode.multiply_adds"] == 0


def test_the_bytes_of_a_weight() -> None:
    for case, bits in EVERY:
        assert counted(case, bits)["bytes_per_weight"] == bits / 8

"""What a GPU kernel's report counts: the loop that multiplies, and nothing in its place where there is none."""

from __future__ import annotations

from typing import Literal

import pytest

import bitwright as bw


def figures(k: int) -> dict[str, int | float]:
    kernel = bw.linear_kernel("u4", activations="f16", target="cuda:sm_90a", zero_point=False, n=8192, k=k)
    return kernel.report()


def test_the_loop_that_multiplies_is_counted() -> None:
    found = figures(8192)
    kinds = ("memory", "tensor", "logic", "float", "integer", "convert", "move", "control", "other")
    assert found["main.tensor_per_weight"] == pytest.approx(32 / (16 * 16))  # lanes, weights of one instruction
    assert found["main.issue_slots"] == sum(found[f"main.{kind}"] for kind in kinds)
    assert found["issue_slots_per_weight"] == found["main.issue_slots"] * found["lanes"] / found["main.weights"]


def test_no_other_loop_stands_for_one_that_is_written_out() -> None:
    found = figures(512)
    assert found["bytes_per_weight"] == 0.5
    assert not [name for name in found if name.startswith("main.") or name == "issue_slots_per_weight"]


@pytest.mark.parametrize(("element", "slots"), [("u4", 1.4), ("u8", 1.35)])
def test_zero_points_become_floats_by_a_sum(element: str, slots: float) -> None:
    """They are bytes, and so slow a conversion of one of them would be one of the main loop."""
    made = bw.linear_kernel(element, activations="f16", target="cuda:sm_90a", zero_point=True, n=8192, k=8192)
    found = made.report()
    assert found["main.i2f"] == 0
    assert found["issue_slots_per_weight"] <= slots


@pytest.mark.parametrize(("activations", "slots"), [("f16", 0.9), ("int8", 1.0)])
def test_a_codebook_of_integers_takes_no_table(activations: Literal["f16", "int8"], slots: float) -> None:
    made = bw.linear_kernel("ternary", activations=activations, target="cuda:sm_90a", n=8192, k=8192)
    assert "copies" not in made.source("cuda")
    assert "table0" not in made.source("cuda")
    assert made.report()["issue_slots_per_weight"] <= slots

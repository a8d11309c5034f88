"""What a GPU kernel's report counts: the loop that multiplies, and nothing in its place where there is none."""

from __future__ import annotations

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

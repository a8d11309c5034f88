"""What a GPU kernel's report counts: the loop that multiplies, and nothing in its place where there is none."""

from __future__ import annotations

from typing import Literal

import pytest

import bitwright as bw
from bitwright.frontend.library.prepared_cuda import gpu_storage

TARGET = "cuda:sm_90a"

FEW_STEPS = """
def few(x: f16[8, K], w: u4[K, 32] @ L, y: f32[32, 8], *, L: layout, K: int):
    t = grid(1, lanes=32)
    acc = zeros(f32, [32, 8])
    for k in range(0, K, 128, stages=4, unroll=4):
        a = transpose(cast(load(w, [k, 0], [128, 32]), f16), [1, 0])
        acc = dot(a, transpose(load(x, [0, k], [8, 128]), [1, 0]), acc)
    store(y, [0, 0], acc)
"""


def test_the_loop_that_multiplies_is_counted() -> None:
    found = bw.linear_kernel("u4", activations="f16", target=TARGET, zero_point=False, n=8192, k=8192).report()
    kinds = ("memory", "tensor", "logic", "float", "integer", "convert", "move", "control", "other")
    assert found["main.tensor_per_weight"] == pytest.approx(32 / (16 * 16))  # lanes, weights of one instruction
    assert found["main.issue_slots"] == sum(found[f"main.{kind}"] for kind in kinds)
    assert found["issue_slots_per_weight"] == found["main.issue_slots"] * found["lanes"] / found["main.weights"]


def test_no_other_loop_stands_for_one_that_is_written_out() -> None:
    storage = gpu_storage(bw.dtype("u4"), "f16", bw.target(TARGET))
    found = bw.compile(FEW_STEPS, target=TARGET, L=storage, K=512).report()
    assert found["bytes_per_weight"] == 0.5
    assert not [name for name in found if name.startswith("main.") or name == "issue_slots_per_weight"]


@pytest.mark.parametrize(("element", "slots"), [("u4", 1.4), ("u8", 1.35)])
def test_zero_points_become_floats_by_a_sum(element: str, slots: float) -> None:
    """They are bytes, and so slow a conversion of one of them would be one of the main loop."""
    made = bw.linear_kernel(element, activations="f16", target=TARGET, zero_point=True, n=8192, k=8192)
    found = made.report()
    assert found["main.i2f"] == 0
    assert found["issue_slots_per_weight"] <= slots


@pytest.mark.parametrize(("activations", "slots"), [("f16", 1.1), ("int8", 1.0)])
def test_a_codebook_of_integers_takes_no_table(activations: Literal["f16", "int8"], slots: float) -> None:
    made = bw.linear_kernel("ternary", activations=activations, target=TARGET, n=8192, k=8192)
    assert "copies" not in made.source("cuda")
    assert "table0" not in made.source("cuda")
    assert made.report()["issue_slots_per_weight"] <= slots

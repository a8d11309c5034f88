"""What the library's decode kernel takes for each weight, counted in the machine code that NVIDIA's compiler makes.

Up to 8 rows of x, groups of 128.  The bounds are what the project asks of itself, not what is reached: docs/gpu.md.
"""

from __future__ import annotations

from functools import cache

import pytest

pytest.importorskip("cuda.bindings.nvrtc")

import bitwright as bw

SLOTS = {
    1.15: ("u1", "u2", "u4", "i2", "i4"),
    1.8: ("u3", "u5", "u6", "f3e1m1", "f4e2m1", "f5e2m2", "f6e3m2"),
    2.2: ("u7", "u8", "f8e4m3fn", "nf4"),
}

BF16 = 1.3
"""Times the slots of f16."""


@cache
def kernel(element: str, activations: str) -> bw.Kernel:
    return bw.linear_kernel(element, 128, 8, activations, "cuda:sm_90a", zero_point=False, n=8192, k=8192)


def hold(element: str, activations: str, bound: float) -> None:
    found = kernel(element, activations)
    facts = found.report()
    assert facts["issue_slots_per_weight"] <= bound
    assert facts["local_memory_bytes"] == 0
    assert facts["spills"] == 0
    assert facts["main.i2f"] == 0
    whole = 16 * facts["lanes"] * facts["main.load_128"]  # of what is loaded by 16 bytes of a lane
    assert whole >= facts["main.weights"] * facts["bytes_per_weight"]


@pytest.mark.parametrize(("element", "bound"), [(e, bound) for bound, elements in SLOTS.items() for e in elements])
def test_a_weight_takes_few_issue_slots(element: str, bound: float) -> None:
    hold(element, "f16", bound)


@pytest.mark.parametrize("element", ["u2", "u4", "i4", "u5", "u8", "f4e2m1", "f6e3m2", "nf4"])
def test_bf16_takes_hardly_more_than_f16(element: str) -> None:
    hold(element, "bf16", BF16 * kernel(element, "f16").report()["issue_slots_per_weight"])

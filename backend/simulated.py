"""A lane function in the simulator as a target would run it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .atoms import meanings
from .cuda.block_memory import check_block
from .lane.facts import Facts
from .lane.ir import Function
from .lane.simulate import simulate
from .target import Target

__all__ = ["simulate_on"]


def simulate_on(
    target: Target, function: Function, slots: Sequence[NDArray[np.generic] | int | float], blocks: int
) -> Facts:
    """Runs the blocks with the target's warps, instructions and shared memory, and tells what they did.

    LaneError for what no correct program does; ValueError where a block of the GPU has no room for it.
    """
    if target.kind == "cuda":
        check_block(function, target)
    return simulate(function, slots, blocks, meanings(target), target.warp)

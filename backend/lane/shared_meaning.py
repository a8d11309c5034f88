"""What an instruction means that reads shared memory by itself, while lanes go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .meaning import Lanes

__all__ = ["SharedMeaning", "SharedReader"]

SharedReader = Callable[[NDArray[np.int64], int], NDArray[np.uint8]]
"""[count, size]: the bytes at these places of shared memory."""


@dataclass(frozen=True)
class SharedMeaning:
    """`run(read, *operands)` gives the results.

    role  "start": the results are under way: only another "start" may take them, as its last operands, before a "wait"
          has.  What it reads must stay as it is until then, and be written before a "fence" of all lanes and a barrier
          "wait": as long as its operands, which it gives back, are not there
          "fence": what lanes wrote before may be read so, after a barrier
    takes whether its last operands become its results
    """

    run: Callable[..., tuple[Lanes, ...]]
    role: Literal["start", "wait", "fence"]
    takes: bool = True

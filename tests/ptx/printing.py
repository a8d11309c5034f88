"""What a kernel prints: vprintf, the only function that it may call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from .formats import Mask
from .spaces import Spaces
from .text import Instruction, Name, PtxError, Vector

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["print_values"]


def print_values(m: Machine, i: Instruction, active: Mask) -> None:
    """vprintf, the only function: a format and the address of its values."""
    _, name, given = i.operands
    if not isinstance(name, Name) or name.text != "vprintf" or not isinstance(given, Vector):
        raise PtxError("what function?")
    pattern, values = (m.parameters[o.text] for o in given.items if isinstance(o, Name))
    assert isinstance(pattern, np.ndarray)
    assert isinstance(values, np.ndarray)
    for lane in np.flatnonzero(active):
        m.printed.append(_formatted(m.spaces, m.spaces.text(int(pattern[lane])), int(values[lane]), lane))
    m.parameters["retval0"] = 0


def _formatted(spaces: Spaces, pattern: str, at: int, lane: int) -> str:
    parts = []
    for piece in re.split(r"(%(?:\.9g|lld|d|s))", pattern):
        size = {"%.9g": 8, "%lld": 8, "%s": 8, "%d": 4}.get(piece)
        if size is None:
            parts.append(piece)
            continue
        at = -(-at // size) * size
        raw = spaces.read(np.array([at], np.uint64), size, np.array([lane]), size)
        if piece == "%s":
            parts.append(spaces.text(int(raw.view(np.uint64)[0, 0])))
        else:
            kind = {"%.9g": np.float64, "%lld": np.int64, "%d": np.int32}[piece]
            parts.append(piece.replace("lld", "d") % raw.view(kind)[0, 0])
        at += size
    return "".join(parts)

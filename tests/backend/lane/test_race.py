"""Races in random histories of one buffer, against a list of everything that every lane did."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.backend.lane.race import MANY, AccessError, Touched

LANES, SIZE = 4, 12
EVERY = frozenset(range(LANES))


def clashes(history: list[tuple[str, int, frozenset[int]]], kind: str, byte: int, who: frozenset[int]) -> bool:
    """Whether two different lanes meet at a byte, one of them writing, with no barrier since."""
    return any(
        place == byte and "write" in (kind, did) and any(a != b for a in who for b in others)
        for did, place, others in history
    )


@pytest.mark.parametrize("seed", range(10))
def test_races_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    touched, history, epoch, races = Touched("memory", SIZE), [], 1, 0
    for _ in range(250):
        if rng.random() < 0.3:
            epoch, history = epoch + 1, []
            continue
        kind = "write" if rng.random() < 0.4 else "read"
        size = int(rng.integers(1, 4))
        who = np.flatnonzero(rng.random(LANES) < 0.4)
        first = rng.choice(SIZE - 3, who.size, replace=False) // 3 * 3 if who.size <= 4 else who
        numbers = [frozenset({int(lane)}) for lane in who]
        if kind == "read" and rng.random() < 0.2:
            first, who, numbers = np.array([int(rng.integers(0, SIZE - 3))]), np.array([MANY]), [EVERY]
        elif kind == "write" and len({int(f) for f in first}) < len(first):
            continue  # lanes that write one byte at once must agree: another check
        new = [(kind, int(f) + k, n) for f, n in zip(first, numbers, strict=True) for k in range(size)]
        wrong = any(clashes(history, *event) for event in new)
        act = touched.write if kind == "write" else touched.read
        if wrong:
            races += 1
            with pytest.raises(AccessError, match=r"a race: .* of memory"):
                act(epoch, first, size, who)
            epoch, history = epoch + 1, []
        else:
            act(epoch, first, size, who)
            history += new
    assert races > 0

"""Swizzles by enumeration; bank conflicts against a walk through the phases, and against known access patterns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.vm.layout.swizzle import Swizzle, bank_conflicts

law = settings(deadline=None, max_examples=100)
swizzles = st.integers(0, 3).flatmap(
    lambda bits: st.builds(Swizzle, st.just(bits), st.integers(0, 4), st.integers(bits, 5))
)


@law
@given(swizzles, st.integers(0, 3))
def test_a_swizzle_is_its_own_inverse_within_each_period(s: Swizzle, block: int) -> None:
    first = block * s.period
    moved = [s.apply(a) for a in range(first, first + s.period)]
    assert sorted(moved) == list(range(first, first + s.period))
    assert [s.inverse.apply(a) for a in moved] == list(range(first, first + s.period))


@law
@given(swizzles)
def test_a_swizzle_xors_the_stated_bits(s: Swizzle) -> None:
    for a in range(min(2 * s.period, 4096)):
        want = a
        for k in range(s.bits):
            want ^= (a >> (s.base + s.shift + k) & 1) << (s.base + k)
        assert s.apply(a) == want


def test_arrays_and_numbers_agree() -> None:
    s = Swizzle(3, 4, 3)
    assert s.apply(np.arange(2048)).tolist() == [s.apply(a) for a in range(2048)]


@pytest.mark.parametrize("wrong", [(2, 0, 1), (-1, 0, 0), (1, -1, 2), (3, 50, 30)])
def test_a_map_that_nothing_undoes_is_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="bit"):
        Swizzle(*wrong)


def walk(addresses: list[int], width: int) -> int:
    """Phase by phase, bank by bank, lane by lane."""
    extra, group = 0, min(32, 128 // width)
    for first in range(0, len(addresses), group):
        banks: dict[int, set[int]] = {}
        for address in addresses[first : first + group]:
            for byte in range(address, address + width):
                banks.setdefault(byte // 4 % 32, set()).add(byte // 4)
        extra += max(len(words) for words in banks.values()) - 1
    return extra


@law
@given(st.sampled_from((1, 2, 4, 8, 16)), st.lists(st.integers(0, 300), min_size=1, max_size=32))
def test_bank_conflicts_by_walking(width: int, places: list[int]) -> None:
    addresses = [p * width for p in places]
    assert bank_conflicts(addresses, width) == walk(addresses, width)
    assert bank_conflicts(np.array(addresses), width) == walk(addresses, width)


def test_known_patterns() -> None:
    assert bank_conflicts(range(0, 128, 4), 4) == 0  # neighbours
    assert bank_conflicts([0] * 32, 4) == 0  # a broadcast
    assert bank_conflicts(range(0, 32 * 128, 128), 4) == 31  # a column of a 32 x 32 f32 tile
    assert bank_conflicts(range(0, 32 * 132, 132), 4) == 0  # the same, padded by one word
    assert bank_conflicts(range(0, 512, 16), 16) == 0


def test_the_128_byte_swizzle_frees_ldmatrix_rows() -> None:
    """Eight rows of 16 bytes in a tile with rows of 128 bytes: one bank group without the swizzle, all with it."""
    swizzle = Swizzle(3, 4, 3)
    for column in range(8):
        rows = [row * 128 + column * 16 for row in range(8)]
        assert bank_conflicts(rows, 16) == 7
        assert bank_conflicts([swizzle.apply(a) for a in rows], 16) == 0


@pytest.mark.parametrize(("addresses", "width"), [([0], 3), ([2], 4), ([-4], 4)])
def test_impossible_accesses_are_refused(addresses: list[int], width: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        bank_conflicts(addresses, width)

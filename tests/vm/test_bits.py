"""Dense bit streams against one big Python integer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.vm.bits import BitsError, pack, packed_size, unpack


def stream_of(codes: list[int], bits: int) -> bytes:
    """The definition: code i at bit i * bits of one little-endian integer."""
    whole = sum(code << (i * bits) for i, code in enumerate(codes))
    return whole.to_bytes((len(codes) * bits + 7) // 8, "little")


@st.composite
def codes_and_width(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(st.integers(1, 64))
    return draw(st.lists(st.integers(0, 2**bits - 1), max_size=70)), bits


@given(codes_and_width())
def test_pack_is_one_little_endian_integer(case: tuple[list[int], int]) -> None:
    codes, bits = case
    packed = pack(np.array(codes, np.uint64), bits)
    assert packed.dtype == np.uint8
    assert packed.tobytes() == stream_of(codes, bits)
    assert packed.size == packed_size(len(codes), bits)


@given(codes_and_width(), st.binary(max_size=9))
def test_unpack_reads_the_integer_back(case: tuple[list[int], int], rest: bytes) -> None:
    codes, bits = case
    found = unpack(stream_of(codes, bits) + rest, bits, len(codes))
    assert found.tolist() == codes
    assert found.dtype.itemsize * 8 == max(8, 1 << (bits - 1).bit_length())


@pytest.mark.parametrize("bits", [*range(1, 10), 12, 16, 17, 31, 33, 64])
def test_streams_longer_than_a_step(bits: int) -> None:
    generator = np.random.default_rng(bits)
    codes = generator.integers(0, 2**bits - 1, 70_001, np.uint64, endpoint=True)
    packed = pack(codes, bits)
    # The bits one by one: bit j of the stream is bit j % bits of code j // bits.
    single = np.unpackbits(packed, bitorder="little")
    for j in [*generator.integers(0, codes.size * bits, 500).tolist(), codes.size * bits - 1]:
        assert single[j] == int(codes[j // bits]) >> (j % bits) & 1
    assert np.array_equal(unpack(packed, bits, codes.size), codes)


def test_an_unfinished_byte_is_filled_with_zeros() -> None:
    assert pack([7], 3).tolist() == [7]
    assert unpack(b"\xff", 3, 1).tolist() == [7]


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint32, np.int64])
def test_codes_come_as_any_integer_type_and_shape(kind: type) -> None:
    codes = np.arange(24, dtype=kind).reshape(2, 3, 4) % 8
    assert pack(codes, 3).tobytes() == stream_of([i % 8 for i in range(24)], 3)
    assert pack(codes.transpose(), 3).tobytes() == stream_of([int(c) for c in codes.transpose().ravel()], 3)


def test_masks_pack_as_single_bits() -> None:
    assert pack(np.array([True, False, True]), 1).tolist() == [5]


def test_nothing_packs_to_nothing() -> None:
    assert pack([], 5).size == 0
    assert unpack(b"", 5, 0).size == 0


@pytest.mark.parametrize(
    ("codes", "bits", "message"),
    [
        ([8], 3, "code 8 does not fit 3 bits"),
        ([-1], 3, "code -1 does not fit 3 bits"),
        ([0.5], 3, "must be integers"),
        ([1], 0, "1 to 64"),
        ([1], 65, "1 to 64"),
    ],
)
def test_wrong_codes_are_refused(codes: list[float], bits: int, message: str) -> None:
    with pytest.raises(BitsError, match=message):
        pack(codes, bits)


def test_code_that_fits_its_container_but_not_the_width_is_refused() -> None:
    with pytest.raises(BitsError, match="code 200"):
        pack(np.array([1, 200], np.uint8), 7)


def test_short_or_strange_streams_are_refused() -> None:
    with pytest.raises(BitsError, match="has 2 bytes, but 6 codes of 3 bits take 3"):
        unpack(bytes(2), 3, 6)
    with pytest.raises(BitsError, match="uint8"):
        unpack(np.zeros(4, np.uint16), 3, 6)  # type: ignore[arg-type]
    with pytest.raises(BitsError, match="negative"):
        unpack(b"", 3, -1)

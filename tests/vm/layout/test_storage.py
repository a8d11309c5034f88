"""Storage against a slow oracle: whole memory as one Python integer, one bit at a time, from the stated formulas."""

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.vm.layout.relation import Digit, Layout
from bitwright.vm.layout.storage import Packing, StorageError, Tiled, default_planes
from bitwright.vm.layout.views import column_local, column_spatial, local, replicate, spatial

law = settings(deadline=None, max_examples=60)


def bit_in_lane(packing: Packing, regs: int, r: int, bit: int) -> int:
    """Where a bit of register r is in its lane's words, by the definition of planes and fields."""
    if packing.fields:
        slots, elements = 32 // packing.container, len(packing.fields) // packing.bits
        block, rest = divmod(r, slots * elements)
        place = packing.fields[rest // slots * packing.bits + bit]
        word = block * (len(packing.fields) // packing.container) + place // packing.container
        return word * 32 + rest % slots * packing.container + place % packing.container
    if not packing.planes:
        return r * packing.bits + bit
    container, first = packing.container, 0
    for p in packing.planes:
        if bit < p:
            slot, j = r % (32 // container), r // (32 // container) % (container // p)
            return (first + r // (32 // p)) * 32 + slot * container + j * p + bit
        bit -= p
        first += -(-regs // (32 // p))
    raise AssertionError("the planes hold fewer bits than the element")


def words_of_lane(packing: Packing, regs: int) -> int:
    if packing.fields:
        block = 32 // packing.container * (len(packing.fields) // packing.bits)
        return -(-regs // block) * (len(packing.fields) // packing.container)
    if not packing.planes:
        return -(-regs * packing.bits // 32)
    return sum(-(-regs // (32 // p)) for p in packing.planes)


def oracle(how: Tiled, codes: np.ndarray, fill: int = 0) -> bytes:
    tile = {p[:-2]: p[-2:] for p in how.tile.points(*(f"d{k}" for k in range(codes.ndim)), "lane", "reg")}
    extents = [1 + max(at[k] for at in tile) for k in range(codes.ndim)]
    counts = [-(-n // t) for n, t in zip(codes.shape, extents, strict=True)]
    lanes, regs = (1 + max(place[k] for place in tile.values()) for k in (0, 1))
    per_lane = -(-words_of_lane(how.packing, regs) // how.vector) * how.vector
    memory = 0
    for which in product(*(range(n) for n in counts)):
        number = sum(t * prod(counts[:k]) for k, t in enumerate(which))
        for at, (lane, reg) in tile.items():
            index = tuple(t * e + i for t, e, i in zip(which, extents, at, strict=True))
            inside = all(i < n for i, n in zip(index, codes.shape, strict=True))
            code = int(codes[index]) if inside else fill
            for bit in range(how.packing.bits):
                w, position = divmod(bit_in_lane(how.packing, regs, reg, bit), 32)
                v = how.vector
                word = number * lanes * per_lane + w // v * lanes * v + lane * v + w % v
                memory |= (code >> bit & 1) << (word * 32 + position)
    return memory.to_bytes(prod(counts) * lanes * per_lane * 4, "little")


def check(how: Tiled, shape: tuple[int, ...], seed: int, fill: int = 0) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << how.packing.bits, shape)
    want = oracle(how, codes, fill)
    packed = how.pack(codes, fill)
    assert packed.dtype == np.uint8
    assert how.nbytes(shape) == len(want)
    assert packed.tobytes() == want
    assert np.array_equal(how.unpack(want, shape), codes)
    assert np.array_equal(how.unpack(packed, shape), codes)


PACKINGS = [
    Packing(bits, container, default_planes(bits))
    for bits in range(1, 9)
    for container in (8, 16, 32)
]  # fmt: skip
TILES = [
    local(8, 1) * spatial(1, 4),
    spatial(2, 4) * local(1, 5),
    local(2, 1) * spatial(4, 2) * local(1, 2),
    column_local(3, 5) * column_spatial(3, 2),
]


@pytest.mark.parametrize("packing", [*PACKINGS, *(Packing.dense(bits) for bits in range(1, 9))], ids=str)
def test_every_width_and_container(packing: Packing) -> None:
    for k, tile in enumerate(TILES):
        check(Tiled(tile, packing, vector=1 + k % 3), (13, 11), seed=k, fill=(1 << packing.bits) - 1)


@pytest.mark.parametrize(
    "packing",
    [
        Packing(3, 8, (1, 2)),
        Packing(7, 16, (1, 4, 2)),
        Packing(5, 8, (1, 1, 1, 2)),
        Packing(8, 8, (4, 4)),
        Packing(12, 16, (8, 4)),
        Packing(16, 16, (16,)),
        Packing(24, 32, (16, 8)),
        Packing(32, 32, (32,)),
        Packing(3, 16, (), 0, tuple(reversed(range(48)))),
        Packing(6, 16, (), 0, tuple(5 * k % 48 for k in range(48))),
        Packing(4, 8, (), 0, (7, 0, 3, 1, 2, 6, 5, 4)),
        Packing.dense(11),
        Packing.dense(31),
    ],
    ids=str,
)
def test_other_planes_and_wider_elements(packing: Packing) -> None:
    check(Tiled(TILES[1], packing), (5, 21), seed=packing.bits)


@law
@given(st.data())
def test_any_tile_shape_and_vector(data: st.DataObject) -> None:
    small = st.integers(1, 3)
    views = data.draw(st.lists(st.sampled_from((local, spatial, column_local, column_spatial)), min_size=1, max_size=3))
    rank = data.draw(st.integers(1, 3))
    tile = Layout()
    for view in views:
        tile = tile * view(*(data.draw(small) for _ in range(rank)))
    packing = data.draw(st.sampled_from([*PACKINGS, Packing.dense(3), Packing.dense(7)]))
    shape = tuple(data.draw(st.integers(1, 7)) for _ in range(rank))
    if tile.count * prod(shape) <= 3000:
        check(Tiled(tile, packing, data.draw(st.integers(1, 4))), shape, seed=0)


@pytest.mark.parametrize("packing", [*PACKINGS, Packing.dense(5)], ids=str)
@pytest.mark.parametrize("regs", [1, 4, 7, 32, 33])
def test_place_and_pieces_agree_with_the_definition(packing: Packing, regs: int) -> None:
    want = [[bit_in_lane(packing, regs, r, b) for b in range(packing.bits)] for r in range(regs)]
    assert packing.place(regs).tolist() == want
    assert packing.total_words(regs) == words_of_lane(packing, regs)
    moved = {(p.reg, p.low + k): p.word * 32 + p.shift + k for p in packing.pieces(regs) for k in range(p.width)}
    assert moved == {(r, b): at for r, row in enumerate(want) for b, at in enumerate(row)}
    assert all(p.shift + p.width <= 32 for p in packing.pieces(regs))


def test_positions_are_where_pack_puts_the_bits() -> None:
    how = Tiled(TILES[1], Packing(5, 8, (4, 1)), vector=2)
    positions = how.positions()
    assert len(set(positions.ravel().tolist())) == how.tile.count * 5
    for i, j, lane, reg in how.tile.points("d0", "d1", "lane", "reg"):
        codes = np.zeros(how.tile_shape, np.uint8)
        codes[i, j] = 31
        found = int.from_bytes(how.pack(codes).tobytes(), "little")
        assert found == sum(1 << int(p) for p in positions[lane, reg])


def test_word_index_matches_positions() -> None:
    how = Tiled(spatial(4) * local(12), Packing(8, 8, (8,)), vector=2)
    for lane in range(4):
        first = how.positions()[lane, ::4, 0] // 32
        assert first.tolist() == [how.word_index(w, lane) for w in range(3)]
    assert (how.words_per_lane, how.tile_bytes) == (4, 64)  # three words, padded to whole vectors


def test_no_planar_field_crosses_its_container() -> None:
    for packing in PACKINGS:
        for p in packing.pieces(64):
            assert p.shift // packing.container == (p.shift + p.width - 1) // packing.container


def test_one_mask_finds_the_fields_of_neighbours() -> None:
    """u5 in bytes: plane 4 of registers 0..3 is the low nibble of the four bytes of word 0."""
    pieces = {(p.reg, p.low): p for p in Packing(5, 8, (4, 1)).pieces(32)}
    assert [(pieces[r, 0].word, pieces[r, 0].shift, pieces[r, 0].width) for r in range(4)] == [
        (0, 0, 4),
        (0, 8, 4),
        (0, 16, 4),
        (0, 24, 4),
    ]
    assert [pieces[r, 0].shift for r in range(4, 8)] == [4, 12, 20, 28]
    assert {pieces[r, 4].word for r in range(32)} == {4}  # 32 registers of plane 1 fill the word after four of plane 4


@pytest.mark.parametrize("bits", range(1, 33))
def test_default_planes_are_the_binary_digits(bits: int) -> None:
    planes = default_planes(bits)
    assert sum(planes) == bits
    assert list(planes) == sorted(set(planes), reverse=True)
    assert all(bin(p).count("1") == 1 for p in planes)


def test_large_array_comes_back() -> None:
    how = Tiled(local(32, 1) * spatial(1, 16), Packing(3, 8, (2, 1)))
    codes = np.random.default_rng(1).integers(0, 8, (1024, 1000), np.uint8)
    packed = how.pack(codes)
    assert packed.size == 1024 * 1008 * 3 // 8
    assert np.array_equal(how.unpack(packed, codes.shape), codes)


def test_arrays_of_more_dimensions_and_none() -> None:
    check(Tiled(spatial(4) * local(3), Packing(3, 8, (2, 1))), (9, 2, 3), seed=5)
    how = Tiled(spatial(4), Packing(4, 32, (4,)))
    assert how.pack(np.zeros((0,), np.uint8)).size == how.nbytes((0,)) == 0
    assert how.unpack(b"", (0,)).shape == (0,)


def test_any_integer_type_and_order_of_codes() -> None:
    how = Tiled(spatial(4, 2) * local(2, 2), Packing(6, 8, (4, 2)))
    codes = np.random.default_rng(2).integers(0, 64, (16, 8))
    want = how.pack(codes)
    for other in (
        codes.astype(np.int8),
        np.asfortranarray(codes),
        codes.astype(np.uint32),
        np.repeat(codes, 2, 1)[:, ::2],
    ):
        assert np.array_equal(how.pack(other), want)
    assert how.unpack(want, codes.shape).dtype == np.uint8
    strided = np.repeat(want, 2)[::2]
    assert np.array_equal(how.unpack(strided, codes.shape), codes)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Packing(0, 8, ()), "1 to 32 bits"),
        (lambda: Packing(3, 12, (2, 1)), "8, 16 or 32"),
        (lambda: Packing(3, 8, (3,)), "power of two"),
        (lambda: Packing(3, 8, (2, 2)), "hold 4 bits"),
        (lambda: Packing(16, 8, (16,)), "wider than the container"),
        (lambda: Packing(3, 8, ()), "dense storage"),
        (lambda: Packing(4, 8, (4,), 0, tuple(range(8))), "fields or planes"),
        (lambda: Packing(4, 16, (), 0, tuple(range(8))), "each place from 0 on once"),
        (lambda: Packing(4, 8, (), 0, (0, 1, 2, 3, 4, 5, 6, 6)), "each place from 0 on once"),
        (lambda: Tiled(spatial(4) * replicate(2), Packing.dense(3)), "one register of one lane"),
        (lambda: Tiled(Layout((Digit.make(4, {"d0": 2, "lane": 1}),)), Packing.dense(3)), "one register of one lane"),
        (lambda: Tiled(spatial(4).rename(lane="mem"), Packing.dense(3)), "'mem'"),
        (lambda: Tiled(spatial(4), Packing.dense(3), 0), "at least 1 word"),
        (lambda: Tiled(spatial(4), Packing.dense(3)).pack(np.array([8])), "code 8 does not fit 3 bits"),
        (lambda: Tiled(spatial(4), Packing.dense(3)).pack(np.array([-1])), "code -1 does not fit"),
        (lambda: Tiled(spatial(4), Packing.dense(3)).pack(np.array([1]), fill=9), "code 9 does not fit"),
        (lambda: Tiled(spatial(4), Packing.dense(3)).pack(np.array([1.0])), "encoded first"),
        (lambda: Tiled(spatial(4, 4), Packing.dense(3)).pack(np.array([1])), "fewer dimensions"),
        (lambda: Tiled(spatial(4), Packing.dense(3)).unpack(b"1234", (4,)), "takes 16 bytes"),
        (lambda: Tiled(spatial(4), Packing.dense(3)).unpack(np.zeros(16, np.int8), (4,)), "bytes"),
    ],
)
def test_mistakes_are_explained(make: object, reason: str) -> None:
    assert callable(make)
    with pytest.raises(StorageError, match=reason):
        make()

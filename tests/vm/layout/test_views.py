"""The views, each against the points that its definition gives; hardware fragments against their vendor's formulas."""

from collections import Counter
from functools import reduce as fold

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.vm.layout.relation import Digit, Layout, LayoutError
from bitwright.vm.layout.views import (
    address,
    aligned_run,
    column_local,
    column_spatial,
    contiguous,
    dense,
    expand,
    in_bits,
    inverse,
    local,
    reduce,
    replicate,
    reshape,
    spatial,
    strided,
    transpose,
)

law = settings(deadline=None, max_examples=60)
small = st.integers(1, 3)
atoms = st.builds(
    lambda view, m, n: view(m, n), st.sampled_from([spatial, local, column_spatial, column_local]), small, small
)
tiles = (
    st.lists(atoms, min_size=1, max_size=3).map(lambda xs: fold(Layout.__mul__, xs)).filter(lambda x: x.count <= 144)
)
Points = list[tuple[int, ...]]


def where(x: Layout, *axes: str) -> Points:
    return sorted(x.points(*axes))


@pytest.mark.parametrize(("view", "place"), [(spatial, "lane"), (local, "reg"), (dense, "mem")])
def test_row_major_views(view: type, place: str) -> None:
    want = sorted((i, j, k, (i * 3 + j) * 4 + k) for i in range(2) for j in range(3) for k in range(4))
    assert where(view(2, 3, 4), "d0", "d1", "d2", place) == want


@pytest.mark.parametrize(("view", "place"), [(column_spatial, "lane"), (column_local, "reg")])
def test_column_major_views(view: type, place: str) -> None:
    want = sorted((i, j, k, i + 2 * (j + 3 * k)) for i in range(2) for j in range(3) for k in range(4))
    assert where(view(2, 3, 4), "d0", "d1", "d2", place) == want


def test_strided_memory_has_pitch_and_broadcast() -> None:
    assert where(strided((3, 2), (17, 0)), "d0", "d1", "mem") == [(i, j, 17 * i) for i in range(3) for j in range(2)]
    with pytest.raises(LayoutError, match="length"):
        strided((3, 2), (1,))
    with pytest.raises(LayoutError, match="below 1"):
        spatial(3, 0)


def test_mma_m16n8k16_fragment_a() -> None:
    fragment = column_local(2, 2) * spatial(8, 4) * local(1, 2)
    for row, column, lane, i in fragment.points("d0", "d1", "lane", "reg"):  # PTX ISA, m16n8k16, .f16: a0 .. a7
        assert row == lane // 4 + (0 if i in (0, 1, 4, 5) else 8)
        assert column == lane % 4 * 2 + i % 2 + (8 if i >= 4 else 0)
    assert (fragment.shape, fragment.count) == ((16, 16), 256)


def test_mma_m16n8k16_fragment_b() -> None:
    fragment = local(2, 1) * column_spatial(4, 8) * local(2, 1)
    for row, column, lane, i in fragment.points("d0", "d1", "lane", "reg"):
        assert row == lane % 4 * 2 + i % 2 + (8 if i >= 2 else 0)
        assert column == lane // 4
    assert (fragment.shape, fragment.count) == ((16, 8), 128)


def test_mma_m16n8k16_fragment_c() -> None:
    fragment = local(2, 1) * spatial(8, 4) * local(1, 2)
    for row, column, lane, i in fragment.points("d0", "d1", "lane", "reg"):
        assert (row, column) == (lane // 4 + (8 if i >= 2 else 0), lane % 4 * 2 + i % 2)
    assert (fragment.shape, fragment.count) == ((16, 8), 128)


@law
@given(tiles, st.data())
def test_reshape_moves_no_element(a: Layout, data: st.DataObject) -> None:
    m, n = a.size("d0"), a.size("d1")
    flat = reshape(a, (m, n), (m * n,))
    want = sorted((i * n + j, lane, reg) for i, j, lane, reg in a.points("d0", "d1", "lane", "reg"))
    assert where(flat, "d0", "lane", "reg") == want
    p = data.draw(st.sampled_from([k for k in range(1, m * n + 1) if m * n % k == 0]))
    try:
        other = reshape(a, (m, n), (p, m * n // p))
    except LayoutError:
        return
    assert sorted((i * (m * n // p) + j, t, r) for i, j, t, r in other.points("d0", "d1", "lane", "reg")) == want
    assert reshape(other, (p, m * n // p), (m, n)) == a


def test_reshape_among_powers_of_two_always_works() -> None:
    x = local(2, 1) * spatial(8, 4) * local(1, 2)
    assert reshape(x, (16, 8), (4, 4, 8)).shape == (4, 4, 8)
    assert reshape(reshape(x, (16, 8), (2, 64)), (2, 64), (16, 8)) == x


def test_reshape_checks_sizes() -> None:
    with pytest.raises(LayoutError, match="different numbers"):
        reshape(spatial(8, 4), (8, 4), (8, 5))
    with pytest.raises(LayoutError, match="not inside"):
        reshape(spatial(8, 4), (4, 8), (32,))


@law
@given(tiles)
def test_transpose_exchanges(a: Layout) -> None:
    swapped = transpose(a)
    assert where(swapped, "d1", "d0", "lane", "reg") == where(a, "d0", "d1", "lane", "reg")
    assert transpose(swapped) == a


def test_transpose_follows_numpy() -> None:
    x = transpose(spatial(2, 3, 4), (2, 0, 1))
    assert x.shape == (4, 2, 3)
    assert where(x, "d1", "d2", "d0", "lane") == where(spatial(2, 3, 4), "d0", "d1", "d2", "lane")
    with pytest.raises(LayoutError, match="no order"):
        transpose(spatial(2, 3, 4), (1, 0))


@law
@given(tiles, st.sampled_from((0, 1)), st.booleans())
def test_reduce_leaves_each_result_with_every_lane_that_had_a_part(a: Layout, dim: int, keepdim: bool) -> None:
    result = reduce(a, dim, keepdim=keepdim)
    kept = "d0" if dim == 1 or not keepdim else "d1"
    held = {(p[1 - dim], p[2]) for p in a.points("d0", "d1", "lane", "reg")}
    assert {(i, lane) for i, lane in result.points(kept, "lane")} == held
    places = Counter(result.points("lane", "reg"))
    registers = {r for _, r in places}
    assert set(places.values()) == {1}  # one result per register ..
    assert registers == set(range(len(registers)))  # .. and none lies idle
    assert result.size("lane") == a.size("lane")
    assert result.size(f"d{dim}") == 1 or not keepdim
    per_lane = Counter(lane for lane, _ in places)
    assert all(per_lane[lane] == len({i for i, t in held if t == lane}) for lane in per_lane)


def test_reduce_by_example() -> None:
    assert reduce(spatial(8, 4), 1) == spatial(8) * replicate(4)
    fragment = local(2, 1) * spatial(8, 4) * local(1, 2)
    assert reduce(fragment, 1) == local(2) * spatial(8) * replicate(4)
    assert reduce(local(2, 3, 4), 1) == local(2, 4)
    assert reduce(local(2, 3, 4), 1, keepdim=True) == local(2, 1, 4)


def test_reduce_refuses_registers_on_a_diagonal() -> None:
    with pytest.raises(LayoutError, match="another axis at once"):
        reduce(Layout((Digit.make(4, {"d0": 1, "d1": 1, "reg": 1}),)), 1)


@law
@given(tiles, st.sampled_from((0, 1)), st.integers(1, 4))
def test_expand_repeats_in_registers(a: Layout, dim: int, extent: int) -> None:
    row = reduce(a, dim, keepdim=True)
    wide = expand(row, dim, extent)
    kept, count = f"d{1 - dim}", row.size("reg")
    want = sorted(
        (i, j, lane, reg + j * count) for i, lane, reg in row.points(kept, "lane", "reg") for j in range(extent)
    )
    assert where(wide, kept, f"d{dim}", "lane", "reg") == want


def test_expand_needs_a_size_of_one() -> None:
    with pytest.raises(LayoutError, match="size of 1"):
        expand(spatial(2, 2), 0, 4)


def test_inverse_undoes_a_transfer() -> None:
    transfer = address(local(2, 3), dense(3, 2).rename(d0="d1", d1="d0"))
    back = inverse(transfer, "reg", "mem")
    assert {(m, r) for r, m in transfer.points("reg", "mem")} == set(back.points("reg", "mem"))
    there_and_back = transfer.rename(mem="via") @ back.rename(mem="via", reg="end").rename(via="end", end="via")
    assert there_and_back == Layout((Digit.make(6, {"reg": 1, "end": 1}),))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("unit", [8, 16, 32])
def test_any_width_is_reinterpreted(bits: int, unit: int) -> None:
    """`unit` weights of b bits per lane are b units per lane: two layouts, one relation."""
    weights, units = in_bits(spatial(32) * local(unit), bits), in_bits(spatial(32) * local(bits), unit)

    def stream(x: Layout, count: int, width: int) -> Layout:
        return reshape(x.rename(bit="d1"), (count, width), (count * width,))

    assert stream(weights, 32 * unit, bits) == stream(units, 32 * bits, unit)
    for element, bit, lane, place in weights.points("d0", "bit", "lane", "reg"):
        assert (lane, place) == divmod(element * bits + bit, unit * bits)


@pytest.mark.parametrize(("registers", "other"), [(spatial(8) * local(8), 5), (spatial(4) * local(3), 7)])
def test_reinterpretation_tells_different_relations_apart(registers: Layout, other: int) -> None:
    plain = in_bits(registers, other)
    mixed = in_bits(local(registers.size("reg")) * spatial(registers.size("lane")), other)
    assert plain.count == mixed.count
    assert plain != mixed


@law
@given(tiles, st.integers(0, 4), st.integers(0, 3), st.booleans())
def test_address_is_where_the_elements_are(a: Layout, wide: int, tall: int, column: bool) -> None:
    """A tile meets an array of any size that holds it, also of one that it does not divide."""
    rows, columns = a.size("d0") + tall, a.size("d1") + wide
    steps = (1, rows) if column else (columns, 1)
    found = address(a, strided((rows, columns), steps))
    want = [(t, r, i * steps[0] + j * steps[1]) for i, j, t, r in a.points("d0", "d1", "lane", "reg")]
    assert where(found, "lane", "reg", "mem") == sorted(want)


def test_address_never_drops_a_register() -> None:
    with pytest.raises(LayoutError, match="d1 reaches 8"):
        address(local(2, 8), dense(2, 4))


numbers = st.sampled_from((1, 2, 3, 4, 6, 8, 16))
transfer_digits = st.lists(
    st.builds(
        Digit.make,
        st.sampled_from((2, 3, 4)),
        st.dictionaries(st.sampled_from(("lane", "reg", "mem")), numbers, min_size=1, max_size=3),
    ),
    max_size=3,
)
transfers = st.builds(
    lambda run, others: Layout((Digit.make(run, {"reg": 1, "mem": 1}), *others)), st.integers(1, 6), transfer_digits
)


def longest_run(points: Points, size: int) -> int:
    """By trial: the longest r dividing `size` such that aligned runs of r registers are at r consecutive addresses."""
    at = {(lane, reg): mem for lane, reg, mem in points}
    fits = [
        r
        for r in range(1, size + 1)
        if size % r == 0 and all(at[lane, reg] == at[lane, reg // r * r] + reg % r for lane, reg in at)
    ]
    return max(fits)


@law
@given(transfers)
def test_contiguous_is_sound_for_every_transfer(x: Layout) -> None:
    """Whatever the digits: register r and r + 1 of a run, counted the same otherwise, are neighbours in memory."""
    points = set(x.points("lane", "reg", "mem"))
    run = contiguous(x)
    for lane, reg, mem in points:
        first = (lane, reg - reg % run, mem - reg % run)
        assert all((lane, first[1] + k, first[2] + k) in points for k in range(run))
        assert aligned_run(x) == 1 or first[2] % aligned_run(x) == 0
    assert run % aligned_run(x) == 0


@law
@given(tiles, st.integers(0, 2), st.booleans())
def test_contiguous_is_the_longest_run_of_a_tile(a: Layout, wide: int, turned: bool) -> None:
    memory = dense(a.size("d0"), a.size("d1") + wide)
    if turned:
        memory = transpose(dense(a.size("d1"), a.size("d0") + wide))
    transfer = address(a, memory)
    assert contiguous(transfer) == longest_run(list(transfer.points("lane", "reg", "mem")), a.size("reg"))


def test_vector_width_in_bits() -> None:
    tile, memory = in_bits(spatial(4, 8) * local(1, 8), 6), in_bits(dense(4, 64), 6, "mem")
    assert contiguous(address(tile, memory)) == 48  # eight values of six bits: one run per lane
    pitched = address(spatial(4, 8) * local(1, 8), strided((4, 64), (66, 1)))
    assert (contiguous(pitched), aligned_run(pitched)) == (8, 2)

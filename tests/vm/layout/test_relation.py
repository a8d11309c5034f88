"""The laws of the algebra. Each is stated on `points`, the enumeration, which is what a layout means."""

from collections import Counter
from functools import reduce
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.vm.layout.relation import Digit, Layout, LayoutError
from bitwright.vm.layout.views import column_local, column_spatial, dense, local, replicate, spatial

AXES = ("d0", "d1", "lane", "mem", "reg")
law = settings(deadline=None, max_examples=80)


def small_enough(x: Layout) -> bool:
    """Few enough points to enumerate pairs of them."""
    return x.count <= 72


small = st.integers(1, 3)
atoms = st.builds(
    lambda view, m, n: view(m, n), st.sampled_from([spatial, local, column_spatial, column_local]), small, small
)
copies = st.builds(replicate, st.integers(1, 3))
tiles = st.lists(atoms, min_size=1, max_size=3).map(lambda xs: reduce(Layout.__mul__, xs)).filter(small_enough)
tiles_with_copies = (
    st.lists(atoms | copies, min_size=1, max_size=4).map(lambda xs: reduce(Layout.__mul__, xs)).filter(small_enough)
)
# Digits with nothing in common: they overlap, leave gaps, run along diagonals.
digits = st.builds(
    Digit.make, st.integers(1, 6), st.dictionaries(st.sampled_from(("d0", "lane")), st.integers(0, 6), max_size=2)
)
bags = st.lists(digits, max_size=5).map(tuple)


def raw_points(pieces: tuple[Digit, ...], axes: tuple[str, ...] = AXES) -> Counter[tuple[int, ...]]:
    """The points of digits that no canonical form has touched; idle digits count once."""
    pieces = tuple(d for d in pieces if d.strides)
    found: Counter[tuple[int, ...]] = Counter()
    for counts in product(*(range(d.extent) for d in pieces)):
        found[tuple(sum(c * d.on(a) for c, d in zip(counts, pieces, strict=True)) for a in axes)] += 1
    return found


@law
@given(bags)
def test_canonical_keeps_every_point(pieces: tuple[Digit, ...]) -> None:
    assert Counter(Layout(pieces).points(*AXES)) == raw_points(pieces)


@law
@given(bags, bags)
def test_layouts_are_equal_exactly_when_their_points_are(a: tuple[Digit, ...], b: tuple[Digit, ...]) -> None:
    same = raw_points(a) == raw_points(b)
    assert (Layout(a) == Layout(b)) == same
    assert (str(Layout(a)) == str(Layout(b))) == same
    if same:
        assert hash(Layout(a)) == hash(Layout(b))


@law
@given(bags, st.data())
def test_any_splitting_and_order_gives_one_form(pieces: tuple[Digit, ...], data: st.DataObject) -> None:
    cut: list[Digit] = []
    for d in pieces:
        inner = data.draw(st.sampled_from([k for k in range(1, d.extent + 1) if d.extent % k == 0]))
        outer = Digit.make(d.extent // inner, {a: s * inner for a, s in d.strides})
        cut += [Digit(inner, d.strides), outer]
    assert Layout(tuple(data.draw(st.permutations(cut)))) == Layout(pieces)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (((2, 1), (2, 2), (3, 2)), ((4, 1), (3, 2))),  # 2:1 may merge with either of two digits
        (((2, 1), (2, 2), (3, 2)), ((6, 1), (2, 2))),
        (((2, 1), (3, 1), (3, 2), (2, 3)), ((6, 1), (6, 1))),  # the touching digits are no neighbours
        (((3, 1), (2, 3)), ((2, 1), (3, 2))),
    ],
)
def test_forms_that_merging_neighbours_would_not_find(
    one: tuple[tuple[int, int]], other: tuple[tuple[int, int]]
) -> None:
    first, second = (Layout(tuple(Digit.make(e, {"d0": s}) for e, s in x)) for x in (one, other))
    assert Counter(first.points("d0")) == Counter(second.points("d0"))
    assert first == second


@law
@given(tiles_with_copies, tiles_with_copies, tiles_with_copies)
def test_product_is_associative_with_one_point_as_unit(a: Layout, b: Layout, c: Layout) -> None:
    assert (a * b) * c == a * (b * c)
    assert a * Layout() == a == Layout() * a


@law
@given(tiles_with_copies, tiles_with_copies)
def test_product_puts_a_copy_of_the_inner_at_every_outer_point(a: Layout, b: Layout) -> None:
    sizes = [b.size(x) for x in AXES]
    want = Counter(
        tuple(o * n + i for o, i, n in zip(outer, inner, sizes, strict=True))
        for outer in a.points(*AXES)
        for inner in b.points(*AXES)
    )
    assert Counter((a * b).points(*AXES)) == want
    assert all((a * b).size(x) == a.size(x) * b.size(x) for x in AXES)


def test_copies_survive_and_count() -> None:
    assert (spatial(8) * replicate(4)).size("lane") == 32
    assert spatial(8) * replicate(4) != spatial(8)
    assert spatial(2) * (replicate(4) * spatial(8)) == (spatial(2) * replicate(4)) * spatial(8)


@law
@given(bags, bags)
def test_join_is_composition_or_an_error(a: tuple[Digit, ...], b: tuple[Digit, ...]) -> None:
    """Also where digits overlap or one side reaches further: never a wrong answer."""
    one, other = Layout(a).rename(lane="reg"), Layout(b).rename(lane="mem")
    shared = one.axes & other.axes
    try:
        joined = one @ other
    except LayoutError:
        return
    on = tuple(sorted(shared))
    mine, theirs = tuple(one.axes - shared), tuple(other.axes - shared)
    want = {
        p[len(on) :] + q[len(on) :]
        for p in one.points(*on, *mine)
        for q in other.points(*on, *theirs)
        if p[: len(on)] == q[: len(on)]
    }
    assert set(joined.points(*mine, *theirs)) == want


@pytest.mark.parametrize("swapped", [False, True])
def test_only_the_common_part_meets(swapped: bool) -> None:
    """{0, 1, 8, 9} and {0 .. 3, 8 .. 11}: neither side's digits hold the other's."""
    few = Layout((Digit.make(2, {"d0": 1, "reg": 1}), Digit.make(2, {"d0": 8, "reg": 2})))
    many = Layout((Digit.make(4, {"d0": 1, "mem": 1}), Digit.make(2, {"d0": 8, "mem": 4})))
    joined = many @ few if swapped else few @ many
    assert set(joined.points("reg", "mem")) == {(0, 0), (1, 1), (2, 4), (3, 5)}


def test_a_join_without_common_digits_says_what_to_do() -> None:
    with pytest.raises(LayoutError, match="convert through memory"):
        _ = (spatial(2) * local(3)) @ (spatial(3) * local(2)).rename(lane="there", reg="slot")
    with pytest.raises(LayoutError, match="axes d0 differently"):
        _ = (spatial(2) * local(2)) @ dense(3)  # the last of four elements is not there, and no digits say so


@law
@given(tiles_with_copies, st.sets(st.sampled_from(AXES)))
def test_forget_projects(a: Layout, gone: set[str]) -> None:
    kept = tuple(x for x in AXES if x not in gone)
    projected, found = Counter(a.points(*kept)), Counter(a.forget(*gone).points(*kept))
    (factor,) = {projected[p] // found[p] for p in found}
    assert {p: n * factor for p, n in found.items()} == projected


@law
@given(tiles_with_copies)
def test_rename_is_simultaneous(a: Layout) -> None:
    swapped = a.rename(d0="d1", d1="d0")
    assert Counter(swapped.points("d1", "d0", "lane", "reg")) == Counter(a.points("d0", "d1", "lane", "reg"))


def test_rename_refuses_to_merge_axes() -> None:
    with pytest.raises(LayoutError, match="two axes"):
        spatial(2, 2).rename(d0="d1")


@law
@given(bags)
def test_table_lists_the_points_in_order(pieces: tuple[Digit, ...]) -> None:
    x = Layout(pieces)
    assert x.table(*AXES).tolist() == [list(p) for p in x.points(*AXES)]
    assert len(x.table("d0")) == x.count


@law
@given(bags)
def test_places_is_the_function_or_an_error(pieces: tuple[Digit, ...]) -> None:
    x = Layout(pieces)
    images: dict[int, set[int]] = {}
    for lane, d0 in x.points("lane", "d0"):
        images.setdefault(lane, set()).add(d0)
    if len(images) == x.size("lane") and all(len(v) == 1 for v in images.values()):
        assert [{v} for v in x.places(("lane",), ("d0",))[:, 0].tolist()] == [images[k] for k in sorted(images)]
    else:
        with pytest.raises(LayoutError, match="no function"):
            x.places(("lane",), ("d0",))


@law
@given(tiles)
def test_places_of_a_tile_goes_both_ways(a: Layout) -> None:
    there, back = a.places(("d0", "d1"), ("lane", "reg")), a.places(("lane", "reg"), ("d0", "d1"))
    assert there.shape == (a.size("d0"), a.size("d1"), 2)
    lane, reg = there[..., 0], there[..., 1]
    assert np.array_equal(back[lane, reg], np.stack(np.indices(lane.shape), axis=-1))


@law
@given(bags)
def test_fills_means_that_every_cell_is_reached_once(pieces: tuple[Digit, ...]) -> None:
    x = Layout(pieces)
    for axes in (("d0",), ("d0", "lane")):
        box = product(*(range(x.size(a)) for a in axes))
        assert x.fills(*axes) == (Counter(x.points(*axes)) == Counter(box))


def test_sizes_and_shape() -> None:
    x = local(2, 1) * spatial(8, 4) * local(1, 2)
    assert (x.shape, x.size("lane"), x.size("reg"), x.size("mem"), x.count) == ((16, 8), 32, 4, 1, 128)
    assert spatial(1, 4).shape == (1, 4)
    assert replicate(4).shape == ()


@pytest.mark.parametrize(
    ("extent", "strides", "reason"),
    [
        (0, {"d0": 1}, "extent"),
        (2, {"d0": -1}, "at least 1"),
        (2, {"d01": 1}, "no name"),
        (2, {"d64": 1}, "no name"),
        (2, {"a b": 1}, "no name"),
        (2, {"in": 1}, "no name"),
    ],
)
def test_senseless_digits_are_refused(extent: int, strides: dict[str, int], reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        Digit.make(extent, strides)


def test_large_layouts_are_values_but_are_not_listed() -> None:
    huge = spatial(2**20, 2**19)
    assert huge.count == 2**39
    for listing in (lambda: huge.table("d0"), lambda: huge.places(("lane",), ("d0",))):
        with pytest.raises(LayoutError, match="too large to list"):
            listing()

"""Text of layouts and storage: it reads back as what it was printed from, and mistakes are located."""

from collections import Counter
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.vm.layout.packing import Packing, StorageError, default_planes
from bitwright.vm.layout.relation import Digit, Layout, LayoutError
from bitwright.vm.layout.spell import spell
from bitwright.vm.layout.storage import Tiled
from bitwright.vm.layout.text import LayoutTextError, layout, storage
from bitwright.vm.layout.views import column_local, column_spatial, dense, local, replicate, spatial

law = settings(deadline=None, max_examples=150)
digits = st.builds(
    Digit.make,
    st.integers(1, 9),
    st.dictionaries(st.sampled_from(("d0", "d1", "d12", "lane", "reg", "mem", "bit", "block")), st.integers(0, 99)),
)
layouts = st.lists(digits, max_size=6).map(lambda ds: Layout(tuple(ds)))
size = st.integers(1, 5)
factors = st.builds(
    lambda view, m, n: view(m, n), st.sampled_from([spatial, local, column_spatial, column_local]), size, size
) | st.builds(replicate, size)
products = st.lists(factors, min_size=1, max_size=4).map(lambda xs: reduce(Layout.__mul__, xs))


@law
@given(layouts | products)
def test_text_reads_back(x: Layout) -> None:
    assert layout(str(x)) == x
    assert layout(spell(x)) == x


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("local(2, 1) * spatial(8, 4) * local(1, 2)", local(2, 1) * spatial(8, 4) * local(1, 2)),
        ("column_spatial(4, 8)", column_spatial(4, 8)),
        (" column_local( 2,3 ) ", column_local(2, 3)),
        ("replicate(4)", replicate(4)),
        ("dense(4, 6)", dense(4, 6)),
        ("spatial(8) * (replicate(4) * local(2))", spatial(8) * replicate(4) * local(2)),
        ("spatial(4, 8) @ dense(4, 8)", spatial(4, 8) @ dense(4, 8)),
        ("{}", Layout()),
        ("{4: 2*lane + d0, 2: lane}", spatial(4) * replicate(2)),
        ("{2: d0 + reg, 2: 2*d0 + 2*reg}", local(4)),
    ],
)
def test_what_text_means(text: str, want: Layout) -> None:
    assert layout(text) == want


def test_what_a_layout_prints() -> None:
    assert str(spatial(4) * local(2)) == "{2: d0 + reg, 4: 2*d0 + lane}"
    assert spell(local(2, 1) * spatial(8, 4) * local(1, 2)) == "local(2, 1) * spatial(8, 4) * local(1, 2)"
    assert spell(spatial(3) * replicate(2)) == "spatial(3) * replicate(2)"
    assert spell(dense(3)) == "{3: d0 + mem}"


@law
@given(products)
def test_products_are_spelled_by_name(x: Layout) -> None:
    assert x == Layout() or "{" not in spell(x)


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("spatial(8, 4) * lokal(2, 1)", 17, "not a layout"),
        ("spatial(8, x)", 12, "positive integer"),
        ("spatial(8, 0)", 12, "not between"),
        ("spatial(8, True)", 12, "positive integer"),
        ("spatial(8, 2.0)", 12, "positive integer"),
        ("spatial(8) + local(2)", 1, "not a layout"),
        ("spatial(8, 4", 8, "never closed"),
        ("spatial(n=8)", 1, "not a layout"),
        ("spatial(*[8])", 9, "positive integer"),
        ("{2: d0 + d0}", 10, "two strides"),
        ("{2: lane*2}", 5, "a stride is written"),
        ("{2: -2*lane}", 5, "a stride is written"),
        ("{x: lane}", 2, "positive integer"),
        ("{**x}", 4, "without stars"),
        ("{2: d64}", 5, "no name"),
        ("(spatial(3) * local(2)) @ {3: d0 + mem, 2: 3*d0 + 4*mem}", 1, "convert"),
        ("__import__('os').system('true')", 1, "not a layout"),
        ("(lambda: spatial(2))()", 1, "not a layout"),
        ("[spatial(2)][0]", 1, "not a layout"),
        ("", 1, "syntax"),
    ],
)
def test_mistakes_are_located(text: str, column: int, reason: str) -> None:
    with pytest.raises(LayoutTextError, match=reason) as caught:
        layout(text)
    assert f"character {column}:" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "spatial(1048576, 1048576) * local(2)",
        "spatial(99999999999999999999)",
        "{2: 9999999999999*d0} * dense(1099511627776)",
        "(" * 180 + "spatial(2)" + ")" * 180 + "*" + "-" * 3000 + "1",
        "*".join(["spatial(2)"] * 330),
        "9" * 3999,
        "spatial(" + "1," * 2500 + "1)",
        "spatial(2)\0",
        "{" + "2: d0, " * 500 + "}",
    ],
)
def test_hostile_text_is_an_error_and_no_hang(text: str) -> None:
    with pytest.raises(LayoutError):
        layout(text)


def test_the_largest_layout_is_read_without_listing_it() -> None:
    assert layout("spatial(1048576, 1048576)").count == 2**40


@law
@given(st.integers(1, 8), st.sampled_from((8, 16, 32)), st.booleans(), st.integers(1, 4), products)
def test_storage_text_reads_back(bits: int, container: int, planar: bool, vector: int, tile: Layout) -> None:
    packing = Packing(bits, container, default_planes(bits)) if planar else Packing.dense(bits)
    try:
        how = Tiled(tile, packing, vector)
    except StorageError:
        assert Counter(tile.points("d0", "d1")).most_common(1)[0][1] > 1  # copies have no storage
        return
    assert storage(str(how), bits) == how


def test_storage_text() -> None:
    how = storage('tiled("local(32, 1) * spatial(1, 16)", container=8, planes=(2, 1), vector=1)', 3)
    assert how == Tiled(local(32, 1) * spatial(1, 16), Packing(3, 8, (2, 1)), 1)
    assert storage("tiled(spatial(4))", 3) == Tiled(spatial(4), Packing(3, 32, (2, 1)), 1)
    assert storage("tiled(spatial(4), planes=())", 3) == Tiled(spatial(4), Packing.dense(3), 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("spatial(4)", "storage is written"),
        ("tiled()", "one layout"),
        ("tiled(spatial(4), spatial(4))", "one layout"),
        ("tiled(spatial(4), width=8)", "no option 'width'"),
        ("tiled(spatial(4), **{})", "no option"),
        ("tiled(spatial(4), planes=2)", "tuple"),
        ("tiled(spatial(4), vector=x)", "positive integer"),
        ("tiled('spatial(')", "never closed"),
        ("tiled(spatial(4), planes=(1, 1))", "hold 2 bits"),
        ("tiled(dense(4))", "'mem'"),
    ],
)
def test_storage_mistakes_are_explained(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        storage(text, 3)


def test_storage_with_fields_is_read_back() -> None:
    how = Tiled(local(4, 1) * spatial(1, 16), Packing(4, 8, (), 0, (7, 0, 3, 1, 2, 6, 5, 4)), 2)
    assert storage(str(how), 4) == how

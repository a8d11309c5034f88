"""Drawings hold what the layout says: every shown cell is read back from the text and from the picture."""

import re
from xml.etree import ElementTree

import pytest

from bitwright.vm.layout.draw import svg, table
from bitwright.vm.layout.relation import LayoutError
from bitwright.vm.layout.text import layout

FRAGMENT = layout("local(2, 1) * spatial(8, 4) * local(1, 2)")


def test_table_of_a_fragment() -> None:
    title, head, *rows = table(FRAGMENT).splitlines()
    assert title.startswith("local(2, 1) * spatial(8, 4) * local(1, 2)")
    assert "16 x 8 elements, 32 lanes, 4 registers" in title
    assert head.split() == [str(j) for j in range(8)]
    want = {(i, j): f"{lane}:{reg}" for i, j, lane, reg in FRAGMENT.points("d0", "d1", "lane", "reg")}
    for i, row in enumerate(rows):
        number, *cells = row.split()
        assert int(number) == i
        assert cells == [want[i, j] for j in range(8)]


def test_table_of_one_dimension_and_copies() -> None:
    assert table(layout("spatial(2) * replicate(2)")).splitlines()[2].split() == ["0", "0:0,1:0", "2:0,3:0"]
    assert "0:0,1:0,2:0,3:0+4" in table(layout("replicate(8)"))
    assert table(layout("{2: 2*d0 + lane}")).splitlines()[2].split() == ["0", "0:0", "-", "1:0"]


def test_large_layouts_are_cut_with_a_note() -> None:
    lines = table(layout("spatial(100, 3)")).splitlines()
    assert len(lines) == 2 + 32 + 1
    assert lines[-1] == "shown: the first 32 x 3 of 100 x 3 elements"
    assert "shown: the first 32 x 3 of 100 x 3" in svg(layout("spatial(100, 3)"))


def test_svg_is_a_picture_of_the_same_places() -> None:
    root = ElementTree.fromstring(svg(FRAGMENT))
    titles = [t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}title")]
    found = {tuple(int(n) for n in re.findall(r"\d+", t)) for t in titles}
    assert found == set(FRAGMENT.points("d0", "d1", "lane", "reg"))
    fills: dict[str, set[str]] = {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        lane = group.findall("{http://www.w3.org/2000/svg}text")[0].text or ""
        fills.setdefault(lane, set()).add(group.find("{http://www.w3.org/2000/svg}rect").attrib["fill"])
    assert len(fills) == 32
    assert all(len(colours) == 1 for colours in fills.values())
    assert len({next(iter(colours)) for colours in fills.values()}) == 32


@pytest.mark.parametrize("text", ["dense(4, 4)", "spatial(2, 2, 2)"])
def test_what_cannot_be_drawn(text: str) -> None:
    with pytest.raises(LayoutError, match="can be drawn"):
        table(layout(text))

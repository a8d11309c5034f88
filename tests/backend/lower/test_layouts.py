"""Programs in which uses of one tile want it on different lanes always compile, and compute what they mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitwright.backend.lower.tile import coordinates
from bitwright.tests.backend.lower.random_tiles import tangles
from bitwright.tests.backend.lower.three_ways import Case, agree
from bitwright.vm.layout.spread import distribute_flat
from bitwright.vm.layout.views import reshape

quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
slow = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(tangles())
def test_tangled_layouts_are_untangled(case: Case) -> None:
    agree(case)


@slow
@given(tangles())
def test_native_code_agrees(case: Case) -> None:
    agree(case, machine=True)


TILE = "local(8, 1) * spatial(1, 16) * local(4, 1)"
STORED = """
def f(x: {kind}[M, N] @ L, y: {kind}[M, N] @ L, z: i32[M, N], *, L: layout = tiled("{tile}", container=8, vector=2)):
    m0, n0 = grid((M, 64), (N, 16){lanes})
    v = load(x, [m0, n0], [64, 16]{layout})
    store(y, [m0, n0], v)
    store(z, [m0, n0], cast(v, i32))
"""


@pytest.mark.parametrize("kind", ["u3", "u4", "u8"])
@pytest.mark.parametrize(
    ("lanes", "layout"),
    [
        ("", ""),
        (", lanes=48", ""),  # three copies of each element
        ("", ', layout="spatial(4, 4) * local(16, 4)"'),
        ("", ', layout="column_local(2, 1) * local(32, 1) * spatial(1, 16)"'),  # the same lanes, in another order
        (", lanes=32", ', layout="spatial(8, 4) * local(8, 4)"'),
    ],
)
def test_stored_tiles_in_other_layouts(kind: str, lanes: str, layout: str) -> None:
    text = STORED.format(kind=kind, tile=TILE, lanes=lanes, layout=layout)
    stored = Case(text, ()).program().arrays[0].storage
    assert stored is not None
    codes = np.random.default_rng(0).integers(0, 1 << int(kind[1:]), (70, 20)).astype(np.uint8)
    out = np.zeros((70, 20), np.int32)
    case = Case(text, (stored.pack(codes), np.zeros(stored.nbytes(codes.shape), np.uint8), out), {"M": 70, "N": 20})
    right = agree(case, machine=kind == "u3")
    np.testing.assert_array_equal(right["z"], codes)
    np.testing.assert_array_equal(right["y"][:70, :20], codes)


VIEWED = """
def f(x: u8[4, 32], y: u4[4, 64], z: i32[4, 8]):
    v = load(x, [0, 0], [4, 32], layout="{before}")
    store(y, [0, 0], view(v, u4, layout="{narrow}"))
    store(z, [0, 0], view(view(view(v, i8, layout="{same}"), u2), i32, layout="{wide}"))
"""


def test_views_in_any_layout() -> None:
    """A view sees bits of a row in their order, whatever registers and lanes they are in before and after."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (4, 32)).astype(np.uint8)
    for layouts in (
        "spatial(4, 4) * local(1, 8) ; spatial(4, 4) * local(1, 16) ; spatial(2, 8) * local(2, 4) ; spatial(4, 8)",
        "local(4, 2) * spatial(1, 16) ; local(1, 4) * spatial(4, 16) ; local(4, 32) ; local(2, 1) * spatial(2, 8)",
        "column_local(4, 8) * spatial(1, 4) ; local(4, 64) ; spatial(4, 1) * column_local(1, 32) ; local(4, 8)",
    ):
        before, narrow, same, wide = layouts.split(" ; ")
        text = VIEWED.format(before=before, narrow=narrow, same=same, wide=wide)
        right = agree(Case(text, (x, np.zeros(128, np.uint8), np.zeros((4, 8), np.int32))))
        np.testing.assert_array_equal(right["z"], x.view(np.int32))
        np.testing.assert_array_equal(right["y"], np.stack([x & 15, x >> 4], axis=-1).reshape(4, 64))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flat_distribution_can_be_seen_in_both_shapes(data: st.DataObject) -> None:
    total = data.draw(st.sampled_from([1, 6, 12, 24, 30, 36, 64, 96]))
    shapes = [data.draw(_factorings(total)) for _ in range(2)]
    lanes = data.draw(st.sampled_from([1, 4, 6, 16, 32]))
    layout = distribute_flat(shapes[0], shapes[1], lanes)
    assert layout.size("lane") == lanes
    line = np.arange(total)
    for shape, seen in zip(shapes, (layout, reshape(layout, *shapes)), strict=True):
        places = coordinates(seen, len(shape), lanes)
        held = line.reshape(shape)[tuple(np.moveaxis(places, -1, 0))]
        assert sorted(set(held.ravel().tolist())) == line.tolist()
        if shape is shapes[0]:
            first = held
        np.testing.assert_array_equal(held, first)


@st.composite
def _factorings(draw: st.DrawFn, total: int) -> tuple[int, ...]:
    first = draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
    second = draw(st.sampled_from([d for d in range(1, total // first + 1) if total // first % d == 0]))
    return draw(st.sampled_from([(total,), (first, total // first), (first, second, total // first // second)]))

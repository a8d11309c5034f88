"""Matrix products of every pair of dtypes, in odd shapes and layouts.

Integer products are exact and wrap.  A float product of depth K is within (K + 8) · 2^-24 · (|c| + Σ|a||b|) of the
exact one: each product is exact or fused, and at most K + 1 additions round in f32.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitwright.backend.lane.ir import Atom, Let
from bitwright.tests.backend.lower.random_access import layouts
from bitwright.tests.backend.lower.three_ways import Case, agree, lowered
from bitwright.tests.samples import array, of

INTEGERS = (("i8", "i8"), ("i8", "u8"), ("u8", "i8"), ("u8", "u8"))
FLOATS = (("f32", "f32"), ("f16", "f16"), ("bf16", "bf16"), ("f8e4m3fn", "f8e4m3fn"), ("f8e5m2", "f8e5m2"))
TARGETS = ("cpu", "cpu:x86-64-v3", "cpu:baseline")


def _exact(x: NDArray[np.generic], kind: str) -> NDArray[np.float64]:
    from bitwright.vm.dtypes import dtype

    return dtype(kind).decode(x.view(dtype(kind).code_dtype)).astype(np.float64)


def _case(
    kinds: tuple[str, str], shape: tuple[int, int, int], chosen: tuple[str, str, str], seed: int, turned: bool = False
) -> Case:
    """y = c + a · b, in the layouts that are `chosen` for a, b and c ("" for none); `turned`: b is stored as b^T."""
    (m, k, n), rng = shape, np.random.default_rng(seed)
    into = "i32" if kinds[0].endswith("8") else "f32"
    if into == "i32":
        a, b = array(rng, kinds[0], m, k), array(rng, kinds[1], *((n, k) if turned else (k, n)))
        c = array(rng, "i32", m, n)
    else:
        sizes = [(m, k), (n, k) if turned else (k, n), (m, n)]
        a, b, c = (
            of(rng.standard_normal(s) * 2.0 ** rng.integers(-4, 5, s), t)
            for s, t in zip(sizes, (*kinds, into), strict=True)
        )
    options = [f', layout="{text}"' if text else "" for text in chosen]
    loaded = f"load(b, [0, 0], [{n}, {k}])" if turned else f"load(b, [0, 0], [{k}, {n}]{options[1]})"
    text = f"""
def f(a: {kinds[0]}[{m}, {k}], b: {kinds[1]}[{b.shape[0]}, {b.shape[1]}], c: {into}[{m}, {n}], y: {into}[{m}, {n}]):
    p = load(a, [0, 0], [{m}, {k}]{options[0]})
    q = {f"transpose({loaded})" if turned else loaded}
    store(y, [0, 0], dot(p, q, load(c, [0, 0], [{m}, {n}]{options[2]})))
"""
    near: dict[str, NDArray[np.float64] | float] = {}
    if into == "f32":
        left, right = np.abs(_exact(a, kinds[0])), np.abs(_exact(b, kinds[1]))
        near["y"] = (k + 8) * 2.0**-24 * (left @ (right.T if turned else right) + np.abs(_exact(c, "f32")))
    return Case(text, (a, b, c, np.zeros((m, n), c.dtype)), near=near)


@st.composite
def products(draw: st.DrawFn, kinds: tuple[tuple[str, str], ...]) -> Case:
    sizes = st.sampled_from([1, 2, 3, 4, 5, 8, 12])
    m, k, n = draw(st.tuples(sizes, sizes, sizes))
    shapes = ((m, k), (k, n), (m, n))
    chosen = [draw(st.sampled_from(["", draw(layouts(s, 16))[0]])) for s in shapes]
    seed, turned = draw(st.integers(0, 9)), draw(st.booleans())
    return _case(draw(st.sampled_from(kinds)), (m, k, n), (chosen[0], chosen[1], chosen[2]), seed, turned)


@settings(max_examples=25, deadline=None)
@given(products(INTEGERS))
def test_products_of_integers_are_exact(case: Case) -> None:
    agree(case)


@settings(max_examples=25, deadline=None)
@given(products(FLOATS))
def test_products_of_floats_are_within_their_bound(case: Case) -> None:
    agree(case)


@pytest.mark.parametrize("kinds", INTEGERS + FLOATS, ids="-".join)
def test_native_products(kinds: tuple[str, str]) -> None:
    agree(_case(kinds, (3, 8, 16), ("", "", ""), 1), machine=True, targets=TARGETS)
    agree(_case(kinds, (2, 7, 5), ("", "spatial(1, 5) * local(7, 1)", ""), 2, turned=kinds[0] != "f16"), machine=True)


def _atoms(case: Case) -> set[str]:
    return {s.op.name for s in lowered(case).body if isinstance(s, Let) and isinstance(s.op, Atom)}


def test_four_bytes_at_a_time_where_they_share_a_word() -> None:
    column = "local(4, 1) * spatial(1, 16) * local(4, 1)"
    for kinds in INTEGERS:
        case = _case(kinds, (2, 16, 16), ("", column, "local(2, 1) * spatial(1, 16)"), 3)
        assert _atoms(case) - {"dp4a_ls"} == {"dp4a_us"}
        agree(case)
        assert not _atoms(_case(kinds, (2, 7, 16), ("", "", ""), 3))


@pytest.mark.parametrize("kinds", INTEGERS, ids="-".join)
def test_the_largest_integers(kinds: tuple[str, str]) -> None:
    """Sums of products of extremes, which an instruction that saturates would get wrong."""
    ends = {"i8": (-128, 127), "u8": (0, 255)}
    base = _case(kinds, (4, 64, 16), ("", "", ""), 0)
    for row in range(2):
        a = np.full((4, 64), ends[kinds[0]][row], {"i8": np.int8, "u8": np.uint8}[kinds[0]])
        a[2:] = ends[kinds[0]][1 - row]
        b = np.full((64, 16), ends[kinds[1]][1], {"i8": np.int8, "u8": np.uint8}[kinds[1]])
        b[:, 8:] = ends[kinds[1]][0]
        c = np.zeros((4, 16), np.int32)
        right = agree(Case(base.text, (a, b, c, c.copy())), machine=True, targets=TARGETS if row else ("cpu",))
        np.testing.assert_array_equal(right["y"], a.astype(np.int64) @ b.astype(np.int64))

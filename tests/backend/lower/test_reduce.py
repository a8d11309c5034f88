"""Reductions of every kind, dtype and layout.

Integers, extremes and truth values are exact.  A sum of n floats in f32, in any order of additions, is within
(n + 8) · 2^-24 · Σ|x| of the exact sum, to first order; a narrower float is rounded once more, by at most its ulp.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitwright.backend.lane.accesses import Accesses
from bitwright.backend.lane.ir import Let, Write
from bitwright.tests.backend.lower.random_access import layouts
from bitwright.tests.backend.lower.three_ways import Case, agree
from bitwright.tests.samples import array, of, zeros
from bitwright.vm.dtypes import dtype

SHAPES = ((4, 8), (6, 4), (3, 5), (12,), (2, 3, 4), (1, 24), (7, 2))
EXTREMES = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f16", "bf16", "f32")
SUMS = ("i16", "u16", "i32", "u32", "i64", "u64", "f16", "bf16", "f32")
ULP = {"f16": 2.0**-10, "bf16": 2.0**-7, "f32": 0.0}


def _kept(shape: tuple[int, ...], dim: int, keepdim: bool) -> tuple[int, ...]:
    return (*shape[:dim], *((1,) if keepdim else ()), *shape[dim + 1 :])


def _case(kind: str, shape: tuple[int, ...], layout: str, kinds: tuple[str, ...], x: NDArray[np.generic]) -> Case:
    """One kernel with each reduction over every dimension, with and without keeping it."""
    at = ", ".join("0" for _ in shape)
    text = f'    v = load(x, [{at}], {list(shape)}, layout="{layout}")\n'
    parameters, outputs, near = [], [], {}
    values = dtype(kind).decode(x.view(dtype(kind).code_dtype)) if kind != "bool" else x
    for reduction in kinds:
        for dim in range(len(shape)):
            for keep in (False, True):
                name, kept = f"y{len(outputs)}", _kept(shape, dim, keep)
                made = f"{reduction}(v, dim={dim}, keepdim={keep})"
                made = made if kept else f"reshape({made}, [1])"
                kept = kept or (1,)
                text += f"    store({name}, [{', '.join('0' for _ in kept)}], {made})\n"
                parameters.append(f"{name}: {kind}[{', '.join(map(str, kept))}]")
                outputs.append(zeros(kind, *kept))
                if reduction == "sum" and kind in ULP:
                    size = np.abs(values.astype(np.float64)).sum(axis=dim, keepdims=keep).reshape(kept)
                    total = np.abs(values.astype(np.float64).sum(axis=dim, keepdims=keep)).reshape(kept)
                    near[name] = (shape[dim] + 8) * 2.0**-24 * size + ULP[kind] * total
    head = f"def f(x: {kind}[{', '.join(map(str, shape))}], {', '.join(parameters)}):\n"
    return Case(head + text, (x, *outputs), near=near)


@st.composite
def reductions(draw: st.DrawFn, kinds: tuple[str, ...], names: tuple[str, ...]) -> Case:
    kind, shape = draw(st.sampled_from(kinds)), draw(st.sampled_from(SHAPES))
    layout, _ = draw(layouts(shape, 24))
    if draw(st.booleans()):
        layout = f"{{{draw(st.sampled_from([2, 3]))}: reg}} * ({layout})"  # every register twice or thrice
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    if "sum" in names and kind in ULP:
        x = of(rng.standard_normal(shape) * 2.0 ** rng.integers(-3, 4, shape), kind)
    else:
        x = array(rng, kind, *shape)
    return _case(kind, shape, layout, names, x)


@settings(max_examples=20, deadline=None)
@given(reductions(SUMS, ("sum",)))
def test_sums(case: Case) -> None:
    agree(case)


@settings(max_examples=20, deadline=None)
@given(reductions(EXTREMES, ("max", "min")))
def test_extremes(case: Case) -> None:
    agree(case)


@settings(max_examples=15, deadline=None)
@given(reductions(("bool",), ("any", "all")))
def test_truth(case: Case) -> None:
    agree(case)


@pytest.mark.parametrize("kind", ["f32", "bf16", "i64", "i16"])
def test_native_reductions(kind: str) -> None:
    rng = np.random.default_rng(3)
    for shape, layout in (
        ((6, 4), "spatial(3, 2) * replicate(2) * local(2, 2)"),
        ((4, 8), "{2: reg} * spatial(4, 4) * local(1, 2)"),
    ):
        x = of(rng.standard_normal(shape) * 40, kind)
        agree(_case(kind, shape, layout, ("sum", "max", "min"), x), machine=True, targets=("cpu", "cpu:baseline"))


def test_the_lanes_that_hold_copies_of_a_sum_agree_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of 2^k terms of very different sizes depend on the order; each lane shows its own copy."""
    seen: list[NDArray[np.int32]] = []
    original = Accesses.write

    def spy(accesses: Accesses, let: Let, op: Write) -> None:
        seen.append(np.array(np.broadcast_to(accesses.get(op.values[0]), (accesses.lanes,))).view(np.int32))
        original(accesses, let, op)

    monkeypatch.setattr(Accesses, "write", spy)
    rng = np.random.default_rng(5)
    for lanes in (5, 6, 8, 12, 16):
        x = (rng.standard_normal(lanes) * 10.0 ** rng.integers(-6, 6, lanes)).astype(np.float32)
        text = f"""
def f(x: f32[{lanes}], y: f32[1]):
    store(y, [0], sum(load(x, [0], [{lanes}], layout="spatial({lanes})"), dim=0, keepdim=True))
"""
        bound = (lanes + 8) * 2.0**-24 * float(np.abs(x.astype(np.float64)).sum())
        agree(Case(text, (x, np.zeros(1, np.float32)), near={"y": bound}))
        assert len(seen[-1]) == lanes
        assert (seen[-1] == seen[-1][0]).all()

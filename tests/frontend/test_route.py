"""What is found once for calls of one kind: kept while it may be asked again, and never what another call needs."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.backend.llvm.pool import set_threads, threads
from bitwright.backend.target import target
from bitwright.frontend.library.plan import Schedule, prepare
from bitwright.frontend.linear import linear, run
from bitwright.frontend.route import MOST_ROUTES, Route, route
from bitwright.tests.linear_bounds import assert_within, bound, exact, random_tensor

HERE = target("cpu")
Q = random_tensor("u4:g32:f16+zero", 70, 64)


def test_a_route_is_found_once() -> None:
    p = prepare(Q, "f32", HERE)
    one = route(p, "f32", 3, False, HERE)
    assert route(p, "f32", 3, False, HERE) is one
    others = [
        route(p, "f32", 4, False, HERE), route(p, "f32", 3, True, HERE), route(p, "bf16", 3, False, HERE),
        route(p, "f32", 3, False, target("cpu:baseline")), route(p, "f32", 3, False, HERE, Schedule("direct", 1)),
    ]  # fmt: skip
    assert all(other is not one for other in others)
    assert others[-1].rows == 3
    assert route(p, "f32", 3, False, HERE, Schedule("direct", 2)).rows == 4


def test_routes_are_planned_anew_for_other_threads() -> None:
    p, before = prepare(Q, "f32", HERE), threads()
    one = route(p, "f32", 300, False, HERE)
    set_threads(before + 1)
    try:
        assert route(p, "f32", 300, False, HERE) is not one
    finally:
        set_threads(before)
    assert route(p, "f32", 300, False, HERE) is one


def test_few_routes_are_kept() -> None:
    """As many numbers of rows as there are prompts do not fill the memory."""
    q = random_tensor("u4:g32:f16", 7, 64)
    x = np.random.default_rng(0).normal(size=(MOST_ROUTES + 9, 64)).astype(np.float32)
    p = prepare(q, "int8", HERE)
    most = 0
    for m in range(1, len(x) + 1):
        y = linear(x[:m], q, activations="int8")
        assert y.shape == (m, 7)
        most = max(most, len(p.routes))
    assert most == MOST_ROUTES
    assert all(isinstance(way, Route) for way in p.routes.values())


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("form", ["direct", "panel"])
def test_rows_that_fill_a_pass_are_not_seen(rows: int, form: str) -> None:
    p = prepare(Q, "f32", HERE)
    schedule = Schedule("direct", rows) if form == "direct" else Schedule("panel", rows, depth=32, share=rows)
    for m in (1, 4, 7):
        x = np.random.default_rng(m).normal(size=(m, 64)).astype(np.float32)
        y = run(p, "f32", x, None, HERE, schedule)
        assert y.shape == (m, 70)
        assert_within(y, exact(x, Q), bound(x, Q))

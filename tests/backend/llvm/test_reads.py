"""Reads move to what uses them, and past nothing that may change what they read."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.backend.lane.ir import (
    Exchange,
    Fence,
    For,
    If,
    Let,
    Operation,
    Prefetch,
    Read,
    Reg,
    Show,
    Statement,
    Write,
)
from bitwright.backend.llvm.reads import reads_at_use
from bitwright.tests.backend.lane.writing import Body
from bitwright.tests.backend.llvm.native import run_native


def order(body: Body, names: dict[Let, str]) -> list[str]:
    """The named statements in the order in which they are emitted; nothing is lost or added."""
    found = list(reads_at_use(body.statements))
    assert sorted(map(id, found)) == sorted(map(id, body.statements))
    return [names[s] for s in found if isinstance(s, Let) and s in names]


def two_reads(between: Statement | None = None) -> tuple[Body, dict[Let, str]]:
    """Two reads, perhaps something else, then what uses the second, then what uses the first."""
    body, names = Body(4), {}
    base, zero = body.slot(0), body.number(0, "i32")

    def named(name: str) -> None:
        last = body.statements[-1]
        assert isinstance(last, Let)
        names[last] = name

    (a,) = body.read(Read(base, zero, 32))
    named("read a")
    (b,) = body.read(Read(base, body.places(4), 32))
    named("read b")
    if between is not None:
        body.statements.append(between)
        if isinstance(between, Let):
            names[between] = "between"
    body.apply("add", "i32", b, b)
    named("use b")
    body.apply("add", "i32", a, b)
    named("use a")
    return body, names


def test_a_read_stands_right_before_its_first_use() -> None:
    assert order(*two_reads()) == ["read b", "use b", "read a", "use a"]


def test_reads_pass_hints() -> None:
    address = Reg("i64", True)
    assert order(*two_reads(Let((), Prefetch(address, address, 1)))) == [
        "between",
        "read b",
        "use b",
        "read a",
        "use a",
    ]


ADDRESS, WORD = Reg("i64", True), Reg("i32", True)


@pytest.mark.parametrize(
    "op", [Write(ADDRESS, ADDRESS, 32, (WORD,)), Exchange(ADDRESS, ADDRESS, WORD, WORD), Fence(), Show("x")], ids=str
)
def test_reads_pass_no_effect(op: Operation) -> None:
    results = (Reg("i32", True),) if isinstance(op, Exchange) else ()
    found = order(*two_reads(Let(results, op)))
    assert found == ["read a", "read b", "between", "use b", "use a"]


@pytest.mark.parametrize("kind", [For, If])
def test_reads_do_not_enter_loops_and_branches(kind: type[For] | type[If]) -> None:
    inner = Let((Reg("i64", True),), Read(ADDRESS, ADDRESS, 64))
    edge = For(ADDRESS, ADDRESS, ADDRESS, ADDRESS, (), (inner,)) if kind is For else If(WORD, (inner,), (), ())
    body, _ = two_reads(edge)
    found = list(reads_at_use(body.statements))
    at = found.index(edge)
    assert all(not (isinstance(s, Let) and isinstance(s.op, Read)) for s in found[at:])


def test_a_read_of_which_nothing_is_used_stays() -> None:
    """It may be used after a loop in whose body it stands."""
    body = Body(4)
    body.read(Read(body.slot(0), body.number(0, "i32"), 32, count=2))
    assert order(body, {}) == []


def test_old_values_are_read_before_they_are_overwritten() -> None:
    """x[i] + 1 goes to x[i], and then x[i] as it was to y[i]."""
    body = Body(4)
    x, y = body.row(0, 4), body.row(1, 4)
    (old,) = body.read(Read(x, body.places(4), 32, align=4))
    body.do(Write(x, body.places(4), 32, (body.lane_constant("i32", [7, 8, 9, 10]),), align=4))
    body.do(Write(y, body.places(4), 32, (old,), align=4))
    before = np.arange(8, dtype=np.int32)
    arrays = [before.copy(), np.zeros(8, np.int32)]
    run_native(body.function(slots=2), "cpu", arrays, 2)
    np.testing.assert_array_equal(arrays[1], before)
    np.testing.assert_array_equal(arrays[0], [7, 8, 9, 10] * 2)

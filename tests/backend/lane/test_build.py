"""The builder shares and folds what is the same, and nothing that only looks the same."""

import numpy as np
import pytest

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Apply, Constant, Function, Let, Read, Write
from bitwright.backend.lane.simulate import simulate


def test_constants_are_told_apart_by_their_bits() -> None:
    b = Builder(4)
    assert b.f32(0.0) is not b.f32(-0.0)
    assert b.f32(float("nan")) is b.f32(float("nan"))
    assert b.f32(1.0) is not b.i32(1)
    assert b.constant("i32", 7, varying=True) is not b.i32(7)
    assert b.i32(np.array([7, 7, 7, 7])) is b.i32(7)


@pytest.mark.parametrize("kind", ["sdiv", "srem"])
def test_division_folds_at_the_ends_of_the_range(kind: str) -> None:
    b = Builder(4)
    for x in (-(2**63), -7, 0, 7, 2**63 - 1):
        for y in (-(2**63), -1, 0, 1, 3):
            known = b.known(b.apply(kind, b.i64(x), b.i64(y)))
            assert known is not None
            quotient = 0 if y == 0 else int(abs(x) // abs(y)) * (1 if (x < 0) == (y < 0) else -1)
            exact = quotient if kind == "sdiv" else (0 if y == 0 else x - quotient * y)
            assert int(known[0]) == (exact + 2**63) % 2**64 - 2**63


def test_repeated_work_is_shared_within_its_scope_only() -> None:
    b = Builder(4)
    x, y = b.slot(0), b.slot(1)
    total = b.apply("add", x, y)
    assert b.apply("add", x, y) is total
    inner = []
    b.branch(b.apply("slt", x, y), lambda: inner.append(b.apply("mul", x, y)) or [], lambda: [])
    assert b.apply("mul", x, y) is not inner[0]
    assert b.apply("add", x, y) is total


def test_neutral_operands_disappear() -> None:
    b = Builder(4)
    x = b.slot(0)
    word = b.apply("trunc", x)
    yes = b.constant("i1", 1)
    positive = b.apply("slt", b.i32(0), word)
    assert b.apply("add", word, b.i32(0)) is word
    assert b.apply("mul", b.i32(1), word) is word
    assert b.apply("and", word, b.i32(-1)) is word
    assert b.apply("and", positive, yes) is positive
    assert b.apply("sub", b.i32(0), word) is not word
    assert b.apply("select", yes, word, b.i32(3)) is word


def test_one_lane_still_has_vectors() -> None:
    b = Builder(1)
    spread = b.varying(b.i32(5))
    assert not spread.uniform
    assert [s.op for s in b.body if isinstance(s, Let)] == [Constant("i32", (5,)), Constant("i32", (5,))]


def test_the_larger_of_two_magnitudes_is_that_of_their_words() -> None:
    numbers = np.array([0.0, -0.0, 1.5, -1e-40, 3e38, -np.inf, np.nan, -np.nan], np.float32)
    x, y = (a.astype(np.float32).ravel() for a in np.meshgrid(numbers, numbers))
    lanes = x.size
    b = Builder(lanes)
    place = b.i64(4 * np.arange(lanes))
    sizes = [b.apply("fabs", b.apply("float", b.read(Read(b.slot(k), place, 32))[0])) for k in range(2)]
    b.effect(Write(b.slot(2), place, 32, (b.apply("bits", b.apply("fmax", *sizes)),)))
    assert "fmax" not in [s.op.kind for s in b.body if isinstance(s, Let) and isinstance(s.op, Apply)]
    out = np.empty(lanes, np.float32)
    simulate(Function("f", lanes, 3, 0, b.body), [x, y, out], 1)
    np.testing.assert_array_equal(out, np.maximum(np.abs(x), np.abs(y)))
    assert not np.signbit(out).any()


def test_a_maximum_of_numbers_with_signs_stays_one() -> None:
    b = Builder(4)
    x = b.apply("float", b.apply("trunc", b.slot(0)))
    b.apply("fmax", x, b.apply("fabs", x))
    assert [s.op.kind for s in b.body if isinstance(s, Let) and isinstance(s.op, Apply)][-1] == "fmax"


def test_atoms_that_are_issued_are_not_shared() -> None:
    b = Builder(4)
    x = b.i32(np.arange(4))
    assert b.collective("mma", "f32", 4, x) == b.collective("mma", "f32", 4, x)
    first, second = (b.issue("wgmma", "f32", 2, x) for _ in range(2))
    assert not {*first} & {*second}
    assert len(first) == 2
    assert b.issue("fence", "f32", 0) == ()
    assert len(b.body) == 1 + 1 + 2 + 1

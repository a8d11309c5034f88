"""Tiles that are made, and tiles that are seen in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitwright.tests.one_op import LANES, covers, lanes_of, refused, run, value
from bitwright.vm.dtypes import dtype
from bitwright.vm.expr import Var, lift
from bitwright.vm.layout.relation import Layout
from bitwright.vm.layout.spread import distribute
from bitwright.vm.layout.views import local, spatial
from bitwright.vm.ops import Convert, Expand, Full, Iota, Item, Reshape, Scalar, Transpose, View


class TestMade:
    @pytest.mark.parametrize(
        ("kind", "given", "held"),
        [
            ("f32", 0.1, float(np.float32(0.1))),
            ("f16", 0.1, float(np.float16(0.1))),
            ("bf16", 3.0, 3.0),
            ("i8", -128, -128),
            ("u64", 2**64 - 1, 2**64 - 1),
            ("i64", -(2**63), -(2**63)),
            ("bool", True, True),
            ("f4e2m1", 2.6, 3.0),
            ("nf4", 1, 1),
        ],
    )
    def test_full(self, kind: str, given: float, held: float) -> None:
        found = run(Full(given, dtype(kind), (2, 3)))
        assert found.tolist() == [[held] * 3] * 2

    @pytest.mark.parametrize("number", [0, 5, -1, 200, -129, 1 << 40, (1 << 63) - 1, -(1 << 63)])
    @pytest.mark.parametrize("kind", ["i8", "u8", "i16", "u32", "i64", "u64", "u3", "i5"])
    def test_scalar_wraps(self, kind: str, number: int) -> None:
        n = Var("n")
        d = dtype(kind)
        found = int(run(Scalar(n, d), scalars={n: number}))
        assert (found - number) % (1 << d.bits) == 0
        assert d.min <= found <= d.max

    def test_scalar_bool(self) -> None:
        n = Var("n")
        assert [bool(run(Scalar(n, dtype("bool")), scalars={n: v})) for v in (0, 1, 2, -1)] == [False, True, True, True]
        refused(Scalar(n, dtype("f32")), "integer", "f32")

    @pytest.mark.parametrize("kind", ["i16", "u16", "i32", "u32", "i64", "u64"])
    @pytest.mark.parametrize("dim", [0, 1, 2])
    def test_iota(self, kind: str, dim: int) -> None:
        found = run(Iota(dtype(kind), (2, 3, 4), dim))
        assert all(found[at] == at[dim] for at in np.ndindex(2, 3, 4))

    def test_iota_rules(self) -> None:
        refused(Iota(dtype("i32"), (2, 3), 2), "dimension 2")
        refused(Iota(dtype("i8"), (2, 3), 0), "16 bits")
        refused(Iota(dtype("f32"), (2, 3), 0), "f32")

    def test_layouts(self) -> None:
        wanted, other = spatial(2, 8) * local(2, 1), distribute((4, 8), LANES)
        for named in (wanted, None):
            for op in (Full(0, dtype("f32"), (4, 8), named), Iota(dtype("i32"), (4, 8), 0, named)):
                rule = op.layouts(LANES, other, ())
                assert rule.result == (named or other)
                covers(rule.result, (4, 8))


def _by_position(layout: Layout, shape: tuple[int, ...]) -> set[tuple[int, int]]:
    """Pairs (row-major position, lane)."""
    dims = tuple(f"d{k}" for k in range(len(shape)))
    return {(int(np.ravel_multi_index(e[:-1], shape)), e[-1]) for e in lanes_of(layout, *dims)}


class TestSeen:
    def test_reshape(self) -> None:
        x = np.arange(24).reshape(2, 12)
        found = run(Reshape(value("i32", 2, 12), (3, 2, 4)), x)
        assert found.ravel().tolist() == list(range(24))
        refused(Reshape(value("i32", 2, 12), (5, 5)), "24 elements", "25")

    def test_reshape_moves_no_element(self) -> None:
        layout = distribute((4, 32), LANES)
        op = Reshape(value("f32", 4, 32), (2, 2, 8, 4))
        new = covers(op.layouts(LANES, None, (layout,)).result, (2, 2, 8, 4))
        old = {(i * 32 + j, lane) for i, j, lane in lanes_of(layout, "d0", "d1")}
        flat = {(((a * 2 + b) * 8 + c) * 4 + d, lane) for a, b, c, d, lane in lanes_of(new, "d0", "d1", "d2", "d3")}
        assert flat == old
        back = op.layouts(LANES, new, (None,)).operands[0]
        assert back == layout

    @pytest.mark.parametrize(
        ("old", "new"),
        [((72,), (12, 6)), ((3, 24), (12, 6)), ((4, 6), (6, 4)), ((5, 7), (7, 5)), ((6,), (2, 3)), ((9,), (3, 3))],
    )
    def test_reshape_of_any_shape_has_layouts(self, old: tuple[int, ...], new: tuple[int, ...]) -> None:
        """Where no digits say where the elements are, the operand moves; then they stay."""
        op = Reshape(value("f32", *old), new)
        for given in (distribute(old, LANES), distribute(old, 1), None):
            rule = op.layouts(LANES, None if given else distribute(new, LANES), (given,))
            here, there = covers(rule.operands[0], old), covers(rule.result, new)
            assert _by_position(here, old) == _by_position(there, new)
            assert op.layouts(LANES, None, (here,)).operands == (here,)

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
    def test_transpose(self, order: tuple[int, ...]) -> None:
        x = np.arange(24).reshape(2, 3, 4)
        op = Transpose(value("i32", 2, 3, 4), order)
        found = run(op, x)
        for at in np.ndindex(*found.shape):
            source = [0, 0, 0]
            for here, there in enumerate(order):
                source[there] = at[here]
            assert found[at] == x[tuple(source)]
        layout = distribute((2, 3, 4), LANES)
        new = covers(op.layouts(LANES, None, (layout,)).result, tuple((2, 3, 4)[i] for i in order))
        moved = {(*(e[i] for i in order), e[3]) for e in lanes_of(layout, "d0", "d1", "d2")}
        assert lanes_of(new, "d0", "d1", "d2") == moved
        assert op.layouts(LANES, new, (None,)).operands[0] == layout

    def test_transpose_rules(self) -> None:
        for order in [(0, 1), (0, 0, 1), (1, 2, 3)]:
            refused(Transpose(value("i32", 2, 3, 4), order), str(list(order)), "3 dimensions")

    def test_expand(self) -> None:
        found = run(Expand(value("u4", 2, 1), (2, 3)), [[3], [9]])
        assert found.tolist() == [[3, 3, 3], [9, 9, 9]]
        assert run(Expand(value("f32"), (2, 2)), 0.5).tolist() == [[0.5, 0.5]] * 2
        refused(Expand(value("u4", 2, 1), (3, 3)), "u4[2, 1]", "[3, 3]")
        refused(Expand(value("u4", 2), (2, 3)), "sizes of 1")
        layout = distribute((2, 32), LANES)
        rule = Expand(value("u4", 2, 1), (2, 32)).layouts(LANES, layout, (None,))
        covers(rule.result, (2, 32))
        covers(rule.operands[0], (2, 1))

    def test_convert(self) -> None:
        a, b = distribute((4, 32), LANES), spatial(4, 4) * local(1, 8)
        op = Convert(value("f32", 4, 32), b)
        x = np.arange(128).reshape(4, 32)
        np.testing.assert_array_equal(run(op, x), x)
        rule = op.layouts(LANES, None, (a,))
        assert (rule.result, rule.operands) == (b, (a,))
        assert op.infer().layout == b
        refused(Convert(value("f32", 4, 16), b), "dimension 1", "32", "16")

    def test_item(self) -> None:
        assert int(run(Item(value("i64", 1, 1)), [[-(2**62)]])) == -(2**62)
        assert int(run(Item(value("bool")), True)) == 1
        refused(Item(value("i32", 2)), "one integer", "i32[2]")
        refused(Item(value("f32", 1)), "f32[1]")


class TestView:
    @pytest.mark.parametrize(
        ("source", "target"),
        [
            ("u8", "u4"),
            ("u8", "u3"),
            ("u3", "u8"),
            ("i5", "u2"),
            ("u2", "u6"),
            ("i16", "u5"),
            ("u64", "i7"),
            ("i64", "u1"),
            ("u1", "u64"),
            ("f4e2m1", "u32"),
            ("u8", "nf4"),
            ("u32", "i16"),
        ],
    )
    def test_bits_stay(self, source: str, target: str) -> None:
        a, b = dtype(source), dtype(target)
        count = 2 * math.lcm(a.bits, b.bits) // a.bits
        rng = np.random.default_rng(5)
        codes = rng.integers(0, (1 << a.bits) - 1, (3, count), np.uint64, endpoint=True).astype(a.code_dtype)
        found = b.encode(run(View(value(source, 3, count), b), a.decode(codes)))
        for row, seen in zip(codes.tolist(), found.tolist(), strict=True):
            stream = sum(c << (i * a.bits) for i, c in enumerate(row))
            assert seen == [stream >> (i * b.bits) & ((1 << b.bits) - 1) for i in range(count * a.bits // b.bits)]

    def test_floats(self) -> None:
        given = np.array([1.5, -0.0, 1e-45, np.inf], np.float32)
        assert run(View(value("f32", 4), dtype("u32")), given).tolist() == given.view(np.uint32).tolist()
        assert run(View(value("u16", 2), dtype("bf16")), [0x3FC0, 0xC000]).tolist() == [1.5, -2.0]
        assert float(run(View(value("i32"), dtype("f32")), 0x40490FDB)) == np.float32(np.pi)

    def test_rules(self) -> None:
        refused(View(value("bool", 8), dtype("u8")), "bool")
        refused(View(value("u8", 1), dtype("bool")), "bool")
        refused(View(value("u8", 5), dtype("u3")), "40", "3")
        refused(View(value("u8"), dtype("u4")), "scalar", "widths")

    @pytest.mark.parametrize(("source", "target"), [("u8", "u4"), ("u3", "u8"), ("u32", "u8"), ("u6", "u4")])
    def test_lanes_keep_their_bits(self, source: str, target: str) -> None:
        """Each bit of a row is on the same lanes before and after."""
        a, b = dtype(source).bits, dtype(target).bits
        op = View(value(source, 2, 96), dtype(target))
        rule = op.layouts(LANES, None, (None,))
        old, new = covers(rule.operands[0], (2, 96)), covers(rule.result, (2, 96 * a // b))
        before = {(i, j * a + k, lane) for i, j, lane in lanes_of(old, "d0", "d1") for k in range(a)}
        after = {(i, j * b + k, lane) for i, j, lane in lanes_of(new, "d0", "d1") for k in range(b)}
        assert before == after

    def test_equal_widths_keep_the_layout(self) -> None:
        layout = distribute((4, 32), LANES)
        rule = View(value("u16", 4, 32), dtype("bf16")).layouts(LANES, None, (layout,))
        assert (rule.result, rule.operands) == (layout, (layout,))


def test_constant_expressions_have_no_variables() -> None:
    assert int(run(Scalar(lift(7), dtype("i32")))) == 7

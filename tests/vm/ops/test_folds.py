"""Reductions, products and random bits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from bitwright.tests.one_op import LANES, covers, lanes_of, refused, run, value
from bitwright.vm.dtypes import dtype
from bitwright.vm.expr import Var, lift
from bitwright.vm.layout.spread import distribute
from bitwright.vm.ops import Dot, Random, Reduce
from bitwright.vm.ops.reduction import ReduceKind


class TestReduce:
    @pytest.mark.parametrize("keepdim", [False, True])
    @pytest.mark.parametrize("dim", [0, 1])
    @pytest.mark.parametrize("kind", ["i8", "u16", "i32", "i64", "u64"])
    def test_integers(self, kind: str, dim: int, keepdim: bool) -> None:
        d = dtype(kind)
        rng = np.random.default_rng(2)
        codes = rng.integers(0, (1 << d.bits) - 1, (3, 5), np.uint64, endpoint=True).astype(d.code_dtype)
        x = d.decode(codes)
        lines = x.T.tolist() if dim == 0 else x.tolist()
        for fold, meaning in (("max", max), ("min", min), ("sum", sum)):
            if fold == "sum" and d.bits < 16:
                continue
            found = run(Reduce(fold, value(kind, 3, 5), dim, keepdim), x)
            for line, result in zip(lines, found.ravel().tolist(), strict=True):
                assert (result - meaning(line)) % (1 << d.bits) == 0
                assert d.min <= result <= d.max

    def test_float_sum_is_exact_then_rounded(self) -> None:
        x = np.array([[1e8, 1.0, -1e8, 0.5], [1.0, 2.0**-24, 2.0**-30, 0.0]], np.float32)
        found = run(Reduce("sum", value("f32", 2, 4), 1), x)
        exact = [float(sum(map(Fraction, row))) for row in x.tolist()]
        assert found.tolist() == [float(np.float32(v)) for v in exact]

    def test_nan(self) -> None:
        x = [[1.0, math.nan], [-math.inf, 2.0]]
        for fold in ("max", "min"):
            found = run(Reduce(fold, value("f16", 2, 2), 0), x)
            assert math.isnan(found[1])
        assert run(Reduce("max", value("f16", 2, 2), 0), x)[0] == 1.0
        assert run(Reduce("min", value("f16", 2, 2), 0), x)[0] == -math.inf

    def test_bool(self) -> None:
        x = [[True, True], [False, True], [False, False]]
        assert run(Reduce("any", value("bool", 3, 2), 1), x).tolist() == [True, True, False]
        assert run(Reduce("all", value("bool", 3, 2), 1), x).tolist() == [True, False, False]
        assert run(Reduce("all", value("bool", 3, 2), 0, keepdim=True), x).tolist() == [[False, False]]

    def test_rules(self) -> None:
        f, b = value("f32", 2, 3), value("bool", 2, 3)
        refused(Reduce("sum", f, 2), "no dimension 2", "0 to 1")
        refused(Reduce("sum", f, -1), "no dimension -1")
        refused(Reduce("any", f, 0), "any", "bool")
        refused(Reduce("sum", b, 0), "sum", "numbers")
        refused(Reduce("sum", value("i8", 2, 3), 0), "i8", "cast(x, i32)")
        refused(Reduce("max", value("f8e4m3fn", 2, 3), 0), "cast(x, f32)")

    @pytest.mark.parametrize("keepdim", [False, True])
    @pytest.mark.parametrize("dim", [0, 1])
    def test_layouts(self, dim: int, keepdim: bool) -> None:
        """A result is on every lane that held one of its terms."""
        layout = distribute((8, 32), LANES)
        op = Reduce("sum", value("f32", 8, 32), dim, keepdim)
        result = covers(op.layouts(LANES, None, (layout,)).result, op.infer().shape)
        kept = f"d{1 - dim}" if keepdim else "d0"
        terms = {(e[1 - dim], e[2]) for e in lanes_of(layout, "d0", "d1")}
        assert lanes_of(result, kept) == terms

    def test_every_kind_is_tried(self) -> None:
        kinds: tuple[ReduceKind, ...] = ("sum", "max", "min", "any", "all")
        assert {
            k: Reduce(k, value("bool" if k in ("any", "all") else "f32", 4), 0).infer().shape for k in kinds
        } == dict.fromkeys(kinds, ())


class TestDot:
    @pytest.mark.parametrize(("a", "b"), [("i8", "i8"), ("u8", "i8"), ("i8", "u8"), ("u8", "u8")])
    def test_integers_wrap(self, a: str, b: str) -> None:
        rng = np.random.default_rng(4)
        x = rng.integers(int(dtype(a).min), int(dtype(a).max) + 1, (3, 7))
        y = rng.integers(int(dtype(b).min), int(dtype(b).max) + 1, (7, 5))
        acc = rng.choice([0, 2**31 - 1, -(2**31), 12345], (3, 5))
        found = run(Dot(value(a, 3, 7), value(b, 7, 5, name="y"), value("i32", 3, 5, name="acc")), x, y, acc)
        for m, n in np.ndindex(3, 5):
            exact = int(acc[m, n]) + sum(int(x[m, k]) * int(y[k, n]) for k in range(7))
            assert int(found[m, n]) == (exact + 2**31) % 2**32 - 2**31

    @pytest.mark.parametrize("kind", ["f16", "bf16", "f32"])
    def test_floats(self, kind: str) -> None:
        rng = np.random.default_rng(6)
        x, y = (dtype(kind).round(rng.standard_normal(s)) for s in ((3, 7), (7, 5)))
        acc = rng.standard_normal((3, 5)).astype(np.float32)
        found = run(Dot(value(kind, 3, 7), value(kind, 7, 5, name="y"), value("f32", 3, 5, name="acc")), x, y, acc)
        for m, n in np.ndindex(3, 5):
            terms = [Fraction(float(x[m, k])) * Fraction(float(y[k, n])) for k in range(7)]
            exact = Fraction(float(acc[m, n])) + sum(terms)
            assert abs(Fraction(float(found[m, n])) - exact) <= Fraction(1, 2**24) * max(abs(exact), Fraction(1, 2**20))

    def test_rules(self) -> None:
        a, b, acc = value("f16", 3, 7), value("f16", 7, 5), value("f32", 3, 5)
        refused(Dot(value("f16", 7), b, acc), "matrices")
        refused(Dot(a, value("f16", 6, 5), acc), "shapes do not match")
        refused(Dot(a, b, value("f32", 5, 3)), "[3, 5]")
        refused(Dot(a, value("bf16", 7, 5), acc), "no product of f16 and bf16")
        refused(Dot(value("u4", 3, 7), value("u4", 7, 5), acc), "no product")
        refused(Dot(a, b, value("f16", 3, 5)), "sums in f32")
        refused(Dot(value("i8", 3, 7), value("u8", 7, 5), acc), "sums in i32")

    def test_layouts(self) -> None:
        """Whoever holds a sum holds all of its terms."""
        op = Dot(value("f32", 4, 8), value("f32", 8, 32), value("f32", 4, 32))
        rule = op.layouts(LANES, None, (None, None, None))
        acc, a, b = covers(rule.result, (4, 32)), covers(rule.operands[0], (4, 8)), covers(rule.operands[1], (8, 32))
        assert rule.operands[2] == acc
        on_a, on_b = lanes_of(a, "d0", "d1"), lanes_of(b, "d0", "d1")
        for m, n, lane in lanes_of(acc, "d0", "d1"):
            assert all((m, k, lane) in on_a and (k, n, lane) in on_b for k in range(8))


def philox(counter: int, key: int) -> int:
    """Philox4x32-10 of the paper, in Python's integers: the first of four words."""
    c = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k0, q & 0xFFFFFFFF, (p >> 32) ^ c[3] ^ k1, p & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c[0]


class TestRandom:
    def test_published_vector(self) -> None:
        """The known answer of Random123 for a counter and a key of zeros."""
        assert run(Random(lift(0), lift(0), (1,))).tolist() == [0x6627E8D5]

    @pytest.mark.parametrize(("seed", "offset"), [(0, 0), (1, 10), (-1, 1 << 40), (1 << 62, (1 << 32) - 3), (7, -2)])
    def test_positions(self, seed: int, offset: int) -> None:
        s, o = Var("s"), Var("o")
        found = run(Random(s, o, (2, 3)), scalars={s: seed, o: offset})
        expected = [philox((offset + i) % 2**64, seed % 2**64) for i in range(6)]
        assert found.ravel().tolist() == expected

    def test_layouts(self) -> None:
        layout = distribute((4, 8), LANES)
        assert Random(lift(0), lift(0), (4, 8)).layouts(LANES, layout, ()).result == layout
        assert Random(lift(0), lift(0), (4, 8), layout).layouts(LANES, None, ()).result == layout

"""Instructions on memory, between lanes and blocks, and for the reader: what they ask of the machine."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.tests.one_op import LANES, covers, effects, refused, value
from bitwright.vm.dtypes import dtype
from bitwright.vm.expr import Var, lift
from bitwright.vm.ir import Array, Shared
from bitwright.vm.layout.spread import distribute, repeat
from bitwright.vm.layout.storage import Packing, Tiled
from bitwright.vm.layout.views import local, spatial
from bitwright.vm.ops import Assert, Barrier, Commit, CopyAsync, Load, Lock, Prefetch, Print, Release, Store, Wait

N, M = Var("N", 0), Var("M", 0)
K, T = Var("k", 0), Var("t", 0, None, 4)
X = Array("x", dtype("f32"), (M, N))
S = Shared("s", dtype("f32"), (4, 8))
TILE = spatial(4, 4) * local(1, 2)
STORED = Array("w", dtype("u3"), (M, N), Tiled(TILE, Packing(3, 8, (2, 1))))


class TestLoadAndStore:
    def test_load(self) -> None:
        answer = np.arange(6, dtype=np.float32).reshape(2, 3)
        op = Load(X, (K * 2, lift(5)), (2, 3), -1.0)
        assert str(op.infer()) == "f32[2, 3]"
        assert effects(op, scalars={K: 7}, answer=answer) == [("read", X, (14, 5), (2, 3), -1.0)]

    def test_store(self) -> None:
        op = Store(S, (K, lift(0)), value("f32", 1, 2))
        assert effects(op, [[1.5, 2]], scalars={K: 3}) == [("write", S, (3, 0), [[1.5, 2.0]], dtype("f32"))]

    def test_rules(self) -> None:
        x = value("f32", 2, 3)
        refused(Load(X, (K,), (2, 3)), "x has 2 dimensions", "1 start ")
        refused(Load(X, (K, K), (2,)), "a tile of 1")
        refused(Store(X, (K,), x), "2 dimensions")
        refused(Store(X, (K, K), value("f16", 2, 3)), "x holds f32, the tile is f16", "cast(x, f32)")

    def test_storage_tiles_are_not_cut(self) -> None:
        assert str(Load(STORED, (T, T * 2), (8, 16)).infer()) == "u3[8, 16]"
        refused(Load(STORED, (T, T * 2), (6, 16)), "a tile of 6 along dimension 0", "multiples of 4")
        refused(Load(STORED, (T, T), (4, 8)), "dimension 1", "multiples of 8")
        refused(Load(STORED, (T + 2, T * 2), (4, 8)), "dimension 0")
        refused(Store(STORED, (K, T * 2), value("u3", 4, 8)), "dimension 0")

    def test_layouts(self) -> None:
        any_, wanted = distribute((4, 32), LANES), spatial(4, 4) * local(1, 8)
        assert Load(X, (K, K), (4, 32)).layouts(LANES, any_, ()).result == any_
        assert Load(X, (K, K), (4, 32), 0.0, wanted).layouts(LANES, any_, ()).result == wanted
        assert Load(STORED, (T, T * 2), (8, 16)).layouts(LANES, any_, ()).result == repeat(TILE, (8, 16), LANES)
        store = Store(STORED, (T, T * 2), value("u3", 8, 16)).layouts(LANES, None, (any_,))
        assert store.operands == (repeat(TILE, (8, 16), LANES),)
        assert Store(X, (K, K), value("f32", 4, 32)).layouts(LANES, None, (any_,)).operands == (any_,)

    @pytest.mark.parametrize("kind", ["u1", "u2", "u3", "u4", "u5", "u6", "u7"])
    def test_lanes_take_whole_words_of_a_stream(self, kind: str) -> None:
        bits = dtype(kind).bits
        packed = Array("p", dtype(kind), (M, N))
        load = Load(packed, (K, K), (2, 512)).layouts(LANES, None, ()).result
        store = Store(packed, (K, K), value(kind, 2, 512)).layouts(LANES, None, (None,)).operands[0]
        for layout in (load, store):
            where = covers(layout, (2, 512)).places(("d0", "d1"), ("lane",))[..., 0]
            run = 32 // int(np.gcd(bits, 32))
            assert (where.reshape(2, -1, run) == where.reshape(2, -1, run)[:, :, :1]).all()


class TestCopies:
    def test_copy(self) -> None:
        op = CopyAsync(X, (K, lift(8)), S, (lift(1), lift(0)), (2, 8))
        assert op.infer() is None
        assert effects(op, scalars={K: 3}) == [("copy", X, (3, 8), S, (1, 0), (2, 8))]

    def test_rules(self) -> None:
        z = lift(0)
        refused(CopyAsync(X, (z,), S, (z, z), (2, 8)), "x has 2 dimensions")
        refused(CopyAsync(X, (z, z), S, (z,), (2, 8)), "s has 2 dimensions")
        refused(CopyAsync(X, (z, z), Shared("h", dtype("f16"), (4, 8)), (z, z), (2, 8)), "x holds f32, h holds f16")
        refused(CopyAsync(STORED, (z, z), Shared("c", dtype("u3"), (4, 8)), (z, z), (4, 8)), "w is stored in tiles")
        refused(Wait(-1), "wait(-1)")

    def test_groups(self) -> None:
        assert effects(Commit()) == [("commit",)]
        assert effects(Wait(2)) == [("wait", 2)]
        assert Commit().infer() is None
        assert Wait().pending == 0


class TestPrefetch:
    def test_it_asks_nothing_of_memory(self) -> None:
        op = Prefetch(X, (K * 1000, lift(-5)), (2, 3))
        assert op.infer() is None
        assert op.effect == "hints"
        assert effects(op, scalars={K: 10**6}) == []

    def test_rules(self) -> None:
        refused(Prefetch(X, (K,), (2, 3)), "x has 2 dimensions", "1 start ")
        refused(Prefetch(X, (K, K), (2,)), "a tile of 1")
        assert Prefetch(STORED, (T, T * 2), (8, 16)).infer() is None
        refused(Prefetch(STORED, (T, T * 2), (6, 16)), "a tile of 6 along dimension 0", "multiples of 4")
        refused(Prefetch(STORED, (T, T), (4, 8)), "dimension 1", "multiples of 8")

    def test_it_is_of_64_kib_at_most(self) -> None:
        packed = Array("p", dtype("u3"), (M, N))
        for array, most, more in ((X, (128, 128), (128, 129)), (packed, (8, 21845), (8, 21846))):
            assert Prefetch(array, (K, K), most).infer() is None
            refused(Prefetch(array, (K, K), more), "a tile of 6", "at most 65,536", "in a loop")


class TestSync:
    def test_barrier(self) -> None:
        assert effects(Barrier()) == [("barrier",)]
        assert Barrier().infer() is None

    def test_locks(self) -> None:
        locks = Array("locks", dtype("i32"), (N,))
        assert effects(Lock(locks, (K + 1,)), scalars={K: 3}) == [("lock", locks, (4,))]
        assert effects(Release(locks, (K,)), scalars={K: 3}) == [("release", locks, (3,))]

    def test_rules(self) -> None:
        for op in (Lock, Release):
            refused(op(X, (K, K)), "row-major i32", "x")
            refused(op(Array("w", dtype("i32"), (M, N), Tiled(TILE, Packing(32, 32, (32,)))), (K, K)), "w")
            refused(op(Array("locks", dtype("i32"), (N,)), (K, K)), "1 dimensions", "2")


class TestReports:
    def test_assert(self) -> None:
        op = Assert(value("bool", 3), "all is well")
        assert effects(op, [True, True, True]) == []
        assert effects(op, [True, False, True]) == [("fail", "all is well")]
        refused(Assert(value("i32", 3), "no"), "bool tile", "i32[3]")

    def test_print(self) -> None:
        (call,) = effects(Print("scores", value("i32", 3)), [1, -2, 3])
        assert call[0] == "show"
        for part in ("scores", "i32[3]", "1", "-2", "3"):
            assert part in str(call[1])

    def test_any_layout_will_do(self) -> None:
        layout = distribute((32,), LANES)
        assert Assert(value("bool", 32), "").layouts(LANES, None, (layout,)).operands == (layout,)
        assert Print("", value("i32", 32)).layouts(LANES, None, (layout,)).operands == (layout,)

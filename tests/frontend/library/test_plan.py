"""The planner: how tensors are padded and packed, what element types are exactly, which kernel is taken, any target."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.target import target
from bitwright.frontend.library.exact import as_integers, fits_bf16
from bitwright.frontend.library.plan import Schedule, plan, prepared_kernel, product, schedules
from bitwright.frontend.library.prepared import Activations, LinearError, Prepared, padded, prepare
from bitwright.frontend.linear import linear_kernel, run
from bitwright.frontend.tensor import QTensor, value_table
from bitwright.tests.linear_bounds import assert_within, bound, exact, random_tensor, rounding_bound
from bitwright.vm.dtypes import NAMED, Codebook, DType, Int, codebook, dtype
from bitwright.vm.expr import evaluate
from bitwright.vm.formats import Format
from bitwright.vm.interpret import interpret
from bitwright.vm.ir import Machine
from bitwright.vm.ops import Prefetch

SMALL = [kind for kind in NAMED.values() if kind.bits <= 8 and kind.name != "bool"]
NARROW = ("cpu:x86-64-v3", "cpu:baseline")
HERE = target("cpu")
NUMPY = {"f32": np.float32, "bf16": np.uint16, "i8": np.int8, "i32": np.int32}


def finite(element: DType) -> list[Fraction]:
    return [Fraction(v) for v in value_table(element).tolist() if np.isfinite(v)]


@pytest.mark.parametrize("element", SMALL, ids=str)
def test_bytes_stand_for_the_values_exactly_or_not_at_all(element: DType) -> None:
    """With exact fractions: a unit of the element's values is the largest power of two that divides them all."""
    values, found = finite(element), as_integers(element)
    lowest = max(v.denominator for v in values)  # values are dyadic: the least common denominator
    unit = Fraction(1, lowest)
    while all((v / unit / 2).denominator == 1 for v in values) and any(values):
        unit *= 2
    low, high = min(0, *values) / unit, max(values) / unit
    special = len(values) < len(value_table(element)) and not isinstance(element, Codebook)
    if found is None:
        assert special or high - low > 255
        return
    assert not special
    assert high - low <= 255
    assert found.element.bits == element.bits
    table = value_table(found.element)
    flip = 1 << (element.bits - 1) if isinstance(element, Int) and element.signed else 0
    for code, right in enumerate(value_table(element).tolist()):
        if np.isfinite(right):
            byte = table[code ^ flip]
            assert 0 <= byte <= 255
            assert byte == int(byte)
            assert (Fraction(byte) - found.shift) * Fraction(found.unit) == Fraction(right)


@pytest.mark.parametrize("element", SMALL, ids=str)
def test_bf16_elements_are_those_that_ml_dtypes_does_not_round(element: DType) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.array([float(v) for v in finite(element)])
    same = values.astype(ml_dtypes.bfloat16).astype(np.float64) == values
    normal = (values == 0) | (np.abs(values) >= float(ml_dtypes.finfo(ml_dtypes.bfloat16).tiny))
    assert fits_bf16(element) == bool((same & normal).all())


@pytest.mark.parametrize("group", [None, 1, 5, 16, 24, 32, 37, 48, 128, 129, 160, 256, 300, 1000, 4096])
@pytest.mark.parametrize("shape", [(1, 1), (7, 31), (16, 200), (17, 128), (64, 129), (100, 611), (65, 4096)])
def test_padding_divides_and_is_not_too_much(group: int | None, shape: tuple[int, int]) -> None:
    n, k = shape
    q = random_tensor(Format(dtype("u1"), group, dtype("f16")), n, k)
    for lanes in (4, 8, 16):
        s = padded(q, lanes)
        assert s.columns % lanes == 0
        assert 0 <= s.columns - n < (4 * lanes if n > lanes else lanes)
    assert (s.n, s.k) == shape
    assert s.depth % s.group == s.group % s.part == s.part % s.run == 0
    assert s.depth // s.group == q.format.groups(k)
    assert s.part <= 128
    assert s.run <= 32
    whole = group is None or group >= k
    assert 0 <= s.depth - k < (128 if whole and k > 128 else 32 if whole else s.group)
    if not whole:
        assert s.group == group


def test_weights_lie_where_the_storage_says() -> None:
    """Codes come back out of the packed words, and everything that pads is code 0 with scale 0."""
    q = random_tensor("u5:g32:f16+zero", 100, 70)
    p = prepare(q, "f32", HERE)
    back = p.storage.unpack(p.weights, (p.shape.depth, p.shape.columns))
    np.testing.assert_array_equal(back[:70, :100], q.codes.T)
    assert not back[70:].any()
    assert not back[:, 100:].any()
    groups = p.shape.depth // 32
    sides = [a.transpose(1, 0, 2).reshape(groups, -1) for a in (p.scales, p.zeros)]
    np.testing.assert_array_equal(sides[0][:, :100].view(np.uint16), q.scales.T)
    np.testing.assert_array_equal(sides[1][:, :100], q.zeros.T)
    assert not sides[0][:, 100:].any()
    assert p.scales.ctypes.data % 64 == 0
    assert p.weights.ctypes.data % 64 == 0
    assert p.nbytes == p.weights.nbytes + 2 * p.scales.size + p.zeros.size


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_tile_is_short_and_read_front_to_back(bits: int) -> None:
    """Of each plane the words come in the order of the rows that they hold, those of all columns together."""
    for lanes in (4, 8, 16):
        p = prepare(random_tensor(f"u{bits}:g128:f16", 4 * lanes, 128), "f32", replace(HERE, lanes=lanes))
        assert p.storage.tile_bytes <= 512
        run, columns = p.storage.tile_shape
        assert columns == 4 * lanes
        assert run * columns * bits == 8 * p.storage.tile_bytes
        place = p.storage.packing.place(p.storage.regs)[:, 0] // 32  # the word of each register's lowest bit
        rows = p.storage.tile.places(("lane", "reg"), ("d0", "d1"))[0, :, 0]
        starts = [rows[place == word].min() for word in np.unique(place)]
        assert starts == sorted(starts)


def test_a_tensor_is_packed_once_for_all_float_modes() -> None:
    q = random_tensor("u4:g32:f16", 20, 64)
    assert prepare(q, "f32", HERE) is prepare(q, "bf16", HERE) is prepare(q, "f16", HERE)
    assert prepare(q, "int8", HERE) is prepare(q, "int8", HERE) is not prepare(q, "f32", HERE)


def test_bf16_products_are_taken_where_they_are_exact_and_fast() -> None:
    own = codebook([-1.1, 0.3], "no_bf16")
    fast, slow = target("cpu:znver4"), target("cpu:x86-64-v3")
    for element, right in ((dtype("u4"), "bf16"), (dtype("f4e2m1"), "bf16"), (dtype("u8"), "bf16"), (own, "f32")):
        q = random_tensor(Format(element, 32, dtype("f16")), 7, 32)
        assert product(prepare(q, "bf16", fast), "bf16", "direct", fast) == right
        assert product(prepare(q, "bf16", fast), "bf16", "panel", fast) == ("f32" if element is own else "bf16")
        assert product(prepare(q, "bf16", slow), "bf16", "panel", slow) == "f32"
        assert product(prepare(q, "f32", fast), "f32", "direct", fast) == "f32"
        assert product(prepare(q, "f16", fast), "f16", "direct", fast) == "f32"


def test_layers_of_one_depth_share_a_kernel() -> None:
    """Nothing of N is in the code: parameters, facts and text are equal."""
    one = Schedule("direct", 1)
    kernels = [prepared_kernel(prepare(random_tensor("u4:g32:f16", n, 64), "f32", HERE), "f32", one, False, HERE)
               for n in (65, 128, 1000)]  # fmt: skip
    assert kernels[0].parameters == kernels[1].parameters == kernels[2].parameters
    assert kernels[0].multiples == kernels[2].multiples
    assert kernels[0].program.name == "linear_float"


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("mode", get_args(Activations))
@pytest.mark.parametrize("format", ["u3:g32:f16+zero", "i4:g32:bf16", "f6e2m3:g32:e8m0+min"])
def test_kernels_of_other_processors(name: str, mode: Activations, format: str) -> None:
    """Code for older processors runs here; its results are within the same bounds."""
    where = target(name)
    q = random_tensor(format, 19, 70)
    bias = np.arange(19, dtype=np.float32)
    for m in (3, 21):
        x = np.random.default_rng(4).normal(size=(m, 70)).astype(np.float32)
        assert_within(run(prepare(q, mode, where), mode, x, bias, where), exact(x, q, bias), limit(x, q, bias, mode))


def limit(x: NDArray[np.float32], q: QTensor, bias: NDArray[np.float32], mode: Activations) -> NDArray[np.float64]:
    """How far off a result may be that a mode gives for groups of 32."""
    unit = {"f32": 0.0, "bf16": 2.0**-8, "f16": 2.0**-11, "int8": 0.0}[mode]
    rounded = unit * np.abs(x.astype(np.float64)) @ np.abs(q.dequantize(np.float64)).T
    return 1.01 * bound(x, q, bias) + rounded + (rounding_bound(x, q, 32) if mode == "int8" else 0.0)


@pytest.mark.parametrize("mode", get_args(Activations))
@pytest.mark.parametrize("format", ["u3:g32:f16+zero", "i7:g32:f32", "f6e2m3:g32:e8m0+min", "nf4:g32:bf16"])
def test_every_schedule_gives_the_product(format: str, mode: Activations) -> None:
    q = random_tensor(format, 70, 200)
    if mode == "int8" and as_integers(q.format.element) is None:
        pytest.skip("no bytes")
    x = np.random.default_rng(5).normal(size=(11, 200)).astype(np.float32)
    bias = np.arange(70, dtype=np.float32)
    p = prepare(q, mode, HERE)
    found = schedules(p, mode, 11, HERE)
    assert found[0] == plan(p, mode, 11, HERE)
    assert {s.form for s in found} == {"direct", "panel"}
    for schedule in [s for s in found if s.ahead == 8 and s.rows in (1, 4, 5)]:
        assert_within(run(p, mode, x, bias, HERE, schedule), exact(x, q, bias), limit(x, q, bias, mode))


@pytest.mark.parametrize("format", ["u1:g128:f16", "u4:g128:f16+zero", "u7:g128:f16", "f6e2m3:g128:f16"])
@pytest.mark.parametrize("mode", get_args(Activations))
def test_more_rows_are_never_computed_one_by_one(format: str, mode: Activations) -> None:
    """Few rows pass over the weights at once, many share a panel, and little is computed for nothing."""
    p = prepare(random_tensor(format, 256, 512), mode, HERE)
    forms = [plan(p, mode, m, HERE).form for m in range(1, 600)]
    assert forms == sorted(forms)
    assert forms[:5] == ["direct"] * 5
    assert forms[-1] == "panel" or mode == "int8"  # whose codes of one piece are decoded for every pass
    for m in range(1, 600):
        s = plan(p, mode, m, HERE)
        assert m <= s.padded_rows(m) <= max(m + 1, m * 1.25)
        assert s.share % s.rows == 0


@pytest.mark.parametrize(("format", "mode"), [("u7:g32:f16+zero", "byte"), ("u8:g32:f16+zero", "zero")])
def test_zero_points_are_taken_off_the_bytes_of_a_panel_where_they_fit(format: str, mode: str) -> None:
    """The least and the largest codes and zero points: a byte that carried would change its neighbour."""
    q = random_tensor(format, 70, 96)
    most, random = (1 << q.format.element.bits) - 1, np.random.default_rng(2)
    assert q.zeros is not None
    codes, zeros = (random.choice(np.array([0, most], np.uint8), a.shape) for a in (q.codes, q.zeros))
    q = QTensor.from_codes(codes, q.scales, q.format, zeros)
    p, schedule = prepare(q, "int8", HERE), Schedule("panel", 4, depth=32, share=8)
    assert prepared_kernel(p, "int8", schedule, False, HERE).parameters["ZERO"] == mode
    x, bias = random.normal(size=(11, 96)).astype(np.float32), np.zeros(70, np.float32)
    assert_within(run(p, "int8", x, None, HERE, schedule), exact(x, q, bias), limit(x, q, bias, "int8"))


def test_columns_that_no_cache_holds_are_cut_into_panels() -> None:
    """A second pass over weights must not read them from memory again."""
    shapes = {k: prepare(random_tensor("u8:g128:f16", 64, k), "int8", HERE) for k in (1024, 16384)}
    assert plan(shapes[1024], "int8", 8, HERE).form == "direct"
    assert plan(shapes[16384], "int8", 1, HERE).form == "direct"
    assert plan(shapes[16384], "int8", 8, HERE).form == "panel"


def test_groups_of_one_storage_tile_have_no_loop_to_fetch_in() -> None:
    p = prepare(random_tensor("nvfp4", 64, 256), "f32", HERE)
    assert p.shape.group == p.shape.run
    assert not any(plan(p, "f32", m, HERE).next for m in range(1, 40))


@pytest.mark.parametrize("mode", get_args(Activations))
@pytest.mark.parametrize("name", ["cpu:znver4", *NARROW])
def test_the_next_weights_are_fetched_where_a_pass_has_others_after_it(name: str, mode: Activations) -> None:
    """One pass reads each weight once, as fast as memory gives it: nothing is left to fetch ahead."""
    where = target(name)
    p = prepare(random_tensor("u4:g128:f16", 70, 256), mode, where)
    plans = {m: plan(p, mode, m, where) for m in range(1, 40)}
    assert {s.next for s in plans.values() if s.form == "direct"} == {False, True}
    for m, s in plans.items():
        assert s.next == (s.form == "direct" and m > s.rows)
        for other in schedules(p, mode, m, where):
            assert not other.next or (other.form == "direct" and m > other.rows)


@pytest.mark.parametrize("format", ["u4:g32:f16", "u7:row:f16+zero"])
@pytest.mark.parametrize("mode", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("passes", [1, 2, 4, 5])
def test_all_passes_together_fetch_the_next_column_tile_once(
    format: str, mode: Activations, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = prepare(random_tensor(format, 100, 96), mode, target("cpu:znver4"))
    fetched = hints(p, mode, Schedule("direct", 2, next=True), 2 * passes, monkeypatch)
    depth, columns = p.storage.tile_shape
    assert p.shape.columns == 2 * columns
    assert fetched == Counter((k, n) for n in (columns, 2 * columns) for k in range(0, p.shape.depth, depth))
    assert not hints(p, mode, Schedule("direct", 2), 2 * passes, monkeypatch)


@pytest.mark.parametrize(("format", "depth"), [("u4:g32:f16", 32), ("u7:g32:f16+zero", 64), ("u4:row:f16", 256)])
@pytest.mark.parametrize("mode", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("m", [2, 8, 10])
def test_a_panel_fetches_the_next_one_once(
    format: str, depth: int, mode: Activations, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each 6 rows of x, and the rows that are left: the rest of the column, then the next one's first panel."""
    p = prepare(random_tensor(format, 100, 192), mode, target("cpu:znver4"))
    depth = max(depth, p.shape.part)
    fetched = hints(p, mode, Schedule("panel", 2, depth=depth, share=6), m, monkeypatch)
    run, columns = p.storage.tile_shape
    after = [(0, k) for k in range(depth, p.shape.depth, run)] + [(1, k) for k in range(0, depth, run)]
    assert fetched == {(k, (t + ahead) * columns): -(-m // 6) for t in (0, 1) for ahead, k in after}


def hints(p: Prepared, mode: Activations, schedule: Schedule, m: int, patch: pytest.MonkeyPatch) -> Counter[object]:
    """Where the tiles begin that a kernel for m rows has fetched, and how often each was; they are storage tiles."""
    kernel, found = prepared_kernel(p, mode, schedule, False, target("cpu:znver4")), Counter[object]()

    def note(op: Prefetch, machine: Machine) -> None:
        assert op.source.name == "w"
        assert op.shape == p.storage.tile_shape
        found[tuple(map(machine.index, op.at))] += 1

    sides = {"w": p.weights, "scale": p.scales, "zero": p.zeros}
    sizes = {"M": m, "N": p.shape.columns, "B": 0, "T": p.shape.columns // p.storage.tile_shape[1], "ZG": 0}
    known = {v: sizes[v.name] for v in kernel.program.sizes}
    arguments = [
        sides[a.name] if a.name in sides else np.zeros([evaluate(n, known) for n in a.shape], NUMPY[a.dtype.name])
        for a in kernel.program.arrays
    ]
    patch.setattr(Prefetch, "run", note)
    interpret(kernel.program, *arguments, sizes={v.name: sizes[v.name] for v in kernel.program.sizes})
    return found


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_kernel_called_by_hand(rows: int) -> None:
    """The arguments are those of linear.bw; weights can be packed by the kernel itself."""
    kernel = linear_kernel("i4", group=32, m=rows, n=16, k=64)
    random = np.random.default_rng(1)
    x = random.normal(size=(rows, 64)).astype(np.float32)
    codes = random.integers(0, 16, (64, 16)).astype(np.uint8)
    scales = random.normal(size=(2, 16)).astype(np.float16)
    y, none = np.empty((rows, 16), np.float32), np.zeros(0, np.float32)
    weights = next(a for a in kernel.program.arrays if a.name == "w").storage
    assert weights is not None
    sums, zeros = np.zeros((rows, 2), np.float32), np.zeros((1, 0, 16), np.uint8)
    kernel(x, sums, weights.pack(codes), scales[None], zeros, none, y)
    values = np.where(codes > 7, codes.astype(np.int64) - 16, codes) * np.repeat(scales.astype(np.float64), 32, axis=0)
    assert (np.abs(y - x.astype(np.float64) @ values) <= 80 * 2.0**-24 * np.abs(x) @ np.abs(values)).all()


def test_what_has_no_bytes_is_refused() -> None:
    with pytest.raises(LinearError, match="f8e5m2 weights have no exact form as bytes"):
        prepare(random_tensor("f8e5m2:g32:f16", 3, 32), "int8", HERE)

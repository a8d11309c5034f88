"""Every row of the table of GPU instructions against plain Python, where the PTX ISA says the elements lie."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.atoms import has_instruction, select_row
from bitwright.backend.cuda.architectures import ARCHITECTURES
from bitwright.backend.cuda.atoms import MEANINGS, ROWS, Row, rows_of
from bitwright.backend.lane.shared_meaning import SharedMeaning
from bitwright.backend.lane.simulate import Meaning
from bitwright.backend.target import target

WARPS = 3
MATRIX = [row for row in ROWS if row.name.startswith("mma_")]
ELEMENT = {
    "mma_f16": np.dtype(np.float16), "mma_bf16": np.dtype(ml_dtypes.bfloat16), "mma_s8": np.dtype(np.int8),
    "mma_u8": np.dtype(np.uint8), "mma_e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "mma_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}  # fmt: skip


def elements(name: str) -> tuple[np.dtype[np.generic], np.dtype[np.generic]]:
    """The types of a and b."""
    if name == "mma_us8":
        return np.dtype(np.uint8), np.dtype(np.int8)
    if name == "mma_su8":
        return np.dtype(np.int8), np.dtype(np.uint8)
    return ELEMENT[name], ELEMENT[name]


# The fragments, as the PTX ISA writes them: (row, column) of element i of a lane


def fragment_a(lane: int, i: int, size: int) -> tuple[int, int]:
    group, in_group = lane >> 2, lane % 4
    if size == 2:
        row = group if 0 <= i < 2 or 4 <= i < 6 else group + 8
        return row, in_group * 2 + (i & 1) + (8 if i >= 4 else 0)
    row = group if 0 <= i < 4 or 8 <= i < 12 else group + 8
    return row, in_group * 4 + (i & 3) + (16 if i >= 8 else 0)


def fragment_b(lane: int, i: int, size: int) -> tuple[int, int]:
    group, in_group = lane >> 2, lane % 4
    if size == 2:
        return in_group * 2 + (i & 1) + (8 if i >= 2 else 0), group
    return in_group * 4 + (i & 3) + (16 if i >= 4 else 0), group


def fragment_c(lane: int, i: int) -> tuple[int, int]:
    return (lane >> 2) + (8 if i >= 2 else 0), (lane % 4) * 2 + (i & 1)


def registers(matrices: NDArray[np.generic], places: Callable[[int, int], tuple[int, int]], words: int) -> list[object]:
    """The words of every lane of all warps, of matrices [warp, d0, d1]."""
    count = words * 4 // matrices.dtype.itemsize
    held = np.empty((len(matrices), 32, count), matrices.dtype)
    for lane, i in itertools.product(range(32), range(count)):
        held[:, lane, i] = matrices[:, *places(lane, i)]
    kind = np.float32 if matrices.dtype == np.float32 else np.int32
    whole = held.view(f"u{matrices.dtype.itemsize}").view(kind).reshape(-1, words)
    return [np.ascontiguousarray(whole[:, w]) for w in range(words)]


def product(row: Row, a: NDArray[np.generic], b: NDArray[np.generic], c: NDArray[np.generic]) -> NDArray[np.generic]:
    """What the row gives, as matrices."""
    size = a.dtype.itemsize
    operands = [
        *registers(a, lambda lane, i: fragment_a(lane, i, size), 4),
        *registers(b, lambda lane, i: fragment_b(lane, i, size), 2),
        *registers(c, fragment_c, 4),
    ]
    with np.errstate(all="ignore"):
        results = alone(row.name)(*operands)
    assert isinstance(results, tuple)
    out = np.empty_like(c)
    for lane, i in itertools.product(range(32), range(4)):
        out[:, *fragment_c(lane, i)] = results[i].reshape(-1, 32)[:, lane]
    return out


def row_id(row: Row) -> str:
    return "-".join((row.name, *row.features))


@pytest.mark.parametrize("row", MATRIX, ids=row_id)
def test_matrices_are_multiplied(row: Row) -> None:
    """Small integers, whose products and sums every type holds exactly."""
    rng, shape = np.random.default_rng(1), row.matrix
    assert shape is not None
    kinds = elements(row.name)
    assert (shape.m, shape.n, shape.k) == (16, 8, 32 // kinds[0].itemsize)
    low = [0 if kind.kind == "u" else -4 for kind in kinds]
    a = rng.integers(low[0], 5, (WARPS, 16, shape.k))
    b = rng.integers(low[1], 5, (WARPS, shape.k, 8))
    c = rng.integers(-1000, 1000, (WARPS, 16, 8))
    total = np.float32 if row.results[0] == "f32" else np.int32
    found = product(row, a.astype(kinds[0]), b.astype(kinds[1]), c.astype(total))
    np.testing.assert_array_equal(found, a @ b + c)


@pytest.mark.parametrize("row", [r for r in MATRIX if r.results[0] == "i32"], ids=row_id)
def test_whole_products_wrap(row: Row) -> None:
    rng = np.random.default_rng(2)
    left, right = elements(row.name)
    a = rng.integers(0, 256, (WARPS, 16, 32)).astype(np.uint8).view(left)
    b = rng.integers(0, 256, (WARPS, 32, 8)).astype(np.uint8).view(right)
    c = rng.integers(2**31 - 1000, 2**31, (WARPS, 16, 8)).astype(np.int32)
    exact = a.astype(np.int64) @ b.astype(np.int64) + c
    np.testing.assert_array_equal(product(row, a, b, c), (exact + 2**31) % 2**32 - 2**31)


@pytest.mark.parametrize("row", [r for r in MATRIX if r.results[0] == "f32"], ids=row_id)
def test_float_products_are_exact_and_their_sum_rounds_once(row: Row) -> None:
    """Any codes: subnormal numbers are exact, infinities and NaN are those of arithmetic."""
    rng, shape = np.random.default_rng(3), row.matrix
    assert shape is not None
    kind = elements(row.name)[0]
    codes = f"u{kind.itemsize}"
    few = (WARPS, 16, shape.k), (WARPS, shape.k, 8)
    a, b = (rng.integers(0, 2 ** (8 * kind.itemsize), s).astype(codes).view(kind) for s in few)
    rare = np.where(rng.random(a.shape) < 0.98, np.array(0.5, kind), a)  # most sums have no NaN
    c = rng.standard_normal((WARPS, 16, 8)).astype(np.float32)
    found = product(row, rare, b, c)
    for w, m, n in itertools.product(range(WARPS), range(16), range(8)):
        terms = [float(c[w, m, n]), *(float(x) * float(y) for x, y in zip(rare[w, m], b[w, :, n], strict=True))]
        if all(map(math.isfinite, terms)):
            exact = sum(map(Fraction, terms))
            bound = 2.0**-24 * float(abs(exact)) + 2.0**-48 * sum(map(abs, terms)) + 2.0**-150
            big = float(abs(exact)) >= 2.0**128 * (1 - 2.0**-25)
            assert math.isinf(found[w, m, n]) if big else abs(Fraction(float(found[w, m, n])) - exact) <= bound
        else:
            wanted = sum(t for t in terms if not math.isfinite(t))
            assert found[w, m, n] == wanted or (math.isnan(wanted) and math.isnan(found[w, m, n]))


# Words


def nearest(exact: Fraction, digits: int, lowest: int, largest: int) -> Fraction | float:
    """The nearest number of `digits` binary digits, ties to even, of which the last is at least 2**lowest."""
    if exact == 0:
        return exact
    exponent = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    exponent -= abs(exact) < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, lowest)
    found = round(exact / unit) * unit
    return found if abs(found) < Fraction(2) ** largest else math.copysign(math.inf, exact)


HALF = {"f16": (np.dtype(np.float16), 11, -24, 16), "bf16": (np.dtype(ml_dtypes.bfloat16), 8, -133, 128)}
FORMS: dict[str, Callable[..., Fraction | float]] = {"fma": lambda a, b, c: a * b + c, "mul": lambda a, b: a * b}


def halves(name: str, count: int, seed: int) -> NDArray[np.uint16]:
    """Codes of any numbers, half of them near the smallest or near 1."""
    rng = np.random.default_rng(seed)
    one = 0x3C00 if name == "f16" else 0x3F80
    near = rng.choice(np.array([0, 1, 2, 0x3FF, 0x400, one - 1, one, one + 1], np.uint16), count)
    near |= rng.choice(np.array([0, 0x8000], np.uint16), count)
    return np.where(rng.random(count) < 0.5, near, rng.integers(0, 2**16, count).astype(np.uint16))


@pytest.mark.parametrize("name", list(HALF))
@pytest.mark.parametrize("form", list(FORMS))
def test_pairs_of_16_bit_floats_round_once(form: str, name: str) -> None:
    kind, *grid = HALF[name]
    row = next(r for r in ROWS if r.name == f"{form}_{name}x2")
    codes = [halves(name, 3000, seed) for seed in range(len(row.operands))]
    with np.errstate(all="ignore"):
        found = np.asarray(alone(row.name)(*(c.view(np.int32) for c in codes))).view(kind)
        values = [c.view(kind).astype(np.float64) for c in codes]
    for n, given in enumerate(zip(*(v.tolist() for v in values), strict=True)):
        if all(map(math.isfinite, given)):
            assert float(found[n]) == nearest(Fraction(FORMS[form](*map(Fraction, given))), *grid)
            continue
        wanted = FORMS[form](*given)  # infinities and NaN go through f64 as they are
        assert float(found[n]) == wanted or (math.isnan(wanted) and found[n : n + 1].view(np.uint16) == 0x7FFF)


@pytest.mark.parametrize("name", list(HALF))
def test_two_f32_become_a_word(name: str) -> None:
    rng = np.random.default_rng(5)
    middle = (rng.integers(0, 2**16, 4000) << 16 | rng.choice([0x7FFF, 0x8000, 0x8001, 0x1000, 0], 4000)).astype(
        np.uint32
    )
    low, high = (np.concatenate([x, rng.permutation(x)]).view(np.float32) for x in (middle, middle[::-1].copy()))
    with np.errstate(all="ignore"):
        found = np.asarray(alone(f"pack_{name}x2")(low, high)).view(np.uint16).reshape(-1, 2)
        for column, given in ((0, low), (1, high)):
            wanted = given.astype(HALF[name][0]).view(np.uint16)
            np.testing.assert_array_equal(found[:, column], np.where(np.isnan(given), 0x7FFF, wanted))


@pytest.mark.parametrize(("name", "kind"), [("e4m3", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2)])
def test_fp8_becomes_f16(name: str, kind: type[np.generic]) -> None:
    low, high = (x.reshape(-1).astype(np.uint32) for x in np.meshgrid(np.arange(256), np.arange(0, 256, 5)))
    pair = low | high << np.uint32(8)
    for word, half in ((pair | np.uint32(0xABCD0000), ""), (pair << np.uint32(16) | np.uint32(0xABCD), "_high")):
        found = np.asarray(alone(f"cvt_f16x2_{name}x2{half}")(word.view(np.int32))).view(np.float16).reshape(-1, 2)
        for column, codes in ((0, low), (1, high)):
            np.testing.assert_array_equal(found[:, column], codes.astype(np.uint8).view(kind).astype(np.float16))


def test_upper_halves_widen() -> None:
    halves = np.arange(1 << 16, dtype=np.uint32)
    found = np.asarray(alone("f16tof32_high")((halves << np.uint32(16) | np.uint32(0x3C01)).view(np.int32)))
    np.testing.assert_array_equal(found, halves.astype(np.uint16).view(np.float16).astype(np.float32))


def test_masked_bits_turn_others() -> None:
    x, mask, y = (np.array(words(500, seed), np.int64).astype(np.int32) for seed in (5, 6, 7))
    found = np.asarray(alone("and_xor")(x, mask, y))
    assert found.tolist() == [(int(a) & int(m)) ^ int(c) for a, m, c in zip(x, mask, y, strict=True)]


def alone(name: str) -> Meaning:
    found = MEANINGS[name]
    assert not isinstance(found, SharedMeaning)
    return found


def words(count: int, seed: int) -> list[int]:
    return [int(x) for x in np.random.default_rng(seed).integers(-(2**31), 2**31, count)]


def called(name: str, *operands: Sequence[int]) -> list[int]:
    return [int(x) for x in np.asarray(alone(name)(*(np.array(o, np.int32) for o in operands)))]


def test_bytes_are_picked_by_a_selector() -> None:
    xs, ys, selectors = words(2000, 1), words(2000, 2), words(2000, 3)
    for x, y, selector, found in zip(xs, ys, selectors, called("prmt", xs, ys, selectors), strict=True):
        given = [*x.to_bytes(4, "little", signed=True), *y.to_bytes(4, "little", signed=True)]
        nibbles = [selector >> 4 * k & 15 for k in range(4)]
        picked = [given[s] if s < 8 else 255 * (given[s - 8] >> 7) for s in nibbles]
        assert found == int.from_bytes(picked, "little", signed=True)


@pytest.mark.parametrize(
    ("name", "a_signed", "b_signed"),
    [("us", False, True), ("ls", False, True), ("ss", True, True), ("uu", False, False)],
)
def test_four_products_of_bytes(name: str, a_signed: bool, b_signed: bool) -> None:
    accs, xs, ys = words(1000, 4), words(1000, 5), words(1000, 6)

    def parts(word: int, signed: bool) -> list[int]:
        whole = word.to_bytes(4, "little", signed=True)
        return [int.from_bytes([byte], "little", signed=signed) for byte in whole]

    for acc, x, y, found in zip(accs, xs, ys, called(f"dp4a_{name}", accs, xs, ys), strict=True):
        total = acc + sum(p * q for p, q in zip(parts(x, a_signed), parts(y, b_signed), strict=True))
        assert found == (total + 2**31) % 2**32 - 2**31


# The table


def test_rows_by_target() -> None:
    oldest, ada, hopper = (target(f"cuda:{name}") for name in ("sm_80", "sm_89", "sm_90a"))
    assert "mma_e4m3" not in rows_of(oldest)
    assert "mma_f16" in rows_of(oldest)
    assert select_row(ada, "mma_e4m3").cost == 1 < select_row(hopper, "mma_e4m3").cost
    with pytest.raises(KeyError, match=r"cuda:sm_80 has no atom 'mma_e4m3'; it has .*mma_f16"):
        select_row(oldest, "mma_e4m3")
    assert has_instruction(oldest, "dp4a_us")
    assert not has_instruction(oldest, "dp2a_bf16")
    cpu = target("cpu:x86-64-v4")
    assert has_instruction(cpu, "dp4a_us")
    assert not has_instruction(cpu, "mma_f16")
    assert not has_instruction(target("cpu:x86-64"), "dp2a_bf16")
    assert select_row(cpu, "dp4a_us").features == ("avx512bw",)


def test_rows_of_one_name_are_alike() -> None:
    known = {feature for a in ARCHITECTURES.values() for feature in a.features}
    for row in ROWS:
        first = next(r for r in ROWS if r.name == row.name)
        assert (row.operands, row.results, row.ptx) == (first.operands, first.results, first.ptx)
        assert set(row.features) <= known
        numbers = len(row.operands) + (0 if row.in_place else len(row.results))
        assert all(f"%{k}" in row.ptx for k in range(numbers)) or "wait" in row.name

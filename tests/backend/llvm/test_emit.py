"""Native code against the simulator, operation by operation; the simulator has oracles of its own in its tests."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.lane.ir import (
    KINDS,
    Carried,
    Constant,
    Fail,
    First,
    FloatSlot,
    For,
    If,
    Kind,
    Lookup,
    LookupBytes,
    Merge,
    PickBytes,
    Reg,
    Show,
    Shuffle,
    Type,
    Vote,
    While,
)
from bitwright.backend.lane.simulate import simulate
from bitwright.backend.llvm.build import assembly
from bitwright.backend.llvm.emit import emit
from bitwright.backend.target import target
from bitwright.tests.backend.lane.writing import Body
from bitwright.tests.backend.llvm.native import PLACES, run_native

FLOATS = np.array(
    [0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.17549435e-38, 1.1754942e-38, 3.4e38,
     -3.4e38, 65504, 65520, 65519.99, 6e-8, 2.98e-8, 6.1e-5, 2.0**31, -(2.0**31), 2147483520, 2.0**32, 2.0**63,
     -(2.0**63), 88.7, -103.9, 127.99, 131072, 131073, 1e30],
    np.float32,
)  # fmt: skip
WORDS = [0, 1, -1, 2, -2, 7, -7, 255, 65535, 2**31 - 1, -(2**31), 0x3C00, 0x7C00, 0x7E00, 0x83FF, 0xFC00, 2**24 + 1]
LONGS = [*WORDS, 2**63 - 1, -(2**63), 2**32, 2**53 + 1, 2**62 + 2**38, 2**62 + 2**38 + 1]
ARRAYS = {"i1": np.int32, "i32": np.int32, "i64": np.int64, "f32": np.float32}
NEAR = frozenset({"exp", "exp2", "log", "log2", "sin", "cos", "tanh"})
ROWS = [(kind, type) for kind in KINDS.values() for type in (kind.types or (None,))]


def sample(type: str, size: int, rng: np.random.Generator, shift: bool) -> NDArray[np.generic]:
    """Random values, special ones among them."""
    if type == "i1":
        return rng.integers(0, 2, size).astype(np.int32)
    if type == "f32":
        bits = rng.integers(0, 2**32, size, dtype=np.uint64).astype(np.uint32).view(np.float32)
        values = np.where(rng.random(size) < 0.5, bits, (rng.standard_normal(size) * 30).astype(np.float32))
        return np.where(rng.random(size) < 0.4, rng.choice(FLOATS, size), values)
    width = 32 if type == "i32" else 64
    if shift:
        return rng.integers(0, width, size).astype(ARRAYS[type])
    whole = rng.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1, size, dtype=np.int64)
    special = rng.choice(np.array(WORDS if width == 32 else LONGS), size)
    return np.where(rng.random(size) < 0.5, special, whole).astype(ARRAYS[type])


def same(found: NDArray[np.generic], wanted: NDArray[np.generic], near: bool) -> NDArray[np.bool_]:
    """Equal bits (any NaN equals any other), or at most four units in the last place apart."""
    if found.dtype != np.float32:
        return found == wanted
    nan = np.isnan(found.view(np.float32)) & np.isnan(wanted.view(np.float32))
    a, b = found.view(np.int32).astype(np.int64), wanted.view(np.int32).astype(np.int64)
    equal = a == b
    if near:
        equal |= (abs(a - b) <= 4) & np.isfinite(found.view(np.float32)) & np.isfinite(wanted.view(np.float32))
    return equal | nan


@pytest.mark.parametrize(("name", "lanes"), PLACES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].name}-{row[1]}")
def test_every_kind(row: tuple[Kind, Type | None], name: str, lanes: int) -> None:
    """On vectors, on scalars, and on one of each."""
    kind, type = row
    types = [type if t == "t" else t for t in kind.operands]
    result = type if kind.result == "t" else kind.result
    blocks = max(2, 64 // lanes)
    rng = np.random.default_rng(zlib.crc32(f"{kind.name}{type}{name}{lanes}".encode()))
    shift = kind.name in ("shl", "lshr", "ashr")
    inputs = [sample(str(t), blocks * lanes, rng, shift and k == 1) for k, t in enumerate(types)]
    body = Body(lanes)
    for out, uniform in enumerate(((False,) * 3, (True,) * 3, (True, False, False))):
        operands = [body.load(k, t, u) for k, (t, u) in enumerate(zip(types, uniform, strict=False))]  # type: ignore[arg-type]  # rows name types
        body.save(len(types) + out, body.apply(kind.name, result, *operands))  # type: ignore[arg-type]  # rows name types
    function = body.function(len(types) + 3)
    native, simulated = ([np.zeros(blocks * lanes, ARRAYS[str(result)]) for _ in range(3)] for _ in range(2))
    run_native(function, name, [*inputs, *native], blocks)
    simulate(function, [*inputs, *simulated], blocks)
    for found, wanted in zip(native, simulated, strict=True):
        good = same(found, wanted, kind.name in NEAR)
        assert good.all(), (found[~good][:4], wanted[~good][:4])


@pytest.mark.parametrize("kind", sorted(NEAR))
def test_elementary_functions_everywhere(kind: str) -> None:
    """Within four units in the last place of the f64 function, over all magnitudes, and near multiples of pi/2."""
    rng = np.random.default_rng(5)
    parts = [
        rng.integers(0, 2**32, 1 << 15, dtype=np.uint64).astype(np.uint32).view(np.float32),
        rng.uniform(-140, 140, 1 << 15).astype(np.float32),
        rng.normal(1, 0.4, 1 << 15).astype(np.float32),
        (np.arange(1 << 15) * 2.5 * np.pi).astype(np.float32),
    ]
    x = np.concatenate(parts)
    body = Body(16)
    body.save(1, body.apply(kind, "f32", body.load(0, "f32")))
    y = np.zeros_like(x)
    run_native(body.function(2), "cpu", [x, y], x.size // 16)
    with np.errstate(all="ignore"):
        exact = getattr(np, kind)(x.astype(np.longdouble)).astype(np.float64)
        rounded = exact.astype(np.float32)
    special = ~np.isfinite(rounded)
    assert same(y[special], rounded[special], False).all()
    unit = np.exp2(np.floor(np.log2(np.maximum(abs(exact[~special]), 2.0**-126))) - 23)
    assert (abs(y[~special] - exact[~special]) / unit).max() < 4


@pytest.mark.parametrize(("name", "lanes"), PLACES)
def test_moves_between_lanes(name: str, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    body = Body(lanes)
    sources = tuple(body.load(k, "i32") for k in range(3))
    order = tuple(int(n) for n in rng.integers(0, lanes, lanes))
    turned = tuple((n + 1) % lanes for n in range(lanes))
    body.save(3, body.let(Shuffle(sources[:1], (0,) * lanes, turned), "i32", False))
    body.save(4, body.let(Shuffle(sources, tuple(int(n) for n in rng.integers(0, 3, lanes)), order), "i32", False))
    body.save(5, body.let(First(sources[1]), "i32", True))
    positive = body.apply("slt", "i1", body.number(0, "i32"), sources[2])
    body.save(6, body.let(Vote("any", positive), "i1", True))
    body.save(7, body.let(Vote("all", positive), "i1", True))
    inputs = [rng.integers(-9, 9, 8 * lanes).astype(np.int32) for _ in range(3)]
    inputs[2][: 2 * lanes] = np.repeat([5, -5], lanes)
    native, simulated = ([np.zeros(8 * lanes, np.int32) for _ in range(5)] for _ in range(2))
    run_native(body.function(8), name, [*inputs, *native], 8)
    simulate(body.function(8), [*inputs, *simulated], 8)
    np.testing.assert_array_equal(native, simulated)
    np.testing.assert_array_equal(native[0].reshape(8, lanes), np.roll(inputs[0].reshape(8, lanes), -1, axis=1))


@pytest.mark.parametrize(("name", "lanes"), PLACES)
@pytest.mark.parametrize("entries", [1, 4, 8, 16, 32, 64, 256])
def test_tables(name: str, lanes: int, entries: int) -> None:
    rng = np.random.default_rng(entries)
    table = tuple(int(v) for v in rng.integers(0, 2**32, entries))
    small = tuple(int(v) for v in rng.integers(0, 256, max(16, entries)))
    body = Body(lanes)
    for out, uniform in enumerate((False, True)):
        word = body.load(0, "i32", uniform)
        body.save(1 + 2 * out, body.let(Lookup(table, word), "i32", uniform))
        body.save(2 + 2 * out, body.let(LookupBytes(small, word), "i32", uniform))
    words = rng.integers(-(2**31), 2**31, 16 * lanes).astype(np.int32)
    native, simulated = ([np.zeros(16 * lanes, np.int32) for _ in range(4)] for _ in range(2))
    run_native(body.function(5), name, [words, *native], 16)
    simulate(body.function(5), [words, *simulated], 16)
    np.testing.assert_array_equal(native, simulated)
    expected = np.array(table, np.uint32)[words.view(np.uint32) % entries]
    np.testing.assert_array_equal(native[0].view(np.uint32), expected)
    octets = np.array(small, np.uint8)[words.view(np.uint8).astype(int) % len(small)]
    np.testing.assert_array_equal(native[1].view(np.uint8), octets)


@pytest.mark.parametrize(("name", "lanes"), PLACES)
def test_bytes_of_two_words_are_put_together(name: str, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    orders = [(0, 4, 1, 5), (7, -1, 2, -1), (3, 3, 3, 3), (-1, -1, 6, 0)]
    body = Body(lanes)
    x, y, one = body.load(0, "i32", False), body.load(1, "i32", False), body.load(1, "i32", True)
    for out, order in enumerate(orders):
        body.save(2 + out, body.let(PickBytes(x, one if out == 2 else y, order), "i32", False))
    body.save(6, body.let(PickBytes(one, one, (1, 2, -1, 4)), "i32", True))
    words = [rng.integers(-(2**31), 2**31, 16 * lanes).astype(np.int32) for _ in range(2)]
    native, simulated = ([np.zeros(16 * lanes, np.int32) for _ in range(5)] for _ in range(2))
    run_native(body.function(7), name, [*words, *native], 16)
    simulate(body.function(7), [*words, *simulated], 16)
    np.testing.assert_array_equal(native, simulated)
    both = np.concatenate([*(w.view(np.uint8).reshape(-1, 4) for w in words), np.zeros((16 * lanes, 1), np.uint8)], 1)
    for found, order in zip(native[:2] + native[3:4], orders[:2] + orders[3:], strict=True):
        np.testing.assert_array_equal(found.view(np.uint8).reshape(-1, 4), both[:, list(order)])


def controlled(lanes: int) -> Body:
    """Sums n, n - 2 ... in a while loop, adds the lane's x in a counted loop, and negates where the sum is odd."""
    body = Body(lanes)
    n, zero, one = body.slot(1), body.number(0), body.number(1)

    def scope() -> list[object]:
        held, body.statements = body.statements, []
        return held  # type: ignore[return-value]  # a list of statements

    x = body.load(0, "i32")
    start = body.constant("i32", *([0] * lanes)) if lanes > 1 else body.lane_constant("i32", [0])
    var, inside, after = Reg("i64", True), Reg("i32", False), Reg("i32", False)
    outer = scope()
    added = body.apply("add", "i32", inside, body.apply("add", "i32", x, body.apply("trunc", "i32", var)))
    loop = For(var, zero, n, one, (Carried(start, inside, added, after),), tuple(body.statements))
    body.statements = [*outer, loop]  # type: ignore[list-item]  # they are statements
    left, total, left_end, total_end = (Reg("i64", True) for _ in range(4))
    outer = scope()
    more = body.apply("slt", "i1", zero, left)
    head = tuple(body.statements)
    body.statements = []
    total_next = body.apply("add", "i64", total, left)
    left_next = body.apply("sub", "i64", left, body.number(2))
    carried = (Carried(n, left, left_next, left_end), Carried(zero, total, total_next, total_end))
    body.statements = [*outer, While(head, more, carried, tuple(body.statements))]  # type: ignore[list-item]  # as above
    odd = body.apply("ne", "i1", body.apply("and", "i64", total_end, one), zero)
    outer, merged = scope(), Reg("i32", False)
    negated = body.apply("sub", "i32", body.number(0, "i32"), after)
    choice = If(odd, tuple(body.statements), (), (Merge(negated, after, merged),))
    body.statements = [*outer, choice]  # type: ignore[list-item]  # as above
    body.save(2, merged)
    return body


@pytest.mark.parametrize(("name", "lanes"), PLACES)
@pytest.mark.parametrize("n", [0, 1, 5, 6])
def test_control_flow(name: str, lanes: int, n: int) -> None:
    function = controlled(lanes).function(3)
    x = np.arange(3 * lanes, dtype=np.int32)
    sign = -1 if sum(range(n, 0, -2)) % 2 else 1
    expected = sign * (n * x + sum(range(n)))
    for run in (lambda s: run_native(function, name, s, 3), lambda s: simulate(function, s, 3)):
        out = np.zeros_like(x)
        run([x, n, out])
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["cpu", "cpu:baseline"])
def test_float_slots_failures_and_empty_ranges(name: str) -> None:
    body = Body(4)
    third = body.let(FloatSlot(0), "f32", True)
    body.save(1, third)
    body.do(Fail(body.apply("flt", "i1", third, body.let(Constant("f32", (0.5,)), "f32", True)), 2))
    function = body.function(2, failures=["one", "two"])
    out = np.zeros(8, np.float32)
    assert run_native(function, name, [1 / 3, out], 0) == 0
    assert not out.any()
    assert run_native(function, name, [0.75, out], 2) == 0
    assert run_native(function, name, [1 / 3, out], 2) == 2
    assert (out == np.float32(1 / 3)).all()


def test_show_prints_as_the_simulator_does(capfd: pytest.CaptureFixture[str]) -> None:
    body = Body(4)
    for type, values in (
        ("i32", (1, -2, 3, 4)),
        ("i64", (1, 2**40, 3, 4)),
        ("f32", (1, 0.1, 3, 4)),
        ("i1", (0, 1, 0, 0)),
    ):
        body.do(Show(f"100% of {type}: ", body.let(Constant(type, values), type, False), 1))  # type: ignore[arg-type]  # they are types
    body.do(Show("done"))
    function = body.function(0)
    run_native(function, "cpu", [], 2)
    native = capfd.readouterr().out
    simulate(function, [], 2)
    assert native == capfd.readouterr().out
    assert native.splitlines()[:5] == [
        "100% of i32: -2", "100% of i64: 1099511627776", "100% of f32: 0.100000001", "100% of i1: 1", "done"
    ]  # fmt: skip


def test_a_product_with_a_uniform_operand_is_one_instruction() -> None:
    """The point of uniform registers: a scalar load becomes an embedded broadcast."""
    machine = target("cpu:znver4")
    body = Body(16)
    x, y = body.load(0, "f32"), body.load(1, "f32", uniform=True)
    body.save(2, body.apply("fmul", "f32", body.apply("fadd", "f32", x, x), y))
    text = assembly(emit(body.function(3), machine), machine)
    assert "{1to16}" in text
    assert "gather" not in text


@pytest.mark.parametrize(("name", "lanes"), PLACES)
def test_a_byte_of_each_word(name: str, lanes: int) -> None:
    body = Body(lanes)
    word, mask = body.load(0, "i32"), body.number(255, "i32")
    for byte in range(4):
        moved = body.apply("lshr", "i32", word, body.number(8 * byte, "i32")) if byte else word
        body.save(1 + byte, body.apply("and", "i32", mask, moved))
    words = np.random.default_rng(lanes).integers(-(2**31), 2**31, 4 * lanes).astype(np.int32)
    found = [np.zeros_like(words) for _ in range(4)]
    run_native(body.function(5), name, [words, *found], 4)
    np.testing.assert_array_equal(np.stack(found, 1), words.view(np.uint8).reshape(-1, 4))
    if name == "cpu:neoverse-n1":
        text = assembly(emit(body.function(5), target(name)), target(name))
        assert len(re.findall(r"^\s+tbl\s", text, re.MULTILINE)) >= 2  # and no shift where a permutation does
        assert len(re.findall(r"^\s+ushr\s", text, re.MULTILINE)) <= 1 + (lanes > 4)


@pytest.mark.parametrize(("name", "lanes"), PLACES)
@pytest.mark.parametrize("distance", [1, 4, 7])
def test_bytes_shifted_by_themselves(name: str, lanes: int, distance: int) -> None:
    body = Body(lanes)
    word, far = body.load(0, "i32"), body.number(distance, "i32")
    right = body.number((0xFF >> distance) * 0x01010101, "i32")
    left = body.number((0xFF << distance & 0xFF) * 0x01010101, "i32")
    body.save(1, body.apply("and", "i32", body.apply("lshr", "i32", word, far), right))
    body.save(2, body.apply("and", "i32", left, body.apply("shl", "i32", word, far)))
    words = np.random.default_rng(lanes).integers(-(2**31), 2**31, 4 * lanes).astype(np.int32)
    found = [np.zeros_like(words) for _ in range(2)]
    run_native(body.function(3), name, [words, *found], 4)
    np.testing.assert_array_equal(found[0].view(np.uint8), words.view(np.uint8) >> distance)
    np.testing.assert_array_equal(found[1].view(np.uint8), words.view(np.uint8) << distance)
    if name == "cpu:neoverse-n1":
        text = assembly(emit(body.function(3), target(name)), target(name))
        assert re.search(rf"^\s+ushr\s+v\d+\.16b, v\d+\.16b, #{distance}", text, re.MULTILINE)

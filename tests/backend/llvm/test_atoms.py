"""Every row of the table by brute force: written for its width, against its meaning, and that against plain Python."""

from __future__ import annotations

import ctypes
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.llvm.atoms import ROWS, Row, emit_row, select_row
from bitwright.backend.llvm.build import assemble, load
from bitwright.backend.llvm.code import Code, Operand
from bitwright.backend.target import target

ELEMENT = {"i32": "i32", "f32": "float"}
HERE = target("cpu")


def native(row: Row, lanes: int, operands: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """The row run on arrays of n * lanes values; lanes = 0: on scalars."""
    machine, step = (HERE if row.features else target("cpu:baseline")), max(1, lanes)
    code = Code()
    code.start("loop")
    code.do("%i = phi i64 [ 0, %entry ], [ %next, %loop ]")
    values = []
    for k, type in enumerate(row.operands):
        pointer = code.put("ptr", 0, f"getelementptr i32, ptr %p{k}, i64 %i")
        values.append(code.load(ELEMENT[type], lanes, pointer, 4))
    result = emit_row(code, machine, row, values)
    code.store(result, code.put("ptr", 0, "getelementptr i32, ptr %out, i64 %i"), 4)
    code.do(f"%next = add i64 %i, {step}")
    code.do("%more = icmp ult i64 %next, %n")
    code.do("br i1 %more, label %loop, label %done")
    code.start("done")
    code.do("ret void")
    head = ["define void @run(ptr %p0, ptr %p1, ptr %p2, ptr %out, i64 %n) {", "entry:", "  br label %loop"]
    library = load(assemble(code.module("\n".join([*head, *code.lines, "}"])), machine))
    out = np.zeros(operands[0].size, np.float32 if row.result == "f32" else np.int32)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)(library.address("run"))
    run(*(o.ctypes.data for o in operands), out.ctypes.data, out.size)
    return out


def words(rng: np.random.Generator, size: int) -> NDArray[np.int32]:
    """Bytes among which the extreme ones are frequent."""
    extreme = rng.choice(np.array([0, 1, 127, 128, 129, 255], np.uint8), 4 * size)
    anything = rng.integers(0, 256, 4 * size).astype(np.uint8)
    return np.where(rng.random(4 * size) < 0.5, extreme, anything).view(np.int32)


def halves(rng: np.random.Generator, size: int) -> NDArray[np.int32]:
    """Pairs of normal bf16 numbers of moderate size."""
    values = (rng.standard_normal(2 * size) * np.exp2(rng.integers(-20, 20, 2 * size))).astype(np.float32)
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.int32)


def operands_of(row: Row, size: int) -> list[NDArray[np.generic]]:
    rng = np.random.default_rng(size)
    if row.name == "dp2a_bf16":
        return [rng.standard_normal(size).astype(np.float32), halves(rng, size), halves(rng, size)]
    return [rng.integers(-(2**31), 2**31, size).astype(np.int32), words(rng, size), words(rng, size)]


def row_id(row: Row) -> str:
    return "-".join((row.name, *row.features)) or row.name


@pytest.mark.parametrize("row", ROWS, ids=row_id)
@pytest.mark.parametrize("lanes", [0, 4, 6, 8, 16, 32])
def test_a_row_does_what_it_means(row: Row, lanes: int) -> None:
    if not all(HERE.has(feature) for feature in row.features):
        assert select_row(HERE, row.name) is not row  # never chosen on a processor that lacks it
        return
    operands = operands_of(row, 96 * 8)
    np.testing.assert_array_equal(native(row, lanes, operands), row.meaning(*operands))


@pytest.mark.parametrize(("name", "a_low", "b_low"), [("dp4a_us", 0, -128), ("dp4a_ss", -128, -128), ("dp4a_uu", 0, 0)])
def test_what_dp4a_means(name: str, a_low: int, b_low: int) -> None:
    row = next(row for row in ROWS if row.name == name)
    acc, a, b = operands_of(row, 500)
    found = row.meaning(acc, a, b)

    def byte(word: int, k: int, low: int) -> int:
        value = (word >> (8 * k)) & 255
        return value - 256 if low and value > 127 else value

    for n in range(acc.size):
        x, y = int(a[n]), int(b[n])
        total = int(acc[n]) + sum(byte(x, k, a_low) * byte(y, k, b_low) for k in range(4))
        assert int(found[n]) == (total + 2**31) % 2**32 - 2**31


def test_what_dp2a_bf16_promises() -> None:
    row = next(row for row in ROWS if row.name == "dp2a_bf16")
    acc, a, b = operands_of(row, 500)
    found = row.meaning(acc, a, b)
    for n in range(acc.size):
        parts = [Fraction(float(acc[n]))]
        for half in range(2):
            x, y = (
                w.view(np.uint16)[2 * n + half : 2 * n + half + 1].astype(np.uint32) << np.uint32(16) for w in (a, b)
            )
            parts.append(Fraction(float(x.view(np.float32)[0])) * Fraction(float(y.view(np.float32)[0])))
        error = abs(Fraction(float(found[n])) - sum(parts))
        assert error <= Fraction(1, 2**23) * sum(map(abs, parts)) + Fraction(1, 2**124)


def test_every_atom_exists_everywhere_and_the_cheapest_row_is_taken() -> None:
    for name in {row.name for row in ROWS}:
        assert select_row(target("cpu:baseline"), name).features in ((), ("sse2",))
        costs = {row.features: row.cost for row in ROWS if row.name == name}
        best = select_row(HERE, name)
        assert all(best.cost <= cost for features, cost in costs.items() if all(map(HERE.has, features)))
    with pytest.raises(KeyError, match="dp4a_us"):
        select_row(HERE, "nothing")


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_one_word_for_all_lanes(row: Row) -> None:
    """Operands that are one loaded word in every lane: LLVM 22 never finishes some ways of writing this."""
    if not all(HERE.has(feature) for feature in row.features):
        return
    code = Code()
    values = []
    for k, type in enumerate(row.operands):
        values.append(code.spread(code.load(ELEMENT[type], 0, Operand("ptr", 0, f"%p{k}"), 4), 16))
    code.store(emit_row(code, HERE, row, values), Operand("ptr", 0, "%out"), 4)
    head = "define void @run(ptr %p0, ptr %p1, ptr %p2, ptr %out) {"
    library = load(assemble(code.module("\n".join([head, *code.lines, "  ret void", "}"])), HERE))
    operands = operands_of(row, 1)
    out = np.zeros(16, operands[0].dtype)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(library.address("run"))
    run(*(o.ctypes.data for o in operands), out.ctypes.data)
    np.testing.assert_array_equal(out, np.repeat(row.meaning(*operands), 16))

"""Every row of the table by brute force: written for its width, against its meaning, and that against plain Python."""

from __future__ import annotations

import ctypes
import re
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.llvm.atoms import ROWS, Row, emit_row, select_row
from bitwright.backend.llvm.build import assemble, assembly, load
from bitwright.backend.llvm.code import Code, Operand
from bitwright.backend.target import Target, target

ELEMENT = {"i32": "i32", "f32": "float"}
HERE = target("cpu")


def module(row: Row, machine: Target, lanes: int) -> str:
    """The function run(operands, out, n): the row on arrays of n words, n a multiple of the lanes; 0: on scalars."""
    code = Code()
    code.start("loop")
    code.do("%i = phi i64 [ 0, %entry ], [ %next, %loop ]")
    values = []
    for k, type in enumerate(row.operands):
        pointer = code.put("ptr", 0, f"getelementptr i32, ptr %p{k}, i64 %i")
        values.append(code.load(ELEMENT[type], lanes, pointer, 4))
    result = emit_row(code, machine, row, values)
    code.store(result, code.put("ptr", 0, "getelementptr i32, ptr %out, i64 %i"), 4)
    code.do(f"%next = add i64 %i, {max(1, lanes)}")
    code.do("%more = icmp ult i64 %next, %n")
    code.do("br i1 %more, label %loop, label %done")
    code.start("done")
    code.do("ret void")
    head = ["define void @run(ptr %p0, ptr %p1, ptr %p2, ptr %out, i64 %n) {", "entry:", "  br label %loop"]
    return code.module("\n".join([*head, *code.lines, "}"]))


def room(row: Row, operands: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    return np.zeros(operands[0].size, np.float32 if row.result == "f32" else np.int32)


def native(row: Row, lanes: int, operands: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    machine = HERE if row.features else target("cpu:baseline")
    library = load(assemble(module(row, machine, lanes), machine))
    out = room(row, operands)
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
    a, b = words(rng, size), words(rng, size)
    if row.name == "dp4a_ls":
        a &= 0x7F7F7F7F
    return [rng.integers(-(2**31), 2**31, size).astype(np.int32), a, b]


def row_id(row: Row) -> str:
    return "-".join((row.name, *row.features))


def has(row: Row) -> bool:
    return all(HERE.has(feature) for feature in row.features)


@pytest.mark.parametrize("row", ROWS, ids=row_id)
@pytest.mark.parametrize("lanes", [0, 4, 6, 8, 16, 32])
def test_a_row_does_what_it_means(row: Row, lanes: int) -> None:
    if not has(row):
        assert select_row(HERE, row.name) is not row  # never chosen on a processor that lacks it
        return
    operands = operands_of(row, 96 * 8)
    np.testing.assert_array_equal(native(row, lanes, operands), row.meaning(*operands))


EMULATED = [row for row in ROWS if row.features in (("neon",), ("dotprod",))]
ELSEWHERE = {  # how the rows appear in assembly that this machine may be unable to run
    ("dp4a_us", "avx512vnni"): ("cpu:cascadelake", ["vpdpbusd"]),
    ("dp4a_us", "avxvnni"): ("cpu:alderlake", ["vpdpbusd"]),
    ("dp4a_ls", "avx2"): ("cpu:x86-64-v3", ["vpmaddubsw", "vpmaddwd", "vpaddd"]),
    ("dp4a_ls", "ssse3"): ("cpu:x86-64-v2", ["pmaddubsw", "pmaddwd", "paddd"]),
    ("dp4a_ls", "avx512bw"): ("cpu:x86-64-v4", ["vpmaddubsw", "vpmaddwd", "vpaddd"]),
    ("dp4a_ss", "avxvnniint8"): ("cpu:sierraforest", ["vpdpbssd"]),
    ("dp4a_uu", "avxvnniint8"): ("cpu:sierraforest", ["vpdpbuud"]),
    ("dp4a_ss", "avx10.2"): ("cpu:diamondrapids", ["vpdpbssd"]),
    ("dp4a_uu", "avx10.2"): ("cpu:diamondrapids", ["vpdpbuud"]),
    ("dp2a_bf16", "avx512bf16"): ("cpu:cooperlake", ["vdpbf16ps"]),
    ("dp4a_us", "i8mm"): ("cpu:neoverse-v1", ["usdot"]),
    ("dp4a_us", "dotprod"): ("cpu:cortex-a76", ["sdot", "sdot", "eor", "sub"]),
    ("dp4a_ls", "dotprod"): ("cpu:cortex-a76", ["sdot"]),
    ("dp4a_ls", "neon"): ("cpu:cortex-a53", ["smull", "smull2", "addp", "sadalp"]),
    ("dp4a_ss", "dotprod"): ("cpu:cortex-a76", ["sdot"]),
    ("dp4a_uu", "dotprod"): ("cpu:cortex-a76", ["udot"]),
    ("dp2a_bf16", "bf16"): ("cpu:neoverse-v1", ["bfdot"]),
}
TOLD = re.compile(
    r"^\s+(?:\{vex\}\s+)?(v?pmadd\w+|v?paddd|vpdp\w+|vdpbf16ps|[su]?[su]dot|bfdot|smull2?|addp|sadalp|eor|sub)\s.*[xyzv]",
    re.MULTILINE,
)


@pytest.mark.parametrize("key", list(ELSEWHERE), ids="-".join)
def test_a_row_is_the_instruction_that_it_is_named_for(key: tuple[str, str]) -> None:
    name, expected = ELSEWHERE[key]
    machine = target(name)
    row = next(row for row in ROWS if (row.name, *row.features) == key)
    assert select_row(machine, row.name) is row  # the cheapest that the processor has
    text = assembly(module(row, machine, row.width), machine)
    assert sorted(TOLD.findall(text)) == sorted(expected)


@pytest.mark.parametrize("row", EMULATED, ids=row_id)
@pytest.mark.parametrize("lanes", [0, 4, 6, 8])
def test_a_row_for_arm_does_what_it_means(row: Row, lanes: int) -> None:
    from bitwright.tests.backend.llvm.emulated import Object  # here: only these need the emulator

    operands, machine = operands_of(row, 96), target("cpu:cortex-a76")
    out = room(row, operands)
    Object(assemble(module(row, machine, lanes), machine)).call("run", [*operands, out, out.size])
    np.testing.assert_array_equal(out, row.meaning(*operands))


@pytest.mark.parametrize("name", ["dp4a_us", "dp4a_ls", "dp2a_bf16"])
def test_plain_rows_on_arm(name: str) -> None:
    from bitwright.tests.backend.llvm.emulated import Object  # here: only these need the emulator

    row = next(row for row in ROWS if row.name == name and not row.features)
    operands, machine = operands_of(row, 96), target("cpu:aarch64")
    out = room(row, operands)
    Object(assemble(module(row, machine, 4), machine)).call("run", [*operands, out, out.size])
    np.testing.assert_array_equal(out, row.meaning(*operands))


@pytest.mark.parametrize(
    ("name", "a_low", "b_low"), [("dp4a_us", 0, -128), ("dp4a_ls", 0, -128), ("dp4a_ss", -128, -128), ("dp4a_uu", 0, 0)]
)
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


@pytest.mark.parametrize(("feature", "bits"), [("avx512bf16", 23), ("bf16", 22)])
def test_what_dp2a_bf16_promises(feature: str, bits: int) -> None:
    row = next(row for row in ROWS if row.name == "dp2a_bf16" and row.features == (feature,))
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
        assert error <= Fraction(1, 2**bits) * sum(map(abs, parts)) + Fraction(1, 2**124)


def test_every_atom_exists_everywhere_and_the_cheapest_row_is_taken() -> None:
    for name in {row.name for row in ROWS}:
        assert select_row(target("cpu:x86-64"), name).features in ((), ("sse2",))
        assert select_row(target("cpu:aarch64"), name).features in ((), ("neon",))
        costs = {row.features: row.cost for row in ROWS if row.name == name}
        best = select_row(HERE, name)
        assert all(best.cost <= cost for features, cost in costs.items() if all(map(HERE.has, features)))
    with pytest.raises(KeyError, match="dp4a_us"):
        select_row(HERE, "nothing")


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_one_word_for_all_lanes(row: Row) -> None:
    """Operands that are one loaded word in every lane: LLVM 22 never finishes some ways of writing this."""
    if not has(row):
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

"""Every row of the table as machine code: NVRTC takes its text, and it is the instruction that it is named for."""

from __future__ import annotations

from collections import Counter

import pytest

from bitwright.backend.cuda.architectures import ARCHITECTURES
from bitwright.backend.cuda.atoms import rows_of
from bitwright.backend.lane.ir import Atom, Function, Let, Read, Reg, SharedAddress, Type, Write
from bitwright.backend.target import Target, target
from bitwright.tests.backend.lane.writing import Body

pytest.importorskip("cuda.bindings.nvrtc")

from bitwright.backend.cuda.build import assemble
from bitwright.backend.cuda.emit import emit
from bitwright.backend.cuda.sass import disassemble, read_instructions

LANES = 32
NAMED = {
    "mma_f16": "HMMA.16816.F32", "mma_bf16": "HMMA.16816.F32.BF16", "mma_s8": "IMMA.16832.S8.S8",
    "mma_u8": "IMMA.16832.U8.U8", "mma_us8": "IMMA.16832.U8.S8", "mma_su8": "IMMA.16832.S8.U8",
    "dp4a_us": "IDP.4A.U8.S8", "dp4a_ss": "IDP.4A.S8.S8", "dp4a_uu": "IDP.4A.U8.U8",
    "cvt_f16x2_e4m3x2": "F2FP.F16.E4M3.UNPACK_B", "cvt_f16x2_e5m2x2": "F2FP.F16.E5M2.UNPACK_B",
    "cvt_f16x2_e4m3x2_high": "F2FP.F16.E4M3.UNPACK_B", "cvt_f16x2_e5m2x2_high": "F2FP.F16.E5M2.UNPACK_B",
}  # fmt: skip


def every_row(machine: Target) -> Function:
    """Each row on words of its own, which it writes back."""
    body = Body(LANES)
    rows = [row for row in rows_of(machine).values() if "wgmma" not in row.features]
    for n, row in enumerate(rows):
        operands = []
        for k, type in enumerate(row.operands):
            offset = body.lane_constant("i32", [4 * (lane + LANES * (k + 16 * n)) for lane in range(LANES)])
            (word,) = body.read(Read(body.slot(0), offset, 32, align=4))
            operands.append(body.apply("float", "f32", word) if type == "f32" else word)
        results = tuple(Reg(type, False) for type in row.results)
        body.statements.append(Let(results, Atom(row.name, tuple(operands))))
        places = body.lane_constant("i32", [4 * (4 * lane + 4 * LANES * n) for lane in range(LANES)])
        for k, result in enumerate(results):
            base = body.apply("add", "i64", body.slot(1), body.number(4 * k))
            body.do(Write(base, places, 32, (result,), align=4))
    return body.function(2)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_rows_are_the_instructions_that_they_are_named_for(name: str) -> None:
    machine = target(f"cuda:{name}")
    found = Counter(
        i.opcode for i in read_instructions(disassemble(assemble(emit(every_row(machine), machine), machine)))
    )
    rows = rows_of(machine)
    expected = Counter(NAMED[row] for row in rows if row in NAMED)
    expected["IDP.4A.U8.S8"] += 1  # dp4a_ls is dp4a_us
    for kind in ("E4M3", "E5M2"):
        if f"mma_{kind.lower()}" in rows and machine.has("mma_fp8"):
            expected[f"QMMA.16832.F32.{kind}.{kind}"] += 1
        elif f"mma_{kind.lower()}" in rows:  # 12 words of 8-bit floats are widened, and the depth is cut in two
            expected[f"F2FP.F16.{kind}.UNPACK_B"] += 12
            expected["HMMA.16816.F32"] += 2
    families = ("MMA.16", "IDP", "UNPACK_B")
    assert {o: n for o, n in found.items() if any(f in o for f in families)} == expected
    assert sum(found[o] for o in found if o.startswith("F2FP") and "PACK_AB" in o) == 2  # pack_f16x2, pack_bf16x2


FLOAT_NAMES = {"f16": "HGMMA.64x{n}x16.F32", "bf16": "HGMMA.64x{n}x16.F32.BF16",
               "e4m3": "QGMMA.64x{n}x32.F32.E4M3.E4M3", "e5m2": "QGMMA.64x{n}x32.F32.E5M2.E5M2"}  # fmt: skip
BYTE_NAMES = {"s8": "IGMMA.64x{n}x32.S8.S8", "u8": "IGMMA.64x{n}x32.U8.U8", "us8": "IGMMA.64x{n}x32.U8.S8",
              "su8": "IGMMA.64x{n}x32.S8.U8"}  # fmt: skip


@pytest.mark.parametrize("n", [8, 256])
@pytest.mark.parametrize("names", [FLOAT_NAMES, BYTE_NAMES])
def test_products_of_four_warps(n: int, names: dict[str, str]) -> None:
    """Products that follow one another, and one wait; ptxas keeps them asynchronous, or it would say so."""
    total: Type = "f32" if names is FLOAT_NAMES else "i32"
    machine, body = target("cuda:sm_90a"), Body(128)
    body.statements.append(Let((), Atom("fence_async", ())))
    places = body.places(4)
    words = [body.read(Read(body.slot(0), places, 32, align=4))[0] for _ in range(4)]
    first = body.apply("float", "f32", places) if total == "f32" else places
    sums = (first,) * (n // 2)
    for name in names:
        results = tuple(Reg(total, False) for _ in sums)
        descriptor = body.apply("or", "i64", body.let(SharedAddress(0), "i64", True), body.number(1 << 62))
        body.statements.append(Let(results, Atom(f"wgmma_{name}_n{n}", (*words, descriptor, *sums))))
        sums = results
    results = tuple(Reg(total, False) for _ in sums)
    body.statements.append(Let(results, Atom(f"wgmma_wait_{'whole_' if total == 'i32' else ''}n{n}", sums)))
    for k, result in enumerate(results):
        base = body.apply("add", "i64", body.slot(0), body.number(512 * k))
        body.do(Write(base, places, 32, (result,), align=4))
    found = [i.opcode for i in read_instructions(disassemble(assemble(emit(body.function(1, 1024), machine), machine)))]
    assert [o for o in found if o[1:].startswith("GMMA")] == [name.format(n=n) for name in names.values()]
    assert found.count("WARPGROUP.DEPBAR.LE") == 1
    assert any(o.startswith("FENCE.VIEW.ASYNC") for o in found)

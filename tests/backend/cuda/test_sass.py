"""Machine code of GPUs, read: instructions, blocks, loops, and what a kernel takes of a multiprocessor."""

from __future__ import annotations

import pytest

from bitwright.backend.build_error import BuildError
from bitwright.backend.cuda import sass
from bitwright.backend.cuda.build import assemble
from bitwright.backend.cuda.flow import basic_blocks, loops
from bitwright.backend.cuda.resources import resources
from bitwright.backend.report.gpu_instructions import global_load_bits, gpu_kind, is_uniform, products
from bitwright.backend.target import target
from bitwright.tests.backend.cuda.cuda_texts import PRODUCT, SPILLS
from bitwright.vm.diagnostic import Diagnostic

pytest.importorskip("cuda.bindings.nvrtc")

LISTING = """
.text.bw_kernel:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   BSSY B0, `(.L_x_9) ;
        /*0020*/               @P1 BRA `(.L_x_0) ;
.L_x_2:
        /*0030*/                   LDL.LU R5, [R1+0x10] (*"SpillRefill"*) ;
.L_x_1:
        /*0040*/                   IMAD.MOV.U32 R10, RZ, RZ, R0 ;
        /*0050*/             @!UP0 UIADD3 UR4, UP0, UR4, 0x1, URZ ;
        /*0060*/              @!P0 BRA `(.L_x_1) ;
        /*0070*/                   BRA.U UP1, `(.L_x_2) ;
.L_x_0:
        /*0080*/                   BSYNC B0 ;
.L_x_8:
        /*0090*/                   BRA `(.L_x_8) ;
.L_x_9:
        /*00a0*/                   EXIT ;
.L_x_3:
        /*00b0*/                   BRA `(.L_x_3);
        /*00c0*/                   NOP;
        /*00d0*/                   NOP;
.L_x_4:
"""


def test_instructions_of_a_listing() -> None:
    found = sass.read_instructions(LISTING)
    assert [i.address for i in found] == list(range(0, 0xB0, 16))
    assert [i.name for i in found[-3:]] == ["BSYNC", "BRA", "EXIT"]
    assert (found[2].guard, found[2].target) == ("P1", 0x80)
    assert (found[5].guard, found[5].operands) == ("!UP0", ("UR4", "UP0", "UR4", "0x1", "URZ"))
    assert (found[3].spill, found[3].operands, found[3].modifiers) == (True, ("R5", "[R1+0x10]"), frozenset({"LU"}))
    assert not found[4].spill


def test_blocks_and_loops_of_a_listing() -> None:
    blocks = basic_blocks(sass.read_instructions(LISTING))
    assert [b.instructions[0].address for b in blocks] == [0, 0x30, 0x40, 0x70, 0x80, 0x90, 0xA0]
    # BSYNC goes where BSSY says, so the branch to itself behind it is no part of the kernel.
    assert [b.next for b in blocks] == [(1, 4), (2,), (3, 2), (4, 1), (6,), (5,), ()]
    assert [(x.depth, [i.address for i in x.instructions]) for x in loops(blocks)] == [
        (0, [0x30, 0x70]),
        (1, [0x40, 0x50, 0x60]),
    ]


def test_no_instructions_are_no_blocks() -> None:
    assert sass.read_instructions("") == ()
    assert basic_blocks(()) == ()
    assert loops(()) == ()


@pytest.mark.parametrize("name", ["sm_80", "sm_90a", "sm_120a"])
def test_the_loop_of_a_product(name: str) -> None:
    cubin = assemble(PRODUCT, target(f"cuda:{name}"))
    text = sass.disassemble(cubin)
    found = sass.read_instructions(text)
    assert [i.address for i in found] == list(range(0, 16 * len(found), 16))
    assert text.count("*/  ") - len(found) < 20  # the padding
    (loop,) = loops(basic_blocks(found))
    kinds = [gpu_kind(i) for i in loop.instructions]
    assert "other" not in kinds
    assert kinds.count("tensor") == 1
    assert sum(products(i) for i in loop.instructions) * 32 == 16 * 8 * 16
    assert [global_load_bits(i) for i in loop.instructions if global_load_bits(i)] == [128]
    assert sum(i.name == "LOP3" for i in loop.instructions) == 4
    taken = resources(cubin)
    assert 12 <= taken.registers <= 40
    assert (taken.local_bytes, taken.shared_bytes) == (0, 0)


@pytest.mark.parametrize("name", ["sm_86", "sm_100a"])
def test_spills_and_local_arrays_are_seen(name: str) -> None:
    cubin = assemble(SPILLS, target(f"cuda:{name}"))
    taken = resources(cubin)
    assert taken.registers == 24
    assert taken.local_bytes >= 80  # the array, and what did not fit
    assert taken.shared_bytes % 1024 == 256
    found = sass.read_instructions(sass.disassemble(cubin))
    assert any(i.name == "STL" for i in found)
    assert any(i.spill for i in found)
    assert any(i.name == "LDL" and not i.spill for i in found)
    nested = loops(basic_blocks(found))
    assert [x.depth for x in nested] == [0, 1]
    assert len(nested[0].instructions) > 40 > len(nested[1].instructions)


KINDS = [
    ("LDG.E.128.CONSTANT", "memory", 128, 0),
    ("LDG.E.U8", "memory", 8, 0),
    ("LDG.E", "memory", 32, 0),
    ("LDGSTS.E.BYPASS.LTC128B.128", "memory", 128, 0),
    ("LDSM.16.M88.4", "memory", 0, 0),
    ("ULDC.64", "memory", 0, 0),
    ("HMMA.16816.F32.BF16", "tensor", 0, 2048 / 32),
    ("HMMA.1688.F32", "tensor", 0, 1024 / 32),
    ("IMMA.16832.S8.S8", "tensor", 0, 4096 / 32),
    ("HGMMA.64x8x16.F32", "tensor", 0, 64 * 8 * 16 / 128),
    ("IDP.4A.S8.U8", "integer", 0, 4),
    ("FFMA", "float", 0, 1),
    ("HFMA2.BF16_V2", "float", 0, 2),
    ("IMAD.MOV.U32", "move", 0, 0),
    ("IMAD.SHL.U32", "logic", 0, 0),
    ("IMAD.WIDE.U32", "integer", 0, 0),
    ("PLOP3.LUT", "logic", 0, 0),
    ("USHF.R.U32.HI", "logic", 0, 0),
    ("PRMT", "logic", 0, 0),
    ("F2FP.F16.F32.PACK_AB", "convert", 0, 0),
    ("I2FP.F32.S32", "convert", 0, 0),
    ("I2F.S8", "convert", 0, 0),
    ("SHFL.BFLY", "move", 0, 0),
    ("LDGDEPBAR", "control", 0, 0),
    ("DEPBAR.LE", "control", 0, 0),
    ("BAR.SYNC.DEFER_BLOCKING", "control", 0, 0),
    ("WARPGROUP.ARRIVE", "control", 0, 0),
    ("WHAT.IS.THIS", "other", 0, 0),
]


@pytest.mark.parametrize(("opcode", "kind", "bits", "multiplied"), KINDS)
def test_what_an_instruction_does(opcode: str, kind: str, bits: int, multiplied: float) -> None:
    i = sass.SassInstruction(0, "", opcode, ())
    assert (gpu_kind(i), global_load_bits(i), products(i)) == (kind, bits, multiplied)
    assert is_uniform(i) == opcode.startswith("U")


def test_what_is_no_cubin_is_refused() -> None:
    with pytest.raises(BuildError, match="no cubin"):
        resources(b"MZ" + bytes(100))
    with pytest.raises(BuildError, match="nvdisasm"):
        sass.disassemble(b"\x7fELF nonsense")


def test_a_missing_disassembler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sass, "disassembler", lambda: None)
    with pytest.raises(Diagnostic, match="nvdisasm"):
        sass.disassemble(b"")

"""What a report says of a kernel: kinds of instructions, loops, weights, and registers that go to the stack."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

import pytest

import bitwright as bw
from bitwright.backend.report import describe
from bitwright.backend.report.instructions import KINDS, read_instruction
from bitwright.backend.report.loops import read_body

X86 = [
    ("vmovdqu64\t-192(%r11), %zmm18", "load", 64),
    ("vmovups\t(%rdi), %ymm1 {%k1} {z}", "load", 32),
    ("vmovdqa\t.LCPI0_0(%rip), %ymm1", "load", 0),
    ("vpbroadcastd\t4(%rax,%r14), %zmm5", "load", 0),
    ("vpmovzxbd\t(%r13), %zmm2", "convert", 16),
    ("vcvtph2ps\t32(%r8), %zmm6", "convert", 32),
    ("vmovups\t%zmm3, 16(%rsi)", "store", 0),
    ("vmovups\t%zmm3, (%rsi) {%k1}", "store", 0),
    ("vmovdqa64\t%zmm1, %zmm2", "other", 0),
    ("vmovups\t%zmm3, 16(%rsp)               # 64-byte Spill", "spill", 0),
    ("vmovups\t16(%rsp), %zmm3               # 64-byte Reload", "spill", 0),
    ("vpaddd\t32(%rsp), %ymm1, %ymm2         # 32-byte Folded Reload", "other", 0),
    ("vpslld\t$2, %zmm18, %zmm4", "logic", 0),
    ("vpsrld\t$2, (%rax), %zmm4", "logic", 64),
    ("vpternlogd\t$248, (%rax){1to16}, %zmm6, %zmm24", "logic", 0),
    ("vpandd\t%zmm1, %zmm18, %zmm24", "logic", 0),
    ("vpermi2b\t%zmm1, %zmm2, %zmm3", "permute", 0),
    ("pshufb\t%xmm1, %xmm2", "permute", 0),
    ("vpmovdb\t%zmm1, %xmm2", "convert", 0),
    ("vcvtdq2ps\t%zmm13, %zmm13", "convert", 0),
    ("vpdpbusd\t%zmm5, %zmm26, %zmm13", "multiply_add", 0),
    ("vdpbf16ps\t(%rax){1to16}, %zmm26, %zmm13", "multiply_add", 0),
    ("vfmadd231ps\t%ymm1, %ymm2, %ymm3", "multiply_add", 0),
    ("vpmaddwd\t%ymm1, %ymm2, %ymm3", "multiply_add", 0),
    ("vpaddd\t%zmm18, %zmm18, %zmm19", "other", 0),
    ("addq\t$768, %r11", "scalar", 0),
    ("movq\t%rdx, -56(%rsp)                  # 8-byte Spill", "scalar", 0),
    ("jb\t.LBB0_7", "scalar", 0),
]
ARM = [
    ("ldr\tq0, [x8, #16]", "load", 16),
    ("ldp\tq0, q1, [x8], #32", "load", 32),
    ("ldr\tq0, [x8, :lo12:.LCPI0_0]", "load", 0),
    ("ld1r\t{ v0.4s }, [x9]", "load", 0),
    ("stp\tq0, q1, [x8]", "store", 0),
    ("stp\tq0, q1, [sp, #32]               // 32-byte Folded Spill", "spill", 0),
    ("ldr\tq2, [sp, #16]                   // 16-byte Reload", "spill", 0),
    ("ushr\tv3.4s, v4.4s, #2", "logic", 0),
    ("and\tv3.16b, v4.16b, v5.16b", "logic", 0),
    ("tbl\tv2.16b, { v0.16b, v1.16b }, v2.16b", "permute", 0),
    ("dup\tv0.4s, w8", "permute", 0),
    ("ushll\tv0.8h, v1.8b, #0", "convert", 0),
    ("ucvtf\tv0.4s, v0.4s", "convert", 0),
    ("sdot\tv0.4s, v1.16b, v2.4b[1]", "multiply_add", 0),
    ("usdot\tv0.4s, v1.16b, v2.16b", "multiply_add", 0),
    ("fmla\tv0.4s, v1.4s, v2.s[0]", "multiply_add", 0),
    ("bfdot\tv0.4s, v1.8h, v2.8h", "multiply_add", 0),
    ("fadd\tv0.4s, v1.4s, v2.4s", "other", 0),
    ("add\tx8, x8, #32", "scalar", 0),
    ("b.lo\t.LBB0_3", "scalar", 0),
]


@pytest.mark.parametrize(("line", "kind", "loads"), X86)
def test_what_an_x86_instruction_does(line: str, kind: str, loads: int) -> None:
    found = read_instruction(f"\t{line}", arm=False)
    assert found is not None
    assert (found.kind, found.loads) == (kind, loads)


@pytest.mark.parametrize(("line", "kind", "loads"), ARM)
def test_what_an_arm_instruction_does(line: str, kind: str, loads: int) -> None:
    found = read_instruction(f"\t{line}", arm=True)
    assert found is not None
    assert (found.kind, found.loads) == (kind, loads)


@pytest.mark.parametrize("line", ["body:", ".LBB0_2:       # %loop", "\t.p2align\t4", "# %bb.3:", "", "  # =>  This"])
def test_what_is_no_instruction(line: str) -> None:
    assert read_instruction(line, arm=False) is None


@pytest.mark.parametrize(
    ("line", "arm", "products"),
    [
        ("vpdpbusd\t%zmm5, %zmm26, %zmm13", False, 64),
        ("vdpbf16ps\t%zmm5, %zmm26, %zmm13", False, 32),
        ("vfmadd231ps\t%zmm5, %zmm26, %zmm13", False, 16),
        ("vpmaddwd\t%ymm5, %ymm6, %ymm3", False, 16),
        ("sdot\tv0.4s, v1.16b, v2.16b", True, 16),
        ("usdot\tv0.4s, v1.16b, v2.4b[0]", True, 16),
        ("bfdot\tv0.4s, v1.8h, v2.8h", True, 8),
        ("fmla\tv0.4s, v1.4s, v2.s[0]", True, 4),
    ],
)
def test_products_of_an_instruction(line: str, arm: bool, products: int) -> None:
    found = read_instruction(f"\t{line}", arm)
    assert found is not None
    assert found.multiplies == products


def test_saved_registers_are_counted() -> None:
    pair = read_instruction("\tstp\tq0, q1, [sp, #32]   // 32-byte Folded Spill", arm=True)
    folded = read_instruction("\tvpaddd\t32(%rsp), %ymm1, %ymm2   # 32-byte Folded Reload", arm=False)
    scalar = read_instruction("\tmovq\t%rdx, -56(%rsp)   # 8-byte Spill", arm=False)
    array = read_instruction("\tvmovups\t%zmm3, 16(%rsp)", arm=False)
    assert pair is not None
    assert folded is not None
    assert scalar is not None
    assert array is not None
    assert [(i.saves, i.reloads) for i in (pair, folded, scalar, array)] == [(2, 0), (0, 1), (0, 0), (0, 0)]


NESTED = """
body:                                   # @body
# %bb.0:                                # %entry
	vmovups	(%rdi), %zmm0
.LBB0_1:                                # %outer
                                        # =>This Loop Header: Depth=1
                                        #     Child Loop BB0_2 Depth 2
	vpslld	$2, %zmm0, %zmm1
.LBB0_2:                                # %inner
                                        #   Parent Loop BB0_1 Depth=1
                                        # =>  This Inner Loop Header: Depth=2
	vfmadd231ps	(%rsi), %zmm1, %zmm2
	jb	.LBB0_2
# %bb.3:                                #   in Loop: Header=BB0_1 Depth=1
	vmovups	%zmm2, (%rdx)
	jb	.LBB0_1
# %bb.4:
	vzeroupper
	retq
.Lfunc_end0:
"""


def test_nested_loops_are_told_apart() -> None:
    body = read_body(NESTED, arm=False)
    outer, inner = body.loops
    assert [i.name for i in outer.instructions] == ["vpslld", "vmovups", "jb"]
    assert [i.name for i in inner.instructions] == ["vfmadd231ps", "jb"]
    assert len(body.whole.instructions) == 8
    assert (inner.loads, inner.multiplies, outer.registers) == (64, 16, 3)
    assert (outer.label, inner.around, outer.around) == ("BB0_1", frozenset({"BB0_1"}), frozenset())


def inner_loop(assembly: str, instruction: str) -> Counter[str]:
    """The mnemonics of the loop with most instructions of that name, of those in which there is no other loop."""
    lines = assembly.splitlines()
    labels = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"(\.LBB\d+_\d+):", line))}
    stretches = []
    for i, line in enumerate(lines):
        jump = re.match(r"\tj\w+\t(\.LBB\d+_\d+)", line)
        if jump and labels.get(jump[1], i) < i:
            stretches.append(range(labels[jump[1]], i + 1))
    inner = [s for s in stretches if not any(o != s and o.start >= s.start and o.stop <= s.stop for o in stretches)]
    found = [Counter(m[1] for i in s if (m := re.match(r"\t([a-z]\w*)", lines[i]))) for s in inner]
    return max(found, key=lambda names: counted(names, instruction))


def counted(names: Counter[str], start: str) -> int:
    return sum(n for name, n in names.items() if name.startswith(start))


@pytest.mark.parametrize(
    ("element", "mode", "target", "instruction", "products"),
    [
        ("u3", "int8", "cpu:znver4", "vpdpbusd", 64),
        ("u4", "f32", "cpu:znver4", "vfmadd", 16),
        ("u2", "bf16", "cpu:znver4", "vdpbf16ps", 32),
        ("u5", "f32", "cpu:x86-64-v3", "vfmadd", 8),
        ("i8", "int8", "cpu:x86-64-v3", "vpmaddwd", 16),
    ],
)
def test_the_loop_of_a_linear(
    element: str, mode: Literal["f32", "bf16", "int8"], target: str, instruction: str, products: int
) -> None:
    """Each weight is multiplied once for a row, so the products of the assembly's loop are its weights."""
    kernel = bw.linear_kernel(element, activations=mode, target=target, n=256, k=512)
    names = inner_loop(kernel.source("asm"), instruction)
    loop = loop_of(kernel)
    assert loop["instructions"] == names.total() == sum(loop[kind] for kind in KINDS)
    assert loop["multiply_add"] == counted(names, instruction)
    assert loop["multiply_adds"] == counted(names, instruction) * products == loop["weights"]
    assert loop["instructions_per_weight"] == names.total() / loop["weights"]


# LLVM repeats the body of the loop over k, which is short.
SHORT = """
def f(x: f32[K], w: u4[K, N] @ tiled("local(8, 1) * spatial(1, 16)", container=8), y: f32[N]):
    n0 = grid((N, 16))
    acc = zeros(f32, [1, 16])
    for k in range(0, K, 8):
        acc = dot(reshape(load(x, [k], [8]), [1, 8]), cast(load(w, [k, n0], [8, 16]), f32), acc)
    store(y, [n0], reshape(acc, [16]))
"""
DECODED_FIRST = """
def f(x: f32[M, 64], w: u4[64, N] @ tiled("local(16, 1) * spatial(1, 16)", container=8), y: f32[M, N]):
    n0 = grid((N, 64))
    panel = shared(f32, [64, 64])
    for k in range(0, 64, 16):
        store(panel, [k, 0], cast(load(w, [k, n0], [16, 64]), f32))
    barrier()
    for m in range(M):
        acc = load(y, [m, n0], [1, 64]) * load(x, [m, 0], [1, 64]) + load(y, [m + 1, n0], [1, 64])
        for k in range(0, 64, 16):
            acc = dot(load(x, [m, k], [1, 16]), load(panel, [k, 0], [16, 64]), acc)
        store(y, [m, n0], acc)
"""


def test_iterations_that_llvm_joins() -> None:
    """However many iterations of the program one of the assembly is, each weight has one product."""
    loop = loop_of(bw.compile(SHORT, "cpu:znver4", K=32))
    assert loop["multiply_adds"] == loop["weights"] > 8 * 16


def test_a_loop_that_decodes_and_one_that_multiplies() -> None:
    kernel = bw.compile(DECODED_FIRST, "cpu:znver4")
    decode, product = loop_of(kernel, "decode"), loop_of(kernel, "product")
    assert decode["multiply_adds"] == 0 < decode["store"]
    assert product["multiply_adds"] == product["weights"]
    assert product["store"] == 0 < product["multiply_add"]
    assert decode["weights"] in (16 * 64, 64 * 64)  # one iteration, or all of them
    assert not loop_of(kernel)
    both = decode["instructions_per_weight"] + product["instructions_per_weight"]
    assert kernel.report()["instructions_per_weight"] == pytest.approx(both)


def test_a_kernel_without_weights() -> None:
    text = "def f(x: f32[N], y: f32[N]):\n    i = grid((N, 64))\n    store(y, [i], load(x, [i], [64]) + 1)"
    kernel = bw.compile(text)
    loop = loop_of(kernel)
    assert sum(loop[kind] for kind in KINDS) == loop["instructions"] > 0
    assert loop["weights"] == 0
    assert not any("per_weight" in name for name in kernel.report())


def test_the_text_shows_every_figure() -> None:
    kernel = bw.linear_kernel("u3", target="cpu:x86-64-v3", n=256, k=512)
    figures, loop = kernel.report(), loop_of(kernel)
    text = describe(figures)
    for kind in KINDS:
        count, per_weight = loop[kind], loop[f"{kind}_per_weight"]
        assert re.search(rf"^ +{kind} +{count:,} \({64 * per_weight:.2f}\)$", text, re.MULTILINE)
    assert re.search(rf"^spills +{figures['spills']:,}$", text, re.MULTILINE)
    assert figures["spills"] >= loop["spills"] > 0


def test_two_loops_stand_side_by_side() -> None:
    text = describe(bw.compile(DECODED_FIRST, "cpu:znver4").report())
    assert re.search(r"^loop \(per 64 weights\) +decode +product$", text, re.MULTILINE)
    assert re.search(r"^  store +\d+ \(\d+\.\d\d\) +0 \(0\.00\)$", text, re.MULTILINE)


def loop_of(kernel: bw.Kernel, name: str = "main") -> dict[str, float]:
    """The figures of one loop."""
    return {key.partition(".")[2]: x for key, x in kernel.report().items() if key.startswith(f"{name}.")}

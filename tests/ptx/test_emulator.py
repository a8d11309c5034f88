"""The emulator of PTX itself: results that the PTX ISA defines, and programs that no GPU could be trusted with."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.tests.ptx.formats import f64_to_bf16, odd_sum
from bitwright.tests.ptx.machine import run
from bitwright.tests.ptx.text import PtxError, parse

HEAD = """.version 9.0
.target sm_90a
.address_size 64
.extern .shared .align 16 .b8 dynamic[];
.global .align 4 .b8 numbers[8] = {1, 0, 0, 0, 254, 255, 255, 255};
.visible .entry bw_kernel(
  .param .u64 bw_kernel_param_0,
  .param .u64 bw_kernel_param_1,
  .param .u64 bw_kernel_param_2
)
.maxntid 64, 1, 1
{
  .reg .pred %p<4>;
  .reg .b16 %rs<4>;
  .reg .f32 %f<8>;
  .reg .b32 %r<16>;
  .reg .b64 %rd<8>;
  .shared .align 16 .b8 fixed[1024];
  ld.param.u64 %rd1, [bw_kernel_param_0];
  ld.param.u64 %rd2, [bw_kernel_param_1];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd3, %r1, 4;
  add.s64 %rd4, %rd1, %rd3;
  add.s64 %rd5, %rd2, %rd3;
  ld.global.u32 %r2, [%rd4];
  mov.u32 %r3, 0;
"""
"""%r1 is the thread, %r2 its word of the first array; %rd5 is the address of its word of the second."""


def results(body: str, given: NDArray[np.generic], threads: int = 64, shared: int = 0) -> NDArray[np.uint32]:
    """What a body leaves in %r3, for each thread."""
    out = np.zeros(threads, np.uint32)
    run(HEAD + body + "st.global.u32 [%rd5], %r3;\nret;\n}", [given.view(np.uint32), out], 1, threads, shared)
    return out


WORDS = np.arange(64, dtype=np.uint32) * np.uint32(0x9E3779B1)

INTEGERS = [
    ("mul.hi.u32 %r3, %r2, %r2;", lambda v: v * v >> 32),
    ("mul.hi.s32 %r3, %r2, 1431655766;", lambda v: signed(v) * 1431655766 >> 32),
    ("mad.lo.s32 %r3, %r2, 3, %r2;", lambda v: v * 4),
    ("shl.b32 %r3, %r2, 32;", lambda v: 0),
    ("shr.s32 %r3, %r2, 40;", lambda v: signed(v) >> 31),
    ("shf.l.wrap.b32 %r3, %r2, %r2, 37;", lambda v: v << 5 | v >> 27),
    ("bfe.u32 %r3, %r2, 5, 7;", lambda v: v >> 5 & 127),
    ("bfe.s32 %r3, %r2, 28, 9;", lambda v: signed(v) >> 28),
    ("bfi.b32 %r3, %r2, -1, 8, 4;", lambda v: 0xFFFFF0FF | (v & 15) << 8),
    ("prmt.b32 %r3, %r2, 0x44332211, 0x7B40;", lambda v: v & 255 | 0x44 << 24 | 0x1100 | (v >> 31) * 0xFF0000),
    ("lop3.b32 %r3, %r2, 0x0F0F0F0F, 0x30303030, 0xEA;", lambda v: v & 0x0F0F0F0F | 0x30303030),
    ("popc.b32 %r3, %r2;", lambda v: v.bit_count()),
    ("clz.b32 %r3, %r2;", lambda v: 32 - v.bit_length()),
    ("div.s32 %r3, %r2, 7;", lambda v: int(Fraction(signed(v), 7))),
    ("rem.s32 %r3, %r2, -7;", lambda v: signed(v) - 7 * int(Fraction(signed(v), 7))),
    ("min.s32 %r3, %r2, 5;", lambda v: min(signed(v), 5)),
    ("dp4a.s32.u32 %r3, %r2, 0x02010003, 9;", lambda v: 9 + 3 * s8(v) + s8(v >> 16) + 2 * s8(v >> 24)),
    ("cvt.s32.s8 %r3, %r2;", lambda v: s8(v)),
    ("cvt.u16.u32 %rs1, %r2; cvt.u32.u16 %r3, %rs1;", lambda v: v & 0xFFFF),
    ("mov.b32 {%rs1, %rs2}, %r2; mov.b32 %r3, {%rs2, %rs1};", lambda v: v >> 16 | v << 16),
    ("ld.global.s32 %r3, [numbers+4];", lambda v: -2),
    ("{ .reg .b32 %r2; mov.u32 %r2, 3; mov.u32 %r3, %r2; } add.s32 %r3, %r3, %r2;", lambda v: v + 3),
]


def signed(v: int) -> int:
    return v - (v >> 31 << 32)


def s8(v: int) -> int:
    return (v & 127) - (v & 128)


@pytest.mark.parametrize(("body", "meaning"), INTEGERS, ids=[body for body, _ in INTEGERS])
def test_integers(body: str, meaning) -> None:  # type: ignore[no-untyped-def]  # a function on Python's integers
    assert results(body, WORDS).tolist() == [meaning(int(v)) & 0xFFFFFFFF for v in WORDS]


def nearest(exact: Fraction, digits: int) -> Fraction:
    """The normal number of so many binary digits that is nearest, to even."""
    exponent = 0
    while abs(exact) >= 2 ** (exponent + digits):
        exponent += 1
    while abs(exact) < 2 ** (exponent + digits - 1):
        exponent -= 1
    return round(exact / Fraction(2) ** exponent) * Fraction(2) ** exponent


def test_fused_products_round_once() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(1, 2, (2, 64)).astype(np.float32)
    # Close to minus the product, and so small beside it that f64 would round the exact sum to a tie.
    z = np.where(np.arange(64) < 32, -(x * y), np.float32(2.0**-60) * y).astype(np.float32)
    body = (
        "mov.b32 %f1, %r2;\nmov.b32 %f2, %r4;\nmov.b32 %f3, %r5;\nfma.rn.f32 %f4, %f1, %f2, %f3;\nmov.b32 %r3, %f4;\n"
    )
    loads = "add.s64 %rd6, %rd4, 256;\nld.global.u32 %r4, [%rd6];\nld.global.u32 %r5, [%rd6+256];\n"
    found = results(loads + body, np.stack([x, y, z])).view(np.float32)
    for a, b, c, r in zip(x, y, z, found, strict=True):
        assert Fraction(float(r)) == nearest(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)), 24)


def test_sums_keep_what_the_next_rounding_needs() -> None:
    tie = 1 + 2.0**-8  # halfway between two numbers of bf16
    assert f64_to_bf16(odd_sum(np.array([tie]), np.array([0.0]))) == 0x3F80
    assert f64_to_bf16(odd_sum(np.array([tie]), np.array([2.0**-70]))) == 0x3F81
    assert f64_to_bf16(odd_sum(np.array([-tie]), np.array([-(2.0**-70)]))) == 0xBF81
    assert f64_to_bf16(odd_sum(np.array([3 * tie]), np.array([-(2.0**-70)])))[0] == 0x4041


FLOATS = [
    ("min.f32", -0.0, 0.0, 0x80000000),
    ("max.f32", -0.0, 0.0, 0),
    ("min.f32", np.nan, 2.0, 0x40000000),
    ("min.NaN.f32", np.nan, 2.0, 0x7FFFFFFF),
    ("add.rn.f32", np.inf, -np.inf, 0x7FFFFFFF),
    ("mul.rn.f32", 2.0**-75, 2.0**-74, 1),
    ("mul.rn.ftz.f32", 2.0**-75, 2.0**-74, 0),
    ("add.rz.f32", 1.0, 2.0**-24 * 1.5, 0x3F800000),
    ("add.rp.f32", 1.0, 2.0**-40, 0x3F800001),
    ("add.rm.f32", 1.0, -(2.0**-40), 0x3F7FFFFF),
    ("div.rn.f32", 1.0, 3.0, 0x3EAAAAAB),
]


@pytest.mark.parametrize(("name", "x", "y", "bits"), FLOATS)
def test_floats(name: str, x: float, y: float, bits: int) -> None:
    given = [int(np.float32(v).view(np.uint32)) for v in (x, y)]
    body = f"{name} %f1, 0f{given[0]:08X}, 0f{given[1]:08X};\nmov.b32 %r3, %f1;\n"
    assert set(results(body, WORDS).tolist()) == {bits}


CONVERSIONS = [
    ("cvt.rzi.s32.f32 %r3, 0fC0200000;", 0xFFFFFFFE),  # -2.5
    ("cvt.rzi.u32.f32 %r3, 0fC0200000;", 0),
    ("cvt.rzi.s32.f32 %r3, 0f7FC00000;", 0),
    ("cvt.rzi.s32.f32 %r3, 0f4F800000;", 0x7FFFFFFF),
    ("cvt.rni.f32.f32 %f1, 0f40200000; mov.b32 %r3, %f1;", 0x40000000),
    ("cvt.rn.f32.u32 %f1, 16777217; mov.b32 %r3, %f1;", 0x4B800000),
    ("cvt.rn.f16x2.f32 %r3, 0f3F800000, 0fC0000000;", 0x3C00C000),
    ("cvt.rn.bf16x2.f32 %r3, 0f3F808000, 0f3F818000;", 0x3F803F82),
    ("mov.b32 %f1, 0f33800000; cvt.rn.f16.f32 %rs1, %f1; cvt.u32.u16 %r3, %rs1;", 1),  # 2**-24
    ("mov.u16 %rs1, 0x7E08; cvt.rn.f16x2.e4m3x2 %r3, %rs1;", 0x5F002400),  # 448 and 2**-6
    ("mov.u16 %rs1, 0x7C01; cvt.rn.f16x2.e5m2x2 %r3, %rs1;", 0x7C000100),
]


@pytest.mark.parametrize(("body", "bits"), CONVERSIONS)
def test_conversions(body: str, bits: int) -> None:
    assert set(results(body, WORDS).tolist()) == {bits}


def test_threads_that_part_meet_again() -> None:
    body = """
  and.b32 %r4, %r1, 3;
  setp.eq.s32 %p1, %r4, 0;
  @%p1 bra $L_end;
$L_loop:
  add.s32 %r3, %r3, 10;
  sub.s32 %r4, %r4, 1;
  setp.ne.s32 %p2, %r4, 0;
  @%p2 bra $L_loop;
$L_end:
  bar.sync 0;
  @!%p1 add.s32 %r3, %r3, 1;
"""
    assert results(body, WORDS).tolist() == [10 * (t % 4) + (t % 4 > 0) for t in range(64)]


def test_a_barrier_in_a_branch_is_refused() -> None:
    body = "setp.lt.u32 %p1, %r1, 8;\n@%p1 bra $L_end;\nbar.sync 0;\n$L_end:\n"
    with pytest.raises(PtxError, match="not at the barrier"):
        results(body, WORDS)


SHUFFLES = [
    ("bfly.b32 %r3|%p1, %r1, 5, 31, -1", lambda t: t ^ 5),
    ("idx.b32 %r3|%p1, %r1, 7, 31, -1", lambda t: t // 32 * 32 + 7),
    ("down.b32 %r3|%p1, %r1, 3, 31, -1", lambda t: t + 3 if t % 32 < 29 else t),
    ("up.b32 %r3|%p1, %r1, 3, 0, -1", lambda t: t - 3 if t % 32 >= 3 else t),
    ("idx.b32 %r3|%p1, %r1, 9, 0x181F, -1", lambda t: t // 8 * 8 + 1),
    ("down.b32 %r3|%p1, %r1, 1, 0x1C1F, -1", lambda t: t + 1 if t % 4 < 3 else t),
]


@pytest.mark.parametrize(("operands", "meaning"), SHUFFLES, ids=[text for text, _ in SHUFFLES])
def test_shuffles(operands: str, meaning) -> None:  # type: ignore[no-untyped-def]  # a function on Python's integers
    assert results(f"shfl.sync.{operands};\n", WORDS).tolist() == [meaning(t) for t in range(64)]


def test_votes() -> None:
    body = "setp.eq.u32 %p1, %r1, 40;\nvote.sync.ballot.b32 %r3, %p1, -1;\n"
    assert results(body, WORDS).tolist() == [0] * 32 + [256] * 32


def test_a_copy_is_seen_after_its_wait() -> None:
    start = """
  mov.u32 %r4, fixed;
  shl.b32 %r5, %r1, 2;
  add.s32 %r4, %r4, %r5;
  cp.async.ca.shared.global [%r4], [%rd4], 4;
  cp.async.commit_group;
  cp.async.ca.shared.global [%r4+512], [%rd4], 4, 0;
  cp.async.commit_group;
"""
    assert (results(f"{start}cp.async.wait_group 1;\nld.shared.u32 %r3, [%r4];\n", WORDS) == WORDS).all()
    assert (results(f"{start}cp.async.wait_group 0;\nld.shared.u32 %r3, [%r4+512];\n", WORDS) == 0).all()
    assert (results(f"{start}cp.async.wait_group 1;\nld.shared.u32 %r3, [%r4+512];\n", WORDS) == 0x5A5A5A5A).all()


def test_matrices_of_labelled_elements() -> None:
    """Where elements lie, by their numbers: element (r, c) of an 8 x 8 matrix holds 8 r + c."""
    fill = """
  mov.u32 %r4, dynamic;
  shl.b32 %r5, %r1, 2;
  add.s32 %r6, %r4, %r5;
  shl.b32 %r7, %r1, 1;
  add.s32 %r8, %r7, 1;
  shl.b32 %r9, %r8, 16;
  or.b32 %r9, %r9, %r7;
  setp.lt.u32 %p1, %r1, 32;
  @%p1 st.shared.u32 [%r6], %r9;
  bar.sync 0;
  and.b32 %r10, %r1, 7;
  shl.b32 %r10, %r10, 4;
  add.s32 %r10, %r10, %r4;
"""
    plain = results(fill + "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r10];\n", WORDS, shared=128)
    turned = results(fill + "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r3}, [%r10];\n", WORDS, shared=128)
    for t in range(64):
        row, pair = t % 32 // 4, t % 4 * 2
        assert plain[t] == 8 * row + pair | 8 * row + pair + 1 << 16
        assert turned[t] == 8 * pair + row | 8 * (pair + 1) + row << 16


def test_a_product_picks_row_and_column() -> None:
    """A is zero but for one element, so D is a row of B: the PTX ISA's figures for m16n8k16 are what is checked."""
    half = np.arange(8, dtype=np.float32)
    body = """
  and.b32 %r4, %r1, 31;
  mov.u32 %r5, 0;
  mov.u32 %r6, 0;
  setp.eq.u32 %p1, %r4, 22;
  @%p1 mov.u32 %r6, 0x3C000000;
  shr.u32 %r7, %r4, 2;
  cvt.rn.f32.u32 %f1, %r7;
  cvt.rn.f16x2.f32 %r8, %f1, 0f00000000;
  mov.b32 %f2, 0f00000000;
  mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f3,%f4,%f5,%f6}, {%r5,%r5,%r5,%r6}, {%r5,%r8}, {%f2,%f2,%f2,%f2};
  mov.b32 %r3, %f5;
"""
    # Thread 22 holds, in the high half of its fourth register, A[13, 13]; the high halves of the second register of B
    # hold rows 9, 11, 13 and 15, in which column g is g.  So D[13] = (0 .. 7); a thread's third sum is D[8 + g, ..].
    found = results(body, WORDS).view(np.float32)
    assert found.tolist() == [half[t % 4 * 2] if t % 32 // 4 == 5 else 0.0 for t in range(64)]


def test_atomics_are_one_after_the_other() -> None:
    total = np.zeros(64, np.uint32)
    body = "atom.global.add.u32 %r3, [%rd1], 1;\n"
    assert sorted(results(body, total).tolist()) == list(range(64))


REFUSED = [
    ("ld.global.u32 %r3, [%rd4+1];", "no multiple of 4"),
    ("ld.global.u32 %r3, [%rd4+4];", "outside of the arrays"),
    ("ld.shared.u32 %r3, [fixed+1024];", "outside of shared memory"),
    ("st.shared.u32 [fixed], %r1;", "two threads write"),
    ("frobnicate.b32 %r3, %r2;", "frobnicate"),
    ("setp.lt.u32 %p1, %r1, 4;\n@%p1 shfl.sync.idx.b32 %r3|%p2, %r1, 0, 31, -1;", "elsewhere"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_what_no_correct_program_does(body: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        results(body + "\n", WORDS)


def test_text_without_a_kernel_is_refused() -> None:
    with pytest.raises(PtxError, match="no kernel"):
        parse(".version 9.0\n")

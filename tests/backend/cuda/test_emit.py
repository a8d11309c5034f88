"""The CUDA text of lane functions: what is promised of it beside that it computes what the lanes do."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from bitwright.backend.cuda.build import assemble, to_ptx
from bitwright.backend.cuda.emit import emit
from bitwright.backend.lane.ir import (
    Apply,
    Barrier,
    Carried,
    CopyAsync,
    For,
    If,
    Let,
    Lookup,
    Prefetch,
    Read,
    Reg,
    Show,
    Shuffle,
    Write,
)
from bitwright.backend.target import target
from bitwright.tests.backend.lane.writing import Body

GPU = target("cuda:sm_90a")
LANES = 64


def text(body: Body, slots: int = 3, shared: int = 0) -> str:
    """What is printed, which NVRTC must take."""
    function = body.function(slots, shared)
    found = emit(function, GPU)
    assert emit(function, GPU) == found
    assert assemble(found, GPU)[:4] == b"\x7fELF"
    return found


def loads(cuda: str) -> list[str]:
    return re.findall(r"\b((?:ld|st)\.[\w.:]+) ", cuda)


@pytest.mark.parametrize(
    ("bits", "count", "align", "found"),
    [
        (32, 4, 16, ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"]),
        (32, 4, 8, ["ld.global.nc.v2.u32"] * 2),
        (32, 3, 16, ["ld.global.nc.v2.u32", "ld.global.nc.u32"]),
        (8, 16, 16, ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"]),
        (64, 2, 16, ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"]),
        (16, 3, 2, ["ld.global.nc.u16"] * 3),
        (32, 1, 1, ["ld.global.nc.u8"] * 4),
        (64, 1, 4, ["ld.global.nc.u32"] * 2),
        (32, 8, 32, ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"] * 2),
    ],
)
def test_reads_are_as_wide_as_they_may_be(bits: int, count: int, align: int, found: list[str]) -> None:
    body = Body(LANES)
    values = body.read(Read(body.slot(0), body.places(bits * count // 8), bits, count, None, align))
    body.do(Write(body.slot(1), body.places(bits * count // 8), bits, values, None, align))
    names = loads(text(body))
    assert names[: len(found)] == found
    plain = [re.sub(r"\.nc|\.L1::no_allocate|\.L2::128B", "", name) for name in found]
    assert names[len(found) :] == [name.replace("ld.", "st.") for name in plain]


def test_hints_say_to_which_cache() -> None:
    body = Body(LANES)
    for level in (1, 2):
        body.do(Prefetch(body.slot(0), body.places(64), level))
    cuda = text(body)
    assert re.findall(r"prefetch\.[\w.]+", cuda) == ["prefetch.global.L1", "prefetch.global.L2"]
    assert "memory" not in cuda[cuda.index("prefetch") :]


def test_what_is_written_is_not_read_through_the_read_only_cache() -> None:
    body = Body(LANES)
    moved = body.apply("add", "i64", body.slot(0), body.number(4096))
    value = body.read(Read(moved, body.places(4), 32, 1, None, 4))
    body.do(Write(body.slot(0), body.places(4), 32, value, None, 4))
    assert loads(text(body)) == ["ld.global.u32", "st.global.u32"]


def test_an_address_that_may_be_either_array_is_not_read_only() -> None:
    body = Body(LANES)
    first, second = body.slot(0), body.slot(1)
    either, after = Reg("i64", True), Reg("i64", True)
    chosen = body.apply("select", "i64", body.constant("i1", 1), first, second)
    body.statements.append(
        For(
            Reg("i64", True),
            body.number(0),
            body.number(3),
            body.number(1),
            (Carried(chosen, either, second, after),),
            (),
        )
    )
    value = body.read(Read(second, body.places(4), 32, 1, None, 4))
    body.do(Write(after, body.places(4), 32, value, None, 4))
    assert loads(text(body)) == ["ld.global.u32", "st.global.u32"]


def test_masked_accesses_are_no_branches() -> None:
    body = Body(LANES)
    mask = body.lane_constant("i1", [k < 40 for k in range(LANES)])
    value = body.read(Read(body.slot(0), body.places(4), 32, 1, mask, 4))
    body.do(Write(body.slot(1), body.places(4), 32, value, mask, 4))
    ptx = to_ptx(text(body), GPU)
    assert "bra" not in ptx
    assert len(re.findall(r"@on (ld|st)\.global", ptx)) == 2


def test_a_uniform_write_is_one_lanes() -> None:
    body = Body(LANES)
    body.do(Write(body.slot(0), body.number(8, "i32"), 32, (body.number(7, "i32"),), None, 4))
    assert "(u32)(lane == 0u)" in text(body)


def test_products_and_sums_stay_apart() -> None:
    body = Body(LANES)
    x, y = body.load(0, "f32"), body.load(1, "f32")
    body.save(2, body.apply("fadd", "f32", body.apply("fmul", "f32", x, y), x))
    ptx = to_ptx(text(body), GPU)
    assert "mul" in ptx
    assert "fma" not in ptx
    assert ".ftz" not in ptx


def test_carried_registers_change_all_at_once() -> None:
    body = Body(LANES)
    x, y = body.load(0, "i32"), body.load(1, "i32")
    a, b, c, d = (Reg("i32", False) for _ in range(4))
    swap = (Carried(x, a, b, c), Carried(y, b, a, d))
    body.statements.append(For(Reg("i64", True), body.number(0), body.slot(3), body.number(1), swap, ()))
    body.save(2, c)
    body.save(1, d)
    lines = [line.strip() for line in text(body, 4).splitlines()]
    at = next(k for k, line in enumerate(lines) if line.startswith("for ("))
    first, second = (re.fullmatch(r"const auto (t\d+) = (w\d+);", line) for line in lines[at + 1 : at + 3])
    assert first
    assert second
    assert lines[at + 3 : at + 5] == [f"{second[2]} = {first[1]};", f"{first[2]} = {second[1]};"]
    assert lines[at - 1] == "#pragma unroll 1"


def test_a_branch_without_a_then() -> None:
    body = Body(LANES)
    chosen = body.apply("slt", "i1", body.slot(1), body.slot(2))
    inside = Body(LANES)
    inside.save(0, inside.places(4))
    body.statements.append(If(chosen, (), tuple(inside.statements), ()))
    assert re.search(r"if \(!p\d+\) \{", text(body))


def shuffled(sources: int, source: Sequence[int], lane: Sequence[int]) -> str:
    body = Body(LANES)
    values = tuple(body.load(k, "i32") for k in range(sources))
    body.save(2, body.let(Shuffle(values, tuple(source), tuple(lane)), "i32", False))
    return text(body)


def test_shuffles_are_few() -> None:
    every = range(LANES)
    assert "__shfl_xor_sync(~0u, w" in shuffled(1, [0] * LANES, [k ^ 5 for k in every])
    turned = shuffled(1, [0] * LANES, [k // 32 * 32 + (k + 1) % 32 for k in every])
    assert turned.count("__shfl_sync") == 1
    # lanes of even number are asked for the first register only, the others for the second
    once = shuffled(2, [k & 1 for k in every], [k ^ 2 for k in every])
    assert once.count("__shfl") == 1
    # every lane of the first sixteen is asked for both
    twice = shuffled(2, [k >> 4 & 1 for k in every], [k & ~16 ^ 1 for k in every])
    assert twice.count("__shfl") == 2
    stays = shuffled(2, [k & 1 for k in every], list(every))
    assert "__shfl" not in stays


def test_shuffles_stay_within_warps() -> None:
    with pytest.raises(AssertionError, match="within their warp"):
        shuffled(1, [0] * LANES, [(k + 1) % LANES for k in range(LANES)])


def test_a_table_is_copied_to_shared_memory_once() -> None:
    body = Body(LANES)
    index = body.load(0, "i32")
    table = tuple(range(100, 132))
    for k in range(3):
        body.save(
            1 + k % 2, body.let(Lookup(table, body.apply("add", "i32", index, body.number(k, "i32"))), "i32", False)
        )
    cuda = text(body)
    assert cuda.count("__ldg(&data0[lane])") == 1
    assert cuda.count("shared_word(table0 + ") == 3
    assert cuda.index("__ldg(") < cuda.index("__syncthreads();") < cuda.index('"=r"(table0)') < cuda.index("(table0 +")


def test_copies_without_a_mask_name_no_size_of_the_source() -> None:
    body = Body(LANES)
    shared = body.number(0)
    body.do(CopyAsync(body.slot(0), body.places(16), shared, body.places(16), 16))
    body.do(
        CopyAsync(
            body.slot(0),
            body.places(4),
            shared,
            body.places(4),
            4,
            body.lane_constant("i1", [k < 9 for k in range(LANES)]),
        )
    )
    body.do(Barrier())
    cuda = text(body, shared=4096)
    assert "cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" in cuda
    assert "cp.async.ca.shared.global [%0], [%1], 4, %2;" in cuda
    assert "? 4u : 0u)" in cuda


def test_what_is_shown_may_be_any_text() -> None:
    body = Body(LANES)
    body.do(Show('a "b" \\ ??/ 50% \n é', body.load(0, "f32"), 33))
    cuda = text(body)
    assert r'"a \042b\042 \134 \077\077/ 50\045 \012 \303\251"' in cuda
    assert 'if (lane == 33u) printf("%s%.9g\\n"' in cuda


def test_division_by_a_constant_asks_nothing() -> None:
    body = Body(LANES)
    x = body.load(0, "i32")
    body.save(1, body.apply("sdiv", "i32", x, body.number(7, "i32")))
    body.save(2, body.apply("urem", "i32", x, body.number(8, "i32")))
    assert "return 0" not in text(body)
    body.save(2, body.apply("sdiv", "i32", x, body.number(-1, "i32")))
    assert "if (y == 0) return 0;" in text(body)


def test_more_lanes_than_a_block_has_are_refused() -> None:
    body = Body(2048)
    body.save(0, body.places(4))
    with pytest.raises(ValueError, match="at most 1024"):
        emit(body.function(1), GPU)


def test_code_never_assigns_a_let_twice() -> None:
    """Each register is one variable: names do not repeat."""
    body = Body(LANES)
    x = body.load(0, "f32")
    for _ in range(5):
        x = body.let(Apply("fadd", (x, x)), "f32", False)
    body.save(1, x)
    names = re.findall(r"^  (?:const )?(?:u32|u64|float|bool) (\w+)", text(body), re.M)
    assert len(names) == len(set(names))
    assert all(isinstance(s, Let) for s in body.statements)

"""Lane functions written by hand, in which every operation of the lane IR occurs, for GPUs: two warps, some blocks.

What each of them does is what the simulator says; a GPU, or an emulator of one, must do the same bit for bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitwright.backend.cuda.architectures import WARP
from bitwright.backend.cuda.atoms import rows_of
from bitwright.backend.lane.ir import (
    KINDS,
    Atom,
    Barrier,
    Carried,
    Commit,
    CopyAsync,
    Exchange,
    Fail,
    Fence,
    First,
    FloatSlot,
    For,
    If,
    Kind,
    Let,
    Lookup,
    LookupBytes,
    Merge,
    PickBytes,
    Prefetch,
    Read,
    ReadMatrix,
    Reg,
    SharedAddress,
    Shuffle,
    Statement,
    Type,
    Vote,
    WaitCopies,
    While,
    Write,
)
from bitwright.backend.target import Target
from bitwright.tests.backend.lane.writing import Body
from bitwright.tests.backend.llvm.test_emit import NEAR, sample
from bitwright.tests.lane_case import LANES, SIZE, WAVES, Case, Slots, random, words, zeros


def cases(machine: Target) -> list[Case]:
    """All cases that the GPU has the instructions for."""
    made = [*arithmetic(), moves(), votes(), *tables(), bytes_of_words(), *accesses(), shared(), exchange(), control()]
    made += [slots_and_failures(), *(atom(machine, name) for name in plain_rows(machine))]
    if machine.has("ldmatrix"):
        made += [matrices(count, turned) for count in (1, 2, 4) for turned in (False, True)]
    if machine.has("cp_async"):
        made += [copies(size) for size in (4, 8, 16)]
    return made


# Arithmetic: the kinds of one list of operand types share a function


def arithmetic() -> Iterator[Case]:
    rows = [(kind, type) for kind in KINDS.values() for type in (kind.types or ("i32",))]

    def form(row: tuple[Kind, Type]) -> tuple[str, tuple[Type, ...]]:
        kind, type = row
        sort = "f16 of " if kind.name == "f32tof16" else WAVES if kind.name in ("sin", "cos") else ""
        return "near " if kind.name in NEAR and not sort else sort, tuple(
            type if t == "t" else t for t in kind.operands
        )  # type: ignore[return-value]  # rows name types

    for (sort, types), group in itertools.groupby(sorted(rows, key=form), form):
        yield _arithmetic(sort, types, list(group))


def _arithmetic(sort: str, types: tuple[Type, ...], rows: list[tuple[Kind, Type]]) -> Case:
    name = f"{sort}arithmetic on {' '.join(types)}"
    rng, body = random(name), Body(LANES)
    slots: Slots = [sample(t, SIZE, rng, False) for t in types]
    shifts = sample(types[-1], SIZE, rng, types[-1] in ("i32", "i64"))
    slots.append(shifts)
    operands = [body.load(k, t) for k, t in enumerate(types)]
    first, amount = body.load(0, types[0], uniform=True), body.load(len(types), types[-1])
    for kind, type in rows:
        result: Type = type if kind.result == "t" else kind.result  # type: ignore[assignment]  # rows name types
        shift = kind.name in ("shl", "lshr", "ashr")
        given = [*operands[:-1], amount] if shift else operands
        for many in (given, [first, *given[1:]]):
            body.save(len(slots), body.apply(kind.name, result, *many))
            slots.append(zeros(result))
    return Case(name, body.function(len(slots)), slots, near=sort in ("near ", WAVES), halves=sort == "f16 of ")


# Registers of other lanes


def moves() -> Case:
    rng, body = random("moves"), Body(LANES)
    sources = tuple(body.load(k, "i32") for k in range(3))
    lane = np.arange(LANES)
    warp = lane // WARP * WARP
    orders = [warp + (lane + 1) % WARP, lane ^ 5, warp + rng.integers(0, WARP, LANES), warp, lane]
    picks = [lane * 0, lane * 0, rng.integers(0, 3, LANES), lane // 8 % 3, rng.integers(0, 3, LANES)]
    for out, (order, pick) in enumerate(zip(orders, picks, strict=True)):
        op = Shuffle(sources, tuple(map(int, pick)), tuple(map(int, order)))
        body.save(3 + out, body.let(op, "i32", False))
    return Case("moves", body.function(8), [*(words(rng) for _ in range(3)), *(zeros() for _ in range(5))])


def votes() -> Case:
    rng, body = random("votes"), Body(LANES)
    x = body.load(0, "i32")
    positive = body.apply("slt", "i1", body.number(0, "i32"), x)
    body.save(1, body.let(First(x), "i32", True))
    body.save(2, body.let(Vote("any", positive), "i1", True))
    body.save(3, body.let(Vote("all", positive), "i1", True))
    given = np.concatenate([np.full(LANES, 5), np.full(LANES, -5), rng.integers(-9, 9, LANES)]).astype(np.int32)
    return Case("votes", body.function(4), [given, zeros(), zeros(), zeros()])


def tables() -> Iterator[Case]:
    for entries in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        rng, body = random(f"table {entries}"), Body(LANES)
        word = body.load(0, "i32")
        table = tuple(int(v) for v in rng.integers(0, 2**32, entries))
        body.save(1, body.let(Lookup(table, word), "i32", False))
        octets = tuple(int(v) for v in rng.integers(0, 256, max(16, entries)))
        body.save(2, body.let(LookupBytes(octets, word), "i32", False))
        yield Case(f"table of {entries}", body.function(3), [words(rng), zeros(), zeros()])


def bytes_of_words() -> Case:
    rng, body = random("bytes"), Body(LANES)
    x, y = body.load(0, "i32"), body.load(1, "i32")
    orders = [(0, 4, 1, 5), (7, -1, 2, -1), (3, 3, 3, 3), (-1, -1, 6, 0), (-1, -1, -1, -1), (0, 1, 2, 3)]
    for out, order in enumerate(orders):
        body.save(2 + out, body.let(PickBytes(x, y, order), "i32", False))
    return Case("bytes of words", body.function(8), [words(rng), words(rng), *(zeros() for _ in orders)])


# Memory


def accesses() -> Iterator[Case]:
    """Every width, count and alignment, with and without a mask, forwards and backwards."""
    for bits, count in ((8, 1), (8, 4), (8, 16), (16, 1), (16, 8), (32, 1), (32, 2), (32, 4), (64, 1), (64, 2)):
        for masked, natural in itertools.product((False, True), repeat=2):
            yield _access(bits, count, masked, natural)


def _access(bits: int, count: int, masked: bool, natural: bool) -> Case:
    name = f"{count} fields of {bits} bits{', masked' if masked else ''}{'' if natural else ', least alignment'}"
    rng, body = random(name), Body(LANES)
    step = bits // 8 * count
    align = step if natural else bits // 8
    mask = body.lane_constant("i1", rng.integers(0, 2, LANES).tolist()) if masked else None
    there = body.lane_constant("i32", [step * lane for lane in range(LANES)])
    back = body.lane_constant("i32", [step * (LANES - 1 - lane) for lane in range(LANES)])
    base = body.row(0, step)
    body.do(Prefetch(base, there, 1 if natural else 2))
    values = body.read(Read(base, there, bits, count, mask, align))
    body.do(Write(body.row(1, step), back, bits, values, mask, align))
    data = rng.integers(0, 256, step * SIZE).astype(np.uint8)
    return Case(name, body.function(2), [data, np.zeros_like(data)])


def shared() -> Case:
    """Words go to shared memory, and after a barrier lanes of the other warp read them, 16 bytes at a time."""
    rng, body = random("shared"), Body(LANES)
    base = body.let(SharedAddress(64), "i64", True)
    places, x = body.places(4), body.load(0, "i32")
    body.do(Write(base, places, 32, (x,), align=4, space="shared"))
    body.do(Barrier())
    four = body.lane_constant("i32", [16 * ((lane * 7 + 3) % (LANES // 4)) for lane in range(LANES)])
    for out, value in enumerate(body.read(Read(base, four, 32, 4, align=16, space="shared"))):
        body.save(1 + out, value)
    body.do(Barrier())
    half = body.lane_constant("i32", [2 * lane for lane in range(LANES)])
    body.do(Write(base, half, 16, (x,), align=2, space="shared"))
    body.do(Barrier())
    turned = body.lane_constant("i32", [LANES - 1 - lane for lane in range(LANES)])
    (octet,) = body.read(Read(base, turned, 8, 1, align=1, space="shared"))
    body.save(5, octet)
    return Case("shared memory", body.function(6, 64 + 4 * LANES), [words(rng), *(zeros() for _ in range(5))])


def matrices(count: int, turned: bool) -> Case:
    name = f"{count} matrices{', transposed' if turned else ''}"
    rng, body = random(name), Body(LANES)
    base = body.let(SharedAddress(0), "i64", True)
    sixteen = body.lane_constant("i32", [16 * lane for lane in range(LANES)])
    values = body.read(Read(body.row(0, 16), sixteen, 32, 4, align=16))
    body.do(Write(base, sixteen, 32, values, align=16, space="shared"))
    body.do(Barrier())
    rows = body.lane_constant("i32", [16 * (int(n) % LANES) for n in rng.permutation(LANES)])
    results = tuple(Reg("i32", False) for _ in range(count))
    body.statements.append(Let(results, ReadMatrix(base, rows, count, turned)))
    for out, value in enumerate(results):
        body.save(1 + out, value)
    return Case(name, body.function(1 + count, 16 * LANES), [words(rng, 4 * SIZE), *(zeros() for _ in range(count))])


def copies(size: int) -> Case:
    """Three groups are started, the first is awaited alone, and one copy in three brings zeros."""
    name = f"copies of {size} bytes"
    rng, body = random(name), Body(LANES)
    base, step = body.let(SharedAddress(0), "i64", True), size * LANES
    source, own = body.row(0, size), body.lane_constant("i32", [size * lane for lane in range(LANES)])
    mask = body.lane_constant("i1", [int(lane % 3 != 0) for lane in range(LANES)])
    mirrored = body.lane_constant("i32", [size * (LANES - 1 - lane) for lane in range(LANES)])
    for group, (where, on) in enumerate(((own, None), (mirrored, mask), (own, mask))):
        at = body.apply("add", "i32", own, body.number(group * step, "i32"))
        body.do(CopyAsync(source, where, base, at, size, on))
        body.do(Commit())
    for group, pending in enumerate((2, 1, 0)):
        body.do(WaitCopies(pending))
        body.do(Barrier())
        word = body.lane_constant("i32", [group * step + size * ((lane + WARP) % LANES) for lane in range(LANES)])
        (value,) = body.read(Read(base, word, 32, align=4, space="shared"))
        body.save(1 + group, value)
    data = rng.integers(0, 256, size * SIZE).astype(np.uint8)
    return Case(name, body.function(4, 3 * step), [data, zeros(), zeros(), zeros()])


def exchange() -> Case:
    """A ticket: two exchanges, the first of which finds what it expects; one block."""
    body = Body(LANES)
    base, at, zero = body.slot(0), body.number(4, "i32"), body.number(0, "i32")
    for out, new in enumerate((7, 9)):
        old = body.let(Exchange(base, at, zero, body.number(new, "i32")), "i32", True)
        body.save(1 + out, old)
        body.do(Fence())
    body.do(Write(base, zero, 32, (body.number(3, "i32"),), align=4))  # uniform: stored once
    slots: Slots = [np.zeros(4, np.int32), zeros("i32", LANES), zeros("i32", LANES)]
    return Case("exchange", body.function(3), slots, blocks=1)


# Control


def control() -> Case:
    """x n + 0 + 1 .. in a counted loop, a sum down from n in a while loop, and a branch on that sum."""
    body = Body(LANES)
    n, zero, one = body.slot(1), body.number(0), body.number(1)
    x = body.load(0, "i32")
    start, var, inside, after = body.lane_constant("i32", [0] * LANES), Reg("i64", True), *_pair("i32")
    outer = _opened(body)
    added = body.apply("add", "i32", inside, body.apply("add", "i32", x, body.apply("trunc", "i32", var)))
    _closed(body, outer, lambda inner: For(var, zero, n, one, (Carried(start, inside, added, after),), inner))
    (left, left_end), (total, total_end) = _pair("i64", True), _pair("i64", True)
    outer = _opened(body)
    more = body.apply("slt", "i1", zero, left)
    head = tuple(_opened(body))
    total_next = body.apply("add", "i64", total, left)
    left_next = body.apply("sub", "i64", left, body.number(2))
    carried = (Carried(n, left, left_next, left_end), Carried(zero, total, total_next, total_end))
    _closed(body, outer, lambda inner: While(head, more, carried, inner))
    odd = body.apply("ne", "i1", body.apply("and", "i64", total_end, one), zero)
    outer, merged = _opened(body), Reg("i32", False)
    negated = body.apply("sub", "i32", body.number(0, "i32"), after)
    _closed(body, outer, lambda inner: If(odd, inner, (), (Merge(negated, after, merged),)))
    body.save(2, merged)
    return Case("control flow", body.function(3), [np.arange(SIZE, dtype=np.int32), 6, zeros()])


def _pair(kind: Type, uniform: bool = False) -> tuple[Reg, Reg]:
    return Reg(kind, uniform), Reg(kind, uniform)


def _opened(body: Body) -> list[Statement]:
    held, body.statements = body.statements, []
    return held


def _closed(body: Body, outer: list[Statement], make: object) -> None:
    assert callable(make)
    body.statements = [*outer, make(tuple(body.statements))]


def slots_and_failures() -> Case:
    body = Body(LANES)
    third = body.let(FloatSlot(0), "f32", True)
    body.save(1, third)
    far = body.apply("add", "i64", body.slot(3), body.number(0))
    body.do(Write(body.slot(2), body.number(0, "i32"), 64, (far,), align=8))
    half = body.constant("f32", 0.5)
    body.do(Fail(body.apply("flt", "i1", half, third), 1))
    body.do(Fail(body.apply("flt", "i1", third, half), 2))
    slots: Slots = [1 / 3, zeros("f32"), np.zeros(1, np.int64), -(1 << 40)]
    return Case("slots and failures", body.function(4, failures=["one", "two"]), slots, blocks=1, failure=2)


# Hardware instructions


def plain_rows(machine: Target) -> list[str]:
    """The instructions that take and give registers alone, at once: those of wgmma are under way until awaited."""
    return sorted(
        name
        for name, row in rows_of(machine).items()
        if "wgmma" not in row.features and all(t in ("i32", "f32") for t in (*row.operands, *row.results))
    )


def atom(machine: Target, name: str) -> Case:
    """Products of matrices on numbers whose sums are exact in any order; other instructions on any words."""
    row, rng, body = rows_of(machine)[name], random(name), Body(LANES)
    slots: Slots = []
    for k, kind in enumerate(row.operands):
        if row.matrix is not None:
            slots.append(_exact_operand(name, kind, rng))
        else:
            slots.append(words(rng) if kind == "i32" else sample("f32", SIZE, rng, False))
        body.load(k, kind)
    loads = [body.load(k, kind) for k, kind in enumerate(row.operands)]
    results = tuple(Reg(t, False) for t in row.results)
    body.statements.append(Let(results, Atom(name, tuple(loads))))
    for result in results:
        body.save(len(slots), result)
        slots.append(zeros(result.type))
    return Case(f"instruction {name}", body.function(len(slots)), slots)


_SMALL = {  # codes of small multiples of 1/2 (16 bits) or of -2 .. 2 (8 bits)
    "mma_f16": np.arange(-8, 8).astype(np.float16).view(np.uint16),
    "mma_bf16": (np.arange(-8, 8).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16),
    "mma_e4m3": np.array([0x00, 0x80, 0x30, 0x38, 0x40, 0xB0, 0xB8, 0xC0], np.uint8),
    "mma_e5m2": np.array([0x00, 0x80, 0x38, 0x3C, 0x40, 0xB8, 0xBC, 0xC0], np.uint8),
}


def _exact_operand(name: str, kind: str, rng: np.random.Generator) -> NDArray[np.generic]:
    if kind == "f32":
        return rng.integers(-100, 100, SIZE).astype(np.float32)
    if name not in _SMALL:
        return words(rng)
    codes = _SMALL[name]
    if name == "mma_f16":  # subnormals too: every code of 8 bits, as decoded weights are
        codes = np.concatenate([codes, np.arange(0, 256, dtype=np.uint16)])
    picked = rng.choice(codes, SIZE * 4 // codes.itemsize)
    return picked.view(np.int32)

"""Products of four warps with a matrix in shared memory: where its elements lie, and when it may be touched."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.cuda.atoms import MEANINGS
from bitwright.backend.cuda.atoms_group import descriptor_fields
from bitwright.backend.lane.ir import (
    Atom,
    Barrier,
    Commit,
    CopyAsync,
    Let,
    Read,
    Reg,
    SharedAddress,
    Type,
    WaitCopies,
    Write,
)
from bitwright.backend.lane.simulate import LaneError, simulate
from bitwright.tests.backend.lane.writing import Body

GROUPS = 2
LANES = 128 * GROUPS
START = 1024  # of b in shared memory
BYTES = 32768


def arranged(b: NDArray[np.generic], swizzle: int, leading: int, stride: int) -> NDArray[np.uint8]:
    """Shared memory that holds b[n, k] as the product wants it."""
    memory = np.zeros(BYTES, np.uint8)
    for (n, j), byte in np.ndenumerate(np.ascontiguousarray(b).view(np.uint8)):
        if swizzle == 0:
            at = n % 8 * 16 + n // 8 * stride + j // 16 * leading + j % 16
        else:
            period = 128 // swizzle  # rows that share 128 bytes
            chunk = (j // 16) ^ (n // period % (swizzle // 16))
            at = n % 8 * swizzle + n // 8 * stride + chunk * 16 + j % 16
        memory[START + at] = byte
    return memory


TYPES = {
    "f16": (np.float16,) * 2, "bf16": (ml_dtypes.bfloat16,) * 2, "e4m3": (ml_dtypes.float8_e4m3fn,) * 2,
    "e5m2": (ml_dtypes.float8_e5m2,) * 2, "s8": (np.int8,) * 2, "u8": (np.uint8,) * 2, "us8": (np.uint8, np.int8),
    "su8": (np.int8, np.uint8),
}  # fmt: skip


class Product(Body):
    """c[64, N] of each group's a[64, 32 bytes] and the shared b, step by step."""

    def __init__(self, n: int, kind: str = "f16") -> None:
        super().__init__(LANES)
        self.n, self.kind = n, kind
        self.total: Type = "i32" if kind.endswith("8") else "f32"
        self.base = self.let(SharedAddress(0), "i64", True)

    def collective(self, name: str, operands: Sequence[Reg], count: int) -> tuple[Reg, ...]:
        results = tuple(Reg(self.total, False) for _ in range(count))
        self.statements.append(Let(results, Atom(name, tuple(operands))))
        return results

    def fill(self) -> None:
        """Slot 0, an image of shared memory, goes there: each lane writes pieces of 16 bytes."""
        for k in range(BYTES // 16 // LANES):
            places = self.lane_constant("i32", [16 * (k * LANES + lane) for lane in range(LANES)])
            words = self.read(Read(self.slot(0), places, 32, 4, align=16))
            self.do(Write(self.base, places, 32, words, align=16, space="shared"))

    def words(self) -> list[Reg]:
        """The registers of a: slot 1, as 4 words of each lane."""
        return list(self.read(Read(self.slot(1), self.places(16), 32, 4, align=16)))

    def sums(self) -> tuple[Reg, ...]:
        return (self.constant("i32", 7) if self.total == "i32" else self.constant("f32", 0.5),) * (self.n // 2)

    def multiply(self, fields: int, start: int, sums: Sequence[Reg]) -> tuple[Reg, ...]:
        address = self.apply("lshr", "i64", self.base, self.number(4))
        low = self.apply("and", "i64", address, self.number(0x3FFF))
        descriptor = self.apply("add", "i64", low, self.number(fields - (fields >> 63 << 64) + (start >> 4)))
        given = [*self.words(), descriptor, *sums]
        return self.collective(f"wgmma_{self.kind}_n{self.n}", given, self.n // 2)

    def wait(self, sums: Sequence[Reg]) -> tuple[Reg, ...]:
        return self.collective(f"wgmma_wait_{'whole_' if self.total == 'i32' else ''}n{self.n}", sums, len(sums))

    def ready(self) -> None:
        self.fill()
        self.do(Atom("fence_async", ()))
        self.do(Barrier())

    def write_sums(self, sums: Sequence[Reg]) -> None:
        for k, value in enumerate(sums):
            base = self.apply("add", "i64", self.slot(2), self.number(4 * LANES * k))
            self.do(Write(base, self.places(4), 32, (value,), align=4))


def fragments(a: NDArray[np.generic]) -> NDArray[np.int32]:
    """The words of a[group, 64, k] in the lanes' registers, as mma has them for each warp's 16 rows."""
    word = 4 // a.itemsize
    held = np.empty((GROUPS, 128, 4 * word), a.dtype)
    for lane in range(128):
        for i in range(4 * word):
            row = 16 * (lane // 32) + lane % 32 // 4 + 8 * (i // word % 2)
            held[:, lane, i] = a[:, row, lane % 4 * word + i % word + 4 * word * (i // (2 * word))]
    return held.view(np.int32)


def run(body: Product, image: NDArray[np.uint8], a: NDArray[np.generic]) -> NDArray[np.generic]:
    """c[group, 64, n]."""
    held = np.int32 if body.total == "i32" else np.float32
    out = np.zeros((body.n // 2, GROUPS, 128), held)
    simulate(body.function(3, BYTES), [image, fragments(a), out], 1, MEANINGS, 32)
    c = np.empty((GROUPS, 64, body.n), held)
    for lane in range(128):
        for r in range(body.n // 2):
            row = 16 * (lane // 32) + lane % 32 // 4 + 8 * (r // 2 % 2)
            c[:, row, 8 * (r // 4) + lane % 4 * 2 + r % 2] = out[r, :, lane]
    return c


def operands(n: int, depth: int, kind: str = "f16") -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """a[group, 64, 32 bytes] and b[n, depth]: all integers that bytes are, and small ones as floats."""
    rng, k = np.random.default_rng(n), 32 // np.dtype(TYPES[kind][0]).itemsize
    found = []
    for shape, type in zip(((GROUPS, 64, k), (n, depth)), TYPES[kind], strict=True):
        low, high = (np.iinfo(type).min, np.iinfo(type).max) if kind.endswith("8") else (-8, 8)
        found.append(rng.integers(low, high + 1, shape).astype(type))
    return found[0], found[1]


@pytest.mark.parametrize("kind", list(TYPES))
@pytest.mark.parametrize(
    ("n", "swizzle", "leading", "stride"),
    [(8, 0, 128, 256), (64, 0, 1024, 128), (16, 32, 0, 256), (32, 64, 0, 512), (64, 128, 0, 1024), (256, 32, 0, 256)],
)
def test_sums(n: int, swizzle: int, leading: int, stride: int, kind: str) -> None:
    """One step of 32 bytes along k: the last that the rows in shared memory have."""
    width = max(swizzle, 32)
    size = np.dtype(TYPES[kind][0]).itemsize
    a, b = operands(n, width // size, kind)
    body = Product(n, kind)
    body.ready()
    start = START + width - 32
    body.write_sums(body.wait(body.multiply(descriptor_fields(leading, stride, swizzle), start, body.sums())))
    wanted = a.astype(np.float64) @ b[:, (width - 32) // size :].astype(np.float64).T
    wanted += 7 if kind.endswith("8") else 0.5
    np.testing.assert_array_equal(run(body, arranged(b, swizzle, leading, stride), a), wanted)


FIELDS = descriptor_fields(128, 256, 0)


def outcome(body: Product) -> str:
    """The message of the error, or nothing."""
    a, b = operands(8, 16)
    try:
        wanted = a.astype(np.float64) @ b.astype(np.float64).T
        found = run(body, arranged(b, 0, 128, 256), a)
        assert (found == wanted + 0.5).all() or (found == 2 * wanted + 0.5).all()
    except LaneError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("waited", [False, True])
def test_sums_are_waited_for(waited: bool) -> None:
    body = Product(8)
    body.ready()
    sums = body.multiply(FIELDS, START, body.sums())
    sums = body.multiply(FIELDS, START, sums)  # a further product may take them
    body.write_sums(body.wait(sums) if waited else sums)
    assert ("a sum of products is taken that nobody has waited for" in outcome(body)) is not waited


@pytest.mark.parametrize("fence", [False, True])
@pytest.mark.parametrize("barrier", [False, True])
def test_what_is_read_was_fenced_and_then_met_a_barrier(fence: bool, barrier: bool) -> None:
    body = Product(8)
    body.fill()
    if fence:
        body.do(Atom("fence_async", ()))
    if barrier:
        body.do(Barrier())
    body.write_sums(body.wait(body.multiply(FIELDS, START, body.sums())))
    message = "was written after the fence" if not fence else "a race: another lane reads byte" if not barrier else ""
    assert message in outcome(body)
    assert bool(message) == bool(outcome(body))


@pytest.mark.parametrize("early", [False, True])
def test_what_is_read_stays_until_the_wait(early: bool) -> None:
    """The next tile is written over this one, after a barrier: the product may not have read it yet."""
    body = Product(8)
    body.ready()
    sums = body.multiply(FIELDS, START, body.sums())
    if not early:
        sums = body.wait(sums)
    body.do(Barrier())
    body.fill()
    if early:
        sums = body.wait(sums)
    body.write_sums(sums)
    assert ("a race: another lane reads byte" in outcome(body)) is early


@pytest.mark.parametrize("early", [False, True])
def test_copies_do_not_come_before_the_wait(early: bool) -> None:
    body = Product(8)
    body.ready()
    sums = body.multiply(FIELDS, START, body.sums())
    if not early:
        sums = body.wait(sums)
    body.do(Barrier())
    places = body.places(16)
    at = body.apply("add", "i64", body.base, body.number(START))
    body.do(CopyAsync(body.slot(0), places, at, places, 16))
    body.do(Commit())
    if early:
        sums = body.wait(sums)
    body.do(WaitCopies(0))
    body.write_sums(sums)
    assert ("to which a copy is under way" in outcome(body)) is early


def test_descriptors_are_checked() -> None:
    with pytest.raises(ValueError, match="stride is 100 bytes: it must be a multiple of 16"):
        descriptor_fields(0, 100, 128)
    body = Product(8)
    body.ready()
    different = body.lane_constant("i64", [lane % 2 for lane in range(LANES)])
    body.collective("wgmma_f16_n8", [*body.words(), different, *body.sums()], 4)
    assert "lanes have different descriptors" in outcome(body)


def test_a_product_takes_the_registers_of_sums_that_it_does_not_add_to() -> None:
    a, b = operands(128, 16)
    body = Product(128)
    body.ready()
    address = body.apply("and", "i64", body.apply("lshr", "i64", body.base, body.number(4)), body.number(0x3FFF))
    fields = descriptor_fields(128, 256, 0)
    descriptor = body.apply("add", "i64", address, body.number(fields + (START >> 4)))
    given = [*body.words(), descriptor, *body.sums()]
    body.write_sums(body.wait(body.collective("wgmma_f16_n128_over", given, 64)))
    found = run(body, arranged(b, 0, 128, 256), a)
    np.testing.assert_array_equal(found, a.astype(np.float32) @ b.astype(np.float32).T)

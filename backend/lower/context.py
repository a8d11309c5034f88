"""What the lowering of one program knows while it goes through the statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from ...vm.dtypes import Bool, DType
from ...vm.expr import Expr, Var, can_prove, le, substitute, variables
from ...vm.ir import Array, For, Memory, Program, Shared, Value
from ...vm.ops import Load
from ..lane.build import Builder
from ..lane.ir import Reg
from ..target import Target
from .index import lower_condition, lower_index
from .tile import Tile


def storage_bits(dtype: DType, memory: Memory) -> int:
    """The width of one element in memory: shared tiles and bool give every element whole bytes."""
    whole = isinstance(memory, Shared) or isinstance(dtype, Bool)
    return max(8, 1 << (dtype.bits - 1).bit_length()) if whole else dtype.bits


def table_bits(target: Target, lanes: int) -> int:
    """The widest code for which a look-up in a table of f32 is a few permutes of registers."""
    if lanes % 16 == 0 and target.has("avx512f"):
        return 6  # 64 entries: two permutes of two registers, and a blend
    return 3 if lanes % 8 == 0 and target.has("avx2") else 0


def byte_table_bits(target: Target, lanes: int) -> int:
    """The widest code for which a look-up in a table of bytes is one permute of registers."""
    return 7 if lanes % 16 == 0 and target.has("avx512vbmi") else 0  # 128 bytes: two registers


DEEPEST = 16


@dataclass(frozen=True)
class Staged:
    """Where a load finds its words in shared memory: in a place of a ring, from byte `first` of it on.

    ring    the byte at which the ring begins
    place   where the place begins in it, in bytes (i32)
    vector  words that lie together
    """

    ring: int
    place: Reg
    first: int
    vector: int


@dataclass(eq=False)
class Context:
    """The registers of every value and variable, and where arguments and shared tiles are."""

    program: Program
    target: Target
    lanes: int
    b: Builder
    slots: dict[Array | Var | Value, int]
    tiles: dict[Value, Tile] = field(default_factory=dict)
    variables: dict[Var, Reg] = field(default_factory=dict)
    last: dict[Var, Expr] = field(default_factory=dict)  # the largest value of block indices and loop counters
    steps: dict[Var, int] = field(default_factory=dict)  # how far apart their values are; 1 where it is not said
    shared: dict[Shared, int] = field(default_factory=dict)
    shared_bytes: int = 0
    failures: list[str] = field(default_factory=list)
    written: frozenset[Memory] = frozenset()  # what the program stores to
    waits: frozenset[int] = frozenset()  # the `id` of each statement that the block's warps meet before
    rings: dict[For, int] = field(default_factory=dict)  # where the shared memory of a loop with stages begins
    staged: dict[Load, Staged] = field(default_factory=dict)  # loads whose words were copied before
    copied: dict[Load, Shared] = field(default_factory=dict)  # loads of tiles that were copied to shared ones before
    grouped: dict[Value, Shared] = field(default_factory=dict)  # values that nobody reads but products of four warps
    moved: dict[Shared, Reg] = field(default_factory=dict)  # how far on in shared memory a tile is now, in bytes
    depths: dict[Value, int] = field(default_factory=dict)  # operations in a row that may not be computed yet

    def index(self, e: Expr) -> Reg:
        return lower_index(self.b, e, self.variables)

    def condition(self, e: Expr) -> Reg:
        return lower_condition(self.b, e, self.variables, words=self.target.warp is not None)

    def proves_inside(self, start: Expr, extent: int, size: Expr) -> bool:
        """Whether start + extent <= size always: at the last value of each counter that `start` grows with.

        Inner counters go first: how far they go may depend on outer ones.
        """
        for _ in range(len(self.last) + 1):
            if can_prove(le(start + extent, size)):
                return True
            names = variables(start)
            grows = next((v for v in reversed(self.last) if v in names and self._grows(start, v)), None)
            if grows is None:
                return False
            start = substitute(start, {grows: self.last[grows]})
        return False

    def _grows(self, e: Expr, v: Var) -> bool:
        """Whether `e` never falls from one value of a counter to the next: from the last one it is at its largest."""
        return can_prove(le(e, substitute(e, {v: v + self.steps.get(v, 1)})))

    def address(self, memory: Memory) -> Reg:
        """Where the memory begins: a uniform i64."""
        if isinstance(memory, Array):
            return self.b.slot(self.slots[memory])
        if memory not in self.shared:
            size = storage_bits(memory.dtype, memory) // 8 * prod(self.allocated(memory))
            self.shared[memory] = self.reserve(size)
        start = self.b.shared(self.shared[memory])
        return self.b.apply("add", start, self.b.apply("zext", self.moved[memory])) if memory in self.moved else start

    def reserve(self, size: int, align: int = 64) -> int:
        """The first byte of so much shared memory, which is nobody else's, at a multiple of `align` (one of 64)."""
        first = -(-self.shared_bytes // align) * align
        self.shared_bytes = first + -(-size // 64) * 64
        return first

    def allocated(self, memory: Shared) -> tuple[int, ...]:
        """The shape that is allocated for a shared tile: its own, but on GPUs rows of neighbours begin in other banks.

        Eight rows that an odd number of 16 bytes lies between take all banks when 16 bytes of each are accessed.
        """
        *rows, last = memory.shape
        width = storage_bits(memory.dtype, memory) // 8
        if self.target.warp and rows and last * width % 32 == 0 and last * width >= 64:
            last += 16 // width
        return (*rows, last)

    def tile(self, value: Value) -> Tile:
        return self.tiles[value]

    def define(self, result: Value, values: Sequence[Reg]) -> None:
        self.tiles[result] = Tile(result.type, values)

    def keep_shallow(self, result: Value, operands: Sequence[Value]) -> None:
        """Computes a result that too many operations in a row have put off: each is a call within a call."""
        self.depths[result] = 1 + max((self.depths.get(x, 0) for x in operands), default=0)
        if self.depths[result] > DEEPEST:
            self.tiles[result] = self.tiles[result].settled()
            self.depths[result] = 0

    def failure(self, text: str) -> int:
        """The code (1..) that stands for a failure text."""
        if text not in self.failures:
            self.failures.append(text)
        return self.failures.index(text) + 1

"""Instructions that move tiles between registers and memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from ..expr import Expr, modular
from ..ir import Array, Carrier, Effect, LayoutRule, Machine, Memory, Op, Shared, TileType, TypeRuleError, Value
from ..layout.relation import Layout
from ..layout.spread import distribute, repeat, word_run

MOST_FETCHED = 64 << 10
"""Bytes of one hint: more would evict, on their way, what they are fetched beside."""


def check_window(memory: Memory, at: tuple[Expr, ...], shape: tuple[int, ...]) -> None:
    rank = len(memory.shape)
    if len(at) != rank or len(shape) != rank:
        raise TypeRuleError(
            f"{memory.name} has {rank} dimension{'s' * (rank != 1)}, but the access gives {len(at)} "
            f"start{'s' * (len(at) != 1)} and a tile of {len(shape)}",
            f"write {rank} start position{'s' * (rank != 1)} and {rank} tile size{'s' * (rank != 1)}",
        )


@dataclass(frozen=True)
class Load(Op):
    """The tile of `shape` elements that starts at `at`.

    Elements past the end of the array are `other`.  A tile that starts before the array, or wholly past its end, is
    an out-of-bounds access.
    """

    source: Memory
    at: tuple[Expr, ...]
    shape: tuple[int, ...]
    other: float = 0.0
    layout: Layout | None = None
    effect: ClassVar[Effect] = "reads"

    def infer(self) -> TileType:
        check_window(self.source, self.at, self.shape)
        if isinstance(self.source, Array) and self.source.storage is not None:
            _check_tiles(self.source, self.shape, self.at)
        return TileType(self.source.dtype, self.shape, self.layout)

    def run(self, machine: Machine) -> Carrier:
        return machine.read(self.source, tuple(map(machine.index, self.at)), self.shape, self.other)

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        if isinstance(self.source, Array) and self.source.storage is not None:
            return LayoutRule(repeat(self.source.storage.tile, self.shape, lanes), ())
        if result is None and self.source.dtype.bits < 8:
            result = distribute(self.shape, lanes, word_run(self.source.dtype.bits))
        return LayoutRule(self.layout or result, ())


@dataclass(frozen=True)
class Store(Op):
    """Writes `value` to the tile that starts at `at`; elements past the end of the array are dropped."""

    target: Memory
    at: tuple[Expr, ...]
    value: Value
    effect: ClassVar[Effect] = "writes"

    def infer(self) -> None:
        kind = self.value.type
        check_window(self.target, self.at, kind.shape)
        if kind.dtype != self.target.dtype:
            raise TypeRuleError(
                f"{self.target.name} holds {self.target.dtype}, the tile is {kind.dtype}",
                f"cast it: store({self.target.name}, …, cast({self.value}, {self.target.dtype}))",
            )
        if isinstance(self.target, Array) and self.target.storage is not None:
            _check_tiles(self.target, kind.shape, self.at)

    def run(self, machine: Machine) -> None:
        at = tuple(map(machine.index, self.at))
        machine.write(self.target, at, machine.tile(self.value), self.value.type.dtype)

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        kind = self.value.type
        if isinstance(self.target, Array) and self.target.storage is not None:
            return LayoutRule(None, (repeat(self.target.storage.tile, kind.shape, lanes),))
        if kind.dtype.bits < 8 and isinstance(self.target, Array):  # a lane must own whole bytes
            return LayoutRule(None, (distribute(kind.shape, lanes, word_run(kind.dtype.bits)),))
        return LayoutRule(None, operands)


@dataclass(frozen=True)
class CopyAsync(Op):
    """Starts to copy a tile from an array to shared memory; it may be read there after `Wait`."""

    source: Array
    at: tuple[Expr, ...]
    target: Shared
    to: tuple[Expr, ...]
    shape: tuple[int, ...]
    effect: ClassVar[Effect] = "writes"

    def infer(self) -> None:
        check_window(self.source, self.at, self.shape)
        check_window(self.target, self.to, self.shape)
        if self.source.dtype != self.target.dtype:
            raise TypeRuleError(
                f"{self.source.name} holds {self.source.dtype}, {self.target.name} holds {self.target.dtype}",
                "a copy moves bits as they are: declare the shared tile with the array's dtype",
            )
        if self.source.storage is not None:
            raise TypeRuleError(
                f"{self.source.name} is stored in tiles", "load it to registers, or store it row-major to copy it"
            )

    def run(self, machine: Machine) -> None:
        at, to = tuple(map(machine.index, self.at)), tuple(map(machine.index, self.to))
        machine.copy(self.source, at, self.target, to, self.shape)


@dataclass(frozen=True)
class Prefetch(Op):
    """A hint that a tile of an array is read in a while: it is fetched to the second-level cache meanwhile.

    It changes nothing that a program can see.  The tile may lie past the end of the array, in part or as a whole.
    """

    source: Array
    at: tuple[Expr, ...]
    shape: tuple[int, ...]
    effect: ClassVar[Effect] = "hints"

    def infer(self) -> None:
        check_window(self.source, self.at, self.shape)
        if self.source.storage is not None:
            _check_tiles(self.source, self.shape, self.at)
        size = -(-prod(self.shape) * self.source.dtype.bits // 8)
        if size > MOST_FETCHED:
            raise TypeRuleError(
                f"a tile of {size:,} bytes is fetched at once", f"at most {MOST_FETCHED:,}: fetch parts of it in a loop"
            )

    def run(self, machine: Machine) -> None:
        for x in self.at:
            machine.index(x)


@dataclass(frozen=True)
class Commit(Op):
    """Closes the group of copies that were started since the last commit."""

    effect: ClassVar[Effect] = "syncs"

    def infer(self) -> None:
        return None

    def run(self, machine: Machine) -> None:
        machine.commit()


@dataclass(frozen=True)
class Wait(Op):
    """Waits until at most `pending` committed groups of copies are still under way."""

    pending: int = 0
    effect: ClassVar[Effect] = "syncs"

    def infer(self) -> None:
        if self.pending < 0:
            raise TypeRuleError(f"wait({self.pending}): the count is negative", "wait(0) waits for every copy")

    def run(self, machine: Machine) -> None:
        machine.wait(self.pending)


def _check_tiles(array: Array, shape: tuple[int, ...], at: tuple[Expr, ...]) -> None:
    """An access to an array stored in tiles covers whole tiles."""
    assert array.storage is not None
    for dim, (size, tile, start) in enumerate(zip(shape, array.storage.tile_shape, at, strict=True)):
        multiple, residue = modular(start)
        aligned = residue % tile == 0 and multiple % tile == 0
        if size % tile or not aligned:
            what = f"a tile of {size}" if size % tile else f"a start of {start}"
            raise TypeRuleError(
                f"{array.name} is stored in tiles of {list(array.storage.tile_shape)}; "
                f"{what} along dimension {dim} cuts one",
                f"make the tile size and the start position along dimension {dim} multiples of {tile}",
            )


MemoryOp = Load | Store | CopyAsync | Prefetch | Commit | Wait

"""What the lowering of one program knows while it goes through the statements."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...vm.dtypes import DType
from ...vm.expr import Expr, Var
from ...vm.ir import Array, Memory, Program, Shared, TileType, Value
from ..lane.build import Builder
from ..lane.ir import Reg
from ..target import Target
from .index import lower_condition, lower_index
from .tile import Tile


def storage_bits(dtype: DType, memory: Memory) -> int:
    """The width of one element in memory: shared tiles and bool give every element whole bytes."""
    return dtype.bits if isinstance(memory, Array) else max(8, 1 << (dtype.bits - 1).bit_length())


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
    shared: dict[Shared, int] = field(default_factory=dict)
    shared_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def index(self, e: Expr) -> Reg:
        return lower_index(self.b, e, self.variables)

    def condition(self, e: Expr) -> Reg:
        return lower_condition(self.b, e, self.variables)

    def address(self, memory: Memory) -> Reg:
        """Where the memory begins: a uniform i64."""
        if isinstance(memory, Array):
            return self.b.slot(self.slots[memory])
        if memory not in self.shared:
            size = storage_bits(memory.dtype, memory) // 8
            for n in memory.shape:
                size *= n
            self.shared[memory] = self.shared_bytes
            self.shared_bytes += -(-size // 64) * 64
        return self.b.shared(self.shared[memory])

    def tile(self, value: Value) -> Tile:
        return self.tiles[value]

    def define(self, result: Value, values: tuple[Reg, ...]) -> None:
        self.tiles[result] = Tile(result.type, values)

    def failure(self, text: str) -> int:
        """The code (1..) that stands for a failure text."""
        if text not in self.failures:
            self.failures.append(text)
        return self.failures.index(text) + 1


def kind_of(value: Value) -> TileType:
    assert value.type.layout is not None, f"{value} has no layout"
    return value.type

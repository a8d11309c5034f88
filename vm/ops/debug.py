"""Instructions that help to find out what a program does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..dtypes import Bool
from ..ir import Carrier, Effect, LayoutRule, Machine, Op, TypeRuleError, Value
from ..layout.relation import Layout


@dataclass(frozen=True)
class Assert(Op):
    """Ends the launch with an error that says `message` unless every element of the bool tile is true."""

    condition: Value
    message: str
    effect: ClassVar[Effect] = "writes"

    def infer(self) -> None:
        if not isinstance(self.condition.type.dtype, Bool):
            raise TypeRuleError(f"assert takes a bool tile, not {self.condition.type}", "compare it with something")

    def run(self, machine: Machine) -> Carrier | None:
        if not machine.tile(self.condition).all():
            machine.fail(self.message)
        return None

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        return LayoutRule(None, operands)


@dataclass(frozen=True)
class Print(Op):
    """Writes the tile to standard output, after `label`, from each block."""

    label: str
    x: Value
    effect: ClassVar[Effect] = "writes"

    def infer(self) -> None:
        return None

    def run(self, machine: Machine) -> Carrier | None:
        machine.show(f"{self.label} {self.x.type} = {machine.tile(self.x)}")
        return None

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        return LayoutRule(None, operands)


DebugOp = Assert | Print

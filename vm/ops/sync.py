"""Instructions that order what lanes and blocks do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..expr import Expr
from ..ir import Array, Effect, Machine, Op, TypeRuleError


@dataclass(frozen=True)
class Barrier(Op):
    """Every lane of the block sees what every other stored to shared memory before it."""

    effect: ClassVar[Effect] = "syncs"

    def infer(self) -> None:
        return None

    def run(self, machine: Machine) -> None:
        machine.barrier()


@dataclass(frozen=True)
class _OnLock(Op):
    array: Array
    at: tuple[Expr, ...]
    effect: ClassVar[Effect] = "syncs"

    def infer(self) -> None:
        if self.array.dtype.name != "i32" or self.array.storage is not None:
            raise TypeRuleError(
                f"a lock is an element of a row-major i32 array, {self.array.name} is not one", "declare it i32[…]"
            )
        if len(self.at) != len(self.array.shape):
            raise TypeRuleError(
                f"{self.array.name} has {len(self.array.shape)} dimensions, the lock names {len(self.at)}",
                "give one position for each dimension",
            )


@dataclass(frozen=True)
class Lock(_OnLock):
    """Waits until the element is 0 and makes it 1, as one step: only one block at a time goes on."""

    def run(self, machine: Machine) -> None:
        machine.lock(self.array, tuple(map(machine.index, self.at)))


@dataclass(frozen=True)
class Release(_OnLock):
    """Makes the element 0 again, after everything that this block stored."""

    def run(self, machine: Machine) -> None:
        machine.release(self.array, tuple(map(machine.index, self.at)))


SyncOp = Barrier | Lock | Release

"""Writes lane functions by hand for the tests: no folding, no sharing, exactly the operations that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from bitwright.backend.lane.ir import (
    Apply,
    Block,
    Constant,
    Function,
    Let,
    Operation,
    Read,
    Reg,
    Slot,
    Statement,
    Type,
    Write,
)

FIELD = {"i1": 4, "i32": 4, "i64": 8, "f32": 4}  # bytes of a value in the arrays of the tests


class Body:
    """A list of statements under construction."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.statements: list[Statement] = []

    def let(self, op: Operation, type: Type, uniform: bool) -> Reg:
        result = Reg(type, uniform)
        self.statements.append(Let((result,), op))
        return result

    def do(self, op: Operation) -> None:
        self.statements.append(Let((), op))

    def constant(self, type: Type, *values: int | float) -> Reg:
        """One value is uniform; as many as there are lanes, one for each."""
        return self.let(Constant(type, tuple(values)), type, len(values) == 1 != self.lanes)

    def lane_constant(self, type: Type, values: Sequence[int | float]) -> Reg:
        return self.let(Constant(type, tuple(values)), type, False)

    def number(self, value: int, type: Type = "i64") -> Reg:
        return self.let(Constant(type, (value,)), type, True)

    def slot(self, index: int) -> Reg:
        return self.let(Slot(index), "i64", True)

    def apply(self, kind: str, type: Type, *operands: Reg) -> Reg:
        return self.let(Apply(kind, operands), type, all(o.uniform for o in operands))

    def read(self, op: Read) -> tuple[Reg, ...]:
        uniform = op.base.uniform and op.offset.uniform and (op.mask is None or op.mask.uniform)
        results = tuple(Reg("i64" if op.bits == 64 else "i32", uniform) for _ in range(op.count))
        self.statements.append(Let(results, op))
        return results

    def row(self, slot: int, size: int) -> Reg:
        """The address in an array of this block's row of `lanes` fields of `size` bytes."""
        block = self.let(Block(), "i64", True)
        return self.apply(
            "add", "i64", self.slot(slot), self.apply("mul", "i64", block, self.number(size * self.lanes))
        )

    def places(self, size: int) -> Reg:
        return self.lane_constant("i32", [size * lane for lane in range(self.lanes)])

    def load(self, slot: int, type: Type, uniform: bool = False) -> Reg:
        """One value per lane of this block's row of an array; or its first value, for all lanes."""
        size = FIELD[type]
        offset = self.number(0, "i32") if uniform else self.places(size)
        (value,) = self.read(Read(self.row(slot, size), offset, 8 * size, align=size))
        if type == "f32":
            return self.apply("float", "f32", value)
        return self.apply("ne", "i1", value, self.number(0, "i32")) if type == "i1" else value

    def save(self, slot: int, value: Reg) -> None:
        """One value per lane to this block's row of an array."""
        size = FIELD[value.type]
        if value.type == "i1":
            value = self.apply("select", "i32", value, self.number(1, "i32"), self.number(0, "i32"))
        self.do(Write(self.row(slot, size), self.places(size), 8 * size, (value,), align=size))

    def function(self, slots: int, shared: int = 0, failures: Sequence[str] = ()) -> Function:
        return Function("test", self.lanes, slots, shared, tuple(self.statements), tuple(failures))

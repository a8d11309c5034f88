"""What the registers of a lane function are in the text: scalars, vectors, pointers.

A uniform register is a scalar; it is spread over the lanes where an operation wants a vector, once per scope.  An
address is an i64 in the lane IR; where it comes from an argument or shared memory by additions, it is rebuilt as
pointer arithmetic, which LLVM folds into addressing modes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..lane.ir import Apply, Constant, Operation, Reg, SharedAddress, Slot
from ..target import Target
from .code import Code, Operand, literal, splat

__all__ = ["ELEMENTS", "Values", "byte_shift", "middle_byte"]

ELEMENTS = {"i1": "i1", "i32": "i32", "i64": "i64", "f32": "float"}


class Values:
    """The operand of every register, and what is known of how it was made."""

    def __init__(self, code: Code, target: Target, lanes: int) -> None:
        self.code = code
        self.target = target
        self.lanes = lanes
        self.spare = 0  # bytes of the memory that masked-off scalar stores go to
        self._operands: dict[Reg, Operand] = {}
        self._made: dict[Reg, Operation] = {}
        self._spread: list[dict[Reg, Operand]] = [{}]
        self._pointers: list[dict[Reg, Operand]] = [{}]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Code that may not run: what is spread inside is not seen after it."""
        self._spread.append({})
        self._pointers.append({})
        yield
        self._spread.pop()
        self._pointers.pop()

    def define(self, reg: Reg, operand: Operand, op: Operation | None = None) -> None:
        """Gives the register its operand; a scalar for a varying register is spread."""
        if operand.lanes == 0 and not reg.uniform:
            operand = self.code.spread(operand, self.lanes)
        self._operands[reg] = operand
        if op is not None:
            self._made[reg] = op

    def define_constant(self, reg: Reg, op: Constant) -> None:
        element = ELEMENTS[op.type]
        if reg.uniform:
            self._operands[reg] = splat(op.values[0], element, 0)
        elif len(set(map(repr, op.values))) == 1:
            self._operands[reg] = splat(op.values[0], element, self.lanes)
        else:
            self._operands[reg] = literal(op.values, element)
        self._made[reg] = op

    def made(self, reg: Reg) -> Operation | None:
        """The operation that gave the register, unless control flow did."""
        return self._made.get(reg)

    def constant(self, reg: Reg) -> list[int] | None:
        """The value in every lane of a constant integer register, or None."""
        op = self._made.get(reg)
        if not isinstance(op, Constant) or op.type == "f32":
            return None
        bits = {"i1": 1, "i32": 32, "i64": 64}[op.type]
        sign = 1 << (bits - 1) if bits > 1 else 0
        values = [((int(v) & ((1 << bits) - 1)) ^ sign) - sign for v in op.values]
        return values * self.lanes if len(values) == 1 else values

    def get(self, reg: Reg) -> Operand:
        """The scalar of a uniform register, the vector of a varying one."""
        return self._operands[reg]

    def vector(self, reg: Reg) -> Operand:
        """One value per lane."""
        operand = self._operands[reg]
        if operand.lanes:
            return operand
        for seen in reversed(self._spread):
            if reg in seen:
                return seen[reg]
        self._spread[-1][reg] = result = self.code.spread(operand, self.lanes)
        return result

    def word(self, reg: Reg) -> Operand:
        """A uniform integer register as an i64 scalar, sign-extended."""
        operand = self._operands[reg]
        return operand if operand.element == "i64" else self.code.convert("sext", operand, "i64")

    def pointer(self, reg: Reg) -> Operand:
        """A uniform i64 register as a pointer."""
        for seen in reversed(self._pointers):
            if reg in seen:
                return seen[reg]
        op = self._made.get(reg)
        if isinstance(op, SharedAddress):
            result = self.code.offset(Operand("ptr", 0, "%shared"), op.offset)
        elif isinstance(op, Slot):
            return Operand("ptr", 0, f"%pointer{op.index}")
        elif isinstance(op, Apply) and op.kind == "add" and self._is_address(reg):
            base, far = op.operands if self._is_address(op.operands[0]) else op.operands[::-1]
            result = self.code.offset(self.pointer(base), self._operands[far])
        else:
            result = self.code.put("ptr", 0, f"inttoptr {self._operands[reg].typed} to ptr")
        self._pointers[-1][reg] = result
        return result

    def _is_address(self, reg: Reg) -> bool:
        """Whether an address of an argument or of shared memory is one of the register's summands."""
        op = self._made.get(reg)
        if isinstance(op, Apply) and op.kind == "add":
            return any(self._is_address(o) for o in op.operands)
        return isinstance(op, Slot | SharedAddress)


def masked_shift(values: Values, op: Apply) -> tuple[Reg, int, int] | None:
    """x, distance (to the right if negative) and mask, where an operation is (x << distance) & mask, in lanes."""
    if op.kind != "and":
        return None
    for part, mask in (op.operands, op.operands[::-1]):
        shift, masks = values.made(part), set(values.constant(mask) or ())
        if isinstance(shift, Apply) and shift.kind in ("shl", "lshr") and not part.uniform and part.type == "i32":
            distances = set(values.constant(shift.operands[1]) or ())
            if len(masks) == len(distances) == 1:
                distance = distances.pop() * (1 if shift.kind == "shl" else -1)
                return shift.operands[0], distance, masks.pop() & 0xFFFFFFFF
    return None


def middle_byte(values: Values, op: Apply) -> tuple[Reg, int] | None:
    """Which register, and which of its bytes 1 and 2, the operation takes out: (x >> 8 or 16) & 255."""
    found = masked_shift(values, op)
    if found is None or found[2] != 255 or found[1] not in (-8, -16):
        return None
    return found[0], -found[1] // 8


def byte_shift(values: Values, op: Apply) -> tuple[Reg, int] | None:
    """Which register, and how far, the operation shifts each byte by itself: no bit of the mask is in another byte."""
    found = masked_shift(values, op)
    if found is None or not -8 < found[1] < 8:
        return None
    x, distance, mask = found
    kept = 0xFF << distance & 0xFF if distance > 0 else 0xFF >> -distance
    return (x, distance) if mask == kept * 0x01010101 else None

"""Addresses as sums of registers and a number: what differs by a number only is one pointer; accesses say the rest.

An access may name a number of bytes beside the register that holds an address.  NVIDIA's compiler finds such numbers
where registers are scarce and loses them where they are not: then each copy of a loop's body adds up its own addresses.
"""

from __future__ import annotations

from ..lane.ir import Apply, Constant, Operation, Reg

__all__ = ["Affine", "Sum"]

_WORD = 1 << 64

Sum = tuple[tuple[tuple[Reg, int], ...], int]
"""((register, factor), ...), no register twice, and a number: the sum of the products and the number, modulo 2^64."""


class Affine:
    """The sums that uniform i64 registers are, as their operations are met one after the other."""

    def __init__(self) -> None:
        self._found: dict[Reg, Sum] = {}

    def of(self, reg: Reg) -> Sum:
        return self._found.get(reg, (((reg, 1),), 0))

    def note(self, reg: Reg, op: Operation) -> None:
        """`op` gives the register."""
        if reg.type != "i64" or not reg.uniform:
            return
        match op:
            case Constant():
                self._found[reg] = (), int(op.values[0])
            case Apply("add" | "sub", (x, y)):
                self._found[reg] = _added(self.of(x), self.of(y), 1 if op.kind == "add" else -1)
            case Apply("mul", (x, y)):
                for one, other in ((x, y), (y, x)):
                    terms, number = self.of(other)
                    if not terms:
                        self._found[reg] = _added(((), 0), self.of(one), number)


def _added(x: Sum, y: Sum, factor: int) -> Sum:
    """x + factor * y."""
    terms = dict(x[0])
    for reg, times in y[0]:
        terms[reg] = (terms.get(reg, 0) + factor * times) % _WORD
    return tuple((r, times) for r, times in terms.items() if times), x[1] + factor * y[1]

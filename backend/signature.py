"""What a kernel takes: its arguments, the sizes they bind, what must hold, and how many blocks run.

A kernel's body reads everything from an array of 64-bit slots: one per argument in order (of an array the address of
its first element, of an integer its value, of a float its value as an f64), then one per size, then one that the body
sets to a failure's number (1, 2, …) when a run-time check of its own fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..vm.expr import Expr, Var, variables

__all__ = ["Argument", "ArrayArgument", "ScalarArgument", "Signature", "SignatureError", "element_name"]

_FLOATS = {
    7: "f8e3m4",
    8: "f8e4m3",
    9: "f8e4m3b11fnuz",
    10: "f8e4m3fn",
    11: "f8e4m3fnuz",
    12: "f8e5m2",
    13: "f8e5m2fnuz",
    14: "e8m0",
    15: "f6e2m3",
    16: "f6e3m2",
    17: "f4e2m1",
}
_FAMILIES = {0: "i", 1: "u", 2: "f", 4: "bf", 5: "complex"}


class SignatureError(ValueError):
    """A signature that cannot be served: a size that nothing binds, or fields that contradict each other."""


def element_name(code: int, bits: int) -> str:
    """The name of an element type that DLPack writes as (code, bits): (2, 32) is f32, (4, 16) is bf16."""
    if code == 6:
        return "bool"
    if code in _FLOATS:
        return _FLOATS[code]
    return f"{_FAMILIES.get(code, f'type{code}.')}{bits}"


@dataclass(frozen=True)
class ArrayArgument:
    """An array in memory, contiguous in row-major order.

    codes     the element types that are accepted, as DLPack's (type code, bits); of a flat one: none means any
    dims      the size of each dimension; a size that stands alone is bound by the array, all others are checked
    flat      the array is a mere buffer: any rank and sizes, as long as it holds `nbytes` bytes or more
    nbytes    how many bytes a flat array must hold at least (a dense one holds what its dims say)
    writable  the kernel writes to it. DLPack does not tell whether memory may be written, so callers look to that
    align     the address must be a multiple of this many bytes, a power of two
    """

    name: str
    codes: tuple[tuple[int, int], ...]
    dims: tuple[Expr, ...]
    flat: bool
    nbytes: Expr
    writable: bool
    align: int

    def __post_init__(self) -> None:
        if not self.flat and not self.codes:
            raise SignatureError(f"{self.name}: a dense array needs an element type")
        if self.flat and self.dims:
            raise SignatureError(f"{self.name}: a flat array has no dims; its size is `nbytes`")
        if self.align < 1 or self.align & (self.align - 1):
            raise SignatureError(f"{self.name}: alignment {self.align} is not a power of two")

    def __str__(self) -> str:
        elements = " or ".join(element_name(*code) for code in self.codes) or "any type"
        if self.flat:
            return f"a contiguous buffer of {elements}"
        return f"{elements}[{', '.join(str(dim) for dim in self.dims)}]"


@dataclass(frozen=True)
class ScalarArgument:
    """A number passed by value: a 64-bit integer or an f64."""

    name: str
    kind: Literal["int", "float"]

    def __str__(self) -> str:
        return "an integer" if self.kind == "int" else "a number"


Argument: TypeAlias = ArrayArgument | ScalarArgument


@dataclass(frozen=True)
class Signature:
    """A kernel's interface. A call passes the arguments in order, then the explicit sizes as integers.

    sizes     every size symbol, in the order of its slot
    grid      blocks per axis; they are numbered in row-major order, the last axis fastest
    checks    (expression, message): where the expression is 0 the call is refused with the message
    explicit  the sizes that no array binds
    failures  what a run-time failure means: the text of number 1, of number 2, and so on
    """

    arguments: tuple[Argument, ...]
    sizes: tuple[Var, ...]
    grid: tuple[Expr, ...]
    checks: tuple[tuple[Expr, str], ...] = ()
    explicit: tuple[Var, ...] = ()
    failures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        used = [e for a in self.arguments if isinstance(a, ArrayArgument) for e in (*a.dims, a.nbytes)]
        used += [*self.grid, *(e for e, _ in self.checks)]
        for var in (*self.explicit, *(var for e in used for var in variables(e))):
            if var not in self.sizes:
                raise SignatureError(f"{var.name} is used, but is not one of the sizes")
        for var in self.sizes:
            if var not in self.bound and var not in self.explicit:
                raise SignatureError(f"no array has a dimension {var.name}; pass it as an explicit size")
        both = [var.name for var in self.explicit if var in self.bound]
        if both:
            raise SignatureError(f"{both[0]} is the dimension of an array; it must not be an explicit size too")

    @property
    def bound(self) -> frozenset[Var]:
        """The sizes that are a dimension of an array."""
        arrays = [a for a in self.arguments if isinstance(a, ArrayArgument)]
        return frozenset(dim for array in arrays for dim in array.dims if isinstance(dim, Var))

    @property
    def names(self) -> tuple[str, ...]:
        """What a call passes, by name, in order."""
        return tuple(a.name for a in self.arguments) + tuple(var.name for var in self.explicit)

    @property
    def slot_count(self) -> int:
        """How many 64-bit slots the body is given; the last one is the failure's number."""
        return len(self.arguments) + len(self.sizes) + 1

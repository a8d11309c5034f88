"""The tile IR: what one thread block computes.

A `Program` is a tree of statements over SSA values.  A `Value` is a tile (dtype, shape and, once the compiler has
chosen it, a layout); a scalar is an `Expr` over `Var`s.  Control flow is uniform over the block.  Statements either
bind the result of one instruction (`Let`) or hold nested blocks (`For`, `While`, `If`); a value that a loop changes
is carried explicitly.

Instructions are the frozen dataclasses of `vm/ops`: their fields are their operands and attributes.  Only values,
variables and memories compare by identity; everything else compares by content.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from math import prod
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .diagnostic import Span
from .dtypes import DType
from .expr import Expr, Var
from .layout.relation import Layout
from .layout.spread import squeeze
from .layout.storage import Tiled

Effect = Literal["pure", "reads", "writes", "hints", "syncs"]
Carrier = NDArray[np.float32] | NDArray[np.integer] | NDArray[np.bool_]
"""Decoded values, in the dtype's carrier: f32 for floats and codebooks, 64-bit integers, or bool."""


class TypeRuleError(ValueError):
    """An instruction does not take these operands.  `hint` says what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class TileType:
    """A block-wide tile: `layout` places its elements on lanes and registers; it is None until the layouts stage."""

    dtype: DType
    shape: tuple[int, ...]
    layout: Layout | None = None

    @property
    def elements(self) -> int:
        return prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class Value:
    """One tile, defined once."""

    name: str
    type: TileType

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Array:
    """A global array parameter: `shape` in elements; `storage` is None for row-major.

    Row-major arrays of a dtype narrower than 8 bits are dense little-endian bit streams (`vm/bits.py`).
    """

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    storage: Tiled | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Shared:
    """A tile in the memory that the lanes of one block share; row-major, its contents undefined until stored to."""

    name: str
    dtype: DType
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return self.name


Memory = Array | Shared


class Machine(Protocol):
    """What an instruction sees of the interpreter while it runs for one block."""

    def tile(self, value: Value) -> Carrier: ...
    def index(self, expr: Expr) -> int: ...
    def read(self, memory: Memory, at: tuple[int, ...], shape: tuple[int, ...], other: float) -> Carrier: ...
    def write(self, memory: Memory, at: tuple[int, ...], values: Carrier, dtype: DType) -> None: ...
    def copy(
        self, source: Array, at: tuple[int, ...], target: Shared, to: tuple[int, ...], shape: tuple[int, ...]
    ) -> None: ...
    def commit(self) -> None: ...
    def wait(self, pending: int) -> None: ...
    def barrier(self) -> None: ...
    def lock(self, array: Array, at: tuple[int, ...]) -> None: ...
    def release(self, array: Array, at: tuple[int, ...]) -> None: ...
    def show(self, text: str) -> None: ...
    def fail(self, message: str) -> None: ...


@dataclass(frozen=True)
class Op(ABC):
    """One instruction: its fields are its text form, in order."""

    effect: ClassVar[Effect] = "pure"

    @abstractmethod
    def infer(self) -> TileType | None:
        """The type of the result (None: no result).  Raises `TypeRuleError` on operands that it does not take."""

    @abstractmethod
    def run(self, machine: Machine) -> Carrier | None:
        """What the instruction means, in NumPy: the specification that every target must agree with."""

    @property
    def operands(self) -> tuple[Value, ...]:
        return tuple(v for f in fields(self) if isinstance(v := getattr(self, f.name), Value))

    @property
    def indices(self) -> tuple[Expr, ...]:
        """The scalar expressions among the fields."""
        found: list[Expr] = []
        for f in fields(self):
            v = getattr(self, f.name)
            found += (
                [v] if isinstance(v, Expr) else [e for e in v if isinstance(e, Expr)] if isinstance(v, tuple) else []
            )
        return tuple(found)

    def layouts(self, lanes: int, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
        """What the instruction asks of layouts in a block of `lanes`, given those that are known (None: not known yet).

        The rule names the layout of the result and of each operand; None means that any will do.  The default, right
        for everything that works element by element: all share one layout, the result's if it is known.
        """
        return same_layout(self, result, operands)


@dataclass(frozen=True)
class LayoutRule:
    result: Layout | None
    operands: tuple[Layout | None, ...]


def same_layout(op: Op, result: Layout | None, operands: tuple[Layout | None, ...]) -> LayoutRule:
    """One layout for the result and all operands; an operand of size 1 along a dimension forgets it.

    Without a known result layout the operand that covers the whole shape decides.
    """
    kind = op.infer()
    if kind is None:
        return LayoutRule(None, operands)
    if result is None:
        full = (x for x, v in zip(operands, op.operands, strict=True) if x is not None and v.type.shape == kind.shape)
        result = next(full, None)
    if result is None:
        return LayoutRule(None, operands)
    return LayoutRule(result, tuple(squeeze(result, kind.shape, v.type.shape) for v in op.operands))


Scalar = Expr
Binding = Value | Var
Bound = Value | Expr


@dataclass(frozen=True, eq=False)
class Let:
    """`result = op`.  An instruction that yields a scalar binds a `Var`; one that yields nothing binds None."""

    result: Binding | None
    op: Op
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Carried:
    """A value that a loop changes: `before` enters; `inside` in the body; `next` leaves it; `after` the loop."""

    before: Bound
    inside: Binding
    next: Bound
    after: Binding


@dataclass(frozen=True, eq=False)
class For:
    """`for var in range(start, stop, step)`: `step` is a positive constant; `unroll` copies of the body at a time;

    `stages` iterations' memory accesses are kept in flight.
    """

    var: Var
    start: Expr
    stop: Expr
    step: int
    carried: tuple[Carried, ...]
    body: tuple[Statement, ...]
    unroll: int = 1
    stages: int = 1
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class While:
    """`head` computes what `condition` needs; then, while it is nonzero, `body` runs."""

    head: tuple[Statement, ...]
    condition: Expr
    carried: tuple[Carried, ...]
    body: tuple[Statement, ...]
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Merge:
    """After an `If`, `after` is `then` or `orelse`, whichever branch ran."""

    then: Bound
    orelse: Bound
    after: Binding


@dataclass(frozen=True, eq=False)
class If:
    condition: Expr
    then: tuple[Statement, ...]
    orelse: tuple[Statement, ...]
    merged: tuple[Merge, ...]
    span: Span | None = field(default=None, compare=False)


Statement = Let | For | While | If
Parameter = Array | Value | Var


@dataclass(frozen=True, eq=False)
class Program:
    """A kernel with every compile-time parameter fixed.

    Parameters, in call order: arrays, float scalars (rank-0 tiles) and integer scalars (`Var`).  `sizes` are the
    symbols of the array shapes; `grid` counts the blocks along each axis and `blocks` are their indices.
    `requirements` must hold at every call (`K % 128 == 0`), with the text that says so.
    """

    name: str
    parameters: tuple[Parameter, ...]
    sizes: tuple[Var, ...]
    grid: tuple[Expr, ...]
    blocks: tuple[Var, ...]
    body: tuple[Statement, ...]
    lanes: int | None = None
    requirements: tuple[tuple[Expr, str], ...] = ()
    docstring: str = ""

    @property
    def arrays(self) -> tuple[Array, ...]:
        return tuple(p for p in self.parameters if isinstance(p, Array))


def walk(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """Every statement in program order, those of nested blocks after the statement that holds them."""
    for s in body:
        yield s
        match s:
            case Let():
                pass
            case For():
                yield from walk(s.body)
            case While():
                yield from walk(s.head)
                yield from walk(s.body)
            case If():
                yield from walk(s.then)
                yield from walk(s.orelse)

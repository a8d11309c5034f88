"""The meaning of tile programs: runs every block of the grid in order, on NumPy arrays.

This is the specification that every target must agree with, so it also refuses what has no meaning: accesses out of
bounds, reads of memory that nobody wrote, races between lanes or blocks, a deadlock, a failed assertion.

    interpret(program, x, w, y)         # writes y in place
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .call_arguments import Argument, Call, bind, bind_variable
from .dtypes import DType, DTypeError
from .expr import Expr, ExprError, Var, evaluate
from .interpret_error import AccessError, InterpretError
from .ir import (
    Array,
    Binding,
    Bound,
    Carrier,
    For,
    If,
    Let,
    Memory,
    Op,
    Program,
    Shared,
    Statement,
    Value,
    While,
    walk,
)
from .memory_model import Copies, GlobalArray, SharedTile
from .memory_order import BlockOrder
from .ops import Lock, Release, Store
from .text_op import pieces

__all__ = ["InterpretError", "interpret"]


def interpret(
    program: Program,
    *arguments: Argument,
    sizes: Mapping[str, int] = {},
    show: Callable[[str], None] = print,
    limit: int = 50_000_000,
) -> None:
    """Runs the program on `arguments` (see `call_arguments.py`); arrays are written in place.

    `sizes` names the sizes that no array tells.  `show` takes what the program prints.  InterpretError for wrong
    arguments, for anything that has no meaning, and after `limit` statements.
    """
    written = _written(program)
    call = bind(program, arguments, sizes, written)
    order = BlockOrder()
    arrays = {
        a: GlobalArray(a, x.sizes, x.codes, order, watched=a in written and not _has_lock(program, a))
        for a, x in call.arrays.items()
    }
    state = _Grid(call, arrays, order, show, limit)
    axes = [range(_extent(n, axis, call)) for axis, n in enumerate(program.grid)]
    try:
        with np.errstate(all="ignore"):  # infinities and NaN are results like others
            for number, index in enumerate(product(*axes)):
                order.begin(number)
                _Block(state, index).run(program)
    finally:
        for a in written:
            call.arrays[a].give_back()


def _written(program: Program) -> set[Array]:
    ops: list[Op] = [s.op for s in walk(program.body) if isinstance(s, Let)]
    stores = {op.target for op in ops if isinstance(op, Store) and isinstance(op.target, Array)}
    return stores | {op.array for op in ops if isinstance(op, Lock | Release)}


def _has_lock(program: Program, array: Array) -> bool:
    """Arrays of locks are there for blocks to meet in."""
    ops = (s.op for s in walk(program.body) if isinstance(s, Let))
    return any(isinstance(op, Lock | Release) and op.array is array for op in ops)


def _extent(n: Expr, axis: int, call: Call) -> int:
    try:
        extent = evaluate(n, call.scalars)
    except ExprError as error:
        raise InterpretError(f"the grid's axis {axis} ({n}) has no value: {error}", "check the sizes") from error
    if extent < 0:
        raise InterpretError(f"the grid's axis {axis} ({n}) is {extent}", "check the sizes")
    return extent


@dataclass
class _Grid:
    """What the blocks have in common."""

    call: Call
    arrays: dict[Array, GlobalArray]
    order: BlockOrder
    show: Callable[[str], None]
    left: int


@dataclass
class _Block:
    """One block: the `Machine` that instructions see."""

    grid: _Grid
    at: tuple[int, ...]
    tiles: dict[Value, Carrier] = field(default_factory=dict)
    scalars: dict[Var, int] = field(default_factory=dict)
    shared: dict[Shared, SharedTile] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)
    accesses: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)
    statement: Statement | None = None

    def run(self, program: Program) -> None:
        self.scalars.update(self.grid.call.scalars)
        self.tiles.update(self.grid.call.floats)
        try:
            for var, index in zip(program.blocks, self.at, strict=True):
                bind_variable(self.scalars, var, index, f"the block index {var.name}")
            self._body(program.body)
        except InterpretError as error:
            raise self._error(error.message, error.hint) from error
        except (AccessError, ExprError, DTypeError) as error:
            raise self._error(str(error), getattr(error, "hint", "")) from error

    def _error(self, message: str, hint: str) -> InterpretError:
        s = self.statement
        return InterpretError(message, hint, self.at, "" if s is None else describe(s), None if s is None else s.span)

    def _body(self, body: tuple[Statement, ...]) -> None:
        for s in body:
            self.statement = s
            self._count()
            match s:
                case Let():
                    self._let(s)
                case For():
                    self._for(s)
                case While():
                    self._while(s)
                case If():
                    self._if(s)

    def _count(self) -> None:
        if self.grid.left <= 0:
            raise InterpretError("the program ran too many statements", "does every loop end? if so, raise `limit`")
        self.grid.left -= 1

    def _let(self, s: Let) -> None:
        result = s.op.run(self)
        match s.result:
            case Value():
                assert result is not None, f"{describe(s)} gave nothing"
                self._bind(s.result, result)
            case Var():
                assert result is not None, f"{describe(s)} gave nothing"
                self._bind(s.result, int(result))
            case None:
                pass

    def _bind(self, name: Binding, x: Carrier | int) -> None:
        match name:
            case Value():
                assert not isinstance(x, int)
                kind = name.type
                fits = x.shape == kind.shape and x.dtype == kind.dtype.carrier
                assert fits, f"{name}: {kind} is given {x.dtype}{list(x.shape)}"
                self.tiles[name] = x
            case Var():
                assert isinstance(x, int)
                bind_variable(self.scalars, name, _int64(x, name), f"the scalar {name.name}")

    def _now(self, x: Bound) -> Carrier | int:
        return self.tiles[x] if isinstance(x, Value) else self.index(x)

    def _rebind(self, pairs: list[tuple[Binding, Bound]]) -> None:
        """All at once: each new value is taken before any name changes."""
        values = [self._now(x) for _, x in pairs]
        for (name, _), value in zip(pairs, values, strict=True):
            self._bind(name, value)

    def _for(self, s: For) -> None:
        start, stop = self.index(s.start), self.index(s.stop)
        self._rebind([(c.inside, c.before) for c in s.carried])
        for i in range(start, stop, s.step):
            bind_variable(self.scalars, s.var, i, f"the loop variable {s.var.name}")
            self._body(s.body)
            self.statement = s
            self._rebind([(c.inside, c.next) for c in s.carried])
        self._rebind([(c.after, _as_bound(c.inside)) for c in s.carried])

    def _while(self, s: While) -> None:
        self._rebind([(c.inside, c.before) for c in s.carried])
        self._body(s.head)
        self.statement = s
        while self.index(s.condition):
            self._body(s.body)
            self.statement = s
            self._rebind([(c.inside, c.next) for c in s.carried])
            self._body(s.head)
            self.statement = s
            self._count()
        self._rebind([(c.after, _as_bound(c.inside)) for c in s.carried])

    def _if(self, s: If) -> None:
        holds = self.index(s.condition) != 0
        self._body(s.then if holds else s.orelse)
        self.statement = s
        self._rebind([(m.after, m.then if holds else m.orelse) for m in s.merged])

    # What instructions see.

    def tile(self, value: Value) -> Carrier:
        return self.tiles[value]

    def index(self, expr: Expr) -> int:
        return _int64(evaluate(expr, self.scalars), expr)

    def read(self, memory: Memory, at: tuple[int, ...], shape: tuple[int, ...], other: float) -> Carrier:
        code = _code(memory.dtype, other)
        match memory:
            case Array():
                codes = self.grid.arrays[memory].read(at, shape, code)
            case Shared():
                codes = self._shared(memory).read(at, shape, code, self._access(at))
        return memory.dtype.decode(codes)

    def write(self, memory: Memory, at: tuple[int, ...], values: Carrier, dtype: DType) -> None:
        codes = dtype.encode(values)
        match memory:
            case Array():
                self.grid.arrays[memory].write(at, codes)
            case Shared():
                self._shared(memory).write(at, codes, self._access(at))

    def copy(
        self, source: Array, at: tuple[int, ...], target: Shared, to: tuple[int, ...], shape: tuple[int, ...]
    ) -> None:
        codes = self.grid.arrays[source].read(at, shape, _code(source.dtype, 0.0))
        tile = self._shared(target)
        self.copies.start(tile, tile.copy(to, codes, self._access(to)))

    def commit(self) -> None:
        self.copies.commit()

    def wait(self, pending: int) -> None:
        self.copies.wait(pending)

    def barrier(self) -> None:
        for tile in self.shared.values():
            tile.barrier()

    def lock(self, array: Array, at: tuple[int, ...]) -> None:
        codes = self._lock_element(array, at)
        if codes[at]:
            raise AccessError(
                f"deadlock: the lock {array.name}{list(at)} is taken, and no block will release it",
                "release every lock; locks are 0 before the launch",
            )
        codes[at] = 1
        self.grid.order.acquire((array, at))

    def release(self, array: Array, at: tuple[int, ...]) -> None:
        self._lock_element(array, at)[at] = 0
        self.grid.order.release((array, at))

    def show(self, text: str) -> None:
        self.grid.show(text)

    def fail(self, message: str) -> None:
        raise AccessError(message)

    def _lock_element(self, array: Array, at: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
        held = self.grid.arrays[array]
        held.read(at, (1,) * len(at), _code(array.dtype, 0.0))  # checks the bounds
        if any(i >= n for i, n in zip(at, held.sizes, strict=True)):
            raise AccessError(f"out of bounds: there is no lock {array.name}{list(at)}", "pass an array of locks")
        return held.codes

    def _shared(self, memory: Shared) -> SharedTile:
        return self.shared.setdefault(memory, SharedTile(memory))

    def _access(self, at: tuple[int, ...]) -> int:
        """A number for what this statement does at `at`: done again, the same lanes touch the same elements."""
        return self.accesses.setdefault((id(self.statement), at), len(self.accesses) + 1)


def _as_bound(name: Binding) -> Bound:
    return name


def _code(dtype: DType, value: float) -> np.unsignedinteger:
    code: np.unsignedinteger = dtype.encode(np.asarray([value], np.float64))[0]
    return code


def _int64(value: int, what: Expr) -> int:
    if not -(1 << 63) <= value < 1 << 63:
        raise ExprError(f"`{what}` is {value}, which does not fit 64 bits")
    return value


def describe(s: Statement) -> str:
    """A statement in one line, for messages."""
    match s:
        case Let():
            bound = "" if s.result is None else f"{s.result} = "
            return bound + "".join(map(str, pieces(s.op)))
        case For():
            return f"for {s.var} in range({s.start}, {s.stop}, {s.step})"
        case While():
            return f"while {s.condition}"
        case If():
            return f"if {s.condition}"

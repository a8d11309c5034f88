"""Writes lane IR: constants fold, repeated work is shared, and uniform operands give uniform results, as code is added.

There is no clean-up pass after this.  Pure operations are remembered for the scope (loop body, branch) that they were
added to and for the scopes inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from .bits import EVERY, possible_ones
from .ir import (
    KINDS,
    Apply,
    Atom,
    Barrier,
    Block,
    Carried,
    Commit,
    Constant,
    CopyAsync,
    Exchange,
    Fail,
    Fence,
    First,
    FloatSlot,
    For,
    If,
    Let,
    Lookup,
    LookupBytes,
    Merge,
    Operation,
    PickBytes,
    Prefetch,
    Read,
    ReadMatrix,
    Reg,
    SharedAddress,
    Show,
    Shuffle,
    Slot,
    Statement,
    Type,
    Vote,
    WaitCopies,
    While,
    Write,
)  # fmt: skip

Known = NDArray[np.int64] | NDArray[np.float32]
WIDTH = {"i1": 1, "i32": 32, "i64": 64}
_SIGN = 1 << 31


def wrapped(values: NDArray[np.int64], type: Type) -> NDArray[np.int64]:
    """Two's complement at the type's width (i1: 0 or 1)."""
    if type == "i1":
        return values & 1
    return values.astype(np.int32).astype(np.int64) if type == "i32" else values


class Builder:
    """Adds operations to the innermost open scope.

    `table_bits` is the widest index for which a look-up in a table of words is a few permutes of registers (0: none);
    `byte_table_bits` that for which a look-up in a table of bytes is one permute, as `pick_bytes` then is too.
    `slow_to_float`: an integer becomes a float at a fraction of the rate of a sum, as on GPUs.
    """

    def __init__(self, lanes: int, table_bits: int = 0, byte_table_bits: int = 0, slow_to_float: bool = False) -> None:
        self.lanes = lanes
        self.slow_to_float = slow_to_float
        self.table_bits = table_bits
        self.byte_table_bits = byte_table_bits
        self._bodies: list[list[Statement]] = [[]]
        self._seen: list[dict[Hashable, Reg]] = [{}]
        self._collected: list[dict[Atom, tuple[Reg, ...]]] = [{}]
        self._known: dict[Reg, Known] = {}
        self._ones: dict[Reg, int] = {}

    @property
    def body(self) -> tuple[Statement, ...]:
        return tuple(self._bodies[-1])

    # Constants

    def constant(
        self, type: Type, values: int | float | NDArray[np.int64] | NDArray[np.float32], varying: bool = False
    ) -> Reg:
        """One value, or one per lane.  Equal lanes make a uniform constant unless `varying` asks for a vector."""
        given = np.asarray(values).reshape(-1)
        array: Known = given.astype(np.float32) if type == "f32" else wrapped(given.astype(np.int64), type)
        bits = array.view(np.int32) if array.dtype == np.float32 else array  # -0 is not 0, and NaN is itself
        if not varying and (bits == bits[0]).all():
            array = array[:1]
        elif varying and array.size == 1:
            array = array[np.zeros(self.lanes, np.int64)]
        uniform = array.size == 1 and not varying
        key = ("constant", type, uniform, array.tobytes())  # by bits: -0.0 == 0.0, and NaN is not itself
        result = self._pure(Constant(type, tuple(array.tolist())), type, uniform, key)
        self._known[result] = array
        return result

    def i32(self, values: int | NDArray[np.int64]) -> Reg:
        return self.constant("i32", values)

    def i64(self, values: int | NDArray[np.int64]) -> Reg:
        return self.constant("i64", values)

    def f32(self, values: float | NDArray[np.float32]) -> Reg:
        return self.constant("f32", values)

    def known(self, reg: Reg) -> Known | None:
        """The value of a constant register (one, or one per lane), or None."""
        return self._known.get(reg)

    def varying(self, x: Reg) -> Reg:
        """The same value held by every lane in its own register."""
        if not x.uniform:
            return x
        known = self.known(x)
        if known is not None:
            return self.constant(x.type, known, varying=True)
        yes = self.constant("i1", 1, varying=True)
        return self._pure(Apply("select", (yes, x, x)), x.type, False)

    # Pure operations

    def apply(self, kind: str, *operands: Reg) -> Reg:
        """A row of `KINDS`; folds where the operands are known integers or one of them is neutral."""
        row = KINDS[kind]
        type = (
            next(o.type for o, t in zip(operands, row.operands, strict=True) if t == "t")
            if "t" in row.operands
            else None
        )
        result: Type = type if row.result == "t" and type else row.result  # type: ignore[assignment]  # rows name types
        folded = self._fold(kind, operands, result)
        return folded or self._pure(Apply(kind, operands), result, all(o.uniform for o in operands))

    def _fold(self, kind: str, operands: tuple[Reg, ...], result: Type) -> Reg | None:
        known = [self.known(o) for o in operands]
        if kind == "fmax" and not any(self.possible(o) & _SIGN for o in operands):
            # Numbers without a sign are in the order of their words, and NaN is above infinity there: one instruction,
            # where a maximum that NaN wins is several.
            return self.apply("float", self.apply("smax", *(self.apply("bits", o) for o in operands)))
        if kind == "select":
            chosen = known[0]
            if operands[1] is operands[2] and operands[1].uniform <= operands[0].uniform:
                return operands[1]
            if chosen is not None and chosen.size == 1:
                return operands[1] if chosen[0] else operands[2]
        if kind in _FOLDABLE and all(k is not None for k in known):
            return self.constant(result, _FOLDABLE[kind](*known, WIDTH.get(operands[0].type, 64)))
        if len(operands) == 2 and kind in _NEUTRAL:
            for one, other in ((0, 1), (1, 0)):
                value = known[other]
                if value is not None and value.size == 1 and (other == 1 or kind in _COMMUTES):
                    if value[0] == (1 if result == "i1" and kind == "and" else _NEUTRAL[kind]):
                        return operands[one]
                    if value[0] == 0 and kind in ("mul", "and"):
                        return self.constant(result, 0)
        return None

    def _pure(self, op: Operation, type: Type, uniform: bool, key: Hashable = None) -> Reg:
        key = op if key is None else key
        for seen in reversed(self._seen):
            if key in seen:
                return seen[key]
        result = Reg(type, uniform)
        self._seen[-1][key] = result
        self._bodies[-1].append(Let((result,), op))
        if type in ("i32", "f32"):
            self._ones[result] = possible_ones(op, self.possible, self._number)
        return result

    def possible(self, reg: Reg) -> int:
        """The bits that an i32, or the word of an f32, may have in any lane, as a mask."""
        return self._ones.get(reg, EVERY)

    def _number(self, reg: Reg) -> int | None:
        """The value of an integer constant that is one for all lanes."""
        known = self._known.get(reg)
        return int(known[0]) if known is not None and known.size == 1 and reg.type != "f32" else None

    def slot(self, index: int) -> Reg:
        return self._pure(Slot(index), "i64", True)

    def float_slot(self, index: int) -> Reg:
        return self._pure(FloatSlot(index), "f32", True)

    def block(self) -> Reg:
        return self._pure(Block(), "i64", True)

    def shared(self, offset: int) -> Reg:
        return self._pure(SharedAddress(offset), "i64", True)

    def shuffle(self, sources: Sequence[Reg], source: Sequence[int], lane: Sequence[int]) -> Reg:
        if all(s.uniform for s in sources) and len(set(source)) == 1:
            return sources[source[0]]
        if len(set(source)) == 1 and list(lane) == list(range(self.lanes)):
            return sources[source[0]]
        spread = tuple(self.varying(s) for s in sources)
        return self._pure(Shuffle(spread, tuple(source), tuple(lane)), sources[0].type, False)

    def first(self, x: Reg) -> Reg:
        return x if x.uniform else self._pure(First(x), x.type, True)

    def vote(self, kind: str, x: Reg) -> Reg:
        return x if x.uniform else self._pure(Vote("any" if kind == "any" else "all", x), "i1", True)

    def lookup(self, table: Sequence[int], index: Reg) -> Reg:
        return self._pure(Lookup(tuple(table), index), "i32", index.uniform)

    def lookup_bytes(self, table: Sequence[int], word: Reg) -> Reg:
        return self._pure(LookupBytes(tuple(table), word), "i32", word.uniform)

    def pick_bytes(self, x: Reg, y: Reg, order: tuple[int, int, int, int]) -> Reg:
        return self._pure(PickBytes(x, y, order), "i32", x.uniform and y.uniform)

    def atom(self, name: str, type: Type, *operands: Reg) -> Reg:
        return self._pure(Atom(name, operands), type, all(o.uniform for o in operands))

    def collective(self, name: str, type: Type, count: int, *operands: Reg) -> tuple[Reg, ...]:
        """The `count` results of a collective atom."""
        op = Atom(name, operands)
        for seen in reversed(self._collected):
            if op in seen:
                return seen[op]
        results = tuple(Reg(type, False) for _ in range(count))
        self._collected[-1][op] = results
        self._bodies[-1].append(Let(results, op))
        return results

    # Operations with effects

    def issue(self, name: str, type: Type, count: int, *operands: Reg) -> tuple[Reg, ...]:
        """The `count` results of an atom that has an effect, or reads memory: each is done where it stands."""
        results = tuple(Reg(type, False) for _ in range(count))
        self._bodies[-1].append(Let(results, Atom(name, operands)))
        return results

    def read(self, op: Read) -> tuple[Reg, ...]:
        uniform = all(o.uniform for o in (op.base, op.offset, *([op.mask] if op.mask else [])))
        results = tuple(Reg("i64" if op.bits == 64 else "i32", uniform) for _ in range(op.count))
        self._ones.update((r, possible_ones(op, self.possible, self._number)) for r in results if op.bits < 32)
        self._bodies[-1].append(Let(results, op))
        return results

    def read_matrix(self, op: ReadMatrix) -> tuple[Reg, ...]:
        results = tuple(Reg("i32", False) for _ in range(op.count))
        self._bodies[-1].append(Let(results, op))
        return results

    def effect(self, op: Write | Prefetch | CopyAsync | Commit | WaitCopies | Barrier | Fence | Fail | Show) -> None:
        self._bodies[-1].append(Let((), op))

    def exchange(self, op: Exchange) -> Reg:
        result = Reg("i32", True)
        self._bodies[-1].append(Let((result,), op))
        return result

    # Control flow

    @contextmanager
    def _scope(self) -> Iterator[list[Statement]]:
        self._bodies.append([])
        self._seen.append({})
        self._collected.append({})
        try:
            yield self._bodies[-1]
        finally:
            self._bodies.pop()
            self._seen.pop()
            self._collected.pop()

    def _carry(self, before: Sequence[Reg], uniform: Sequence[bool]) -> tuple[list[Reg], list[Reg], list[Reg]]:
        enter = [x if u else self.varying(x) for x, u in zip(before, uniform, strict=True)]
        return enter, [Reg(x.type, u) for x, u in zip(enter, uniform, strict=True)], [
            Reg(x.type, u) for x, u in zip(enter, uniform, strict=True)
        ]  # fmt: skip

    def loop(
        self, start: Reg, stop: Reg, step: Reg, before: Sequence[Reg], uniform: Sequence[bool],
        body: Callable[[Reg, list[Reg]], list[Reg]],
    ) -> list[Reg]:  # fmt: skip
        """A counted loop; `body` gets the counter and the carried registers and gives their next values."""
        enter, inside, after = self._carry(before, uniform)
        var = Reg("i64", True)
        with self._scope() as statements:
            nexts = [self.varying(n) if not i.uniform else n for n, i in zip(body(var, inside), inside, strict=True)]
        carried = tuple(map(Carried, enter, inside, nexts, after))
        self._bodies[-1].append(For(var, start, stop, step, carried, tuple(statements)))
        return after

    def repeat(
        self, before: Sequence[Reg], uniform: Sequence[bool],
        head: Callable[[list[Reg]], Reg], body: Callable[[list[Reg]], list[Reg]],
    ) -> list[Reg]:  # fmt: skip
        """A loop that runs while `head` gives a true condition.  What `head` computes is seen by `body`."""
        enter, inside, after = self._carry(before, uniform)
        with self._scope() as first:
            condition = head(inside)
            with self._scope() as statements:
                nexts = [self.varying(n) if not i.uniform else n for n, i in zip(body(inside), inside, strict=True)]
        carried = tuple(map(Carried, enter, inside, nexts, after))
        self._bodies[-1].append(While(tuple(first), condition, carried, tuple(statements)))
        return after

    def branch(self, condition: Reg, then: Callable[[], list[Reg]], orelse: Callable[[], list[Reg]]) -> list[Reg]:
        """Runs one of two bodies; each gives the values of the same merged registers."""
        with self._scope() as yes:
            left = then()
            left_spread = [self.varying(x) for x in left]
        with self._scope() as no:
            right = orelse()
            right_spread = [self.varying(x) for x in right]
        merged = []
        for x, y, xs, ys in zip(left, right, left_spread, right_spread, strict=True):
            uniform = x.uniform and y.uniform
            merged.append(Merge(x if uniform else xs, y if uniform else ys, Reg(x.type, uniform)))
        self._bodies[-1].append(If(condition, tuple(yes), tuple(no), tuple(merged)))
        return [m.after for m in merged]


def _i64(x: NDArray[np.generic]) -> NDArray[np.int64]:
    return np.asarray(x, np.int64)


def _unsigned(x: Known, bits: int) -> NDArray[np.uint64]:
    return _i64(x).astype(np.uint64) & np.uint64(2**bits - 1)


def _divide(x: Known, y: Known, remainder: bool) -> NDArray[np.int64]:
    """Truncating division, 0 for a zero divisor, in exact Python integers."""
    pairs = zip(*np.broadcast_arrays(_i64(x), _i64(y)), strict=True)
    out = []
    for a, b in ((int(p), int(q)) for p, q in pairs):
        quotient = 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        exact = (0 if b == 0 else a - quotient * b) if remainder else quotient
        out.append((exact + 2**63) % 2**64 - 2**63)  # the least integer divided by -1 is itself again
    return np.array(out, np.int64)


_FOLDABLE: dict[str, Callable[..., NDArray[np.int64]]] = {
    "add": lambda x, y, n: x + y, "sub": lambda x, y, n: x - y, "mul": lambda x, y, n: x * y,
    "and": lambda x, y, n: x & y, "or": lambda x, y, n: x | y, "xor": lambda x, y, n: x ^ y,
    "shl": lambda x, y, n: x << y, "ashr": lambda x, y, n: x >> y,
    "lshr": lambda x, y, n: (_unsigned(x, n) >> _unsigned(y, n)).astype(np.int64),
    "sdiv": lambda x, y, n: _divide(x, y, False), "srem": lambda x, y, n: _divide(x, y, True),
    "smin": lambda x, y, n: np.minimum(x, y), "smax": lambda x, y, n: np.maximum(x, y),
    "eq": lambda x, y, n: _i64(x == y), "ne": lambda x, y, n: _i64(x != y),
    "slt": lambda x, y, n: _i64(x < y), "sle": lambda x, y, n: _i64(x <= y),
    "ult": lambda x, y, n: _i64(_unsigned(x, n) < _unsigned(y, n)),
    "ule": lambda x, y, n: _i64(_unsigned(x, n) <= _unsigned(y, n)),
    "sext": lambda x, n: x, "zext": lambda x, n: x & 0xFFFFFFFF, "trunc": lambda x, n: x,
}  # fmt: skip
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "sdiv": 1, "and": -1, "or": 0, "xor": 0, "shl": 0, "lshr": 0, "ashr": 0}
_COMMUTES = frozenset({"add", "mul", "and", "or", "xor"})

"""Runs PTX: all threads of a block at once, block after block.

    run(to_ptx(text, target), [x, 16, y], blocks=4, threads=128)

A register is an array of bits with one word per thread.  Threads that stand at different places are groups; the group
at the lowest place goes on, so that threads meet again behind a branch.  Every instruction has the meaning that the PTX
ISA gives it; one that is not known stops the run with its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .arithmetic import OPERATIONS
from .convert import convert
from .formats import bits_of, view
from .matrix import load_matrix, multiply_matrices
from .spaces import LOCAL, SHARED, Mask, Spaces, Words
from .text import Address, Instruction, Module, Name, Number, Operand, PtxError, Vector, parse

__all__ = ["Machine", "run"]

WARP = 32
_UNSIGNED = {1: np.bool_, 8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64, 128: np.uint64}


@dataclass(frozen=True)
class _Copy:
    to: NDArray[np.uint64]
    source: NDArray[np.uint64]
    lanes: NDArray[np.intp]
    size: int
    take: NDArray[np.uint64]


@dataclass
class Copies:
    """What cp.async started: copies of no group yet, and groups under way, oldest first."""

    open: list[_Copy] = field(default_factory=list)
    groups: list[list[_Copy]] = field(default_factory=list)


class Machine:
    """One block's threads; see `run`."""

    def __init__(self, module: Module, slots: Sequence[NDArray[np.generic] | int], threads: int, shared: int) -> None:
        arrays = [s for s in slots if isinstance(s, np.ndarray)]
        self.module, self.threads, self.printed = module, threads, list[str]()
        self._symbols: dict[str, int] = {}
        constants = self._lay_out(shared)
        sizes = {s: sum(v[2] + 256 for v in module.variables.values() if v[0] == s) for s in ("shared", "local")}
        self.spaces = Spaces(arrays, constants, self._shared_size, sizes["local"] + 16, threads)
        fixed = [n for n, v in module.variables.items() if v[0] in ("global", "const")]
        self._symbols |= dict(zip(fixed, self.spaces.addresses[len(arrays) :], strict=True))
        addresses = iter(self.spaces.addresses)
        values = [next(addresses) if isinstance(s, np.ndarray) else s for s in slots]
        self.parameters = dict(zip(module.parameters, values, strict=True))
        self.registers: dict[str, Words] = {}
        self.lane = np.arange(threads)
        self.copies = Copies()
        self._numbers: dict[tuple[int, int], Words] = {}

    def _lay_out(self, shared: int) -> list[bytes]:
        """Places of shared and local variables; the bytes of the others."""
        at = {"shared": 0, "local": 0}
        base = {"shared": SHARED, "local": LOCAL}
        variables = sorted(self.module.variables.items(), key=lambda v: v[1][2] == 0)  # the dynamic one comes last
        constants = []
        for name, (space, align, size, data) in variables:
            if space in at:
                at[space] = -(-at[space] // align) * align
                self._symbols[name] = base[space] + at[space]
                at[space] += size
        for space, _, _, data in self.module.variables.values():
            if space not in at:
                constants.append(data)
        self._shared_size = at["shared"] + shared
        return constants

    def run_block(self, block: int, blocks: int) -> None:
        self.spaces.forget()
        self.copies = Copies()
        dtypes = {n: np.dtype(_UNSIGNED[b]) for n, b in self.module.registers.items()}
        rng = np.random.default_rng(block)  # what nothing was written to holds anything
        self.registers = {n: rng.integers(0, 256, (self.threads, d.itemsize), np.uint8).view(d)[:, 0] if d != np.bool_
                          else rng.integers(0, 2, self.threads).astype(bool) for n, d in dtypes.items()}  # fmt: skip
        special = {"%tid.x": self.lane, "%laneid": self.lane % WARP, "%ctaid.x": np.full(self.threads, block)}
        special |= {"%ntid.x": np.full(self.threads, self.threads), "%nctaid.x": np.full(self.threads, blocks)}
        self.registers |= {n: v.astype(np.uint32) for n, v in special.items()}
        self.live = np.ones(self.threads, bool)
        groups = {0: np.ones(self.threads, bool)}
        while groups:
            place = min(groups)
            self._go_on(place, groups.pop(place), groups)

    def _go_on(self, place: int, lanes: Mask, groups: dict[int, Mask]) -> None:
        """Runs a group until it branches, meets another one, or ends."""
        code = self.module.code
        while place < len(code):
            if place in groups:
                groups[place] = groups[place] | lanes
                return
            i = code[place]
            active = lanes if i.guard is None else lanes & self.predicate(i.guard)
            if i.name == "bra":
                assert isinstance(i.operands[0], Name)
                target = self.module.labels[i.operands[0].text]
                rest = lanes & ~active
                for where, who in ((target, active), (place + 1, rest)):
                    if who.any():
                        groups[where] = groups.get(where, np.zeros_like(who)) | who
                return
            if i.name in ("ret", "exit"):
                self.live &= ~active
                lanes = lanes & ~active
                if not lanes.any():
                    return
            elif active.any():
                try:
                    self.execute(i, active)
                except (PtxError, KeyError, ValueError, TypeError, IndexError) as error:
                    raise PtxError(f"{i.text}: {error!r}") from error
            place += 1
        self.live &= ~lanes

    def predicate(self, name: Name) -> Mask:
        value: Mask = self.registers[name.text]  # type: ignore[assignment]  # a predicate's register holds booleans
        return ~value if name.negated else value

    def value(self, operand: Operand, bits: int) -> Words:
        """The bits of an operand for every thread, as unsigned words."""
        if isinstance(operand, Name):
            if operand.text in self.registers:
                if bits == 1:
                    return self.predicate(operand)  # type: ignore[return-value]  # booleans
                return self.registers[operand.text]
            return self._number(self._symbols[operand.text] - self._window(operand.text), 64)
        if isinstance(operand, Number):
            return self._number(operand.value, bits)
        raise PtxError(f"{operand} is no value")

    def _window(self, name: str) -> int:
        """A variable's name stands for its address within its own space."""
        return {"shared": SHARED, "local": LOCAL}.get(self.module.variables[name][0], 0)

    def _number(self, value: int, bits: int) -> Words:
        if (value, bits) not in self._numbers:
            kind = _UNSIGNED[bits]
            self._numbers[value, bits] = np.full(
                self.threads, bool(value) if bits == 1 else value & (1 << bits) - 1, kind
            )
        return self._numbers[value, bits]

    def define(self, operand: Operand, value: Words, active: Mask) -> None:
        """The register's bits become the value's low ones, in active threads."""
        if not isinstance(operand, Name):
            raise PtxError(f"{operand} is no register")
        if operand.text == "_":
            return
        kind = _UNSIGNED[self.module.registers[operand.text]]
        value = value.astype(kind)
        self.registers[operand.text] = value if active.all() else np.where(active, value, self.registers[operand.text])

    def address(self, operand: Operand, space: str | None) -> NDArray[np.uint64]:
        """Generic addresses."""
        if not isinstance(operand, Address):
            raise PtxError(f"{operand} is no address")
        at = np.zeros(self.threads, np.uint64)
        if operand.base is not None and operand.base.text in self.registers:
            at = self.registers[operand.base.text].astype(np.uint64)
        elif operand.base is not None:
            at = at + np.uint64(self._symbols[operand.base.text] - self._window(operand.base.text))
        at = at + np.uint64(operand.offset & (1 << 64) - 1)
        return at + np.uint64({"shared": SHARED, "local": LOCAL}.get(space or "", 0))

    def execute(self, i: Instruction, active: Mask) -> None:
        match i.name:
            case "mov":
                self._move(i, active)
            case "cvta":
                self._window_changed(i, active)
            case "ld":
                self._load(i, active)
            case "st":
                self._store(i, active)
            case "cvt":
                convert(self, i, active)
            case "mma":
                multiply_matrices(self, i, active)
            case "ldmatrix":
                load_matrix(self, i, active)
            case "shfl":
                self._shuffle(i, active)
            case "bar" | "barrier":
                self._barrier(i, active)
            case "vote" | "activemask":
                self._vote(i, active)
            case "atom":
                self._atomic(i, active)
            case "cp":
                self._copy(i, active)
            case "call":
                self._print(i, active)
            case "membar" | "fence" | "prefetch" | "discard":
                pass
            case _:
                operation = OPERATIONS[i.name]
                self.define(i.operands[0], operation(self, i), active)

    def _move(self, i: Instruction, active: Mask) -> None:
        bits = bits_of(i.words[-1])
        to, source = i.operands
        if isinstance(to, Vector):
            part = bits // len(to.items)
            value = self.value(source, bits)
            for n, item in enumerate(to.items):
                self.define(item, value >> value.dtype.type(n * part), active)
        elif isinstance(source, Vector):
            part = bits // len(source.items)
            wide = _UNSIGNED[bits]
            value = np.zeros(self.threads, wide)
            for n, item in enumerate(source.items):
                low = self.value(item, part).astype(wide) & wide((1 << part) - 1)
                value = value | low << wide(n * part)
            self.define(to, value, active)
        else:
            self.define(to, self.value(source, bits), active)

    def _window_changed(self, i: Instruction, active: Mask) -> None:
        """From a space to generic addresses, or back (`cvta.to`)."""
        window = np.uint64({"shared": SHARED, "local": LOCAL}.get(i.words[-2], 0))
        value = self.value(i.operands[1], 64)
        self.define(i.operands[0], value - window if "to" in i.words else value + window, active)

    def _load(self, i: Instruction, active: Mask) -> None:
        bits, count = _shape(i)
        to = i.operands[0].items if isinstance(i.operands[0], Vector) else (i.operands[0],)
        space = _space(i)
        where = i.operands[1]
        if space == "param":
            assert isinstance(where, Address)
            assert where.base is not None
            for n, item in enumerate(to):
                self.define(item, self._parameter(where, n, bits), active)
            return
        lanes = np.flatnonzero(active)
        raw = self.spaces.read(self.address(where, space)[lanes], bits // 8 * count, lanes, bits // 8 * count)
        for n, item in enumerate(to):
            field_ = np.ascontiguousarray(raw[:, n * bits // 8 : (n + 1) * bits // 8]).view(_UNSIGNED[bits])[:, 0]
            assert isinstance(item, Name)
            wide = _UNSIGNED[self.module.registers[item.text]]
            whole = np.zeros(self.threads, wide)
            if i.words[-1].startswith("s"):
                whole[lanes] = field_.view(f"i{bits // 8}").astype(np.int64).astype(wide)
            else:
                whole[lanes] = field_
            self.define(item, whole, active)

    def _parameter(self, where: Address, n: int, bits: int) -> Words:
        assert where.base is not None
        value = self.parameters[where.base.text]
        if isinstance(value, int):
            return self._number(value >> 8 * (where.offset + n * bits // 8), bits)
        assert isinstance(value, np.ndarray)
        return value

    def _store(self, i: Instruction, active: Mask) -> None:
        bits, count = _shape(i)
        items = i.operands[1].items if isinstance(i.operands[1], Vector) else (i.operands[1],)
        words = [self.value(item, bits).astype(_UNSIGNED[bits]) for item in items]
        if _space(i) == "param":
            assert isinstance(i.operands[0], Address)
            assert i.operands[0].base is not None
            self.parameters[i.operands[0].base.text] = words[0]  # type: ignore[assignment]  # of a call, for each thread
            return
        lanes = np.flatnonzero(active)
        data = np.concatenate([w[lanes, None].view(np.uint8) for w in words], axis=1)
        size = bits // 8 * count
        self.spaces.write(self.address(i.operands[0], _space(i))[lanes], data, lanes, size)

    def _shuffle(self, i: Instruction, active: Mask) -> None:
        """Lanes of a warp read each other's registers.  All lanes that the mask names must have come here."""
        to, source, place, limit, mask = i.operands
        self._everyone(self.value(mask, 32), active)
        value = self.value(source, 32)
        own, clamp = self.lane % WARP, self.value(limit, 32).astype(np.int64)
        segment, top = clamp >> 8 & 31, clamp & 31
        number = self.value(place, 32).astype(np.int64) & 31
        first = own & segment
        last = first | top & ~segment
        match i.words[2]:
            case "up":
                wanted, inside = own - number, own - number >= last
            case "down":
                wanted, inside = own + number, own + number <= last
            case "bfly":
                wanted, inside = own ^ number, (own ^ number) <= last
            case "idx":
                wanted = first | number & ~segment
                inside = wanted <= last
            case _:
                raise PtxError("what shuffle?")
        taken = self.lane - own + np.where(inside, wanted, own)
        if (taken[active] >= self.threads).any() or not active[taken[active]].all():
            raise PtxError("a lane is asked that is not here")
        result = value[np.minimum(taken, self.threads - 1)]
        if isinstance(to, Vector):
            self.define(to.items[1], inside.astype(bool), active)  # type: ignore[arg-type]  # booleans
            to = to.items[0]
        self.define(to, result, active)

    def _everyone(self, mask: Words, active: Mask) -> None:
        """The lanes that the mask names are those that are here (and alive)."""
        named = (mask >> (self.lane % WARP).astype(np.uint32) & np.uint32(1)).astype(bool)
        if (active & ~named).any():
            raise PtxError("a lane that its mask does not name")
        for first in range(0, self.threads, WARP):
            warp = slice(first, first + WARP)
            if active[warp].any() and (named & self.live & ~active)[warp].any():
                raise PtxError("lanes that the mask names are elsewhere")

    def _barrier(self, i: Instruction, active: Mask) -> None:
        if "warp" in i.words:
            return
        if not np.array_equal(active, self.live):
            raise PtxError("some threads are not at the barrier")
        if "red" in i.words:
            operand = i.operands[-1]
            assert isinstance(operand, Name)
            holds = self.predicate(operand)[active]
            if "popc" in i.words:
                result: Words = np.full(self.threads, holds.sum(), np.uint32)
            else:
                result = np.full(self.threads, holds.any() if "or" in i.words else holds.all())  # type: ignore[assignment]
            self.define(i.operands[0], result, active)

    def _vote(self, i: Instruction, active: Mask) -> None:
        if i.name == "activemask":
            self.define(i.operands[0], self._ballot(active, active), active)
            return
        to, source, mask = i.operands
        assert isinstance(source, Name)
        self._everyone(self.value(mask, 32), active)
        count = self._ballot(self.predicate(source) & active, active)
        whole = self._ballot(active, active)
        kinds: dict[str, Words] = {"ballot": count, "any": count != 0, "all": count == whole}  # type: ignore[dict-item]
        self.define(to, next(kinds[k] for k in kinds if k in i.words), active)

    def _ballot(self, holds: Mask, active: Mask) -> Words:
        bits = (holds & active).astype(np.uint64) << (self.lane % WARP).astype(np.uint64)
        sums = np.add.reduceat(bits, np.arange(0, self.threads, WARP))
        return np.repeat(sums, WARP)[: self.threads].astype(np.uint32)

    def _atomic(self, i: Instruction, active: Mask) -> None:
        """One thread after the other."""
        bits = bits_of(i.words[-1])
        space = _space(i)
        where, kind = self.address(i.operands[1], space), _UNSIGNED[bits]
        old = np.zeros(self.threads, kind)
        given = [self.value(o, bits) for o in i.operands[2:]]
        for lane in np.flatnonzero(active):
            one = np.array([lane])
            old[lane] = self.spaces.read(where[one], bits // 8, one, bits // 8).view(kind)[0, 0]
            a = [g[lane] for g in given]
            if "cas" in i.words:
                new = a[1] if old[lane] == a[0] else old[lane]
            elif "exch" in i.words:
                new = a[0]
            elif "add" in i.words:
                new = (view(old[one], i.words[-1]) + view(np.array([a[0]]), i.words[-1])).view(kind)[0]
            else:
                raise PtxError("what atomic operation?")
            self.spaces.write(where[one], np.array([[new]], kind).view(np.uint8), one, bits // 8)
        self.define(i.operands[0], old, active)

    def _copy(self, i: Instruction, active: Mask) -> None:
        if "commit_group" in i.words:
            self.copies.groups.append(self.copies.open)
            self.copies.open = []
        elif "wait_group" in i.words or "wait_all" in i.words:
            if "wait_all" in i.words:
                self.copies.groups.append(self.copies.open)
                self.copies.open = []
            left = i.operands[0].value if i.operands and isinstance(i.operands[0], Number) else 0
            while len(self.copies.groups) > left:
                for copy in self.copies.groups.pop(0):
                    self._land(copy)
        else:
            size = i.operands[2]
            assert isinstance(size, Number)
            lanes = np.flatnonzero(active)
            to = self.address(i.operands[0], "shared")[lanes]
            whole = self.value(Number(size.value), 32) if len(i.operands) < 4 else self.value(i.operands[3], 32)
            poison = np.full((lanes.size, size.value), 0x5A, np.uint8)
            self.spaces.write(to, poison, lanes, size.value)  # who reads before the wait reads nonsense
            source = self.address(i.operands[1], "global")[lanes]
            self.copies.open.append(_Copy(to, source, lanes, size.value, whole[lanes].astype(np.uint64)))

    def _land(self, copy: _Copy) -> None:
        data = np.zeros((copy.lanes.size, copy.size), np.uint8)
        for count in np.unique(copy.take):
            if count:
                some = np.flatnonzero(copy.take == count)
                data[some, : int(count)] = self.spaces.read(copy.source[some], int(count), copy.lanes[some], 1)
        self.spaces.write(copy.to, data, copy.lanes, copy.size)

    def _print(self, i: Instruction, active: Mask) -> None:
        """vprintf, the only function: a format and the address of its values."""
        _, name, given = i.operands
        if not isinstance(name, Name) or name.text != "vprintf" or not isinstance(given, Vector):
            raise PtxError("what function?")
        pattern, values = (self.parameters[o.text] for o in given.items if isinstance(o, Name))
        assert isinstance(pattern, np.ndarray)
        assert isinstance(values, np.ndarray)
        for lane in np.flatnonzero(active):
            self.printed.append(_formatted(self.spaces, self.spaces.text(int(pattern[lane])), int(values[lane]), lane))
        self.parameters["retval0"] = 0


def _formatted(spaces: Spaces, pattern: str, at: int, lane: int) -> str:
    import re

    parts = []
    for piece in re.split(r"(%(?:\.9g|lld|d|s))", pattern):
        size = {"%.9g": 8, "%lld": 8, "%s": 8, "%d": 4}.get(piece)
        if size is None:
            parts.append(piece)
            continue
        at = -(-at // size) * size
        raw = spaces.read(np.array([at], np.uint64), size, np.array([lane]), size)
        if piece == "%s":
            parts.append(spaces.text(int(raw.view(np.uint64)[0, 0])))
        else:
            kind = {"%.9g": np.float64, "%lld": np.int64, "%d": np.int32}[piece]
            parts.append(piece.replace("lld", "d") % raw.view(kind)[0, 0])
        at += size
    return "".join(parts)


def _shape(i: Instruction) -> tuple[int, int]:
    """Bits of one element and how many there are."""
    count = next((int(w[1:]) for w in i.words if w in ("v2", "v4", "v8")), 1)
    return bits_of(i.words[-1]), count


def _space(i: Instruction) -> str | None:
    return next(
        (w for w in i.words for s in ("global", "shared", "local", "param", "const") if w.partition("__")[0] == s), None
    )


def run(
    ptx: str, slots: Sequence[NDArray[np.generic] | int], blocks: int, threads: int, shared: int = 0
) -> tuple[int, list[str]]:
    """Runs a kernel that takes the slots and then its failure word; returns that word, and what was printed.

    Arrays among the slots are read and written in place; integers are given as 64 bits.
    """
    module = parse(ptx)
    failure = np.zeros(1, np.int32)
    machine = Machine(module, [*slots, failure], threads, shared)
    with np.errstate(all="ignore"):
        for block in range(blocks):
            machine.run_block(block, blocks)
    machine.spaces.give_back()
    return int(failure[0]), machine.printed

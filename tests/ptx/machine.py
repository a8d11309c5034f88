"""Runs PTX: all threads of a block at once, block after block.

    run(to_ptx(text, target), [x, 16, y], blocks=4, threads=128)

A register is an array of bits with one word per thread.  Threads that stand at different places are groups; the group
at the lowest place goes on, so that threads meet again behind a branch.  Every instruction has the meaning that the PTX
ISA gives it; one that is not known stops the run with its text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .arithmetic import OPERATIONS
from .convert import convert
from .formats import UNSIGNED, Mask, Words, bits_of
from .group import Products, group_product
from .matrix import load_matrix, multiply_matrices
from .printing import print_values
from .spaces import LOCAL, SHARED, Spaces
from .text import Address, Instruction, Module, Name, Number, Operand, PtxError, Vector, parse
from .together import WARP, barrier, shuffle, vote
from .transfers import Copies, atomic, copy, load, store

__all__ = ["Machine", "run"]


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
        for name, (space, align, size, _) in variables:
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
        self.copies, self.products = Copies(), Products()
        dtypes = {n: np.dtype(UNSIGNED[b]) for n, b in self.module.registers.items()}
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
            kind = UNSIGNED[bits]
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
        kind = UNSIGNED[self.module.registers[operand.text]]
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
                load(self, i, active)
            case "st":
                store(self, i, active)
            case "cvt":
                convert(self, i, active)
            case "mma":
                multiply_matrices(self, i, active)
            case "wgmma":
                group_product(self, i, active)
            case "ldmatrix":
                load_matrix(self, i, active)
            case "shfl":
                shuffle(self, i, active)
            case "bar" | "barrier":
                barrier(self, i, active)
            case "vote" | "activemask":
                vote(self, i, active)
            case "atom":
                atomic(self, i, active)
            case "cp":
                copy(self, i, active)
            case "call":
                print_values(self, i, active)
            case "fence" if "proxy" in i.words:
                if not active.all():
                    raise PtxError("some threads do not fence")
                self.spaces.fence()
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
            wide = UNSIGNED[bits]
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

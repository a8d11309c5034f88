"""How a tile lives in the registers of a lane.

A lane holds `registers` elements of a tile.  They are kept in one of two forms: `values`, one register per element
(f32 for floats and codebooks, i32 or i64 for integers, sign- or zero-extended, i1 for bool), or packed `words` with the
position of every bit.  Each form is derived from the other where it is needed.  Either may be `Later`: what is pure is
computed where it is used, so that few of a tile's registers are alive at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ...vm.dtypes import Bool, DType, Int
from ...vm.ir import TileType
from ...vm.layout.relation import Layout
from ..lane.build import Builder
from ..lane.ir import Reg, Type
from .decode import decode_field, encode_exact
from .swar import Positions, dense, extract, insert, repack


class Later(Sequence[Reg]):
    """Registers that are computed when they are first asked for, and then kept.

    The lowering computes what a loop or a branch uses before it enters it (`settled`), so the first to ask stands in
    the scope in which the registers were defined.
    """

    def __init__(self, count: int, make: Callable[[int], Reg]) -> None:
        self._kept: list[Reg | None] = [None] * count
        self._make = make

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Reg: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Reg, ...]: ...
    def __getitem__(self, index: int | slice) -> Reg | tuple[Reg, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(len(self))[index])
        found = self._kept[index]
        if found is None:
            found = self._kept[index] = self._make(range(len(self))[index])
        return found


@dataclass(frozen=True, eq=False)
class Packed:
    """The elements' codes as bits of words.

    `clean`: each element has a word of its own, in its low bits, and the rest of the word is 0.
    """

    words: Sequence[Reg]
    positions: Positions
    clean: bool = False

    def field(self, register: int) -> list[int]:
        """Where the bits of one element's code are."""
        return [int(p) for p in self.positions[register]]


def separate(codes: Sequence[Reg], dtype: DType) -> Packed:
    """Zero-extended codes in words of their own."""
    places = np.arange(len(codes), dtype=np.int64)[:, None] * 32 + np.arange(dtype.bits)
    return Packed(codes, places, clean=True)


@dataclass(frozen=True, eq=False)
class Scaled:
    """Elements as numbers[r] * factors[r]; the factors are powers of two.

    `above`: numbers of which `numbers` are the differences from one that has few digits, and that number.
    """

    numbers: Sequence[Reg]
    factors: Sequence[float]
    above: tuple[Sequence[Reg], float] | None = None

    def values(self, b: Builder) -> Later:
        """The elements, with the products carried out."""
        return Later(len(self.numbers), lambda r: b.apply("fmul", self.numbers[r], b.f32(self.factors[r])))


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile's elements in one lane, in one of the two forms.

    `origin`: the dtype and the codes of which the elements are the values, exactly, if that is what they are.
    `scaled`: the elements as f32 products with powers of two that need not be carried out; of integers, their f32.
    """

    type: TileType
    form: Sequence[Reg] | Packed
    origin: tuple[DType, Packed] | None = None
    scaled: Scaled | None = None

    @property
    def layout(self) -> Layout:
        assert self.type.layout is not None
        return self.type.layout

    @property
    def registers(self) -> int:
        return self.layout.size("reg")

    def value(self, b: Builder, register: int) -> Reg:
        """The element as a number."""
        if isinstance(self.form, Packed):
            return decode_field(b, self.type.dtype, self.form.words, self.form.field(register))
        return self.form[register]

    def values(self, b: Builder) -> Sequence[Reg]:
        return Later(self.registers, lambda r: self.value(b, r))

    def settled(self) -> Tile:
        """The same with everything computed."""
        if self.origin is not None and not isinstance(self.form, Packed):  # what is computed is the codes
            dtype, codes = self.origin
            return replace(self, origin=(dtype, replace(codes, words=tuple(codes.words))))
        if isinstance(self.form, Packed):
            origin = self.origin and (self.origin[0], replace(self.origin[1], words=tuple(self.origin[1].words)))
            return replace(self, form=replace(self.form, words=tuple(self.form.words)), origin=origin)
        return replace(self, form=tuple(self.form))

    def renamed(self, b: Builder, type: TileType, match: Sequence[int]) -> Tile:
        """The tile of this type whose register r is register match[r] of this one."""
        origin = None
        if self.origin is not None:
            dtype, codes = self.origin
            origin = (dtype, replace(codes, positions=codes.positions[list(match)]))
        if isinstance(self.form, Packed):
            return Tile(type, replace(self.form, positions=self.form.positions[list(match)]), origin)
        values = self.values(b)
        return Tile(type, Later(len(match), lambda r: values[match[r]]), origin)

    def code(self, b: Builder, register: int) -> Reg:
        """The element's code, zero-extended (i32; i64 for 64-bit integers)."""
        if isinstance(self.form, Packed):
            field = self.form.field(register)
            return self.form.words[field[0] // 32] if self.form.clean else extract(b, self.form.words, field)
        return encode_exact(b, self.type.dtype, self.value(b, register))

    def words(self, b: Builder, positions: Positions | None = None) -> Sequence[Reg]:
        """The codes packed densely in register order, or as `positions` says."""
        bits = self.type.dtype.bits
        wanted = dense(self.registers, bits) if positions is None else positions
        if isinstance(self.form, Packed) and np.array_equal(self.form.positions, wanted):
            return self.form.words
        if isinstance(self.form, Packed) and positions is None and bits in (8, 16) and not self.form.clean:
            return repacked(b, self.form, bits)
        codes = [self.code(b, r) for r in range(self.registers)]
        return tuple(insert(b, codes, wanted, int(wanted.max()) // 32 + 1))


def repacked(b: Builder, form: Packed, container: int) -> Sequence[Reg]:
    """Every element zero-extended to `container` bits (8 or 16), neighbouring registers in one word."""
    slots = 32 // container
    count = -(-len(form.positions) // slots)

    def make(word: int) -> Reg:
        return repack(b, form.words, form.positions[word * slots : (word + 1) * slots], container)

    return Later(count, make)


def register_type(dtype: DType) -> Type:
    """The lane type in which one element's value is held."""
    match dtype:
        case Bool():
            return "i1"
        case Int():
            return "i64" if dtype.bits > 32 else "i32"
    return "f32"


@lru_cache(maxsize=4096)
def coordinates(layout: Layout, rank: int, lanes: int) -> NDArray[np.int64]:
    """[lanes, registers, rank]: the element that each register of each lane holds."""
    assert layout.size("lane") == lanes, f"{layout} is not for {lanes} lanes"
    axes = tuple(f"d{k}" for k in range(rank))
    if "lane" not in layout.axes or "reg" not in layout.axes:
        # `places` wants axes that exist; a missing one has the single coordinate 0
        inputs = tuple(a for a in ("lane", "reg") if a in layout.axes)
        found = layout.places(inputs, axes) if inputs else np.zeros((rank,), np.int64)
        return found.reshape(layout.size("lane"), layout.size("reg"), rank)
    return layout.places(("lane", "reg"), axes)


@lru_cache(maxsize=4096)
def matching(source: Layout, target: Layout, rank: int, lanes: int) -> tuple[int, ...] | None:
    """For each register of `target` the register of `source` with the same element, if it is the same on every lane."""
    mine, theirs = coordinates(source, rank, lanes), coordinates(target, rank, lanes)
    span = [max(source.size(f"d{k}"), target.size(f"d{k}")) for k in range(rank)]
    weights = np.array([int(np.prod(span[k + 1 :])) for k in range(rank)], np.int64)
    a, c = mine @ weights, theirs @ weights
    found = []
    first = {int(element): r for r, element in reversed(list(enumerate(a[0])))}
    for register in range(c.shape[1]):
        source_register = first.get(int(c[0, register]))
        if source_register is None or not np.array_equal(a[:, source_register], c[:, register]):
            return None
        found.append(source_register)
    return tuple(found)

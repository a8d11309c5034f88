"""A quantised tensor for products of bytes on GPUs: activations of 8 bits, and weights that are bytes exactly.

Storage follows the product of bytes as `prepared_cuda` does that of halves: in a storage tile, lane 4 g + t holds a few
neighbouring columns of number g, and of each 32 of K the four from 4 t on and those 16 further on.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...backend.lower.byte_operands import byte_packing
from ...vm.dtypes import DType, Int, dtype
from ...vm.layout.relation import Digit, Layout
from ...vm.layout.storage import Tiled
from ..tensor import QTensor
from .exact import as_integers
from .prepared import LinearError, Prepared, Shape, packed

__all__ = ["Bytes", "byte_storage", "prepare_bytes", "values_of"]

Bytes = Literal["int8", "f8e4m3fn"]
"""What activations are rounded to."""

TERMS = 32  # of K that one instruction takes
_STEPS = (4, 3, 2, 1)  # of such terms in a storage tile: as many columns of x share a step
_CODES = 128  # of each lane in a storage tile, where groups allow: planes of one bit are 16 bytes then
_MOST_COLUMNS = 16  # of each lane in a storage tile
_WARPS = 4  # of a block
_PLACED = 4  # bits of an unsigned integer that lies where it is a number of fp8


def byte_storage(element: DType, to: DType, steps: int, columns: int) -> Tiled:
    """Storage tiles of 32 `steps` of K by 8 `columns`, for products of bytes of the type `to`.

    Fields of one byte are different columns, whose sums are scaled apart; whole bytes are as the product has them.
    """
    make = Digit.make
    first = 2 if element.bits == 8 else columns
    digits = (
        make(4, {"lane": 1, "d0": 4}), make(8, {"lane": 4, "d1": columns}),
        make(4, {"reg": 1, "d0": 1}), make(first, {"reg": 4, "d1": 1}), make(2, {"reg": 4 * first, "d0": 16}),
        make(columns // first, {"reg": 8 * first, "d1": first}), make(steps, {"reg": 8 * columns, "d0": TERMS}),
    )  # fmt: skip
    packing = byte_packing(element, to, columns)
    words = [columns * steps * p // 4 for p in packing.planes or (element.bits,)]
    vector = next(v for v in (4, 2, 1) if all(w % v == 0 for w in words))
    return Tiled(Layout(tuple(d for d in digits if d.extent > 1)), packing, vector)


def prepare_bytes(q: QTensor, kind: Bytes) -> Prepared:
    """Packs the tensor for kernels of GPUs, in memory of the host; the result is kept with the tensor.

    Raises LinearError for an element type whose values are no such bytes, and for groups that do not divide into 32s.
    """
    key = ("cuda", kind)
    found = q._prepared.get(key)
    if isinstance(found, Prepared):
        return found
    element, shift, unit, codes = _exact(q, kind)
    shape, columns = _shape(q)
    storage = byte_storage(element, values_of(element, kind), shape.part // TERMS, columns)
    result = q._prepared[key] = packed(q, shape, storage, element, _width(columns, shape.n), codes, shift, unit)
    return result


def values_of(element: DType, kind: Bytes) -> DType:
    """The type of 8 bits that the packed codes are multiplied as."""
    if kind == "f8e4m3fn":
        return dtype("f8e4m3fn")
    return dtype("i8") if isinstance(element, Int) and element.signed else dtype("u8")


def _exact(q: QTensor, kind: Bytes) -> tuple[DType, int, float, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """The element type to pack, what its bytes are above the values, in which unit, and the codes."""
    element, codes = q.format.element, q.codes
    if kind == "f8e4m3fn":
        if isinstance(element, Int) and element.signed and element.bits <= _PLACED:
            sign = 1 << (element.bits - 1)
            return Int(element.bits, signed=False), sign, 1.0, codes ^ np.uint8(sign)
        return _exact_fp8(element), 0, 1.0, codes
    if isinstance(element, Int) and element.signed:
        return element, 0, 1.0, codes
    integers = as_integers(element)
    if integers is None:
        raise LinearError(
            f'{element} weights have no exact form as bytes, which activations="int8" needs: use activations="f16"'
        )
    if isinstance(element, Int) and element.signed:
        codes = codes ^ np.uint8(1 << (element.bits - 1))
    return integers.element, integers.shift, integers.unit, codes


def _exact_fp8(element: DType) -> DType:
    to = dtype("f8e4m3fn")
    if element.bits <= 8:
        count = 1 << element.bits
        values = np.asarray(element.decode(np.arange(count).astype(element.code_dtype)), np.float32)
        if np.array_equal(to.round(values), values, equal_nan=True):
            return element
    raise LinearError(
        f'{element} weights are not exact in f8e4m3fn, which activations="f8e4m3fn" needs: use activations="f16"'
    )


def _shape(q: QTensor) -> tuple[Shape, int]:
    """The least padding that makes whole groups and whole blocks, and the columns of a lane."""
    n, k = q.shape
    group = q.format.group
    if group is None or group >= k:
        step = TERMS * _STEPS[0]
        group = -(-k // step) * step
    if group % TERMS:
        raise LinearError(
            f"groups of {group} weights do not divide into {TERMS}s, which products of bytes on a GPU take: "
            'use activations="f16"'
        )
    steps = next(s for s in _STEPS if (group // TERMS) % s == 0)
    columns = min(_MOST_COLUMNS, 1 << (_CODES // (8 * steps)).bit_length() - 1)
    width, part = _width(columns, n), TERMS * steps
    return Shape(n, k, group, part, part, -(-k // group) * group, -(-n // width) * width), columns


def _width(columns: int, n: int) -> int:
    """Columns of a block: as many warps side by side as n needs, up to four."""
    needed = -(-n // (8 * columns))
    return 8 * columns * min(_WARPS, 1 << (needed - 1).bit_length())

"""A quantised tensor as kernels want it: padded, packed into storage tiles, scales and zero points by group and column.

K runs within a lane's words, columns lie on lanes.  The same packing serves every kind of activations but for "int8",
whose weights are bytes in another order of codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import gcd
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...backend.buffers import aligned_copy
from ...backend.target import Target
from ...vm.dtypes import DType, Float, Int, dtype
from ...vm.layout.storage import WORD, Packing, Tiled, default_planes
from ...vm.layout.views import column_local, spatial
from ..kernel import Kernel
from ..tensor import QTensor
from .exact import as_integers

Activations = Literal["f32", "bf16", "f16", "int8"]
ZeroMode = Literal["none", "zero", "offset"]

COLUMNS_PER_LANE = 4  # four independent sums per row hide the latency of a multiply-add
LONGEST_PART = 128  # of a group: columns of x that share a step in "int8"
LONGEST_RUN = 32  # of columns of x that one storage tile serves
TILE_BYTES = 512  # of one storage tile at most: what is fetched ahead at once, and longer bursts are slower (Zen 5)
SCALES = ("f16", "bf16", "f32", "e8m0", "f8e4m3fn", "ue5m3")  # of whole bytes: arrays of others are packed without gaps


class LinearError(ValueError):
    """Arguments that do not go together; the message says what to change."""


@dataclass(frozen=True)
class Shape:
    """The padded problem: rows of K are made `depth` long, N columns are stored as `columns`.

    A group of weights is cut into parts, each of which shares a step in "int8", and a part into runs, one of which is
    the height of a storage tile.  All three divide: run | part | group | depth.
    """

    n: int
    k: int
    group: int
    part: int
    run: int
    depth: int
    columns: int


def padded(q: QTensor, lanes: int) -> Shape:
    """The least padding that makes whole groups, whole words and whole storage tiles."""
    n, k = q.shape
    group = q.format.group
    if group is None or group >= k:
        step = LONGEST_RUN if k <= LONGEST_PART else LONGEST_PART
        group = -(-k // step) * step
    part = _divisor(group, LONGEST_PART)
    depth = -(-k // group) * group
    tile = lanes * COLUMNS_PER_LANE if n > lanes else lanes
    room = TILE_BYTES * 8 // (tile * q.format.element.bits)
    return Shape(n, k, group, part, _divisor(part, min(LONGEST_RUN, room)), depth, -(-n // tile) * tile)


def _divisor(whole: int, limit: int) -> int:
    """The largest divisor up to the limit, a multiple of four (bytes of a word) if there is one."""
    divisors = [d for d in range(1, min(whole, limit) + 1) if whole % d == 0]
    return max(divisors, key=lambda d: (d % 4 == 0, d))


@dataclass(frozen=True, eq=False)
class Prepared:
    """The packed tensor, the kernels that have been made for it, and how calls go to them.

    element   type of the packed codes: the format's own, or one whose values plus `shift` are unsigned bytes
    scales    of `scale_type`, [tiles, groups, width]: those of one tile of `width` columns follow each other
    zeros     of `zero_type`, likewise; [tiles, 0, width] when there are none
    """

    shape: Shape
    storage: Tiled
    element: DType
    shift: int
    zero_mode: ZeroMode
    scale_type: DType
    zero_type: DType
    weights: NDArray[np.uint8]
    scales: NDArray[np.generic]
    zeros: NDArray[np.generic]
    kernels: dict[tuple[object, ...], Kernel] = field(default_factory=dict)
    routes: dict[tuple[object, ...], object] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes that one pass reads of this tensor."""
        return self.weights.nbytes + self.scales.nbytes + self.zeros.nbytes

    @property
    def differences_are_bytes(self) -> bool:
        """Whether no code less its zero point, which has as many bits, is outside of -128 ... 127."""
        whole = isinstance(self.element, Int) and self.zero_mode == "zero" and self.zero_type.name == "u8"
        return whole and self.element.bits < 8

    def elsewhere(self) -> Prepared:
        """The same at other addresses, with the same kernels: for measurements on weights that are in no cache."""
        return replace(
            self,
            weights=aligned_copy(self.weights),
            scales=aligned_copy(self.scales),
            zeros=aligned_copy(self.zeros),
        )

    def planned_for(self, n: int) -> Prepared:
        """What the planner is to take for the packed form of n columns, of which these are a sample."""
        tile = int(self.scales.shape[2])
        return replace(self, shape=replace(self.shape, n=n, columns=-(-n // tile) * tile))


def prepare(q: QTensor, activations: Activations, target: Target) -> Prepared:
    """Packs the tensor for kernels of this target; the result is kept with the tensor.

    Raises LinearError for "int8" when the element type's values are no bytes.
    """
    key = ("linear", activations == "int8", target.lanes)
    found = q._prepared.get(key)
    if isinstance(found, Prepared):
        return found
    result = q._prepared[key] = _prepare(q, activations == "int8", target.lanes)
    return result


def _prepare(q: QTensor, as_bytes: bool, lanes: int) -> Prepared:
    shape = padded(q, lanes)
    element, shift, unit, codes = q.format.element, 0, 1.0, q.codes
    if as_bytes:
        integers = as_integers(element)
        if integers is None:
            raise LinearError(
                f'{element} weights have no exact form as bytes, which activations="int8" needs: use activations="f32"'
            )
        if isinstance(element, Int) and element.signed:
            codes = codes ^ np.uint8(1 << (element.bits - 1))
        element, shift, unit = integers.element, integers.shift, integers.unit
    storage = _storage(shape, element, lanes)
    return packed(q, shape, storage, element, storage.tile_shape[1], codes, shift, unit)


def packed(
    q: QTensor, shape: Shape, storage: Tiled, element: DType, width: int, codes: NDArray[np.uint8], shift: int = 0,
    unit: float = 1.0,
) -> Prepared:  # fmt: skip
    """The tensor in this storage: codes [N, K] of `element`; scales and zero points of `width` columns lie together.

    A weight's value is that of its code, less `shift`, in units of `unit`.
    """
    whole = np.zeros((shape.depth, shape.columns), np.uint8)
    whole[: shape.k, : shape.n] = codes.T
    weights = aligned_copy(storage.pack(whole))
    scale_type, scales = scales_of(q, shape, unit)
    mode, zero_type, zeros = zeros_of(q, shape, unit)
    scales, zeros = by_tile(scales, width), by_tile(zeros, width)
    return Prepared(shape, storage, element, shift, mode, scale_type, zero_type, weights, scales, zeros)


def _storage(shape: Shape, element: DType, lanes: int) -> Tiled:
    """Tiles of one run of K by as many columns as a block works on.

    The words of all columns for the same rows of K follow each other, as they are read.
    """
    per_lane = COLUMNS_PER_LANE if shape.columns % (lanes * COLUMNS_PER_LANE) == 0 else 1
    planes = default_planes(element.bits)
    rows = gcd(shape.run, WORD // max(planes))  # in one word of the widest plane
    tile = column_local(shape.run // rows, 1) * column_local(rows, per_lane) * spatial(1, lanes)
    return Tiled(tile, Packing(element.bits, 8, planes))


def scales_of(q: QTensor, shape: Shape, unit: float) -> tuple[DType, NDArray[np.generic]]:
    """[groups, columns]: in the format's own scale type where a kernel can take it as it is, else in f32."""
    own = q.format.scale
    if q.second == 1.0 and unit == 1.0 and own.name in SCALES:
        return own, _spread(q.scales, shape, numpy_type(own))
    values = q.scale_values.astype(np.float64) * q.second * unit
    return dtype("f32"), _spread(values.astype(np.float32), shape, np.dtype(np.float32))


def zeros_of(q: QTensor, shape: Shape, unit: float) -> tuple[ZeroMode, DType, NDArray[np.generic]]:
    """[groups, columns], with zero points in units of the packed values; offsets ("min") are numbers of their own."""
    if q.zeros is None:
        return "none", dtype("u8"), np.zeros((0, shape.columns), np.uint8)
    kind = q.format.zero_dtype
    assert kind is not None
    mode: ZeroMode = "offset" if q.format.zero == "min" else "zero"
    whole = mode == "offset" or unit == 1.0
    if whole and isinstance(kind, Int) and kind.bits <= 8 and not kind.signed:
        return mode, dtype("u8"), _spread(q.zeros, shape, np.dtype(np.uint8))
    if whole and isinstance(kind, Float) and kind.name in SCALES:
        return mode, kind, _spread(q.zeros, shape, numpy_type(kind))
    values = q.zero_values
    assert values is not None
    exact = values if whole else values / np.float32(unit)  # a power of two
    return mode, dtype("f32"), _spread(exact, shape, np.dtype(np.float32))


def by_tile(sides: NDArray[np.generic], width: int) -> NDArray[np.generic]:
    """[groups, columns] as [tiles, groups, width]."""
    groups, columns = sides.shape
    cut = sides.reshape(groups, columns // width, width).transpose(1, 0, 2)
    return aligned_copy(cut)


def numpy_type(kind: DType) -> np.dtype[np.generic]:
    """The NumPy dtype in which arrays of this dtype are passed to kernels."""
    plain: dict[str, type[np.generic]] = {"f16": np.float16, "f32": np.float32}
    return np.dtype(plain.get(kind.name, kind.code_dtype.type))


def _spread(sides: NDArray[np.generic], shape: Shape, kind: np.dtype[np.generic]) -> NDArray[np.generic]:
    """[N, G] codes or values as [G, columns] of `kind`, with the columns that pad at 0."""
    out = np.zeros((sides.shape[1], shape.columns), kind)
    turned = np.ascontiguousarray(sides.T)
    out[:, : shape.n] = turned.view(kind) if turned.dtype.itemsize == kind.itemsize else turned.astype(kind)
    return out

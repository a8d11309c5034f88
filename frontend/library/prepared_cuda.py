"""A quantised tensor as a GPU's kernels want it: 16 bytes of a lane are operands of a warp's matrix product.

In a storage tile, lane 4 g + t holds a few neighbouring columns of number g, and of K the terms that the product's
layout gives to number t; registers go through the terms of one operand word, the columns, then the rest of K.  So the
fields of one word, which differ in how far their bits are from the word's end, are those of different columns, whose
sums can be scaled apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...backend.lower.fragments import storage_of
from ...backend.target import Target
from ...vm.dtypes import DType, Float, dtype
from ...vm.layout.relation import Digit, Layout
from ...vm.layout.storage import WORD, Packing, Tiled, default_planes
from ..tensor import QTensor
from .prepared import LinearError, Prepared, Shape, packed

__all__ = ["TERMS", "Product", "gpu_shape", "gpu_storage", "prepare_cuda"]

Product = Literal["f16", "bf16"]

TERMS = 16  # of K that one instruction takes
_STEPS = 8  # of such terms in a storage tile, at most: 128 of K
_CODES = 128  # of each lane in a storage tile, where groups allow: planes of one bit are 16 bytes then
_MOST_COLUMNS = 16  # of each lane in a storage tile
_WARPS = 4  # of a block


@dataclass(frozen=True)
class _Cut:
    """steps: of 16 terms in a storage tile; columns: of each lane; warps: of a block, side by side along N."""

    steps: int
    columns: int
    warps: int

    @property
    def depth(self) -> int:
        return TERMS * self.steps

    @property
    def width(self) -> int:
        """Columns of a storage tile."""
        return 8 * self.columns


def _cut(group: int, n: int) -> _Cut:
    if group % TERMS:
        raise LinearError(f"groups of {group} weights do not divide into {TERMS}s, which products on a GPU take")
    steps = next(s for s in (8, 4, 2, 1) if (group // TERMS) % s == 0 and s <= _STEPS)
    columns = min(_MOST_COLUMNS, _CODES // (4 * steps))
    needed = -(-n // (8 * columns))
    return _Cut(steps, columns, min(_WARPS, 1 << (needed - 1).bit_length()))


def gpu_shape(q: QTensor) -> tuple[Shape, _Cut]:
    """The least padding that makes whole groups and whole blocks."""
    n, k = q.shape
    group = q.format.group
    if group is None or group >= k:
        step = TERMS * _STEPS
        group = -(-k // step) * step
    cut = _cut(group, n)
    wide = cut.width * cut.warps
    return Shape(n, k, group, cut.depth, cut.depth, -(-k // group) * group, -(-n // wide) * wide), cut


def gpu_storage(
    element: DType, product: Product, target: Target, steps: int = _STEPS, columns: int = 4
) -> Tiled:  # fmt: skip
    """Storage tiles of 16 `steps` of K by 8 `columns`, with bits where the decode to `product` wants them."""
    make = Digit.make
    digits = (
        make(4, {"lane": 1, "d0": 2}), make(8, {"lane": 4, "d1": columns}),
        make(2, {"reg": 1, "d0": 1}), make(columns, {"reg": 2, "d1": 1}),
        make(2, {"reg": 2 * columns, "d0": 8}), make(steps, {"reg": 4 * columns, "d0": 16}),
    )  # fmt: skip
    registers = 4 * columns * steps
    packing = storage_of(target, element, dtype(product), columns)
    if packing.total_words(registers) * WORD > registers * element.bits:  # tiles this small would be padded
        packing = Packing(element.bits, 16, default_planes(element.bits))
    words = packing.total_words(registers)
    vector = next(v for v in (4, 2, 1) if words % v == 0)
    return Tiled(Layout(tuple(d for d in digits if d.extent > 1)), packing, vector)


def prepare_cuda(q: QTensor, product: Product, target: Target) -> Prepared:
    """Packs the tensor for products of this type on GPUs, in memory of the host; the result is kept with the tensor."""
    key = ("cuda", product, target.has("fp8"))
    found = q._prepared.get(key)
    if isinstance(found, Prepared):
        return found
    shape, cut = gpu_shape(q)
    element = _numbers_only(q) if product == "bf16" else q.format.element
    storage = gpu_storage(element, product, target, cut.steps, cut.columns)
    result = q._prepared[key] = packed(q, shape, storage, element, cut.width * cut.warps, q.codes)
    return result


def _numbers_only(q: QTensor) -> DType:
    """The tensor's element without NaN and infinity if no code of it is one: as bf16, these take more than numbers."""
    element = q.format.element
    if not isinstance(element, Float) or element.specials == "finite":
        return element
    special = ~np.isfinite(element.decode(np.arange(1 << element.bits)))
    return element if special[q.codes].any() else replace(element, specials="finite")

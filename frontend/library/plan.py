"""Which library kernel runs a quantised linear, and with which parameters: a choice by model, without measuring.

A weight is stored once, in the layout that all kernels share: K runs within a lane's words, columns lie on lanes.  What
the kernels differ in is the activations (f32 or i8) and the number of rows that share each decoded weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...backend.buffers import aligned_copy
from ...backend.target import Target
from ...vm.dtypes import Codebook, DType, Float, Int, codebook, dtype
from ...vm.layout.storage import Packing, Tiled, default_planes
from ...vm.layout.views import column_local, spatial
from ..build import ParameterValue
from ..kernel import Kernel, KernelSource
from ..tensor import QTensor, value_table

Activations = Literal["f32", "int8"]
ZeroMode = Literal["none", "zero", "offset"]

COLUMNS_PER_LANE = 4  # four independent sums per row hide the latency of a multiply-add
ROWS = (8, 4, 2, 1)  # rows that one pass over the weights serves: sums for 8 x 4 vectors still fit 32 registers
ACTIVATION_GROUP = 128
SCALES = ("f16", "bf16", "f32", "e8m0", "f8e4m3fn", "ue4m3", "ue5m3")


@lru_cache(maxsize=16)
def library(name: str) -> str:
    """The text of a library file."""
    return (files("bitwright.frontend.library") / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Shape:
    """The padded problem: rows of K are made `depth` long, N columns are stored as `columns`."""

    n: int
    k: int
    group: int
    depth: int
    columns: int


def padded(q: QTensor, lanes: int) -> Shape:
    """The least padding that makes whole groups, whole words and whole storage tiles."""
    n, k = q.shape
    group = q.format.group
    if group is None or group >= k:
        group = -(-k // 32) * 32
        group = -(-group // ACTIVATION_GROUP) * ACTIVATION_GROUP if group > ACTIVATION_GROUP else group
    depth = -(-k // group) * group
    tile = lanes * COLUMNS_PER_LANE if n > lanes else lanes
    return Shape(n, k, group, depth, -(-n // tile) * tile)


@dataclass(frozen=True)
class Integers:
    """An element type's values as unsigned bytes: value = (byte - shift) * unit, exactly."""

    element: DType
    shift: int
    unit: float


def as_integers(element: DType) -> Integers | None:
    """The element's values as bytes, if they are multiples of one power of two and fit; None if they do not."""
    if isinstance(element, Int):
        if element.bits > 8:
            return None
        return Integers(Int(element.bits, signed=False), -int(element.min), 1.0)
    values = value_table(element)
    values = values[~np.isnan(values)]
    if not np.isfinite(values).all() or not values.any():
        return None
    mantissa, exponent = np.frexp(values[values != 0])
    low = int(min(e - (53 - _trailing(m)) for m, e in zip(mantissa.tolist(), exponent.tolist(), strict=True)))
    unit = 2.0**low
    whole = values / unit
    shift = max(0, int(-whole.min()))
    if whole.max() + shift > 255 or np.isnan(value_table(element)).any() and not isinstance(element, Codebook):
        return None
    return Integers(codebook((whole + shift).tolist(), f"{element.name}_bytes"), shift, unit)


def _trailing(mantissa: float) -> int:
    """Trailing zero bits of a 53-bit mantissa."""
    bits = int(abs(mantissa) * 2**53)
    return (bits & -bits).bit_length() - 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """A quantised tensor as the kernels want it: packed weights, scales and zeros by group and column."""

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

    @property
    def nbytes(self) -> int:
        """Bytes that one pass reads of this tensor."""
        return self.weights.nbytes + self.scales.nbytes + self.zeros.nbytes


def prepare(q: QTensor, activations: Activations, target: Target) -> Prepared:
    """Packs the tensor for kernels of this target; the result is kept with the tensor."""
    key = ("linear", activations, target.lanes)
    found = q._prepared.get(key)
    if isinstance(found, Prepared):
        return found
    result = _prepare(q, activations, target)
    q._prepared[key] = result
    return result


def _prepare(q: QTensor, activations: Activations, target: Target) -> Prepared:
    shape = padded(q, target.lanes)
    element, shift, unit, codes = q.format.element, 0, 1.0, q.codes
    if activations == "int8":
        integers = as_integers(element)
        if integers is None:
            raise ValueError(
                f'{element} weights have no exact form as bytes, which activations="int8" needs: use activations="f32"'
            )
        shift, unit = integers.shift, integers.unit
        if isinstance(element, Int) and element.signed:
            codes = codes ^ np.uint8(1 << (element.bits - 1))
        element = integers.element
    run = min(32, shape.group)
    lanes, per_lane = target.lanes, COLUMNS_PER_LANE if shape.columns % (target.lanes * COLUMNS_PER_LANE) == 0 else 1
    tile = column_local(run, per_lane) * spatial(1, lanes)
    bits = element.bits
    storage = Tiled(tile, Packing(bits, 8, default_planes(bits)))
    whole = np.zeros((shape.depth, shape.columns), np.uint8)
    whole[: shape.k, : shape.n] = codes.T
    weights = aligned_copy(storage.pack(whole))
    scale_type, scales = _scales(q, shape, unit)
    mode, zero_type, zeros = _zeros(q, shape)
    return Prepared(shape, storage, element, shift, mode, scale_type, zero_type, weights, scales, zeros)


def _scales(q: QTensor, shape: Shape, unit: float) -> tuple[DType, NDArray[np.generic]]:
    """[groups, columns]: in the format's own scale type where a kernel can take it as it is, else in f32."""
    own = q.format.scale
    if q.second == 1.0 and unit == 1.0 and own.name in SCALES:
        return own, _spread(q.scales, shape, numpy_type(own))
    values = q.scale_values.astype(np.float64) * q.second * unit
    return dtype("f32"), _spread(values.astype(np.float32), shape, np.dtype(np.float32))


def _zeros(q: QTensor, shape: Shape) -> tuple[ZeroMode, DType, NDArray[np.generic]]:
    if q.zeros is None:
        return "none", dtype("u8"), np.zeros((0, shape.columns), np.uint8)
    kind = q.format.zero_dtype
    assert kind is not None
    mode: ZeroMode = "offset" if q.format.zero == "min" else "zero"
    if isinstance(kind, Int) and kind.bits <= 8 and not kind.signed:
        return mode, dtype("u8"), _spread(q.zeros, shape, np.dtype(np.uint8))
    if isinstance(kind, Float) and kind.name in SCALES:
        return mode, kind, _spread(q.zeros, shape, numpy_type(kind))
    assert q.zero_values is not None
    return mode, dtype("f32"), _spread(q.zero_values, shape, np.dtype(np.float32))


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


def prepared_kernel(p: Prepared, activations: Activations, rows: int, bias: bool, target: Target) -> Kernel:
    """The kernel for `rows` rows at a time."""
    key = (activations, rows, bias)
    if key not in p.kernels:
        p.kernels[key] = _kernel(p, activations, rows, bias, target)
    return p.kernels[key]


def _kernel(p: Prepared, activations: Activations, rows: int, bias: bool, target: Target) -> Kernel:
    s, run = p.shape, p.storage.tile_shape[0]
    parameters: dict[str, ParameterValue] = {
        "W": p.element, "L": p.storage, "S": p.scale_type, "Z": p.zero_type, "G": s.group, "ZERO": p.zero_mode,
        "BIAS": bias, "BM": rows, "BN": p.storage.tile_shape[1], "BK": run,
        "K": s.depth, "N": s.n, "P": s.columns, "KG": s.depth // s.group,
    }  # fmt: skip
    if activations == "int8":
        parameters |= {"A": activation_group(s.group), "SHIFT": p.shift}
    source = KernelSource(library("linear.bw"), "linear.bw", f"linear_{activations}")
    return Kernel(source, target, parameters, {"M": rows})


def activation_group(group: int) -> int:
    """Columns of x that share one step: a part of a weight's group."""
    return ACTIVATION_GROUP if group > ACTIVATION_GROUP and group % ACTIVATION_GROUP == 0 else group



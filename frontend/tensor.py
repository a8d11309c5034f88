"""A quantised tensor: packed codes, scales and zero points, and the format that says what they mean."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from os import PathLike
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

from ..backend.exclusive import once
from ..vm.bits import pack, unpack
from ..vm.dtypes import Codebook, DType
from ..vm.formats import Format

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint8]
_F = TypeVar("_F", np.float32, np.float64)
CodeArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

ELEMENTS_AT_ONCE = 1 << 20  # elements that one step of a row-wise loop takes: its float64 buffers stay in cache


class QTensorError(ValueError):
    """Parts that do not make a quantised tensor."""


def row_bytes(k: int, bits: int) -> int:
    """Bytes of one packed row: `k` codes, least significant bit first, the last byte filled up with zeros."""
    return -(-k * bits // 8)


def pack_rows(codes: Codes, bits: int) -> Bytes:
    """Codes [N, K] as a dense bit stream per row: [N, row_bytes(K, bits)]."""
    n, k = codes.shape
    step = 8 // math.gcd(bits, 8)
    padded = -(-k // step) * step
    if padded != k:
        codes = np.pad(codes, ((0, 0), (0, padded - k)))
    packed = pack(codes.reshape(-1), bits).reshape(n, padded * bits // 8)
    return np.ascontiguousarray(packed[:, : row_bytes(k, bits)])


def unpack_rows(packed: Bytes, bits: int, k: int) -> Codes:
    """The inverse of `pack_rows`: codes [N, k]."""
    n = packed.shape[0]
    step = 8 // math.gcd(bits, 8)
    padded = -(-k // step) * step
    whole = padded * bits // 8
    if packed.shape[1] != whole:
        packed = np.pad(packed, ((0, 0), (0, whole - packed.shape[1])))
    codes = unpack(packed.reshape(-1), bits, n * padded).reshape(n, padded)
    return np.ascontiguousarray(codes[:, :k], dtype=np.uint8)


def value_table(element: DType) -> npt.NDArray[np.float64]:
    """Values of all 2^bits codes of an element type; NaN where a codebook has no entry."""
    table = np.full(1 << element.bits, np.nan)
    known = len(element.values) if isinstance(element, Codebook) else table.size
    table[:known] = element.decode(np.arange(known).astype(element.code_dtype))
    return table


@dataclass(frozen=True, eq=False)
class QTensor:
    """A weight matrix `w[N, K]` (rows are output features) in a `Format`. Immutable; `==` and `hash` are bitwise.

    shape    (N, K)
    packed   uint8 [N, row_bytes(K, bits)]: each row a dense little-endian bit stream of its codes
    scales   codes of the scale type [N, G], G = format.groups(K)
    zeros    codes of the zero type [N, G], or None when the format has no zero points
    second   the second-level scale, a float32 value; 1.0 when the format has none

    Build one with `quantize`, `load`, an importer, or `QTensor.from_codes`.
    """

    shape: tuple[int, int]
    format: Format
    packed: Bytes
    scales: CodeArray
    zeros: CodeArray | None = None
    second: float = 1.0
    # Buffers that kernels derived from this tensor, kept as long as it lives. Neither compared nor saved.
    _prepared: dict[object, object] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        n, k = self.shape
        if n < 1 or k < 1:
            raise QTensorError(f"a quantised tensor needs at least one row and one column, not shape {self.shape}")
        element, zero_type, sides = self.format.element, self.format.zero_dtype, (n, self.format.groups(k))
        object.__setattr__(self, "shape", (int(n), int(k)))
        self._own("packed", self.packed, np.dtype(np.uint8), (n, row_bytes(k, element.bits)))
        self._own("scales", self.scales, self.format.scale.code_dtype, sides)
        if (zero_type is None) != (self.zeros is None):
            verb = "has no" if zero_type is None else "needs"
            raise QTensorError(f"format {self.format} {verb} zero points, but zeros is {type(self.zeros).__name__}")
        if zero_type is not None and self.zeros is not None:
            self._own("zeros", self.zeros, zero_type.code_dtype, sides)
            if zero_type.bits < 8 and int(self.zeros.max()) >> zero_type.bits:
                raise QTensorError(f"a zero point does not fit {zero_type}: the largest code is {self.zeros.max()}")
        second = float(np.float32(self.second))
        if not math.isfinite(second) or (self.format.second is None and second != 1.0):
            raise QTensorError(f"format {self.format} cannot have the second-level scale {self.second}")
        object.__setattr__(self, "second", second)
        if isinstance(element, Codebook) and len(element.values) < 1 << element.bits:
            largest = int(self.codes.max())
            if largest >= len(element.values):
                raise QTensorError(f"code {largest} has no value: {element} has {len(element.values)} values")

    def _own(self, name: str, array: CodeArray, dtype: np.dtype[np.generic], shape: tuple[int, int]) -> None:
        """Keeps a read-only array that nobody else can write to, after checking its type and shape."""
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            found = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
            raise QTensorError(
                f"{name} of a {self.format} tensor {self.shape} must be {dtype}{list(shape)}, not {found}"
            )
        if array.flags.writeable or not array.flags.c_contiguous or array.base is not None:
            array = array.copy()
            array.setflags(write=False)
        object.__setattr__(self, name, array)

    @staticmethod
    def from_codes(
        codes: Codes, scales: CodeArray, format: Format, zeros: CodeArray | None = None, second: float = 1.0
    ) -> QTensor:
        """A tensor from unpacked codes [N, K], one a byte; `scales` and `zeros` are codes of their types, [N, G]."""
        if codes.ndim != 2 or codes.dtype != np.uint8:
            raise QTensorError(f"codes must be a uint8 array [N, K], not {codes.dtype}{list(codes.shape)}")
        n, k = codes.shape
        if not codes.size:
            raise QTensorError(f"a quantised tensor needs at least one row and one column, not shape {codes.shape}")
        packed = pack_rows(codes, format.element.bits)
        packed.setflags(write=False)
        return QTensor((n, k), format, packed, scales, zeros, second)

    @property
    def codes(self) -> Codes:
        """Unpacked codes, uint8 [N, K]; a new array."""
        return unpack_rows(self.packed, self.format.element.bits, self.shape[1])

    @property
    def scale_values(self) -> npt.NDArray[np.float32]:
        """Decoded scales [N, G], without the second level."""
        return np.asarray(self.format.scale.decode(self.scales), dtype=np.float32)

    @property
    def zero_values(self) -> npt.NDArray[np.float32] | None:
        """Decoded zero points [N, G], exact: in code units, or for "min" in units of the weights."""
        zero_type = self.format.zero_dtype
        if zero_type is None or self.zeros is None:
            return None
        return np.asarray(zero_type.decode(self.zeros), dtype=np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tensor: codes, scales, zero points (packed like codes), second-level scale."""
        total = self.packed.nbytes + self.scales.nbytes + (0 if self.format.second is None else 4)
        zero_type = self.format.zero_dtype
        return total + (0 if zero_type is None else -(-self.scales.size * zero_type.bits // 8))

    @property
    def bits_per_weight(self) -> float:
        """Stored bits per element, everything counted."""
        return self.nbytes * 8 / (self.shape[0] * self.shape[1])

    def _affine64(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(scale, offset) [N, G] with value = decode(code) * scale + offset, in float64."""
        scale = self.scale_values.astype(np.float64) * self.second
        zero = self.zero_values
        if zero is None:
            return scale, np.zeros_like(scale)
        return scale, zero.astype(np.float64) if self.format.zero == "min" else -zero.astype(np.float64) * scale

    def affine(self) -> tuple[Codes, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(codes uint8 [N, K], scale f32 [N, G], offset f32 [N, G]): value = decode(code) * scale[g] + offset[g].

        Every kind of zero point and the second level are folded in. Scale and offset are computed in float64 and
        rounded once; both are exact for scales of 16 bits or fewer with no second level and no "float" zero point.
        """
        scale, offset = self._affine64()
        return self.codes, scale.astype(np.float32), offset.astype(np.float32)

    @overload
    def dequantize(self) -> npt.NDArray[np.float32]: ...
    @overload
    def dequantize(self, dtype: type[_F]) -> npt.NDArray[_F]: ...
    def dequantize(self, dtype: type[np.floating] = np.float32) -> npt.NDArray[np.floating]:
        """The numbers [N, K]: the format's formula in float64, rounded once to `dtype` (np.float32 or np.float64)."""
        n, k = self.shape
        out: npt.NDArray[np.floating] = np.empty(self.shape, dtype)
        table, codes, step = value_table(self.format.element), self.codes, max(1, ELEMENTS_AT_ONCE // k)
        repeat = self.format.group_length(k)
        with np.errstate(invalid="ignore", over="ignore"):
            scale, zero = self.scale_values.astype(np.float64) * self.second, self.zero_values
            for row in range(0, n, step):
                rows = slice(row, row + step)
                value = table[codes[rows]]
                if zero is not None and self.format.zero != "min":
                    value -= _along_k(zero[rows], repeat, k)
                value *= _along_k(scale[rows], repeat, k)
                if zero is not None and self.format.zero == "min":
                    value += _along_k(zero[rows], repeat, k)
                out[rows] = value
        return out

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the tensor to a safetensors file, all or nothing. `QTensorFileError` when it cannot be written."""
        from .importers.safetensors import save  # the file format knows this class, so it is imported here

        save(self, path)

    @once
    def digest(self) -> str:
        """SHA-256 of meaning and content: equal for equal tensors, different for different ones."""
        return _digest(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QTensor) and self.format == other.format and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[type[QTensor], tuple[object, ...]]:
        return QTensor, (self.shape, self.format, self.packed, self.scales, self.zeros, self.second)

    def __repr__(self) -> str:
        n, k = self.shape
        return f"QTensor({n} x {k}, {self.format.name}, {self.bits_per_weight:.3f} bits per weight)"


def _along_k(side: npt.NDArray[np.floating], repeat: int, k: int) -> npt.NDArray[np.floating]:
    """One number per group [n, G] spread over its elements [n, K]."""
    return np.repeat(side, repeat, axis=1)[:, :k]


def _digest(tensor: QTensor) -> str:
    element = tensor.format.element
    table = repr(element.values) if isinstance(element, Codebook) else ""
    hasher = hashlib.sha256(f"{tensor.format}|{tensor.shape}|{table}|{tensor.second.hex()}|".encode())
    for array in (tensor.packed, tensor.scales, tensor.zeros):
        if array is not None:
            hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()

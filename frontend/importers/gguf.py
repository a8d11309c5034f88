"""Weights from GGUF checkpoints: as float32 for every type that the `gguf` package decodes, and without any loss as a
quantised tensor for the block types of `gguf_blocks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...vm.formats import Format
from ..tensor import QTensor
from .gguf_blocks import BLOCK_TYPES

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor


class GGUFError(ValueError):
    """A GGUF file, tensor or type that cannot be imported, or the missing package that reads them."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its name, shape (rows first), GGUF type name, and stored bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int


def list_tensors(path: str | PathLike[str]) -> tuple[TensorInfo, ...]:
    """What a GGUF file holds, in file order."""
    return tuple(
        TensorInfo(tensor.name, _shape(tensor), tensor.tensor_type.name, int(tensor.n_bytes))
        for tensor in _open(path).tensors
    )


def load_tensor(path: str | PathLike[str], name: str) -> npt.NDArray[np.float32]:
    """The tensor's numbers in float32, shape [N, K] for a matrix (rows are output features)."""
    from gguf.quants import dequantize  # present: _find has opened the file with the same package

    tensor = _find(path, name)
    try:
        values = dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError as error:
        raise GGUFError(f"{name} in {path} has type {tensor.tensor_type.name}, which gguf does not decode") from error
    return np.array(values, dtype=np.float32).reshape(_shape(tensor))


def load_qtensor(path: str | PathLike[str], name: str) -> QTensor:
    """The tensor as it is stored, without any loss: `load_tensor(...)` equals `load_qtensor(...).dequantize()`.

    `GGUFError` for types that are not in `BLOCK_TYPES`. (One difference: the E8M0 scale 255 of MXFP4 is NaN, as in the
    OCP standard; ggml reads 2^128. No quantiser writes it.)
    """
    tensor = _find(path, name)
    shape, kind = _shape(tensor), tensor.tensor_type.name
    if kind not in BLOCK_TYPES:
        raise GGUFError(
            f"{name} in {path} has type {kind}; exact import knows {', '.join(BLOCK_TYPES)}. "
            "Use quantize(load_tensor(path, name), ...) for this one."
        )
    if len(shape) != 2:
        raise GGUFError(f"{name} in {path} has shape {shape}; a quantised tensor is a matrix [N, K]")
    return from_blocks(np.asarray(tensor.data), kind, shape)


def from_blocks(data: npt.NDArray[np.uint8], kind: str, shape: tuple[int, int]) -> QTensor:
    """A quantised tensor from the raw bytes of a tensor of GGUF type `kind` (a key of `BLOCK_TYPES`)."""
    block = BLOCK_TYPES[kind]
    n, k = shape
    if k % block.elements:
        raise GGUFError(f"rows of {k} elements are not whole blocks of {block.elements}, as type {kind} needs")
    if data.dtype != np.uint8 or data.size != n * k // block.elements * block.bytes:
        raise GGUFError(f"{data.nbytes} bytes of {data.dtype} are not the {kind} blocks of a {n} x {k} matrix")
    with np.errstate(invalid="ignore", over="ignore"):  # a damaged scale may be NaN or infinite, and stays so
        parts = block.parts(np.ascontiguousarray(data).reshape(-1, block.bytes))
    format, zeros = block.format, None if parts.zeros is None else parts.zeros.reshape(n, -1)
    if kind == "TQ2_0" and parts.codes.max() == 3:  # +2: no quantiser writes it, yet the type can hold it
        format, zeros = Format.parse("u2:g256:f16+zero"), np.ones((n, k // 256), np.uint8)
    return QTensor.from_codes(parts.codes.reshape(n, k), parts.scales.reshape(n, -1), format, zeros)


def _open(path: str | PathLike[str]) -> GGUFReader:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise GGUFError("reading GGUF files needs the gguf package: pip install 'bitwright[interop]'") from error
    if not Path(path).is_file():
        raise FileNotFoundError(f"no GGUF file at {path}")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise GGUFError(f"{path} is not a readable GGUF file ({error}): download it again, or upgrade gguf") from error


def _find(path: str | PathLike[str], name: str) -> ReaderTensor:
    tensors = _open(path).tensors
    for tensor in tensors:
        if tensor.name == name:
            return tensor
    some = ", ".join(tensor.name for tensor in tensors[:8])
    raise GGUFError(f"{path} has no tensor {name!r}; it has {len(tensors)}, such as {some} (see list_tensors)")


def _shape(tensor: ReaderTensor) -> tuple[int, ...]:
    return tuple(int(side) for side in reversed(tensor.shape))  # GGUF writes the fastest dimension first

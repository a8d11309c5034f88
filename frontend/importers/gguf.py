"""Weights from GGUF checkpoints: as float32 for every type that the `gguf` package decodes, and without any loss as a
quantised tensor for the block types whose numbers are code * scale (+ minimum).

The blocks' layouts (bytes, little-endian; i counts the elements of a block) are those of ggml's block structs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...vm.formats import NAMED_FORMATS, Format
from ..tensor import Codes, QTensor

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

Blocks = npt.NDArray[np.uint8]  # [N, blocks in a row, bytes of a block]


class GGUFError(ValueError):
    """A GGUF file, tensor or type that cannot be imported, or the missing package that reads them."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its name, shape (rows first), GGUF type name, and stored bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int


@dataclass(frozen=True)
class BlockType:
    """How blocks of one GGUF type become a quantised tensor: format, elements in a block, and where its parts lie.

    scale, least   bytes that hold the scale and the minimum (None: there is no minimum)
    codes          unpacks the codes [N, blocks, elements] in the format's own coding
    """

    format: Format
    scale: slice
    least: slice | None
    codes: Callable[[Blocks], Codes]


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

    Types: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4 TQ2_0. `GGUFError` for all others: quantise `load_tensor(...)` anew.
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
    group = block.format.group_length(k)
    if k % group:
        raise GGUFError(f"rows of {k} elements are not whole blocks of {group}, as type {kind} needs")
    blocks = np.ascontiguousarray(data).reshape(n, k // group, -1)
    codes = block.codes(blocks).reshape(n, k)
    format = block.format
    if kind == "TQ2_0" and codes.max() == 3:  # +2: no quantiser writes it, yet the type can hold it
        format = Format.parse("u2:g256:f16+zero")
    scale_type = format.scale.code_dtype
    scales = np.ascontiguousarray(blocks[:, :, block.scale]).view(scale_type.newbyteorder("<"))[:, :, 0]
    zeros = None
    if block.least is not None:
        zeros = np.ascontiguousarray(blocks[:, :, block.least]).view("<u2")[:, :, 0].astype(np.uint16)
    elif format.zero == "int":
        zeros = np.ones(scales.shape, np.uint8)
    return QTensor.from_codes(codes, scales.astype(scale_type), format, zeros)


def _nibbles(at: int, flip: int = 0) -> Callable[[Blocks], Codes]:
    """Code i is the low nibble of byte at + i for i < 16, the high nibble of byte at + i - 16 for the others.

    `flip` turns codes with an offset into two's complement: q - 8 in four bits is q ^ 8.
    """

    def codes(blocks: Blocks) -> Codes:
        pairs = blocks[:, :, at : at + 16]
        together: Codes = np.concatenate([pairs & 15, pairs >> 4], axis=2)
        return together ^ np.uint8(flip)

    return codes


def _nibbles_and_bits(high: int, at: int, flip: int = 0) -> Callable[[Blocks], Codes]:
    """Five-bit codes: nibbles as above, and bit 4 of code i is bit i of the four bytes from `high`."""
    nibbles = _nibbles(at)

    def codes(blocks: Blocks) -> Codes:
        fifth = np.unpackbits(blocks[:, :, high : high + 4], axis=2, bitorder="little")
        return (nibbles(blocks) | (fifth << 4)) ^ np.uint8(flip)

    return codes


def _pairs_of_bits(blocks: Blocks) -> Codes:
    """TQ2_0: code i is bits 2 * (i % 128 // 32) and up of byte 32 * (i // 128) + i % 32."""
    halves = blocks[:, :, :64].reshape(*blocks.shape[:2], 2, 1, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 1, 4, 1)
    codes: Codes = (halves >> shifts).astype(np.uint8) & np.uint8(3)
    return codes.reshape(*blocks.shape[:2], 256)


def _block_types() -> dict[str, BlockType]:
    first = slice(0, 2)
    return {
        "Q4_0": BlockType(NAMED_FORMATS["q4_0"], first, None, _nibbles(2, flip=8)),
        "Q4_1": BlockType(NAMED_FORMATS["q4_1"], first, slice(2, 4), _nibbles(4)),
        "Q5_0": BlockType(NAMED_FORMATS["q5_0"], first, None, _nibbles_and_bits(2, 6, flip=16)),
        "Q5_1": BlockType(NAMED_FORMATS["q5_1"], first, slice(2, 4), _nibbles_and_bits(4, 8)),
        "Q8_0": BlockType(NAMED_FORMATS["q8_0"], first, None, lambda blocks: blocks[:, :, 2:]),
        "IQ4_NL": BlockType(NAMED_FORMATS["iq4_nl"], first, None, _nibbles(2)),
        "MXFP4": BlockType(NAMED_FORMATS["mxfp4"], slice(0, 1), None, _nibbles(1)),
        "TQ2_0": BlockType(NAMED_FORMATS["tq2_0"], slice(64, 66), None, _pairs_of_bits),
    }


BLOCK_TYPES: Mapping[str, BlockType] = _block_types()


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

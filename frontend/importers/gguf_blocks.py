"""What the bytes of GGUF's block types hold, and the tensor format that says the same numbers.

A row of a GGUF tensor is a run of equal blocks (bytes little-endian; i counts the elements of a block). Types whose
group scales are themselves coded (the K types, IQ4_XS) multiply out to scales and minima that float32 holds exactly, so
they are imported without loss too, at the price of 32-bit scales.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ...vm.formats import Format
from ..tensor import CodeArray, Codes

Blocks = npt.NDArray[np.uint8]  # [number of blocks, bytes of a block]
Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parts:
    """Codes [blocks, elements], scale codes [blocks, groups] and zero codes (or None), in a format's own coding."""

    codes: Codes
    scales: CodeArray
    zeros: CodeArray | None = None


@dataclass(frozen=True)
class BlockType:
    """A GGUF block type: the format of the imported tensor, elements and bytes of a block, and how to take it apart."""

    format: Format
    elements: int
    bytes: int
    parts: Callable[[Blocks], Parts]


def _half(blocks: Blocks, at: int) -> npt.NDArray[np.uint16]:
    """The f16 code in bytes at and at + 1: [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<u2").astype(np.uint16)


def _real(blocks: Blocks, at: int) -> Reals:
    return _half(blocks, at).view(np.float16).astype(np.float32)


def _code(values: Reals) -> npt.NDArray[np.uint32]:
    """f32 codes of float32 values."""
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)


def _fields(data: Blocks, run: int, bits: int) -> Codes:
    """Fields of `bits` bits from byte runs: the low fields of `run` bytes first, then their next fields, and so on."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    fields = (data.reshape(len(data), -1, 1, run) >> shifts) & np.uint8((1 << bits) - 1)
    return np.ascontiguousarray(fields.reshape(len(data), -1), dtype=np.uint8)


def _single_bits(data: Blocks) -> Codes:
    return np.unpackbits(data, axis=1, bitorder="little")


def _join(low: Codes, high: Codes, at: int) -> Codes:
    """Codes whose bits from bit `at` upward are kept apart from the lower ones."""
    joined: Codes = np.bitwise_or(low, np.left_shift(high, np.uint8(at)))
    return joined


def _low(data: Blocks, bits: int) -> Codes:
    return data & np.uint8((1 << bits) - 1)


def _high(data: Blocks, at: int) -> Codes:
    upper: Codes = np.right_shift(data, np.uint8(at))
    return upper


def _q1_0(b: Blocks) -> Parts:
    return Parts(_single_bits(b[:, 2:]), _half(b, 0))


def _q4_0(b: Blocks) -> Parts:
    # q - 8 in four bits of two's complement is q ^ 8; likewise q - 16 and q - 32 below
    return Parts(_fields(b[:, 2:], 16, 4) ^ np.uint8(8), _half(b, 0))


def _q4_1(b: Blocks) -> Parts:
    return Parts(_fields(b[:, 4:], 16, 4), _half(b, 0), _half(b, 2))


def _q5_0(b: Blocks) -> Parts:
    return Parts(_join(_fields(b[:, 6:], 16, 4), _single_bits(b[:, 2:6]), 4) ^ np.uint8(16), _half(b, 0))


def _q5_1(b: Blocks) -> Parts:
    return Parts(_join(_fields(b[:, 8:], 16, 4), _single_bits(b[:, 4:8]), 4), _half(b, 0), _half(b, 2))


def _q8_0(b: Blocks) -> Parts:
    return Parts(b[:, 2:], _half(b, 0))


def _iq4_nl(b: Blocks) -> Parts:
    return Parts(_fields(b[:, 2:], 16, 4), _half(b, 0))


def _mxfp4(b: Blocks) -> Parts:
    return Parts(_fields(b[:, 1:], 16, 4), b[:, :1])


def _nvfp4(b: Blocks) -> Parts:
    scales = b[:, :4] & np.uint8(0x7F)
    scales[scales == 0x7F] = 0  # ggml reads the code that is NaN elsewhere as zero
    return Parts(_fields(b[:, 4:], 8, 4), scales)


def _tq2_0(b: Blocks) -> Parts:
    return Parts(_fields(b[:, :64], 32, 2), _half(b, 64))


def _q2_k(b: Blocks) -> Parts:
    scale, least = _real(b, 80) * (b[:, :16] & 15), -(_real(b, 82) * (b[:, :16] >> 4))
    return Parts(_fields(b[:, 16:80], 32, 2), _code(scale), _code(least))


def _q3_k(b: Blocks) -> Parts:
    low, high = _fields(b[:, 96:104], 8, 4), _fields(b[:, 104:108], 4, 2)
    scale = _real(b, 108) * (_join(low, high, 4).astype(np.float32) - 32)
    third = _fields(b[:, :32], 32, 1)
    # the number is q - 4 with q = (third, two bits), which is q ^ 4 in three bits of two's complement
    return Parts(_join(_fields(b[:, 32:96], 32, 2), third, 2) ^ np.uint8(4), _code(scale))


def _scales_and_minima(b: Blocks) -> tuple[Reals, Reals]:
    """Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes, the upper two bits of the last four set apart."""
    a, m, rest = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scale = np.concatenate([_low(a, 6), _join(_low(rest, 4), _high(a, 6), 4)], axis=1)
    least = np.concatenate([_low(m, 6), _join(_high(rest, 4), _high(m, 6), 4)], axis=1)
    return _real(b, 0) * scale, -(_real(b, 2) * least)


def _q4_k(b: Blocks) -> Parts:
    scale, least = _scales_and_minima(b)
    return Parts(_fields(b[:, 16:], 32, 4), _code(scale), _code(least))


def _q5_k(b: Blocks) -> Parts:
    scale, least = _scales_and_minima(b)
    fifth = _fields(b[:, 16:48], 32, 1)
    return Parts(_join(_fields(b[:, 48:], 32, 4), fifth, 4), _code(scale), _code(least))


def _q6_k(b: Blocks) -> Parts:
    codes = _join(_fields(b[:, :128], 64, 4), _fields(b[:, 128:192], 32, 2), 4)
    return Parts(codes ^ np.uint8(32), _code(_real(b, 208) * b[:, 192:208].view(np.int8)))


def _iq4_xs(b: Blocks) -> Parts:
    low, high = _fields(b[:, 4:8], 1, 4), _fields(b[:, 2:4], 1, 2)
    scale = _real(b, 0) * (_join(low, high, 4).astype(np.float32) - 32)
    return Parts(_fields(b[:, 8:], 16, 4), _code(scale))


def _types() -> dict[str, BlockType]:
    return {
        "Q1_0": BlockType(Format.parse("b1:g128:f16"), 128, 18, _q1_0),
        "Q4_0": BlockType(Format.parse("q4_0"), 32, 18, _q4_0),
        "Q4_1": BlockType(Format.parse("q4_1"), 32, 20, _q4_1),
        "Q5_0": BlockType(Format.parse("q5_0"), 32, 22, _q5_0),
        "Q5_1": BlockType(Format.parse("q5_1"), 32, 24, _q5_1),
        "Q8_0": BlockType(Format.parse("q8_0"), 32, 34, _q8_0),
        "IQ4_NL": BlockType(Format.parse("iq4_nl"), 32, 18, _iq4_nl),
        "MXFP4": BlockType(Format.parse("mxfp4"), 32, 17, _mxfp4),
        "NVFP4": BlockType(Format.parse("f4e2m1:g16:ue4m3"), 64, 36, _nvfp4),
        "TQ2_0": BlockType(Format.parse("tq2_0"), 256, 66, _tq2_0),
        "Q2_K": BlockType(Format.parse("u2:g16:f32+min"), 256, 84, _q2_k),
        "Q3_K": BlockType(Format.parse("i3:g16:f32"), 256, 110, _q3_k),
        "Q4_K": BlockType(Format.parse("u4:g32:f32+min"), 256, 144, _q4_k),
        "Q5_K": BlockType(Format.parse("u5:g32:f32+min"), 256, 176, _q5_k),
        "Q6_K": BlockType(Format.parse("i6:g16:f32"), 256, 210, _q6_k),
        "IQ4_XS": BlockType(Format.parse("iq4nl:g32:f32"), 256, 136, _iq4_xs),
    }


BLOCK_TYPES: Mapping[str, BlockType] = MappingProxyType(_types())

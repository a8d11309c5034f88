"""Dense bit streams: code i of width n stands in bits [i*n, i*n + n) of a little-endian stream.

Bit b of the stream is bit b % 8 (from the least significant) of byte b // 8. The last byte is filled up with zeros.
This is the storage that checkpoints use, and the oracle for every sub-byte access that the compiler generates.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .element import code_dtype_for

# Codes per step: a multiple of 8, so that every step but the last begins and ends at a byte.
_STEP: Final = 1 << 15


class BitsError(ValueError):
    """Codes that do not fit their width, or a stream that is too short."""


def packed_size(count: int, bits: int) -> int:
    """The bytes that `count` codes of `bits` bits take, rounded up."""
    return -(-count * bits // 8)


def pack(codes: npt.ArrayLike, bits: int) -> npt.NDArray[np.uint8]:
    """The dense stream of integer `codes` (any shape, in row-major order), each in 0..2^bits - 1; bits is 1..64.

    >>> pack([1, 2, 3, 4], 3).tolist()
    [209, 8]
    """
    _check_width(bits)
    flat = _checked(codes, bits)
    out = np.empty(packed_size(flat.size, bits), np.uint8)
    for start in range(0, flat.size, _STEP):
        part = flat[start : start + _STEP]
        target = out[start * bits // 8 : packed_size(start + part.size, bits)]
        target[:] = _pack_narrow(part, bits) if bits <= 8 else _pack_wide(part, bits)
    return out


def unpack(stream: npt.NDArray[np.uint8] | bytes | bytearray | memoryview, bits: int, count: int) -> _Codes:
    """The first `count` codes of a dense stream, 1-D: uint8 up to 8 bits, else uint16, uint32 or uint64.

    BitsError if the stream is shorter than that; what follows the last code is not looked at.

    >>> unpack(bytes([209, 8]), 3, 4).tolist()
    [1, 2, 3, 4]
    """
    _check_width(bits)
    if count < 0:
        raise BitsError(f"count must not be negative, got {count}")
    array = stream if isinstance(stream, np.ndarray) else np.frombuffer(stream, np.uint8)
    if array.dtype != np.uint8 or array.ndim != 1:
        raise BitsError(f"a stream is a 1-D array of uint8, not {array.ndim}-D of {array.dtype}")
    need = packed_size(count, bits)
    if array.size < need:
        raise BitsError(f"the stream has {array.size} bytes, but {count} codes of {bits} bits take {need}")
    out: _Codes = np.empty(count, code_dtype_for(bits))
    for start in range(0, count, _STEP):
        size = min(_STEP, count - start)
        part = array[start * bits // 8 : packed_size(start + size, bits)]
        out[start : start + size] = _unpack_narrow(part, bits, size) if bits <= 8 else _unpack_wide(part, bits, size)
    return out


_Codes = npt.NDArray[np.unsignedinteger]


def _check_width(bits: int) -> None:
    if not 1 <= bits <= 64:
        raise BitsError(f"a width is 1 to 64 bits, not {bits}")


def _checked(codes: npt.ArrayLike, bits: int) -> npt.NDArray[np.integer]:
    array = np.asarray(codes)
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size == 0:
        return np.empty(0, np.uint8)
    if flat.dtype.kind == "b":
        return flat.view(np.uint8)
    if flat.dtype.kind not in "iu":
        raise BitsError(f"codes must be integers of at most 64 bits, not {flat.dtype}")
    if flat.dtype.itemsize * 8 > bits or flat.dtype.kind == "i":
        low, high = int(flat.min()), int(flat.max())
        if low < 0 or high >> bits:
            wrong = low if low < 0 else high
            raise BitsError(f"code {wrong} does not fit {bits} bits; codes are 0..{(1 << bits) - 1}")
    return flat


def _steps(bits: int) -> list[tuple[np.uint64, np.uint64, np.uint64, np.uint64]]:
    """The three steps that close the gaps between eight bytes of one word.

    Fields of w bits in lanes of s bits become fields of 2w bits in lanes of 2s: the odd field moves down by s - w.
    Each step is (s - w, the even fields, the odd fields before the move, the odd fields after it).
    """
    steps = []
    for lane, width in ((8, bits), (16, 2 * bits), (32, 4 * bits)):
        field = (1 << width) - 1
        even = sum(field << at for at in range(0, 64, 2 * lane))
        steps.append((np.uint64(lane - width), np.uint64(even), np.uint64(even << lane), np.uint64(even << width)))
    return steps


def _pack_narrow(codes: npt.NDArray[np.integer], bits: int) -> npt.NDArray[np.uint8]:
    """Up to 8 bits: eight codes are the bytes of one word; three shifts bring them together in its low bytes."""
    groups = -(-codes.size // 8)
    lanes = np.zeros(groups * 8, np.uint8)
    lanes[: codes.size] = codes
    if bits == 8:
        return lanes[: codes.size]
    word = lanes.view("<u8")
    for move, even, _, near in _steps(bits):
        word = (word & even) | ((word >> move) & near)
    packed = word.astype("<u8", copy=False).view(np.uint8).reshape(groups, 8)[:, :bits]
    return packed.reshape(-1)[: packed_size(codes.size, bits)]


def _unpack_narrow(stream: npt.NDArray[np.uint8], bits: int, count: int) -> npt.NDArray[np.uint8]:
    """The inverse: the same shifts the other way, in the other order."""
    if bits == 8:
        return stream
    groups = -(-count // 8)
    lanes = np.zeros((groups, 8), np.uint8)
    whole = stream.size // bits
    lanes[:whole, :bits] = stream[: whole * bits].reshape(whole, bits)
    rest = stream[whole * bits :]
    lanes[whole : whole + 1, : rest.size] = rest
    word = lanes.reshape(-1).view("<u8")
    for move, even, far, _ in reversed(_steps(bits)):
        word = (word & even) | ((word << move) & far)
    return word.astype("<u8", copy=False).view(np.uint8)[:count]


def _pack_wide(codes: npt.NDArray[np.integer], bits: int) -> npt.NDArray[np.uint8]:
    """More than 8 bits: whole words where the width is one, else by single bits."""
    if bits in (16, 32, 64):
        return codes.astype(f"<u{bits // 8}").view(np.uint8)
    octets = codes.astype("<u8").view(np.uint8).reshape(-1, 8)
    single = np.unpackbits(octets, axis=1, bitorder="little", count=bits)
    return np.packbits(single, bitorder="little")


def _unpack_wide(stream: npt.NDArray[np.uint8], bits: int, count: int) -> npt.NDArray[np.uint64]:
    if bits in (16, 32, 64):
        return np.frombuffer(stream.tobytes(), f"<u{bits // 8}").astype(np.uint64)
    single = np.unpackbits(stream, bitorder="little", count=count * bits).reshape(count, bits)
    octets = np.zeros((count, 8), np.uint8)
    octets[:, : -(-bits // 8)] = np.packbits(single, axis=1, bitorder="little")
    return octets.reshape(-1).view("<u8").astype(np.uint64, copy=False)

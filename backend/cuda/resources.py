"""What a kernel takes of a multiprocessor, read from its cubin (an ELF file) without any tool of NVIDIA's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..build_error import BuildError

__all__ = ["Resources", "resources"]

_REGISTERS, _FRAME = 0x2F, 0x11  # EIATTR_REGCOUNT, EIATTR_FRAME_SIZE in .nv.info
_LONG = 4  # the format of an attribute whose value follows, of a length in bytes that stands before it


@dataclass(frozen=True)
class Resources:
    """For one thread: 32-bit registers and bytes of local memory; for a block: bytes of fixed shared memory."""

    registers: int
    local_bytes: int
    shared_bytes: int


def resources(cubin: bytes) -> Resources:
    """Of the one kernel in a cubin."""
    sections = dict(_sections(cubin))
    if ".nv.info" not in sections:
        raise BuildError("this is no cubin: it has no section .nv.info")
    start, size = sections[".nv.info"]
    found = dict(_attributes(cubin[start : start + size]))
    if _REGISTERS not in found:
        raise BuildError("the cubin does not say how many registers its kernel needs")
    # Both values are a symbol's index, then the number.
    registers, local = (int.from_bytes(found.get(a, bytes(8))[4:8], "little") for a in (_REGISTERS, _FRAME))
    fixed = (size for name, (_, size) in sections.items() if name.startswith(".nv.shared.bw_"))
    return Resources(registers, local, sum(fixed))


def _sections(image: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """The name, offset and size of every section of a 64-bit little-endian ELF file."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise BuildError("this is no cubin: it does not begin like a 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", image, 0x28)
    entry, count, names = struct.unpack_from("<HHH", image, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", image, table + n * entry) for n in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, size in headers:
        end = image.index(b"\0", strings + name)
        yield image[strings + name : end].decode(), (offset, size)


def _attributes(info: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        length = size if form == _LONG else 0
        yield attribute, info[at + 4 : at + 4 + length]
        at += 4 + length

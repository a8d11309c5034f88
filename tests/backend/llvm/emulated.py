"""Runs objects for 64-bit ARM on any machine, in the emulator Unicorn: a small linker for what our objects hold.

The emulated processor has the dot products of bytes (dotprod) and half precision, and neither i8mm nor bf16.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

unicorn = pytest.importorskip("unicorn")
arm64 = pytest.importorskip("unicorn.arm64_const")

_CODE, _DATA, _STACK, _RETURN = 0x10_0000, 0x1000_0000, 0x7000_0000, 0xF_0000
_MEMSET = struct.pack("<5I", 0xAA0003E3, 0xB4000082, 0x38001461, 0xD1000442, 0x17FFFFFD) + struct.pack("<I", 0xD65F03C0)
_MEMCPY = struct.pack("<7I", 0xAA0003E3, 0xB40000A2, 0x38401424, 0x38001464, 0xD1000442, 0x17FFFFFC, 0xD65F03C0)


class Object:
    """An ELF object placed in memory, ready to be called."""

    def __init__(self, code: bytes) -> None:
        self._code = code
        table, count = struct.unpack_from("<Q", code, 0x28)[0], struct.unpack_from("<H", code, 0x3C)[0]
        self._sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + 64 * k) for k in range(count)]
        self._image = bytearray()
        self._at: dict[int, int] = {}
        for number, s in enumerate(self._sections):
            if s[2] & 2 and s[5]:  # takes up memory
                self._image += bytes(-len(self._image) % max(1, s[8]))
                self._at[number] = _CODE + len(self._image)
                self._image += code[s[4] : s[4] + s[5]] if s[1] != 8 else bytes(s[5])
        self._image += bytes(-len(self._image) % 16)
        self._outside = {"memset": self._add(_MEMSET), "memcpy": self._add(_MEMCPY)}
        symbols = next(s for s in self._sections if s[1] == 2)
        self._symbols = [struct.unpack_from("<IBBHQQ", code, symbols[4] + 24 * k) for k in range(symbols[5] // 24)]
        self._names = self._sections[symbols[6]][4]
        for s in self._sections:
            if s[1] == 4 and s[7] in self._at:
                for k in range(s[5] // 24):
                    self._relocate(self._at[s[7]], *struct.unpack_from("<QQq", code, s[4] + 24 * k))

    def _add(self, code: bytes) -> int:
        self._image += code
        return _CODE + len(self._image) - len(code)

    def _name(self, symbol: tuple[int, ...]) -> str:
        start = self._names + symbol[0]
        return self._code[start : self._code.index(b"\0", start)].decode()

    def _address(self, symbol: tuple[int, ...]) -> int:
        """What is not defined, and is not one of the two functions above, lies at 0: calling it stops the emulator."""
        return self._at[symbol[3]] + symbol[4] if symbol[3] else self._outside.get(self._name(symbol), 0)

    def _relocate(self, section: int, offset: int, info: int, addend: int) -> None:
        """The relocations of the small code model (ELF for the Arm 64-bit Architecture, section 5.7)."""
        place = section + offset
        target = self._address(self._symbols[info >> 32]) + addend
        kind, spot = info & 0xFFFFFFFF, place - _CODE
        (word,) = struct.unpack_from("<I", self._image, spot)
        if kind == 275:  # ADR_PREL_PG_HI21
            pages = (target >> 12) - (place >> 12)
            word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
        elif kind in (277, 278, 284, 285, 286, 299):  # the low 12 bits: ADD, and LDST of 1, 2, 4, 8, 16 bytes
            word |= ((target & 0xFFF) >> {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}[kind]) << 10
        elif kind in (282, 283):  # JUMP26, CALL26
            word |= (target - place) >> 2 & 0x3FFFFFF
        elif kind == 261:  # PREL32
            word = (target - place) & 0xFFFFFFFF
        else:
            raise AssertionError(f"relocation {kind} is new here")
        struct.pack_into("<I", self._image, spot, word)

    def call(self, name: str, arguments: Sequence[NDArray[np.generic] | int], slots: bool = False) -> None:
        """Calls a function with addresses of arrays, which change in place, and integers.

        With `slots` the arguments but the last two are words of memory, to which the first register points.
        """
        machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        machine.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)
        for start, size in ((_CODE, len(self._image)), (_STACK, 1 << 20), (_RETURN, 4096)):
            machine.mem_map(start, -(-size // 4096) * 4096)
        machine.mem_write(_CODE, bytes(self._image))
        words, places, top = [], [], _DATA
        for x in arguments:
            words.append(top if isinstance(x, np.ndarray) else x & (1 << 64) - 1)
            if isinstance(x, np.ndarray):
                room = -(-(x.nbytes + 64) // 4096) * 4096
                machine.mem_map(top, room)
                machine.mem_write(top, x.tobytes())
                places.append((x, top))
                top += room + 4096  # a gap, so that to run past the end is an error
        if slots:
            machine.mem_map(top, 4096)
            machine.mem_write(top, struct.pack(f"<{len(words) - 2}Q", *words[:-2]))
            words = [top, *words[-2:]]
        for k, word in enumerate(words):
            machine.reg_write(arm64.UC_ARM64_REG_X0 + k, word)
        machine.reg_write(arm64.UC_ARM64_REG_SP, _STACK + (1 << 20))
        machine.reg_write(arm64.UC_ARM64_REG_LR, _RETURN)
        entry = next(s for s in self._symbols if s[3] and self._name(s) == name)
        machine.emu_start(self._address(entry), _RETURN)
        for x, place in places:
            x[...] = np.frombuffer(machine.mem_read(place, x.nbytes), x.dtype).reshape(x.shape)

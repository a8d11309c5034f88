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

_OUTSIDE, _CODE, _DATA, _SLOTS, _HEAP, _STACK = 0xF_0000, 0x10_0000, 0x1000_0000, 0x6000_0000, 0x6800_0000, 0x7000_0000
_HEAP_SIZE = 16 << 20
_FUNCTIONS = ("", "memset", "memcpy", "aligned_alloc", "free", "sinf", "cosf")  # the first is where the call returns to


def _outside(machine: unicorn.Uc, address: int, size: int, data: object) -> None:
    """Does what a function of the C library does, when the emulator comes to the `ret` that stands for it."""
    first, second, third = (machine.reg_read(arm64.UC_ARM64_REG_X0 + k) for k in range(3))
    match _FUNCTIONS[(address - _OUTSIDE) // 4]:
        case "memset":
            machine.mem_write(first, bytes([second & 0xFF]) * third)
        case "memcpy":
            machine.mem_write(first, bytes(machine.mem_read(second, third)))
        case "aligned_alloc":
            assert second <= _HEAP_SIZE
            machine.reg_write(arm64.UC_ARM64_REG_X0, _HEAP)
        case "sinf" | "cosf" as name:
            x = np.array([machine.reg_read(arm64.UC_ARM64_REG_S0)], np.uint32).view(np.float32).astype(np.float64)
            with np.errstate(invalid="ignore"):
                y = (np.sin(x) if name == "sinf" else np.cos(x)).astype(np.float32)
            machine.reg_write(arm64.UC_ARM64_REG_S0, int(y.view(np.uint32)[0]))


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
        symbols = next(s for s in self._sections if s[1] == 2)
        self._symbols = [struct.unpack_from("<IBBHQQ", code, symbols[4] + 24 * k) for k in range(symbols[5] // 24)]
        self._names = self._sections[symbols[6]][4]
        for s in self._sections:
            if s[1] == 4 and s[7] in self._at:
                for k in range(s[5] // 24):
                    self._relocate(self._at[s[7]], *struct.unpack_from("<QQq", code, s[4] + 24 * k))

    def _name(self, symbol: tuple[int, ...]) -> str:
        start = self._names + symbol[0]
        return self._code[start : self._code.index(b"\0", start)].decode()

    def _address(self, symbol: tuple[int, ...]) -> int:
        """Where the symbol lies; a function that is not in the object lies outside."""
        if symbol[3]:
            return self._at[symbol[3]] + symbol[4]
        return _OUTSIDE + 4 * _FUNCTIONS.index(self._name(symbol))

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

    def call(self, name: str, arguments: Sequence[NDArray[np.generic] | int]) -> None:
        """Calls a function with integers, and with addresses of arrays, which change in place."""
        machine = self._machine()
        words = _placed(machine, arguments)
        self._run(machine, name, words)
        _taken(machine, arguments, words)

    def body(self, slots: Sequence[NDArray[np.generic] | int], blocks: int) -> int:
        """Calls a lane function's body for the blocks 0 .. blocks - 1; the code of the failure it reports, or 0."""
        machine = self._machine()
        words = _placed(machine, slots)
        held = np.array([*words, 0], np.uint64)
        (place,) = _placed(machine, [held], _SLOTS)
        self._run(machine, "body", [place, 0, blocks])
        _taken(machine, [*slots, held], [*words, place])
        return int(held[-1])

    def _machine(self) -> unicorn.Uc:
        machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        machine.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)
        for start, size in ((_CODE, len(self._image)), (_STACK, 1 << 20), (_OUTSIDE, 4096), (_HEAP, _HEAP_SIZE)):
            machine.mem_map(start, -(-size // 4096) * 4096)
        machine.mem_write(_CODE, bytes(self._image))
        machine.mem_write(_OUTSIDE, struct.pack("<I", 0xD65F03C0) * len(_FUNCTIONS))  # ret
        machine.hook_add(unicorn.UC_HOOK_CODE, _outside, begin=_OUTSIDE, end=_OUTSIDE + 4 * len(_FUNCTIONS))
        machine.reg_write(arm64.UC_ARM64_REG_SP, _STACK + (1 << 20))
        machine.reg_write(arm64.UC_ARM64_REG_LR, _OUTSIDE)
        return machine

    def _run(self, machine: unicorn.Uc, name: str, words: Sequence[int]) -> None:
        for k, word in enumerate(words):
            machine.reg_write(arm64.UC_ARM64_REG_X0 + k, word)
        entry = next(s for s in self._symbols if s[3] and self._name(s) == name)
        machine.emu_start(self._address(entry), _OUTSIDE)


def _placed(machine: unicorn.Uc, arguments: Sequence[NDArray[np.generic] | int], start: int = _DATA) -> list[int]:
    """The words to pass: arrays are put into memory, on pages of their own with a gap after them."""
    words = []
    for x in arguments:
        words.append(start if isinstance(x, np.ndarray) else x & (1 << 64) - 1)
        if isinstance(x, np.ndarray):
            room = -(-max(1, x.nbytes) // 4096) * 4096
            machine.mem_map(start, room)
            machine.mem_write(start, x.tobytes())
            start += room + 4096
    return words


def _taken(machine: unicorn.Uc, arguments: Sequence[NDArray[np.generic] | int], words: Sequence[int]) -> None:
    for x, place in zip(arguments, words, strict=True):
        if isinstance(x, np.ndarray) and x.flags.writeable:
            x[...] = np.frombuffer(machine.mem_read(place, x.nbytes), x.dtype).reshape(x.shape)

"""The GPUs that code is compiled for, by NVIDIA's names, and what each of them has."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ARCHITECTURES", "WARP", "Architecture", "oldest_first"]

WARP = 32
"""Lanes that run in step."""

_REGISTERS = 1 << 16  # of a multiprocessor
_WARPS = 48  # that a multiprocessor holds; 64 on some
_OWN_SHARED = 1 << 10
"""Bytes that the system takes for each block; a multiprocessor has as many beyond one block's most."""

_AMPERE = frozenset({"cp_async", "ldmatrix", "mma_f16", "mma_bf16", "mma_s8", "bf16x2"})


@dataclass(frozen=True)
class Architecture:
    """Facts from the compute capabilities of the CUDA C++ Programming Guide, and from the GPUs' data sheets.

    name              as NVRTC takes it; "a": its code runs on this one only
    capability        major, minor
    features          instruction sets that selection asks for
    shared_bytes      the most shared memory of one block
    multiprocessors   of the GPU that datacentres have of it: A100, A10, L40, H200, B200; RTX 5090
    """

    name: str
    capability: tuple[int, int]
    features: frozenset[str]
    shared_bytes: int
    multiprocessors: int

    def blocks_on_one(self, lanes: int, shared_bytes: int, registers: int) -> int:
        """How many blocks a multiprocessor holds, of so many lanes, bytes of shared memory, and registers of a lane."""
        warps = -(-lanes // WARP)
        room = (self.shared_bytes + _OWN_SHARED) // (shared_bytes + _OWN_SHARED)
        return max(1, min(room, _REGISTERS // (warps * WARP * registers), _WARPS // warps))

    @property
    def exact(self) -> bool:
        """Whether no other GPU runs its code, rather than those of the same major and a later minor capability."""
        return self.name.endswith("a")

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Whether a GPU of that compute capability runs its code."""
        if self.exact:
            return capability == self.capability
        return capability[0] == self.capability[0] and capability[1] >= self.capability[1]


ARCHITECTURES: dict[str, Architecture] = {
    a.name: a
    for a in (
        Architecture("sm_80", (8, 0), _AMPERE, 163 << 10, 108),
        Architecture("sm_86", (8, 6), _AMPERE, 99 << 10, 72),
        Architecture("sm_89", (8, 9), _AMPERE | {"fp8", "mma_fp8"}, 99 << 10, 142),
        Architecture("sm_90a", (9, 0), _AMPERE | {"fp8", "tma", "wgmma"}, 227 << 10, 132),
        Architecture("sm_100a", (10, 0), _AMPERE | {"fp8", "tma"}, 227 << 10, 148),
        Architecture("sm_120a", (12, 0), _AMPERE | {"fp8", "mma_fp8", "tma"}, 99 << 10, 170),
    )
}


def oldest_first() -> list[Architecture]:
    return sorted(ARCHITECTURES.values(), key=lambda a: a.capability)

"""What code is compiled for: a processor by name, its instruction sets, and how wide a vector it works on.

`target("cpu")` is the processor of this machine. ``cpu:<name>`` is a named one, by LLVM's name (``cpu:x86-64-v3``,
``cpu:znver4``, ``cpu:neoverse-v1`` ...), and ``cpu:baseline`` is the oldest one that this machine's architecture
defines; ``cpu:x86-64`` and ``cpu:aarch64`` are the oldest ones by name. Code for another architecture than this
machine's can be compiled and looked into here, and run there; it is for the system that runs here (Linux, macOS ...).

`target("cuda")` is the GPU of this machine, ``cuda:sm_90a`` one by NVIDIA's name, whether there is one here or not.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from typing import Literal

import llvmlite.binding as llvm

from .cpu_names import ARM_NAMES, ARM_OLDEST, X86_NAMES, X86_OLDEST
from .cuda.architectures import ARCHITECTURES, WARP
from .cuda.present import present_architecture, runs
from .llvm.feature_names import is_arm, is_x86
from .llvm.features import host_features, named_features

__all__ = ["Target", "TargetError", "target"]


GPU_ALIGN = 16
"""Bytes that the address of every array passed to a GPU is a multiple of: the widest access."""

GPU_LANES = 128
"""Of a block whose program does not say: four warps, one for each part of a multiprocessor."""


class TargetError(ValueError):
    """A target was named that does not exist, or that this machine cannot compile for."""


@dataclass(frozen=True)
class Target:
    """A processor to compile for.

    kind      what sort of device it is
    name      the name by which `target` finds it again
    triple    LLVM's name of architecture, system and object format
    cpu       LLVM's name of the processor
    features  LLVM's names of its instruction sets (only those that code generation uses)
    lanes     of a block whose program does not say: of a CPU, the 32-bit elements of the widest vector register that
              we use
    """

    kind: Literal["cpu", "cuda"]
    name: str
    triple: str
    cpu: str
    features: frozenset[str]
    lanes: int

    def has(self, feature: str) -> bool:
        """Whether the processor has an instruction set, by LLVM's name (``avx512vnni``, ``avx2``, ``neon`` ...)."""
        return feature in self.features

    @property
    def warp(self) -> int | None:
        """The lanes that are always in step and exchange registers; None: all of a block."""
        return WARP if self.kind == "cuda" else None

    @property
    def runs_here(self) -> bool:
        """Whether code for this target runs on this machine."""
        if self.kind == "cuda":
            return runs(self.cpu)
        return self.triple == llvm.get_process_triple() and self.features <= host_features()

    @property
    def feature_string(self) -> str:
        """Instruction sets as LLVM's target machine takes them: those present with +, those the name promises and the
        machine lacks (masked by a hypervisor, say) with -.  Of a GPU, those present.
        """
        if self.kind == "cuda":
            return ",".join(sorted(self.features))
        lacking = named_features(self.cpu, self.triple) - self.features
        words = [f"+{name}" for name in sorted(self.features)] + [f"-{name}" for name in sorted(lacking)]
        if self.lanes == 16 and is_x86(self.triple):
            # Many Intel processors are described as preferring 256-bit vectors; our code is written for 512.
            words.append("-prefer-256-bit")
        return ",".join(words)


@functools.cache
def target(name: str) -> Target:
    """The target of that name; an unknown name raises TargetError, which lists the closest ones."""
    kind, _, processor = name.partition(":")
    if kind == "cuda":
        return _gpu(processor)
    if kind != "cpu":
        raise TargetError(
            f"unknown target {name!r}: it must be 'cpu' (this machine), 'cpu:<processor>', 'cuda' (its GPU) or "
            "'cuda:<architecture>'"
        )
    triple, host = llvm.get_process_triple(), llvm.get_host_cpu_name()
    if not processor:
        return _build("cpu", triple, host, host_features())
    if processor == "baseline":
        cpu = ARM_OLDEST if is_arm(triple) else X86_OLDEST
    elif processor == "aarch64":
        cpu, triple = ARM_OLDEST, _triple(arm=True)
    elif processor in ARM_NAMES or processor in X86_NAMES:
        cpu, triple = processor, _triple(arm=processor in ARM_NAMES)
    elif processor == host:  # one that LLVM names only where it finds it
        cpu = host
    else:
        near = difflib.get_close_matches(processor, ("baseline", "aarch64", *X86_NAMES, *ARM_NAMES), n=4)
        hint = f"did you mean {', '.join(f'cpu:{word}' for word in near)}?" if near else "try 'cpu' or 'cpu:baseline'"
        raise TargetError(f"unknown processor {processor!r}; {hint}")
    return _build(name, triple, cpu, named_features(cpu, triple))


def _gpu(architecture: str) -> Target:
    """A GPU by its architecture's name, or the one of this machine."""
    known = ", ".join(f"cuda:{name}" for name in ARCHITECTURES)
    found = architecture or present_architecture()
    if found is None:
        raise TargetError(f"there is no GPU here that we compile for; to compile for one elsewhere, name it: {known}")
    if found not in ARCHITECTURES:
        raise TargetError(f"unknown GPU {found!r}; there are {known}")
    return Target("cuda", f"cuda:{found}", "nvptx64-nvidia-cuda", found, ARCHITECTURES[found].features, GPU_LANES)


def _triple(arm: bool) -> str:
    """LLVM's name of an architecture with this machine's system and object format."""
    triple = str(llvm.get_process_triple())
    if is_arm(triple) if arm else is_x86(triple):
        return triple
    _, _, system = triple.partition("-")
    architecture = "x86_64" if not arm else "arm64" if system.startswith("apple") else "aarch64"
    return f"{architecture}-{system}"


def _build(name: str, triple: str, cpu: str, features: frozenset[str]) -> Target:
    wide = {"avx512f", "avx512vl", "avx512bw"} <= features
    lanes = 16 if wide else 8 if "avx2" in features else 4
    return Target("cpu", name, triple, cpu, features, lanes)

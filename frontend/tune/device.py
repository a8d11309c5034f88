"""What a measurement was made on: the device, as far as it decides which kernel is fastest, and the compiler."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from ...backend.cache import default_cache
from ...backend.target import Target, target

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Device:
    """A device that kernels were measured on; equal keys mean that what is fastest on one is fastest on the other.

    name      for people
    key       of the fingerprint: processor, instruction sets, threads, caches
    threads   that kernels run on
    cache     bytes of the last cache that threads share, or 0 if that is not known
    """

    name: str
    key: str
    threads: int
    cache: int


def device(where: Target | None = None) -> Device:
    """This machine, running code for a target (by default for this processor, whatever it is)."""
    from ...backend.llvm.pool import threads

    return _device(target("cpu") if where is None else where, threads())


@functools.lru_cache(maxsize=16)
def _device(where: Target, threads: int) -> Device:
    cache = last_cache()
    model = processor()
    facts = [model, where.cpu, where.feature_string, str(where.lanes), str(threads), str(cache), platform.machine()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    cached = f", {cache >> 20} MiB cache" if cache else ""
    plural = "s" if threads > 1 else ""
    return Device(f"{model} ({where.cpu}), {threads} thread{plural}{cached}", f"cpu-{digest}", threads, cache)


def processor() -> str:
    """The name that the processor gives itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def last_cache() -> int:
    """Bytes of the largest cache of the first processor; 0 where the system does not tell."""
    units = {"K": 10, "M": 20, "G": 30}
    sizes = [0]
    for file in _CACHES.glob("index*/size"):
        try:
            text = file.read_text(encoding="ascii").strip()
            sizes.append(int(text.rstrip("KMG")) << units.get(text[-1:], 0))
        except (OSError, ValueError):
            continue
    return max(sizes)


def compiler_version() -> str:
    """A key of all that decides what code comes out: this package's sources, and the tools it stands on."""
    return default_cache().key("compiler")[:16]


def cpus() -> tuple[int, ...]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))

"""Which GPU is here, asked of the driver itself: nothing else may be asked on a machine without one."""

from __future__ import annotations

import ctypes
import functools

from .architectures import ARCHITECTURES, oldest_first

__all__ = ["multiprocessors", "present_architecture", "runs"]

_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and so on


def capability() -> tuple[int, int] | None:
    """The compute capability of the first GPU; None where there is no driver, or it finds no GPU."""
    found = _attributes()
    return None if found is None else (found[0], found[1])


@functools.cache
def _attributes() -> tuple[int, int, int] | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, value = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    found = []
    for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS):
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        found.append(value.value)
    return found[0], found[1], found[2]


def present_architecture() -> str | None:
    """The best architecture that the GPU here runs code for; None without a GPU, or with one older than all."""
    names = [a.name for a in oldest_first() if runs(a.name)]
    return names[-1] if names else None


def runs(name: str) -> bool:
    """Whether the GPU here runs code for the architecture of that name."""
    here = capability()
    return here is not None and ARCHITECTURES[name].runs_on(here)


def multiprocessors(name: str) -> int:
    """How many the GPU here has, if it runs code for the architecture of that name; else those of a common one."""
    found = _attributes()
    return found[2] if found is not None and runs(name) else ARCHITECTURES[name].multiprocessors

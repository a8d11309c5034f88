"""What NVIDIA's driver refuses, as an exception that says what to do about it."""

from __future__ import annotations

__all__ = ["DriverError", "driver_error"]

_ADVICE = {
    2: "the GPU has no memory left: free some (torch.cuda.empty_cache() gives back what PyTorch keeps), or use less",
    3: "the driver is not started in this process: a process that forked after using the GPU must be spawned instead",
    100: "there is no GPU here: compile for one elsewhere with target='cuda:sm_90a', or use target='cpu'",
    101: "there is no GPU of that number: CUDA_VISIBLE_DEVICES says which ones this process sees",
    200: "the binary is damaged, or made for another kind of device: compile it again",
    209: "the binary was made for another GPU: compile for target='cuda', or name this GPU's architecture",
    218: "the driver cannot translate the binary: install a newer driver",
    222: "the binary is newer than the driver: install a driver of the 580 series or later",
    701: "a block needs more registers or shared memory than the GPU has: choose smaller tiles, or fewer lanes",
    803: "the driver and the system's CUDA libraries do not go together: install a matching driver",
    900: "the stream is capturing a graph, which allows no waiting: call this before or after the capture",
}

_BROKEN = {
    214: "the GPU found an error in its memory that it cannot correct",
    700: "a kernel touched memory that is not there",
    702: "a kernel ran for longer than the system allows",
    715: "a kernel met an instruction that the GPU does not know",
    716: "a kernel accessed memory at an address that is not aligned",
    717: "a kernel used an address of the wrong kind of memory",
    718: "a kernel's program counter left its code",
    719: "a kernel stopped with an error that the GPU does not name",
}
"""Errors after which the context serves no one in this process any more."""


class DriverError(RuntimeError):
    """The driver refused; `code` is its number for the reason (CUresult)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def driver_error(code: int, name: str, doing: str) -> DriverError:
    """The exception for a result of the driver that is not 0: `doing` says what was asked of it."""
    if code in _BROKEN:
        text = (
            f"{_BROKEN[code]}. It may have been any kernel since the last synchronisation; this process cannot use the "
            "GPU any more: start it again, and run the kernel in bitwright.simulate, which names the access"
        )
    else:
        text = _ADVICE.get(code, "see CUresult in the documentation of the CUDA driver API")
    return DriverError(f"{doing}: {name} ({code}): {text}", code)

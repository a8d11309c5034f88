"""A cubin as a function to call: checks what it is given, binds sizes, and puts a launch into the caller's stream.

    function = CudaFunction(launch, cubin, open_driver())
    function(x, w, y)                     # arrays on the GPU; returns before the kernel has run
    synchronize()                         # waits, and raises what kernels reported

A call never waits for the GPU, so it can be recorded into a CUDA graph.  A kernel that fails a check of its own writes
the failure's number to a word in the CPU's memory.  It is raised, as RuntimeError, by the next call of that kernel
(which then launches nothing) or by `synchronize`, whichever comes first, once the GPU has got so far.
"""

from __future__ import annotations

import ctypes
import operator
import struct
import threading
import weakref
from dataclasses import dataclass

import numpy as np

from ..signature import ArrayArgument, ScalarArgument, Signature
from .arrays import Given, Reader, reader_of
from .binding import Bound, bind, scalar
from .driver import Driver, Word

__all__ = ["CudaFunction", "Launch", "synchronize"]

MOST_BOUND = 256
"""Shapes whose binding is remembered."""


@dataclass(frozen=True)
class Launch:
    """All that launching needs to know of a kernel beside its code.

    lanes   threads of a block
    shared  bytes of shared memory of a block
    """

    name: str
    signature: Signature
    architecture: str
    lanes: int
    shared: int


@dataclass(frozen=True)
class _Loaded:
    """The kernel on one device; `word` is where it reports failures, if it has any."""

    device: int
    function: object
    word: Word | None


class _Frame:
    """The parameters of one launch, each of 64 bits, and the array of their addresses that the driver reads."""

    def __init__(self, count: int) -> None:
        self.values = ctypes.create_string_buffer(8 * count)
        start = ctypes.addressof(self.values)
        self._pointers = (ctypes.c_void_p * count)(*range(start, start + 8 * count, 8))
        self.address = ctypes.addressof(self._pointers)


class CudaFunction:
    """The kernel as a function: the arguments in order, then the explicit sizes."""

    def __init__(self, launch: Launch, code: bytes, driver: Driver) -> None:
        self.launch = launch
        self._code, self._driver = code, driver
        arguments = launch.signature.arguments
        self._arrays = [(i, a.align - 1) for i, a in enumerate(arguments) if isinstance(a, ArrayArgument)]
        self._scalars = [(i, a) for i, a in enumerate(arguments) if isinstance(a, ScalarArgument)]
        self._apart = _apart(launch.signature)
        self._given, self._count = len(arguments), len(arguments) + len(launch.signature.explicit)
        letters = [("d" if a.kind == "float" else "q") if isinstance(a, ScalarArgument) else "Q" for a in arguments]
        self._layout = struct.Struct(f"={''.join(letters)}{'q' * len(launch.signature.sizes)}Q")
        self._parameters = len(arguments) + len(launch.signature.sizes) + 1
        self._frames: list[_Frame] = []  # those that no call is using; append and pop are atomic
        self._bound: dict[tuple[object, ...], tuple[Bound, _Loaded]] = {}
        self._loaded: dict[int, _Loaded] = {}
        self._lock = threading.Lock()

    def __call__(self, *arguments: object) -> None:
        if self._loaded:
            self.raise_failure()
        if len(arguments) != self._count:
            raise self._miscounted(len(arguments))
        values: list[object] = list(arguments[: self._given])
        key: list[object] = list(arguments[self._given :])
        if key:
            self._check_sizes(key)
        first: tuple[Reader, object] | None = None
        crooked = 0
        for index, mask in self._arrays:
            array = arguments[index]
            reader = reader_of(array)
            if reader is None:
                raise self._no_array(index, array)
            part, address = reader.read(array)
            key.append(part)
            values[index] = address
            crooked |= address & mask
            first = first or (reader, array)
        for index, argument in self._scalars:
            values[index] = _number(argument, values[index])
        bound, loaded = self._bound.get(tuple(key)) or self._bind(key, arguments, values)
        if crooked:
            self._check_alignment(arguments, values)
        self._check_apart(bound, values)
        if bound.blocks:
            stream = 0 if first is None else first[0].stream(first[1], loaded.device)
            self._start(values, bound, loaded, stream)

    def raise_failure(self) -> None:
        """RuntimeError if a launch that has ended failed a check of the kernel's own."""
        for loaded in self._loaded.values():
            number = loaded.word.take() if loaded.word else 0
            if number:
                texts = self.launch.signature.failures
                known = 1 <= number <= len(texts)
                text = texts[number - 1] if known else f"the kernel stopped with failure number {number}"
                raise RuntimeError(f"{self.launch.name}: {text} (in a call before this one)")

    @property
    def devices(self) -> tuple[int, ...]:
        """Where the kernel has been loaded."""
        return tuple(self._loaded)

    @property
    def driver(self) -> Driver:
        return self._driver

    def _start(self, values: list[object], bound: Bound, loaded: _Loaded, stream: int) -> None:
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = _Frame(self._parameters)
        address = loaded.word.address if loaded.word else 0
        try:
            self._layout.pack_into(frame.values, 0, *values, *bound.sizes, address)
        except struct.error:
            raise ValueError(f"{self.launch.name}: an integer does not fit in 64 bits") from None
        facts = self.launch
        self._driver.launch(
            loaded.device, loaded.function, bound.blocks, facts.lanes, facts.shared, stream, frame.address
        )
        self._frames.append(frame)

    def _bind(self, key: list[object], arguments: tuple[object, ...], values: list[object]) -> tuple[Bound, _Loaded]:
        """Checks a call whose shapes are new, and loads the kernel where its arrays lie."""
        given: list[Given | None] = [None] * self._given
        remembered = True
        for index, _ in self._arrays:
            given[index], known = self._describe(index, arguments[index], values[index])
            remembered = remembered and known
        sizes = [n for n in key[: self._count - self._given] if isinstance(n, int)]
        bound = bind(self.launch.signature, given, sizes)
        device = self._driver.current_device() if bound.device is None else bound.device
        result = bound, self._load(device)
        if remembered and bound.device is not None:
            if len(self._bound) >= MOST_BOUND:
                self._bound.clear()
            self._bound[tuple(key)] = result
        return result

    def _describe(self, index: int, array: object, address: object) -> tuple[Given, bool]:
        """The array, and whether its key tells its device."""
        reader = reader_of(array)
        assert reader is not None
        argument = self.launch.signature.arguments[index]
        try:
            found = reader.given(array)
        except TypeError as error:
            raise TypeError(f"{argument.name}: expected {argument}, got {error}") from error
        if found.ordinal is not None:
            return found, True
        assert isinstance(address, int)
        device = self._driver.device_of(address) if address else self._driver.current_device()
        return Given(found.element, found.dtype, found.shape, found.strides, found.kind, device), False

    def _load(self, device: int) -> _Loaded:
        with self._lock:
            found = self._loaded.get(device)
            if found is None:
                facts = self.launch
                function = self._driver.load(device, self._code, facts.architecture, facts.shared)
                word = self._driver.word(device) if facts.signature.failures else None
                found = _Loaded(device, function, word)
                self._loaded = {**self._loaded, device: found}  # other threads may be going through it
                _live.add(self)
        return found

    def _check_sizes(self, given: list[object]) -> None:
        for var, n in zip(self.launch.signature.explicit, given, strict=True):
            if type(n) is not int:
                raise TypeError(f"{var.name}: expected a size, got {type(n).__name__}; pass a Python int")

    def _check_alignment(self, arguments: tuple[object, ...], values: list[object]) -> None:
        for index, mask in self._arrays:
            address, argument = values[index], self.launch.signature.arguments[index]
            reader = reader_of(arguments[index])
            assert isinstance(address, int)
            assert reader is not None
            if address & mask and reader.given(arguments[index]).elements:
                raise ValueError(
                    f"{argument.name}: expected {argument} at an address that is a multiple of {mask + 1} bytes, got "
                    f"one that is {address & mask} beyond; copy it, for example with .clone()"
                )

    def _check_apart(self, bound: Bound, values: list[object]) -> None:
        """What a kernel only reads, it reads through a cache that does not see what it writes."""
        nbytes = bound.nbytes
        for i, j in self._apart:
            first, second = values[i], values[j]
            assert isinstance(first, int)
            assert isinstance(second, int)
            if first < second + nbytes[j] and second < first + nbytes[i] and nbytes[i] and nbytes[j]:
                written, other = (self.launch.signature.arguments[n].name for n in (i, j))
                raise ValueError(
                    f"{written} and {other} overlap in memory, but a kernel writes {written}: give it memory of its "
                    "own, for example torch.empty_like(...)"
                )

    def _miscounted(self, count: int) -> TypeError:
        names = self.launch.signature.names
        wanted = "1 argument" if len(names) == 1 else f"{len(names)} arguments"
        return TypeError(f"expected {wanted} ({', '.join(names)}), got {count}")

    def _no_array(self, index: int, array: object) -> TypeError:
        argument = self.launch.signature.arguments[index]
        expected = f"{argument.name}: expected {argument} in the GPU's memory"
        if isinstance(array, np.ndarray):
            return TypeError(
                f"{expected}, got a NumPy array, which is in the CPU's; move it with torch.from_numpy(...).cuda() or "
                "cupy.asarray(...), or run the kernel without a GPU: bitwright.simulate(kernel, ...)"
            )
        return TypeError(f"{expected}, got {type(array).__name__}; pass a PyTorch tensor or a CuPy array")


_live: weakref.WeakSet[CudaFunction] = weakref.WeakSet()


def synchronize() -> None:
    """Waits until every kernel that was launched on a GPU has ended; RuntimeError if one of them failed.

    Kernels on a CPU have ended when their call returns: without a GPU there is nothing to wait for.
    """
    functions = list(_live)
    for driver, device in {(f.driver, device): None for f in functions for device in f.devices}:
        driver.synchronize(device)
    for function in functions:
        function.raise_failure()


def _apart(signature: Signature) -> list[tuple[int, int]]:
    """Pairs of arrays that must not overlap: the first is written, and each pair stands here once."""
    arrays = [(i, a.writable) for i, a in enumerate(signature.arguments) if isinstance(a, ArrayArgument)]
    return [(i, j) for i, written in arrays if written for j, too in arrays if j != i and not (too and j < i)]


def _number(argument: ScalarArgument, value: object) -> int | float:
    """A scalar's value; what lies on a GPU is refused, since reading it would wait."""
    if argument.kind == "int":
        if isinstance(value, int | np.integer):
            return operator.index(value)
    elif isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    raise scalar(argument, value)

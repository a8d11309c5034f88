"""Programs that together use every instruction in many ways, with arguments for each.

They are run through the interpreter, the lane simulator and native code, which must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from bitwright.frontend.build import ParameterValue
from bitwright.tests.kernels import program
from bitwright.vm.bits import pack, packed_size
from bitwright.vm.call_arguments import Argument, bind
from bitwright.vm.dtypes import Codebook, DType, Int, dtype
from bitwright.vm.ir import Program

NATURAL = {"bool": "bool", "f16": "float16", "f32": "float32"}

Maker = Callable[[np.random.Generator], list[Argument]]


@dataclass(frozen=True, eq=False)
class Sample:
    """A program and how to make its arguments.

    `near` bounds how far floats may be from the interpreter's, relative to max(|value|, `scale`); 0: exactly equal.
    """

    name: str
    text: str
    make_arguments: Maker
    sizes: Mapping[str, int] = field(default_factory=dict)
    near: float = 0.0
    scale: float = 0.0
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)

    @cached_property
    def program(self) -> Program:
        return program(self.text, **self.parameters)


def outputs(sample: Sample, arguments: list[Argument]) -> dict[str, tuple[DType, NDArray[np.generic]]]:
    """The numbers that each array of a call holds now, and their dtype."""
    call = bind(sample.program, tuple(arguments), sample.sizes, set())
    return {a.name: (a.dtype, a.dtype.decode(x.codes)) for a, x in call.arrays.items()}


def random_codes(rng: np.random.Generator, kind: DType, shape: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
    """Codes of all sorts: of wide floats also infinities, NaN, subnormals and zeros of both signs."""
    limit = len(kind.values) if isinstance(kind, Codebook) else 1 << kind.bits
    codes = rng.integers(0, limit - 1, shape, dtype=np.uint64, endpoint=True)
    if kind.name == "f32":  # most of a wide range of exponents would vanish beside the others
        small = (rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 6, shape)).astype(np.float32)
        codes = np.where(rng.random(shape) < 0.8, small.view(np.uint32), codes)
    middle = limit >> 1
    extremes = np.array([n % limit for n in (0, limit - 1, middle, middle - 1, 1, middle + 1)], np.uint64)
    codes = np.where(rng.random(shape) < 0.15, rng.choice(extremes, shape), codes)
    return codes.astype(kind.code_dtype)


def buffer(codes: NDArray[np.unsignedinteger], kind: str) -> NDArray[np.generic]:
    """A row-major array of these codes, as a call takes it."""
    if kind in NATURAL:
        return codes.view(NATURAL[kind])
    d = dtype(kind)
    if d.bits < 8:
        return pack(codes, d.bits)
    return codes.view(f"int{d.bits}") if isinstance(d, Int) and d.signed else codes


def array(rng: np.random.Generator, kind: str, *shape: int) -> NDArray[np.generic]:
    return buffer(random_codes(rng, dtype(kind), shape), kind)


def of(values: NDArray[np.generic], kind: str) -> NDArray[np.generic]:
    """A row-major array of these numbers, rounded."""
    return buffer(dtype(kind).encode(values), kind)


def zeros(kind: str, *shape: int) -> NDArray[np.generic]:
    d = dtype(kind)
    if d.bits < 8 and kind != "bool":
        return np.zeros(packed_size(prod(shape), d.bits), np.uint8)
    return buffer(np.zeros(shape, d.code_dtype), kind)


def samples() -> list[Sample]:
    """All samples; their names are distinct."""
    from bitwright.tests import samples_compute, samples_control, samples_memory, samples_types

    return [s for m in (samples_types, samples_compute, samples_memory, samples_control) for s in m.samples()]

"""How fast this machine multiplies and adds: the limit of every kernel that reads each weight many times.

One program per kind of product keeps 16 sums in registers and does nothing but add products to them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ...backend.target import Target, target
from ..kernel import Kernel, compile

STEPS = 4096
"""Times that each sum is added to in one block; the largest sum is exact in f32."""

BLOCKS = 64

SAMPLES = 3
"""The best of so many runs is one reading."""

PROGRAM = """
def peak(x: X[P, K], w: W[K, C], y: A[P, C], *, X: dtype, W: dtype, A: dtype, K: int, C: int, R: int):
    "Each block adds the same product to its sums R times."
    b = grid(P // 4)
    a = load(x, [b * 4, 0], [4, K])
    v = load(w, [0, 0], [K, C])
    acc = zeros(A, [4, C])
    for i in range(R):
        acc = dot(a, v, acc)
    store(y, [b * 4, 0], acc)
"""


class PeakError(RuntimeError):
    """The kernel that measures a peak does not multiply what it should: our mistake."""


@dataclass(frozen=True)
class Product:
    """A kind of product: element types, how many make one step of an instruction, and the instruction's name."""

    types: tuple[str, str, str]
    depth: int
    instruction: str


@dataclass(frozen=True, eq=False)
class Meter:
    """A compiled program with its arrays; `sample` runs it."""

    product: Product
    kernel: Kernel
    arrays: tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], npt.NDArray[np.generic]]

    def sample(self) -> float:
        """Operations per second: a multiplication and an addition are two."""
        sums = self.arrays[2]
        best = min(self._seconds() for _ in range(SAMPLES))
        return 2 * sums.size * self.product.depth * STEPS / best

    def _seconds(self) -> float:
        start = time.perf_counter()
        self.kernel(*self.arrays)
        return time.perf_counter() - start


def products(machine: Target) -> Mapping[str, Product]:
    """The kinds of products that this machine has instructions for, by the activations that use them."""
    found = {"f32": Product(("f32", "f32", "f32"), 1, "f32 FMA")}
    if machine.has("avx512bf16") or machine.has("bf16"):
        name = "vdpbf16ps" if machine.has("avx512bf16") else "bfdot"
        found["bf16"] = Product(("bf16", "bf16", "f32"), 2, name)
    for feature, name in (("avx512vnni", "vpdpbusd"), ("avxvnni", "vpdpbusd"), ("i8mm", "usdot"), ("dotprod", "sdot")):
        if machine.has(feature):
            found.setdefault("int8", Product(("i8", "u8", "i32"), 4, name))
    found.setdefault("int8", Product(("i8", "u8", "i32"), 4, "int8 products"))
    return MappingProxyType(found)


def make_meters() -> Mapping[str, Meter]:
    """A meter for each kind of product of this machine. Their sums are checked before they are used."""
    machine = target("cpu")
    return MappingProxyType({kind: _meter(product, machine) for kind, product in products(machine).items()})


def _meter(product: Product, machine: Target) -> Meter:
    x_type, w_type, sum_type = product.types
    columns = machine.lanes * 4
    kernel = compile(PROGRAM, X=x_type, W=w_type, A=sum_type, K=product.depth, C=columns, R=STEPS)
    rows = BLOCKS * 4
    x = _ones(x_type, (rows, product.depth))
    y = np.zeros((rows, columns), np.int32 if sum_type == "i32" else np.float32)
    meter = Meter(product, kernel, (x, _ones(w_type, (product.depth, columns)), y))
    kernel(*meter.arrays)
    if not (y == STEPS * product.depth).all():
        raise PeakError(f"the kernel that measures {product.instruction} returns wrong sums")
    return meter


def _ones(kind: str, sides: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Ones as arrays that kernels take."""
    if kind == "bf16":
        return np.full(sides, 0x3F80, np.uint16)
    plain: dict[str, type[np.generic]] = {"f32": np.float32, "i8": np.int8, "u8": np.uint8}
    return np.ones(sides, plain[kind])

"""Every dtype of at most 8 bits, and numbers that lie where their rounding is decided."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitwright.vm.dtypes import Codebook, DType, DTypeError, Float, Int, codebook, dtype, float_dtype

SPECIALS = ("finite", "fn", "ieee", "fnuz")


def _floats() -> Iterator[Float]:
    """Every split of at most 8 bits, with and without sign, with every kind of specials that it permits."""
    for bits in range(1, 9):
        for exponent in range(bits + 1):
            for signed in (True, False):
                for specials in SPECIALS:
                    try:
                        yield float_dtype(exponent, bits - exponent - signed, None, specials, signed)
                    except DTypeError:
                        continue


# Ends of f32's own range, its subnormals, types without subnormals or zero, and gaps far above and below 1.
_NAMED_FLOATS = (
    "e8m0", "ue4m3", "ue5m3", "ue6m2", "f8e4m3b11fnuz", "f4e1m2b1", "f8e4m3b140", "f8e5m2b127", "f6e3m2b130",
    "f8e4m3bn100", "f5e2m2bn90", "uf8e8m0fn", "uf8e8m0b127fn_nozero", "uf8e7m1b140_nozero", "f8e4m3finite_nosubnormal",
    "f6e3m2_nosubnormal", "uf7e3m4fn_nosubnormal", "f8e5m2_nozero", "f8e4m3bn30_nosubnormal", "f8e4m3b130_nosubnormal",
    "uf8e8m0b140finite", "f3e0m2bn100", "f5e0m4b60",
)  # fmt: skip


def _books() -> Iterator[Codebook]:
    for name in ("nf2", "nf3", "nf4", "nf5", "iq4nl", "ternary", "b1", "hif8"):
        found = dtype(name)
        assert isinstance(found, Codebook)
        yield found
    rng = np.random.default_rng(2)
    for count in (3, 17, 100, 256):
        values = rng.standard_normal(count) * 2.0 ** rng.integers(-20, 20, count)
        yield codebook(values.tolist(), f"random{count}")
    yield codebook([1.0, -1.0, 0.0, 1.0, 3e38, -3e38, 1e-45, -1e-45], "extreme")


FLOATS = tuple({d: None for d in (*_floats(), *(dtype(n) for n in _NAMED_FLOATS)) if isinstance(d, Float)})
INTS = tuple(Int(bits, signed) for bits in range(1, 9) for signed in (True, False))
BOOKS = tuple(_books())
HALVES = (dtype("f16"), dtype("bf16"))
NARROW: tuple[DType, ...] = (*INTS, *FLOATS, *BOOKS)


def count_of(kind: DType) -> int:
    """How many codes have a meaning."""
    return len(kind.values) if isinstance(kind, Codebook) else 1 << kind.bits


def values_of(kind: DType) -> NDArray[np.float32]:
    return kind.decode(np.arange(count_of(kind)).astype(kind.code_dtype)).astype(np.float32)


def borders(kind: DType, rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """f32 numbers at, beside and between the values of a dtype, beyond its ends, and of every other sort."""
    values = values_of(kind)
    values = np.unique(values[np.isfinite(values)]).astype(np.float64)
    if len(values) > 600:
        values = np.sort(rng.choice(values, 600, replace=False))
    gaps = np.diff(values)
    shares = rng.choice([0.25, 0.125, 0.75, 0.375], len(gaps))
    beyond = [values[-1] + gaps[-1] / 2, values[-1] + gaps[-1], values[0] - gaps[0] / 2, values[0] - gaps[0]]
    with np.errstate(over="ignore"):
        exact = np.concatenate([values, values[:-1] + gaps / 2, values[:-1] + gaps * shares, beyond]).astype(np.float32)
    infinity = np.float32(np.inf)
    beside = np.concatenate([np.nextafter(exact, -infinity), exact, np.nextafter(exact, infinity)])
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 1.1754943e-38, 3.4028235e38, -3.4028235e38, 1.0],
        np.float32,
    )
    some = beside if len(beside) <= count // 2 else rng.choice(beside, count // 2, replace=False)
    mirrored = -rng.choice(beside, count // 8)
    anything = rng.integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return rng.permutation(np.concatenate([special, some, mirrored, anything])[:count])


def dice(rng: np.random.Generator, count: int) -> NDArray[np.uint32]:
    """Random words, half of them within 1 of a multiple of 2^28, where chances of simple shares turn."""
    near = rng.integers(0, 16, count) * (1 << 28) + rng.integers(-1, 2, count)
    plain = rng.integers(0, 1 << 32, count)
    return np.where(rng.random(count) < 0.5, near, plain).astype(np.int64).astype(np.uint32)


def same_numbers(found: NDArray[np.generic], right: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Equal to the bit, where any NaN equals any other of the same sign."""
    if found.dtype.kind != "f":
        return np.asarray(found == right)
    bits = np.dtype(f"u{found.dtype.itemsize}")
    nan = np.isnan(found) & np.isnan(right)
    return np.where(nan, np.signbit(found) == np.signbit(right), found.view(bits) == right.view(bits))

"""What every element type has in common: a name, a width in bits, codes, and the numbers the codes stand for."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class DTypeError(ValueError):
    """An element type that does not exist, or a value or code that does not fit one."""


def code_dtype_for(bits: int) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned NumPy type that holds a code of `bits` (1..64) bits."""
    if bits <= 8:
        return np.dtype(np.uint8)
    if bits <= 16:
        return np.dtype(np.uint16)
    return np.dtype(np.uint32) if bits <= 32 else np.dtype(np.uint64)


def checked_codes(codes: npt.ArrayLike, count: int, name: str) -> npt.NDArray[np.unsignedinteger]:
    """`codes` as an unsigned array; DTypeError unless each is an integer in 0..count-1."""
    array = np.asarray(codes)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.size == 0:
        return array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise DTypeError(f"codes of {name} are integers, not {array.dtype}; use {name}.encode(values) to get codes")
    if array.dtype.kind == "i" and int(array.min()) < 0:
        raise DTypeError(f"code {int(array.min())} is negative; codes of {name} are 0..{count - 1}")
    if count <= np.iinfo(array.dtype).max and int(array.max()) >= count:
        raise DTypeError(f"code {int(array.max())} is out of range; codes of {name} are 0..{count - 1}")
    return array.astype(code_dtype_for(8 * array.dtype.itemsize), copy=False)


class _Sized(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def bits(self) -> int: ...


class Element:
    """The meaning of one tensor element: a map from codes (bit patterns of `bits` bits) to numbers.

    The classes that extend this are a closed set: Int, Float, Codebook, Bool. Each has

    * `name`: the canonical text; for everything but a user's codebook `dtype(d.name) == d`
    * `bits`: the width of a code;  `code_dtype`: the NumPy type of an array of codes
    * `carrier`: the NumPy type that holds every decoded value exactly
    * `min`, `max`: the smallest (most negative) and the largest finite value
    * `encode`, `decode`, `round`: numbers to codes, codes to numbers, numbers to representable numbers
    """

    @property
    def code_dtype(self: _Sized) -> np.dtype[np.unsignedinteger]:
        """The NumPy type of the arrays that `encode` returns: one code per element, in the low `bits` bits."""
        return code_dtype_for(self.bits)

    def __str__(self: _Sized) -> str:
        return self.name

    def __repr__(self: _Sized) -> str:
        return f"dtype({self.name!r})"

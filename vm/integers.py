"""Integers of 1 to 64 bits, and the one-bit truth value of masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .element import DTypeError, Element, checked_codes
from .rounding import Overflow, Rounding, blocks, check_modes, numbers, round_to_whole


@dataclass(frozen=True, repr=False)
class Int(Element):
    """An integer of `bits` (1..64) bits: two's complement if `signed`, so i1 = {0, -1} and i2 = {0, 1, -2, -1}.

    >>> Int(3, signed=True).encode([2.5, -9, 3.6]).tolist()
    [2, 4, 3]
    """

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64:
            raise DTypeError(f"an integer type has 1 to 64 bits, not {self.bits}")

    @property
    def name(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.bits}"

    @property
    def carrier(self) -> np.dtype[np.generic]:
        """int64; uint64 for u64."""
        return np.dtype(np.uint64 if self.bits == 64 and not self.signed else np.int64)

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    def encode(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.unsignedinteger]:
        """Codes of `values` rounded to whole numbers. Out of range: "sat" clamps, "ieee" wraps modulo 2^bits.

        NaN becomes 0 and infinities clamp under both.
        """
        array = numbers(values)
        check_modes(rounding, overflow, random, array.shape)
        flat = np.ascontiguousarray(array).reshape(-1)
        bits = None if random is None else np.ascontiguousarray(random).reshape(-1)
        out = np.empty(flat.shape, self.code_dtype)
        for part in blocks(flat.size):
            if flat.dtype.kind == "f":
                some = None if bits is None else bits[part]
                with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
                    wide = flat[part].astype(np.float64)
                out[part] = self._encode_floats(wide, rounding, overflow, some)
            else:
                out[part] = self._encode_integers(flat[part], overflow)
        return out.reshape(array.shape)

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.integer]:
        """The values of `codes` as int64 (uint64 for u64); DTypeError for a code of more than `bits` bits."""
        unsigned = checked_codes(codes, 1 << self.bits, self.name).astype(np.uint64)
        if not self.signed:
            return unsigned if self.bits == 64 else unsigned.view(np.int64)
        signed = np.asarray(unsigned << np.uint64(64 - self.bits)).view(np.int64)
        signed >>= np.int64(64 - self.bits)
        return signed

    def round(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.integer]:
        """The representable values that `values` round to: `decode(encode(values))`."""
        return self.decode(self.encode(values, rounding, overflow, random))

    @property
    def _mask(self) -> np.uint64:
        return np.uint64((1 << self.bits) - 1)

    def _encode_floats(
        self,
        values: npt.NDArray[np.float64],
        rounding: Rounding,
        overflow: Overflow,
        random: npt.NDArray[np.uint32] | None,
    ) -> npt.NDArray[np.uint64]:
        if overflow == "sat" and self.bits <= 53:
            # The limits are whole and exact in float64, so clamping may come first; it is much cheaper.
            inside = np.clip(values, self.min, self.max)
            np.copyto(inside, 0.0, where=np.isnan(inside))
            return round_to_whole(inside, rounding, random).astype(np.int64).view(np.uint64) & self._mask
        infinite = np.isinf(values)
        finite = np.isfinite(values)
        whole = round_to_whole(np.where(finite, values, 0.0), rounding, random)
        # Modulo 2^64 of the magnitude is exact in float64 and fits an unsigned word; then the sign.
        absolute = np.fmod(np.abs(whole), 2.0**64).astype(np.uint64)
        codes = np.where(whole < 0, ~absolute + np.uint64(1), absolute) & self._mask
        high = values > 0
        # max + 1 is a power of two, so these comparisons are exact for every width.
        over, under = whole >= float(self.max + 1), whole < float(self.min)
        if overflow == "ieee":
            over, under = infinite & high, infinite & ~high
        else:
            over, under = over | (infinite & high), under | (infinite & ~high)
        codes = np.where(over, np.uint64(self.max), codes)
        return np.where(under, np.uint64(self.min & int(self._mask)), codes)

    def _encode_integers(self, values: npt.NDArray[np.generic], overflow: Overflow) -> npt.NDArray[np.uint64]:
        mask = int(self._mask)
        if values.dtype.kind == "O":
            whole = [int(v) for v in values]
            if overflow == "sat":
                whole = [min(max(v, self.min), self.max) for v in whole]
            return np.array([v & mask for v in whole], np.uint64)
        signed = values.dtype.kind == "i"
        wide = values.astype(np.int64 if signed else np.uint64)
        if overflow == "sat":
            limits = np.iinfo(wide.dtype)
            wide = np.clip(wide, max(self.min, int(limits.min)), min(self.max, int(limits.max)))
        return wide.view(np.uint64) & self._mask


@dataclass(frozen=True, repr=False)
class Bool(Element):
    """The truth value of a mask: one bit, 1 is true. It has no arithmetic of its own."""

    @property
    def name(self) -> str:
        return "bool"

    @property
    def bits(self) -> int:
        return 1

    @property
    def carrier(self) -> np.dtype[np.generic]:
        return np.dtype(np.bool_)

    @property
    def min(self) -> int:
        return 0

    @property
    def max(self) -> int:
        return 1

    def encode(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.unsignedinteger]:
        """1 where a value is not zero (NaN is not zero), else 0; no mode changes that."""
        array = numbers(values)
        check_modes(rounding, overflow, random, array.shape)
        return array.astype(np.bool_).view(np.uint8)

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """The truth values of codes 0 and 1."""
        return checked_codes(codes, 2, self.name).astype(np.bool_)

    def round(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Whether each value is not zero."""
        return self.decode(self.encode(values, rounding, overflow, random))

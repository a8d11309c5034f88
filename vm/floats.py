"""Binary floating-point types of any exponent and mantissa width up to 8 bits, and f16, bf16, f32.

The meaning of a code with sign S, exponent field E (`exponent` bits) and mantissa field F (`mantissa` bits), from the
most significant bit down:

    E == 0, subnormal       (-1)^S * F * 2^(1 - bias - mantissa)            also for types of 0 exponent bits
    E == 0, no subnormals   0 if zero and F == 0, else (-1)^S * (2^mantissa + F) * 2^(-bias - mantissa)
    else                    (-1)^S * (2^mantissa + F) * 2^(E - bias - mantissa)

and what `specials` takes away from that:

    finite   nothing
    fn       S 1..1 1..1 is NaN; there is no infinity
    ieee     E all ones is an infinity where F == 0, else NaN
    fnuz     the code 1 0..0 0..0 is NaN; there is no infinity and no negative zero
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from .element import DTypeError, Element
from .float_codes import FloatFields, decode_floats, encode_floats
from .rounding import Overflow, Rounding, check_modes, numbers

Specials = Literal["finite", "fn", "ieee", "fnuz"]

# The wide types that exist; every other float has at most 8 bits.
_WIDE: Final = frozenset({(5, 10), (8, 7), (8, 23)})


def default_bias(exponent: int, specials: Specials) -> int:
    """2^(exponent-1) - 1, and 2^(exponent-1) for fnuz; 1 for a type without exponent bits (steps of 2^-mantissa)."""
    if exponent == 0:
        return 1
    return (1 << (exponent - 1)) - (specials != "fnuz")


@dataclass(frozen=True, repr=False)
class Float(Element):
    """A float with `exponent` and `mantissa` bits, a sign bit if `signed`; see the module's text for the meaning.

    Unsigned types have no negative values and no negative zero. `zero` without `subnormal` is a type whose smallest
    exponent holds a zero; neither is a type without zero, such as e8m0.

    >>> Float(2, 1, 1, "finite").decode(range(8)).tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """

    exponent: int
    mantissa: int
    bias: int
    specials: Specials
    signed: bool = True
    subnormal: bool = True
    zero: bool = True

    def __post_init__(self) -> None:
        what = f"float e{self.exponent}m{self.mantissa}"
        if self.exponent < 0 or self.mantissa < 0:
            raise DTypeError(f"{what}: field widths must not be negative")
        if self.specials not in get_args(Specials):
            raise DTypeError(f"{what}: unknown specials {self.specials!r}; use {', '.join(get_args(Specials))}")
        if not 1 <= self.bits <= 8 and not (self.signed and (self.exponent, self.mantissa) in _WIDE):
            raise DTypeError(f"{what} has {self.bits} bits; floats have 1 to 8 bits, or are f16, bf16, f32")
        if self.subnormal and not self.zero:
            raise DTypeError(f"{what}: subnormals begin at zero; a type without zero has subnormal=False")
        if self.exponent == 0 and (self.specials == "ieee" or not self.subnormal):
            raise DTypeError(f"{what}: without exponent bits there are only subnormals; use finite, fn or fnuz")
        if self.specials == "fnuz" and not self.signed:
            raise DTypeError(f"{what}: fnuz puts NaN at negative zero; an unsigned type can use fn")
        self._check_range(what)

    def _check_range(self, what: str) -> None:
        if abs(self.bias) > 400:
            raise DTypeError(f"{what}: bias {self.bias} puts values outside float32, in which they are computed")
        fields = self._fields
        if fields.top_code < 0 or fields.magnitude(fields.top_code) == 0.0:
            raise DTypeError(f"{what} with specials={self.specials!r} has no finite value but zero")
        smallest = self.grid_exponent
        if fields.magnitude(fields.top_code) > float(np.finfo(np.float32).max) or smallest < -149:
            raise DTypeError(f"{what}: bias {self.bias} puts values outside float32, in which they are computed")

    @property
    def name(self) -> str:
        """`f<bits>e<x>m<y>`, `u` before it if unsigned; then what differs from the defaults: bias `b<n>` (`bn<n>` if
        negative), specials (default: finite below 8 bits, ieee from 8), `_nosubnormal` or `_nozero`.
        """
        short = _SHORT_OF.get(self)
        if short is not None:
            return short
        text = f"{'' if self.signed else 'u'}f{self.bits}e{self.exponent}m{self.mantissa}"
        if self.bias != default_bias(self.exponent, self.specials):
            text += f"b{'n' if self.bias < 0 else ''}{abs(self.bias)}"
        if self.specials != _default_specials(self.bits, self.exponent):
            text += self.specials
        if self.subnormal:
            return text
        return text + ("_nosubnormal" if self.zero else "_nozero")

    @property
    def bits(self) -> int:
        return self.signed + self.exponent + self.mantissa

    @property
    def carrier(self) -> np.dtype[np.generic]:
        return np.dtype(np.float32)

    @property
    def max(self) -> float:
        return self._fields.magnitude(self._fields.top_code)

    @property
    def min(self) -> float:
        return -self.max if self.signed else self._fields.magnitude(0)

    @property
    def grid_exponent(self) -> int:
        """q such that every finite value is a whole multiple of 2^q, the largest such q."""
        return self._fields.lowest - self.mantissa

    @property
    def has_nan(self) -> bool:
        return self._fields.nan_code is not None

    @property
    def has_infinity(self) -> bool:
        return self._fields.infinity_code is not None

    @property
    def _fields(self) -> FloatFields:
        return FloatFields(
            self.exponent, self.mantissa, self.bias, self.specials, self.signed, self.subnormal, self.zero
        )

    def encode(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.unsignedinteger]:
        """Codes of `values`, rounded once from their own type (integers of any size, floats of up to 64 bits).

        * Finite values beyond the range: "sat" clamps to the largest finite value; "ieee" gives infinity, or NaN in a
          type without infinity, or clamps in a type without both. Modes that round toward zero stay finite.
        * An infinity stays one where the type has it, under both; else "sat" clamps it; "ieee" gives NaN, or clamps.
        * NaN stays NaN (with its sign where the type has two); in a type without NaN it becomes +0 (the smallest value
          where there is no zero).
        * An unsigned type takes what lies below its range (a type without zero: also zero) to its smallest value under
          "sat" and to NaN, if there is one, under "ieee". What rounds to -0 is 0.
        * The sign of zero is kept where the type has two zeros.
        """
        array = numbers(values)
        check_modes(rounding, overflow, random, array.shape)
        flat = np.ascontiguousarray(array).reshape(-1)
        bits = None if random is None else np.ascontiguousarray(random).reshape(-1)
        return encode_floats(self._fields, flat, rounding, overflow, bits).reshape(array.shape)

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The values of `codes`, exact; DTypeError for a code of more than `bits` bits."""
        return decode_floats(self._fields, codes, self.name)

    def round(
        self,
        values: npt.ArrayLike,
        rounding: Rounding = "rne",
        overflow: Overflow = "sat",
        random: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """The representable values that `values` round to: `decode(encode(values))`."""
        return self.decode(self.encode(values, rounding, overflow, random))


def _default_specials(bits: int, exponent: int) -> Specials:
    """What a generic name without specials means: finite below 8 bits, ieee from 8 (where exponent bits permit it)."""
    return "ieee" if bits >= 8 and exponent > 0 else "finite"


# Names that do not follow the generic rule.
SHORT_NAMES: Final = MappingProxyType(
    {
        "f16": Float(5, 10, 15, "ieee"),
        "bf16": Float(8, 7, 127, "ieee"),
        "f32": Float(8, 23, 127, "ieee"),
        "e8m0": Float(8, 0, 127, "fn", signed=False, subnormal=False, zero=False),
        "ue4m3": Float(4, 3, 7, "fn", signed=False),
        "ue5m3": Float(5, 3, 15, "fn", signed=False),
        "ue6m2": Float(6, 2, 48, "fn", signed=False, subnormal=False, zero=False),
    }
)
_SHORT_OF: Final = MappingProxyType({value: name for name, value in SHORT_NAMES.items()})

_GENERIC: Final = re.compile(
    r"(?P<unsigned>u?)f(?P<bits>\d{1,3})e(?P<exponent>\d{1,3})m(?P<mantissa>\d{1,3})"
    r"(?:b(?P<negative>n?)(?P<bias>\d{1,4}))?(?P<specials>finite|fnuz|fn|ieee)?(?P<missing>_nosubnormal|_nozero)?"
)


def parse_float(name: str) -> Float | None:
    """The float of a short or generic name; None if the text has neither form; DTypeError if no such float exists."""
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    found = _GENERIC.fullmatch(name)
    if found is None:
        return None
    signed = not found["unsigned"]
    exponent, mantissa = int(found["exponent"]), int(found["mantissa"])
    bits = signed + exponent + mantissa
    if int(found["bits"]) != bits:
        sign = "1 sign + " if signed else ""
        raise DTypeError(f"{name}: the name says {found['bits']} bits, but {sign}{exponent} + {mantissa} is {bits}")
    given = found["specials"]
    specials: Specials = _default_specials(bits, exponent)
    for known in get_args(Specials):
        if given == known:
            specials = known
    bias = default_bias(exponent, specials)
    if found["bias"] is not None:
        bias = -int(found["bias"]) if found["negative"] else int(found["bias"])
    missing = found["missing"]
    return Float(exponent, mantissa, bias, specials, signed, subnormal=not missing, zero=missing != "_nozero")

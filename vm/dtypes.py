"""Element types: integers, floats and codebooks of 1 to 8 bits (and wider carriers), by value and by name.

>>> dtype("f6e3m2").encode([0.3, -5.5]).tolist()
[5, 54]
>>> dtype("f6e3m2").decode([5, 54]).tolist()
[0.3125, -6.0]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from .codebook_tables import CODEBOOKS
from .codebooks import Codebook
from .element import DTypeError
from .floats import SHORT_NAMES, Float, Specials, default_bias, parse_float
from .integers import Bool, Int
from .rounding import Overflow, Rounding, RoundingError

__all__ = [
    "NAMED",
    "Bool",
    "Codebook",
    "DType",
    "DTypeError",
    "Float",
    "Int",
    "Overflow",
    "Rounding",
    "RoundingError",
    "Specials",
    "codebook",
    "dtype",
    "float_dtype",
]

DType = Int | Float | Codebook | Bool

_INTEGER_WIDTHS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64)

# Generic names that have a standard, a device or a paper behind them.
_KNOWN_FLOATS: Final = (
    *("f8e5m2", "f8e4m3", "f8e3m4", "f8e4m3fn", "f8e5m2fnuz", "f8e4m3fnuz", "f8e4m3b11fnuz"),
    *("f7e5m1", "f7e4m2", "f7e3m3", "f7e2m4", "f6e4m1", "f6e3m2", "f6e2m3", "f5e3m1", "f5e2m2", "f5e1m3"),
    *("f4e3m0", "f4e2m1", "f4e1m2", "f4e1m2b1", "f3e1m1"),
)


def _named() -> dict[str, DType]:
    table: dict[str, DType] = {"bool": Bool(), **SHORT_NAMES, **CODEBOOKS}
    for width in _INTEGER_WIDTHS:
        for signed in (True, False):
            integer = Int(width, signed)
            table[integer.name] = integer
    for name in _KNOWN_FLOATS:
        known = parse_float(name)
        assert known is not None
        table[name] = known
    return table


#: The types with a name of their own; each is found under its `name`. Other widths exist under generic names.
NAMED: Final[Mapping[str, DType]] = MappingProxyType(_named())

_INTEGER: Final = re.compile(r"(?P<sign>[iu])(?P<bits>\d{1,4})")


def dtype(name: str | DType) -> DType:
    """The element type of a name; a type is returned as it is.

    Names are those in NAMED, `i<bits>` and `u<bits>` (1 to 64), and for floats `f<bits>e<x>m<y>`, unsigned `uf...`,
    followed where it differs from the default by the bias (`b<n>`, negative `bn<n>`; default 2^(x-1) - 1, for fnuz
    2^(x-1)), the specials (`finite`, `fn`, `ieee`, `fnuz`; default finite below 8 bits, ieee at 8) and `_nosubnormal`
    or `_nozero`. DTypeError for anything else, with the nearest names.

    >>> dtype("u5").max, dtype("f4e2m1").max, dtype("f8e4m3fn").max
    (31, 6.0, 448.0)
    """
    if isinstance(name, (Int, Float, Codebook, Bool)):
        return name
    if not isinstance(name, str):
        raise DTypeError(f"a dtype is given by its name, such as 'u3', or as a dtype; got {type(name).__name__}")
    found = NAMED.get(name) or _parse_integer(name) or parse_float(name)
    if found is not None:
        return found
    near = get_close_matches(name, NAMED, n=4, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "names look like u3, i8, f6e3m2, f8e4m3fn, nf4, bf16"
    raise DTypeError(f"unknown dtype {name!r}; {hint}")


def _parse_integer(name: str) -> Int | None:
    found = _INTEGER.fullmatch(name)
    if found is None:
        return None
    integer = Int(int(found["bits"]), signed=found["sign"] == "i")
    if integer.name != name:
        raise DTypeError(f"unknown dtype {name!r}; did you mean {integer.name}?")
    return integer


def float_dtype(
    exponent: int, mantissa: int, bias: int | None = None, specials: Specials = "finite", signed: bool = True
) -> Float:
    """A float of any field widths (1 to 8 bits with the sign). The default bias is 2^(exponent-1) - 1, for fnuz
    2^(exponent-1).

    >>> float_dtype(1, 2, bias=1).max
    1.75
    """
    if bias is None:
        bias = default_bias(max(exponent, 0), specials)
    return Float(exponent, mantissa, bias, specials, signed)


def codebook(values: Iterable[float], name: str) -> Codebook:
    """A type whose code c stands for values[c]: 2 to 256 finite numbers, rounded to float32.

    DTypeError if the name already means another type.

    >>> codebook([-1, 0, 1], name="signs").bits
    2
    """
    made = Codebook(name, tuple(values))
    known = NAMED.get(name)
    if known is None and (_INTEGER.fullmatch(name) or parse_float(name) is not None):
        raise DTypeError(f"the name {name!r} means a number format already; choose another for this codebook")
    if known is not None and known != made:
        raise DTypeError(f"the name {name!r} means another dtype already; choose another for this codebook")
    return made

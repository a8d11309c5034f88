"""The codebooks that have names.

* nf2 nf3 nf4 nf5: quantiles of the normal distribution (QLoRA). nf4 is bitsandbytes' table; the others are the same
  construction: with n = 2^bits and o = 1 - (1/(2n) + 1/(2n-2)) / 2, the inverse normal distribution at n/2 + 1 points
  from o to 1/2 for the positive half and at n/2 points for the negative half, each without 1/2; zero; over the maximum.
* af4: bitsandbytes' table for blocks of 64, in its descending order.
* fp4_bnb: bitsandbytes' "FP4", no e2m1: twelfths in code order; code 8, a second zero, is never produced.
* iq4nl: GGUF's non-linear 4-bit table (there is no zero in it).
* ternary: code - 1; the code 3 does not exist.   b1: -1 and +1 for bits 0 and 1.
* hif8: HiFloat8. Its codes for NaN (0x80) and infinities (0x6F, 0xEF) stand for 0 and +-32768 here; `encode` produces
  0x00, 0x6E and 0xEE for those values, never the special codes.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Final

from .codebooks import Codebook


def _hif8_magnitude(code: int) -> float:
    """|value| of the 7 low bits of a HiFloat8 code: a prefix (dot) gives the widths of exponent and mantissa.

    11, 10, 01: 4, 3, 2 exponent bits; 001: 1; 0001: none; then the mantissa. The exponent is a sign bit, then the
    magnitude without its leading one. 0000mmm is 2^(mmm - 23), and zero for mmm = 0.
    """
    if code < 8:
        return math.ldexp(1.0, code - 23) if code else 0.0
    if code < 16:
        width, mantissa = 0, 3
    elif code < 32:
        width, mantissa = 1, 3
    else:
        width, mantissa = (code >> 5) + 1, 4 - (code >> 5)
    exponent = 0
    if width:
        field = (code >> mantissa) & ((1 << width) - 1)
        size = (1 << (width - 1)) | (field & ((1 << (width - 1)) - 1))
        exponent = -size if field >> (width - 1) else size
    fraction = code & ((1 << mantissa) - 1)
    return math.ldexp((1 << mantissa) + fraction, exponent - mantissa)


def _hif8() -> tuple[float, ...]:
    half = [_hif8_magnitude(code) for code in range(128)]
    half[0x6F] = half[0x6E]
    return (*half, 0.0, *(-value for value in half[1:]))


_FP4_BNB = tuple(twelfths / 12 for twelfths in (0, 0.0625, 8, 12, 4, 6, 2, 3))
_NF3 = (
    -1.0,
    -0.53502274,
    -0.24693143,
    0.0,
    0.18333748,
    0.38199395,
    0.6229857,
    1.0,
)
_NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
_NF5 = (
    -1.0,
    -0.77441144,
    -0.6529505,
    -0.5645118,
    -0.49277213,
    -0.4311496,
    -0.3762835,
    -0.32620394,
    -0.27964315,
    -0.2357264,
    -0.1938152,
    -0.15342036,
    -0.114150025,
    -0.07567647,
    -0.037713524,
    0.0,
    0.035351746,
    0.07090872,
    0.10688463,
    0.14351106,
    0.1810489,
    0.21980356,
    0.2601461,
    0.30254528,
    0.3476175,
    0.3962115,
    0.44956005,
    0.50957924,
    0.57953244,
    0.66578275,
    0.7839588,
    1.0,
)
_AF4 = (
    1.0,
    0.72424863,
    0.55496234,
    0.42563882,
    0.31675666,
    0.21961274,
    0.12934483,
    0.04273164,
    0.0,
    -0.04934812,
    -0.14982478,
    -0.25607552,
    -0.3736951,
    -0.51243739,
    -0.69441008,
    -1.0,
)
_IQ4NL = (
    -127,
    -104,
    -83,
    -65,
    -49,
    -35,
    -22,
    -10,
    1,
    13,
    25,
    38,
    53,
    69,
    89,
    113,
)

CODEBOOKS: Final = MappingProxyType(
    {
        book.name: book
        for book in (
            Codebook("b1", (-1.0, 1.0)),
            Codebook("ternary", (-1.0, 0.0, 1.0)),
            Codebook("nf2", (-1.0, 0.0, 0.43581817, 1.0)),
            Codebook("nf3", _NF3),
            Codebook("nf4", _NF4),
            Codebook("nf5", _NF5),
            Codebook("af4", _AF4),
            Codebook("fp4_bnb", _FP4_BNB + tuple(0.0 - value for value in _FP4_BNB)),
            Codebook("iq4nl", _IQ4NL),
            Codebook("hif8", _hif8()),
        )
    }
)

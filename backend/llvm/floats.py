"""Float steps that not every processor has: fused multiply-add, half precision, saturating conversions.

Each gives the same bits on every target.
"""

from __future__ import annotations

from ..target import Target
from .code import Code, Operand, splat

__all__ = ["fma", "half_to_single", "saturating", "single_to_half"]


def _x86_without(target: Target, feature: str) -> bool:
    return target.triple.startswith("x86_64") and not target.has(feature)


def fma(code: Code, target: Target, x: Operand, y: Operand, z: Operand) -> Operand:
    """x * y + z rounded once to f32.

    Without the instruction: the product is exact in f64; the sum is rounded to odd there (its last bit set whenever
    something was lost), after which the rounding to f32 is the only one that counts (Boldo and Melquiond, 2008).
    """
    if not _x86_without(target, "fma"):
        return code.intrinsic("fma", x, y, z)
    a, b, c = (code.convert("fpext", v, "double") for v in (x, y, z))
    product = code.binary("fmul", a, b)
    total = code.binary("fadd", product, c)
    part = code.binary("fsub", total, product)
    lost = code.binary(
        "fadd", code.binary("fsub", product, code.binary("fsub", total, part)), code.binary("fsub", c, part)
    )
    bits = code.recast(total, "i64", total.lanes)
    even = code.compare_number("eq", code.number("and", bits, 1), 0)
    inexact = code.compare_number("one", lost, 0.0)
    away = code.compare("eq", code.compare_number("ogt", lost, 0.0), code.compare_number("ogt", total, 0.0))
    step = code.select(away, splat(1, "i64", bits.lanes), splat(-1, "i64", bits.lanes))
    mended = code.select(code.binary("and", even, inexact), code.binary("add", bits, step), bits)
    return code.convert("fptrunc", code.recast(mended, "double", total.lanes), "float")


def half_to_single(code: Code, target: Target, word: Operand) -> Operand:
    """The f16 in the low half of each i32, as f32."""
    if not _x86_without(target, "f16c"):
        return code.convert("fpext", code.convert("bitcast", code.convert("trunc", word, "i16"), "half"), "float")
    # Exponent and mantissa in the place of f32's, then the difference of the biases by one exact multiplication.
    magnitude = code.number("and", word, 0x7FFF)
    placed = code.convert("bitcast", code.number("shl", magnitude, 13), "float")
    scaled = code.convert("bitcast", code.number("fmul", placed, 2.0**112), "i32")
    special = code.compare_number("uge", magnitude, 0x7C00)
    bits = code.binary("or", scaled, code.select(special, splat(0x7F800000, "i32", word.lanes), _zero(word)))
    sign = code.number("shl", code.number("and", word, 0x8000), 16)
    return code.convert("bitcast", code.binary("or", bits, sign), "float")


def single_to_half(code: Code, target: Target, x: Operand) -> Operand:
    """f32 as f16 to nearest even, in an i32.  NaN stays a NaN, made quiet."""
    if not _x86_without(target, "f16c"):
        return code.convert("zext", code.convert("bitcast", code.convert("fptrunc", x, "half"), "i16"), "i32")
    bits = code.convert("bitcast", x, "i32")
    magnitude = code.number("and", bits, 0x7FFFFFFF)
    # Normal results: round at bit 13, then rebias; a carry out of the mantissa moves the exponent, up to infinity.
    odd = code.number("and", code.number("lshr", magnitude, 13), 1)
    rounded = code.number("add", code.binary("add", magnitude, odd), 0x0FFF - (112 << 23))
    normal = code.number("lshr", rounded, 13)
    # Subnormal results: adding 1/2 leaves the value in units of 2**-24 in the mantissa, rounded by the adder.
    small = code.number("fadd", code.convert("bitcast", magnitude, "float"), 0.5)
    subnormal = code.number("sub", code.convert("bitcast", small, "i32"), 0x3F000000)
    result = code.select(code.compare_number("ult", magnitude, 0x38800000), subnormal, normal)
    result = code.select(code.compare_number("ult", magnitude, 0x47800000), result, splat(0x7C00, "i32", x.lanes))
    payload = code.number("or", code.number("and", code.number("lshr", magnitude, 13), 0x3FF), 0x7E00)
    result = code.select(code.compare_number("ugt", magnitude, 0x7F800000), payload, result)
    sign = code.number("and", code.number("lshr", bits, 16), 0x8000)
    return code.binary("or", result, sign)


def saturating(code: Code, x: Operand, op: str, element: str) -> Operand:
    """f32 to an integer, truncating; the nearest integer there is when out of range; 0 for NaN."""
    bits = 32 if element == "i32" else 64
    signed = op == "fptosi"
    low = -(2 ** (bits - 1)) if signed else 0
    high = 2 ** (bits - 1) if signed else 2**bits
    # x >= low and x < high are both false on NaN, which therefore converts the 0 that stands in for it.
    fits = code.binary("and", code.compare_number("oge", x, float(low)), code.compare_number("olt", x, float(high)))
    inside = code.convert(op, code.select(fits, x, splat(0.0, "float", x.lanes)), element)
    above = code.compare_number("oge", x, float(high))
    result = code.select(above, splat(high - 1, element, x.lanes), inside)
    if signed:
        below = code.compare_number("olt", x, float(low))
        result = code.select(below, splat(low, element, x.lanes), result)
    return result


def _zero(like: Operand) -> Operand:
    return splat(0, like.element, like.lanes)

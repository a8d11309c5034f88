"""exp, exp2, log, log2, sin, cos and tanh of f32, within 4 units in the last place, as sequences that work on vectors.

Arguments are reduced exactly with fused multiply-add (Cody and Waite); then come plain Taylor or atanh series, cut
where the next term is far below the last place.  Subnormal arguments and results are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..target import Target
from .code import Code, Operand, splat, vector_type
from .floats import fma

__all__ = ["FUNCTIONS"]

_ROUNDER = 1.5 * 2**23  # adding it leaves the nearest integer in the low bits of the mantissa
_SINE_LIMIT = 2.0**17  # beyond it the three-part reduction below is no longer exact


def _split(value: float, parts: int, bits: int) -> list[float]:
    """`value` as a sum of numbers of so many significant bits, largest first (the value itself is a f64)."""
    out = []
    for _ in range(parts):
        exponent = math.frexp(value)[1]
        unit = math.ldexp(1.0, exponent - bits)
        part = round(value / unit) * unit
        out.append(part)
        value -= part
    return out


def _polynomial(code: Code, target: Target, x: Operand, coefficients: Sequence[float]) -> Operand:
    """c[0] + c[1] x + c[2] x**2 ... by Horner's rule."""
    result = splat(coefficients[-1], "float", x.lanes)
    for c in reversed(coefficients[:-1]):
        result = fma(code, target, result, x, splat(c, "float", x.lanes))
    return result


def _times(code: Code, target: Target, x: Operand, factor: float, addend: Operand) -> Operand:
    return fma(code, target, x, splat(factor, "float", x.lanes), addend)


def _nearest(code: Code, x: Operand) -> tuple[Operand, Operand]:
    """The nearest integer to x (below 2**22 in size) as f32 and as i32."""
    shifted = code.number("fadd", x, _ROUNDER)
    whole = code.number("fsub", shifted, _ROUNDER)
    bits = code.convert("bitcast", shifted, "i32")
    return whole, code.number("sub", bits, 0x4B400000)


def _clamp(code: Code, x: Operand, low: float, high: float) -> Operand:
    """x within [low, high]; NaN stays."""
    x = code.select(code.compare_number("olt", x, low), splat(low, "float", x.lanes), x)
    return code.select(code.compare_number("ogt", x, high), splat(high, "float", x.lanes), x)


def _power_of_two(code: Code, n: Operand) -> Operand:
    """2**n for -127 < n < 128."""
    return code.convert("bitcast", code.number("shl", code.number("add", n, 127), 23), "float")


def _scaled(code: Code, x: Operand, n: Operand) -> Operand:
    """x * 2**n in two steps, the first of which is exact, so that a subnormal result is rounded once."""
    half = code.number("ashr", n, 1)
    rest = code.binary("sub", n, half)
    return code.binary("fmul", code.binary("fmul", x, _power_of_two(code, half)), _power_of_two(code, rest))


_LN2_HIGH = _split(math.log(2), 1, 16)[0]  # short enough for exact products with every exponent
_LN2_LOW = math.log(2) - _LN2_HIGH
_EXP = [1 / math.factorial(k) for k in range(8)]


def _exp_reduced(code: Code, target: Target, x: Operand) -> tuple[Operand, Operand]:
    """(r, n) with x = n ln 2 + r and |r| <= ln(2)/2."""
    whole, n = _nearest(code, code.number("fmul", x, 1 / math.log(2)))
    r = _times(code, target, whole, -_LN2_HIGH, x)
    return _times(code, target, whole, -_LN2_LOW, r), n


def _exp(code: Code, target: Target, x: Operand) -> Operand:
    r, n = _exp_reduced(code, target, _clamp(code, x, -105.0, 90.0))
    return _scaled(code, _polynomial(code, target, r, _EXP), n)


def _exp2(code: Code, target: Target, x: Operand) -> Operand:
    x = _clamp(code, x, -151.0, 129.0)
    whole, n = _nearest(code, x)
    r = code.number("fmul", code.binary("fsub", x, whole), math.log(2))
    return _scaled(code, _polynomial(code, target, r, _EXP), n)


_ATANH = [2 / (2 * k + 3) for k in range(6)]


def _log_parts(code: Code, target: Target, x: Operand) -> tuple[Operand, Operand, Operand]:
    """(k, f, c) with x = 2**k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), and log(1 + f) = f - c, for finite x > 0.

    With s = f / (2 + f), log(1 + f) = 2 atanh(s), and 2 s = f - s f: what is left of the series is small beside f.
    """
    tiny = code.compare_number("olt", x, 2.0**-126)
    x = code.select(tiny, code.number("fmul", x, 2.0**25), x)
    bits = code.number("add", code.convert("bitcast", x, "i32"), 0x3F800000 - 0x3F3504F3)
    k = code.number("sub", code.number("lshr", bits, 23), 127)
    k = code.select(tiny, code.number("sub", k, 25), k)
    mantissa = code.number("add", code.number("and", bits, 0x7FFFFF), 0x3F3504F3)
    f = code.number("fsub", code.convert("bitcast", mantissa, "float"), 1.0)
    s = code.binary("fdiv", f, code.number("fadd", f, 2.0))
    z = code.binary("fmul", s, s)
    tail = code.binary("fmul", z, _polynomial(code, target, z, _ATANH))
    half = code.binary("fmul", code.number("fmul", f, 0.5), f)
    c = code.binary("fsub", half, code.binary("fmul", s, code.binary("fadd", half, tail)))
    return code.convert("sitofp", k, "float"), f, c


def _log_ends(code: Code, x: Operand, result: Operand) -> Operand:
    """log at 0, below 0, at infinity and at NaN."""
    result = code.select(code.compare_number("olt", x, math.inf), result, x)  # infinity and NaN give themselves
    result = code.select(code.compare_number("olt", x, 0.0), splat(math.nan, "float", x.lanes), result)
    return code.select(code.compare_number("oeq", x, 0.0), splat(-math.inf, "float", x.lanes), result)


def _log(code: Code, target: Target, x: Operand) -> Operand:
    k, f, c = _log_parts(code, target, x)
    low = _times(code, target, k, _LN2_LOW, code.fneg(c))
    result = _times(code, target, k, _LN2_HIGH, code.binary("fadd", f, low))
    return _log_ends(code, x, result)


_LOG2E_HIGH, _LOG2E_LOW = _split(1 / math.log(2), 2, 24)


def _log2(code: Code, target: Target, x: Operand) -> Operand:
    k, f, c = _log_parts(code, target, x)
    log = code.binary("fsub", f, c)
    result = _times(code, target, log, _LOG2E_HIGH, _times(code, target, log, _LOG2E_LOW, k))
    return _log_ends(code, x, result)


_HALF_PI = _split(math.pi / 2, 2, 24)
_HALF_PI.append((math.pi / 2 - sum(_HALF_PI)) + math.cos(math.pi / 2))  # the cosine is what f64 lacks of pi/2
_SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in range(1, 5)]
_COS = [(-1) ** k / math.factorial(2 * k) for k in range(1, 6)]


def _sine(code: Code, target: Target, x: Operand, quarter: int, name: str) -> Operand:
    """sin(x + quarter pi/2)."""
    whole, n = _nearest(code, code.number("fmul", x, 2 / math.pi))
    r = x
    for part in _HALF_PI:
        r = _times(code, target, whole, -part, r)
    z = code.binary("fmul", r, r)
    odd = fma(code, target, code.binary("fmul", z, r), _polynomial(code, target, z, _SIN), r)
    even = fma(code, target, _polynomial(code, target, z, _COS), z, splat(1.0, "float", x.lanes))
    n = code.number("add", n, quarter)
    value = code.select(code.compare_number("ne", code.number("and", n, 1), 0), even, odd)
    sign = code.number("shl", code.number("and", n, 2), 30)
    value = code.convert("bitcast", code.binary("xor", code.convert("bitcast", value, "i32"), sign), "float")
    if quarter == 0:
        value = code.select(code.compare_number("oeq", x, 0.0), x, value)  # sin(-0) is -0
    near = code.compare_number("ole", code.intrinsic("fabs", x), _SINE_LIMIT)
    return _far(code, x, value, near, name)


def _far(code: Code, x: Operand, value: Operand, near: Operand, name: str) -> Operand:
    """`value` where `near`, and elsewhere the C library's function, which is called only if some lane needs it."""
    all_near = code.reduce("and", near) if x.lanes else near
    before, slow, after = code.label, code.block_name("far"), code.block_name("near")
    code.branch(all_near, after, slow)
    code.start(slow)
    function = f"far_{name}_{x.lanes}"
    code.function(function, lambda: _per_lane(code, function, f"{name}f", x.lanes))
    exact = code.call(function, "float", x.lanes, x)
    mixed = code.select(near, value, exact)
    code.jump(after)
    code.start(after)
    return code.put("float", x.lanes, f"phi {x.type} [ {value.text}, %{before} ], [ {mixed.text}, %{slow} ]")


def _per_lane(code: Code, name: str, libm: str, lanes: int) -> str:
    """A function that applies one of the C library's to every lane."""
    type = vector_type("float", lanes)
    code.declare(libm, f"declare float @{libm}(float)")
    lines = [f"define internal {type} @{name}({type} %x) noinline {{"]
    last = "poison"
    for lane in range(lanes):
        lines.append(f"  %e{lane} = extractelement {type} %x, i64 {lane}")
        lines.append(f"  %y{lane} = call float @{libm}(float %e{lane})")
        lines.append(f"  %r{lane} = insertelement {type} {last}, float %y{lane}, i64 {lane}")
        last = f"%r{lane}"
    if not lanes:
        lines.append(f"  %r = call float @{libm}(float %x)")
        last = "%r"
    return "\n".join([*lines, f"  ret {type} {last}", "}"])


def _sin(code: Code, target: Target, x: Operand) -> Operand:
    return _sine(code, target, x, 0, "sin")


def _cos(code: Code, target: Target, x: Operand) -> Operand:
    return _sine(code, target, x, 1, "cos")


def _tanh(code: Code, target: Target, x: Operand) -> Operand:
    """With t = exp(2|x|) - 1, computed without cancellation, tanh |x| = t / (t + 2)."""
    magnitude = code.intrinsic("fabs", x)
    doubled = code.number("fmul", _clamp(code, magnitude, 0.0, 10.0), 2.0)
    r, n = _exp_reduced(code, target, doubled)
    square = code.binary("fmul", r, r)
    small = fma(code, target, square, _polynomial(code, target, r, _EXP[2:]), r)
    scale = _power_of_two(code, n)
    t = fma(code, target, small, scale, code.number("fsub", scale, 1.0))
    result = code.binary("fdiv", t, code.number("fadd", t, 2.0))
    return code.intrinsic("copysign", result, x)


FUNCTIONS: dict[str, Callable[[Code, Target, Operand], Operand]] = {
    "exp": _exp, "exp2": _exp2, "log": _log, "log2": _log2, "sin": _sin, "cos": _cos, "tanh": _tanh,
}  # fmt: skip

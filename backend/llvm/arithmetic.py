"""The rows of `KINDS` as LLVM instructions, on scalars and vectors alike."""

from __future__ import annotations

from ..target import Target
from . import elementary
from .code import BITS, Code, Operand, splat
from .floats import fma, half_to_single, saturating, single_to_half
from .shuffle import pieces

__all__ = ["apply_kind"]

_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl", "lshr": "lshr",
    "ashr": "ashr", "fadd": "fadd", "fsub": "fsub", "fmul": "fmul", "fdiv": "fdiv",
}  # fmt: skip
_INTRINSIC = {
    "smin": "smin", "smax": "smax", "umin": "umin", "umax": "umax", "fmin": "minimum", "fmax": "maximum",
    "fabs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "rint": "rint",
}  # fmt: skip
_COMPARE = {
    "eq": "eq", "ne": "ne", "slt": "slt", "sle": "sle", "ult": "ult", "ule": "ule", "feq": "oeq", "fne": "une",
    "flt": "olt", "fle": "ole",
}  # fmt: skip
_CONVERT = {
    "sitofp": ("sitofp", "float"), "uitofp": ("uitofp", "float"), "sext": ("sext", "i64"), "zext": ("zext", "i64"),
    "trunc": ("trunc", "i32"), "bits": ("bitcast", "i32"), "float": ("bitcast", "float"),
}  # fmt: skip
_SATURATING = {"fptosi": ("fptosi", "i32"), "fptoui": ("fptoui", "i32"), "fptosl": ("fptosi", "i64")}
_DIVISION = frozenset({"sdiv", "srem", "udiv", "urem"})


def apply_kind(code: Code, target: Target, kind: str, operands: list[Operand]) -> Operand:
    """One row of `KINDS` on operands of one number of lanes (a select's condition may be a scalar)."""
    x = operands[0]
    if kind in _BINARY:
        return code.binary(_BINARY[kind], x, operands[1])
    if kind in _INTRINSIC:
        return code.intrinsic(_INTRINSIC[kind], *operands)
    if kind in _COMPARE:
        return code.compare(_COMPARE[kind], x, operands[1])
    if kind in _CONVERT:
        return code.convert(_CONVERT[kind][0], x, _CONVERT[kind][1])
    if kind in _SATURATING:
        return saturating(code, x, *_SATURATING[kind])
    if kind in _DIVISION:
        return _divide(code, kind, x, operands[1])
    match kind:
        case "select":
            return code.select(*operands)
        case "fma":
            return fma(code, target, *operands)
        case "fneg":
            return code.fneg(x)
        case "mulhi":
            return _mulhi(code, x, operands[1])
        case "choose":
            return _choose(code, target, *operands)
        case "f16tof32":
            return half_to_single(code, target, x)
        case "f32tof16":
            return single_to_half(code, target, x)
    return elementary.FUNCTIONS[kind](code, target, x)


def _choose(code: Code, target: Target, mask: Operand, x: Operand, y: Operand) -> Operand:
    """One instruction on AVX-512; written with and, andn and or, LLVM makes two of it."""
    if mask.lanes and target.has("avx512f"):
        table = Operand("i32", 0, "202")  # for mask, x, y = 111 down to 000: 1 1 0 0 1 0 1 0
        name = "llvm.x86.avx512.pternlog.d.512"
        return pieces(code, [mask, x, y], 16, lambda abc: code.call(name, "i32", 16, *abc, table))
    ones = splat(-1, mask.element, mask.lanes)
    kept, rest = code.binary("and", mask, x), code.binary("and", code.binary("xor", mask, ones), y)
    return code.binary("or", kept, rest)


def _mulhi(code: Code, x: Operand, y: Operand) -> Operand:
    product = code.binary("mul", code.convert("zext", x, "i64"), code.convert("zext", y, "i64"))
    return code.convert("trunc", code.number("lshr", product, 32), "i32")


def _divide(code: Code, kind: str, x: Operand, y: Operand) -> Operand:
    """Division that never traps: a zero divisor gives 0, the least integer by -1 wraps (remainder 0)."""
    one, zero = splat(1, x.element, x.lanes), splat(0, x.element, x.lanes)
    none = code.compare("eq", y, zero)
    unsafe = none
    if kind[0] == "s":
        least = splat(-(1 << (BITS[x.element] - 1)), x.element, x.lanes)
        wraps = code.binary("and", code.compare("eq", x, least), code.compare_number("eq", y, -1))
        unsafe = code.binary("or", none, wraps)
    safe = code.select(unsafe, one, y)
    if x.lanes and x.element == "i32" and y.text[0] == "%":
        result = _vector_divide(code, kind, x, safe)
    else:
        result = code.binary(kind, x, safe)
    return code.select(none, zero, result)


def _vector_divide(code: Code, kind: str, x: Operand, y: Operand) -> Operand:
    """i32 division through f64, which vector units have: a quotient of 32-bit integers that is not whole lies at least
    2**-32 of its size from a whole one, far more than f64 rounds, so that truncating it is exact.
    """
    signed = kind[0] == "s"
    up, down = ("sitofp", "fptosi") if signed else ("uitofp", "fptoui")
    ratio = code.binary("fdiv", code.convert(up, x, "double"), code.convert(up, y, "double"))
    quotient = code.convert(down, ratio, "i32")
    if kind.endswith("div"):
        return quotient
    return code.binary("sub", x, code.binary("mul", quotient, y))

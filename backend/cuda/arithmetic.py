"""The rows of `KINDS` as C++ expressions.

Floats are IEEE's: the text is compiled without contraction and without flushing (`build.py`), so that +, -, * and /
round once.  A NaN that an instruction makes, or passes on, has the bits of the hardware's own.
"""

from __future__ import annotations

from ..lane.ir import Apply
from .code import Code

__all__ = ["apply_kind"]

_PLAIN = {  # {0} .. are the operands, I the signed and U the unsigned type of their width
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}",
    "and": "{0} & {1}", "or": "{0} | {1}", "xor": "{0} ^ {1}",
    "shl": "{0} << {1}", "lshr": "{0} >> {1}", "ashr": "(U)((I){0} >> {1})",
    "smin": "(U)min((I){0}, (I){1})", "smax": "(U)max((I){0}, (I){1})",
    "umin": "min({0}, {1})", "umax": "max({0}, {1})",
    "eq": "{0} == {1}", "ne": "{0} != {1}", "slt": "(I){0} < (I){1}", "sle": "(I){0} <= (I){1}",
    "ult": "{0} < {1}", "ule": "{0} <= {1}",
    "mulhi": "__umulhi({0}, {1})", "choose": "({0} & {1}) | (~{0} & {2})", "select": "{0} ? {1} : {2}",
    "fadd": "{0} + {1}", "fsub": "{0} - {1}", "fmul": "{0} * {1}", "fdiv": "{0} / {1}",
    "fma": "__fmaf_rn({0}, {1}, {2})", "fneg": "-{0}", "fabs": "fabsf({0})", "sqrt": "__fsqrt_rn({0})",
    "floor": "floorf({0})", "ceil": "ceilf({0})", "rint": "rintf({0})",
    "exp": "expf({0})", "exp2": "exp2f({0})", "log": "logf({0})", "log2": "log2f({0})", "sin": "sinf({0})",
    "cos": "cosf({0})", "tanh": "tanhf({0})",
    "feq": "{0} == {1}", "fne": "{0} != {1}", "flt": "{0} < {1}", "fle": "{0} <= {1}",
    "sitofp": "(float)(I){0}", "uitofp": "(float){0}",
    "fptosi": "(u32)__float2int_rz({0})", "fptoui": "__float2uint_rz({0})",
    "fptosl": "{0} == {0} ? (u64)__float2ll_rz({0}) : 0ull",  # of NaN the conversion to 64 bits gives -2**63
    "sext": "(u64)(i64)(i32){0}", "zext": "(u64){0}", "trunc": "(u32){0}",
    "bits": "__float_as_uint({0})", "float": "__uint_as_float({0})",
}  # fmt: skip

_DIVIDE = """static __device__ __forceinline__ {U} {name}({U} x, {U} y) {{
  if (y == 0) return 0;{wraps}
  return ({U})(({T})x {sign} ({T})y);
}}"""

_EXTREME = """static __device__ __forceinline__ float {name}(float x, float y) {{
  float z;
  asm("{instruction}.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
}}"""

_HALVES = {
    "f16tof32": """static __device__ __forceinline__ float f16tof32(u32 x) {
  float y;
  asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, low; }" : "=f"(y) : "r"(x));
  return y;
}""",
    "f32tof16": """static __device__ __forceinline__ u32 f32tof16(float x) {
  u32 y;
  asm("{ .reg .b16 half; cvt.rn.f16.f32 half, %1; cvt.u32.u16 %0, half; }" : "=r"(y) : "f"(x));
  return y;
}""",
}


def apply_kind(code: Code, op: Apply) -> str:
    """The expression of one row."""
    names = [code.get(o) for o in op.operands]
    wide = op.operands[-1].type == "i64"
    match op.kind:
        case "sdiv" | "srem" | "udiv" | "urem":
            return _divide(code, op, wide)
        case "fmin" | "fmax":
            text = _EXTREME.format(name=op.kind, instruction=op.kind[1:])
            return f"{code.function(op.kind, text)}({', '.join(names)})"
        case "f16tof32" | "f32tof16":
            return f"{code.function(op.kind, _HALVES[op.kind])}({names[0]})"
        case "select" if op.operands[1] is op.operands[2]:
            return names[1]
        case "shl" | "lshr" | "ashr":
            distance = code.number(op.operands[1])
            names[1] = f"(u32){names[1]}" if distance is None else str(distance)
    signed, unsigned = ("(i64)", "(u64)") if wide else ("(i32)", "(u32)")
    return _PLAIN[op.kind].replace("(I)", signed).replace("(U)", unsigned).format(*names)


def _divide(code: Code, op: Apply, wide: bool) -> str:
    """Division that gives 0 for a zero divisor; the least integer by -1 wraps (remainder 0)."""
    x, y = op.operands
    signed, remainder = op.kind[0] == "s", op.kind.endswith("rem")
    unsigned_type, type = ("u64", "i64") if wide else ("u32", "i32")
    sign = "%" if remainder else "/"
    known = code.number(y)
    if known is not None and 0 < known < 1 << 31:
        if signed:
            return f"({unsigned_type})(({type}){code.get(x)} {sign} ({type}){code.get(y)})"
        return f"{code.get(x)} {sign} {code.get(y)}"
    name = f"{op.kind}_{type[1:]}"
    wraps = f"\n  if (y == ({unsigned_type})-1) return {'0' if remainder else '0 - x'};" if signed else ""
    text = _DIVIDE.format(U=unsigned_type, T=type if signed else unsigned_type, name=name, wraps=wraps, sign=sign)
    return f"{code.function(name, text)}({code.get(x)}, {code.get(y)})"

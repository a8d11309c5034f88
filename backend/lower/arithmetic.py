"""Element-wise instructions, one register at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ...vm.dtypes import Bool, DType, Float, Int
from ...vm.ir import Value
from ...vm.layout.spread import squeeze
from ...vm.ops import Binary, Fma, Unary, Where
from ..lane.ir import Reg
from .context import Context
from .decode import decode
from .encode import encode
from .index import floor_divide
from .tile import Later, Scaled, coordinates, matching
from .whole import wrap

_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "min": "fmin", "max": "fmax"}
_FLOAT_COMPARE = {"lt": "flt", "le": "fle", "eq": "feq", "ne": "fne"}
_INT = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_SAME = {
    "exp": "exp", "exp2": "exp2", "log": "log", "log2": "log2", "sqrt": "sqrt", "sin": "sin", "cos": "cos",
    "tanh": "tanh", "floor": "floor", "ceil": "ceil", "round": "rint", "abs": "fabs", "neg": "fneg",
}  # fmt: skip


def rounded(c: Context, dtype: DType, x: Reg) -> Reg:
    """An f32 result rounded to the dtype's own precision; an integer result wrapped to its width."""
    match dtype:
        case Float():
            return x if dtype.name == "f32" else decode(c.b, dtype, encode(c.b, dtype, x, "rne", "ieee"))
        case Int():
            return x if dtype.bits >= 32 else wrap(c.b, dtype, x)
    return x


def aligned(c: Context, operand: Value, result: Value) -> Sequence[Reg]:
    """The operand's value for each register of the result, repeated where the operand has size 1."""
    tile, kind = c.tile(operand), result.type
    assert kind.layout is not None
    rank = len(kind.shape)
    match: Sequence[int] | None
    if not operand.type.shape:
        match = (0,) * kind.layout.size("reg")
    elif operand.type.shape == kind.shape:
        match = matching(tile.layout, kind.layout, rank, c.lanes)
    else:
        match = _repeated(c, operand, result)
    assert match is not None, f"{operand} and {result} do not meet"
    found = match
    return Later(len(found), lambda r: tile.value(c.b, found[r]))


def _repeated(c: Context, operand: Value, result: Value) -> list[int]:
    """Registers of an operand with sizes of 1, for each register of the result."""
    kind = result.type
    assert kind.layout is not None
    assert operand.type.layout is not None
    rank = len(kind.shape)
    narrow = squeeze(kind.layout, kind.shape, operand.type.shape)
    match = matching(operand.type.layout, narrow, rank, c.lanes)
    assert match is not None, f"{operand} and {result} do not meet"
    where = {tuple(x): r for r, x in reversed(list(enumerate(coordinates(narrow, rank, c.lanes)[0].tolist())))}
    full = coordinates(kind.layout, rank, c.lanes)[0]
    zero = [n == 1 for n in operand.type.shape]
    keys = [tuple(0 if z else int(x) for x, z in zip(row, zero, strict=True)) for row in full]
    return [match[where[k]] for k in keys]


def lower_unary(c: Context, result: Value, op: Unary) -> None:
    dtype = op.x.type.dtype
    xs = aligned(c, op.x, result)
    c.define(result, Later(len(xs), lambda r: rounded(c, dtype, _unary(c, op, dtype, xs[r]))))


def _unary(c: Context, op: Unary, dtype: DType, x: Reg) -> Reg:
    b = c.b
    if isinstance(dtype, Float):
        one = b.f32(1.0)
        if op.kind == "rsqrt":
            return b.apply("fdiv", one, b.apply("sqrt", x))
        if op.kind == "sigmoid":
            return b.apply("fdiv", one, b.apply("fadd", one, b.apply("exp", b.apply("fneg", x))))
        return b.apply(_SAME[op.kind], x)
    if op.kind == "not":
        return b.apply("xor", x, b.constant(x.type, 1 if isinstance(dtype, Bool) else -1))
    negated = b.apply("sub", b.constant(x.type, 0), x)
    if op.kind == "neg" or (isinstance(dtype, Int) and not dtype.signed):
        return negated if op.kind == "neg" else x
    return b.apply("select", b.apply("slt", x, b.constant(x.type, 0)), negated, x)


def lower_binary(c: Context, result: Value, op: Binary) -> None:
    dtype = op.x.type.dtype
    xs, ys = aligned(c, op.x, result), aligned(c, op.y, result)
    compare = op.kind in ("lt", "le", "eq", "ne")
    if op.kind == "mul" and dtype.name == "f32":
        fused = _from_above(c, op, result, xs, ys)
        if fused is not None:
            c.define(result, fused)
            return
        xs, ys = _unscaled(c, op.x, op.y, result, xs, ys)

    def make(register: int) -> Reg:
        value = _binary(c, op.kind, dtype, xs[register], ys[register])
        return value if compare else rounded(c, dtype, value)

    c.define(result, Later(len(xs), make))


def _binary(c: Context, kind: str, dtype: DType, x: Reg, y: Reg) -> Reg:
    match dtype:
        case Float():
            return c.b.apply({**_FLOAT, **_FLOAT_COMPARE}[kind], x, y)
        case Int():
            return _integer(c, kind, dtype, x, y)
        case Bool():
            if kind in ("eq", "ne"):
                differ = c.b.apply("xor", x, y)
                return differ if kind == "ne" else c.b.apply("xor", differ, c.b.constant("i1", 1))
            return c.b.apply(kind, x, y)
    raise AssertionError(f"no arithmetic on {dtype}")


def _integer(c: Context, kind: str, dtype: Int, x: Reg, y: Reg) -> Reg:
    b, u = c.b, not dtype.signed
    if kind in _INT:
        return b.apply(_INT[kind], x, y)
    match kind:
        case "min" | "max":
            return b.apply(("u" if u else "s") + kind, x, y)
        case "floordiv" | "mod":
            if u:
                return b.apply("udiv" if kind == "floordiv" else "urem", x, y)
            nothing = b.apply("eq", y, b.constant(y.type, 0))
            return b.apply("select", nothing, b.constant(x.type, 0), floor_divide(b, x, y, remainder=kind == "mod"))
        case "lt" | "le":
            return b.apply(("ul" if u else "sl") + kind[1], x, y)
        case "eq" | "ne":
            return b.apply(kind, x, y)
        case "shl" | "shr":
            return _shift(c, kind, dtype, x, y)
    raise AssertionError(f"no integer {kind}")


def _shift(c: Context, kind: str, dtype: Int, x: Reg, y: Reg) -> Reg:
    b = c.b
    over = b.apply("ule", b.constant(y.type, dtype.bits), y)
    if not dtype.signed or kind == "shl":
        small = b.apply("select", over, b.constant(y.type, 0), y)
        moved = b.apply("shl" if kind == "shl" else "lshr", x, small)
        return b.apply("select", over, b.constant(x.type, 0), moved)
    last = b.constant(y.type, dtype.bits - 1)
    return b.apply("ashr", x, b.apply("select", over, last, y))


def lower_fma(c: Context, result: Value, op: Fma) -> None:
    xs, ys, zs = (aligned(c, v, result) for v in op.operands)
    xs, ys = _unscaled(c, op.x, op.y, result, xs, ys)
    c.define(result, Later(len(xs), lambda r: c.b.apply("fma", xs[r], ys[r], zs[r])))


def _unscaled(
    c: Context, x: Value, y: Value, result: Value, xs: Sequence[Reg], ys: Sequence[Reg]
) -> tuple[Sequence[Reg], Sequence[Reg]]:
    """The factors of a product; where one is known as numbers times powers of two, the other one takes the powers.

    It has fewer registers if it is repeated, as scales are, and is far from the ends of f32's range.
    """
    for one, other in ((x, y), (y, x)):
        scaled = c.tile(one).scaled
        if scaled is not None and one.type.shape == result.type.shape and _moderate(c, other):
            numbers, factors = _shifted(c, one, scaled, ys if one is x else xs, result)
            return (numbers, factors) if one is x else (factors, numbers)
    return xs, ys


def _from_above(c: Context, op: Binary, result: Value, xs: Sequence[Reg], ys: Sequence[Reg]) -> Later | None:
    """(x - above) y as x y - above y, where above y has so few digits that it is exact: one instruction, one rounding.

    The factors are finite: what is infinite would be NaN.
    """
    for one, other, plain in ((op.x, op.y, ys), (op.y, op.x, xs)):
        scaled = c.tile(one).scaled
        if scaled is None or scaled.above is None or one.type.shape != result.type.shape or not _moderate(c, other):
            continue
        given, above = scaled.above
        numbers, factors = _shifted(c, one, Scaled(given, scaled.factors), plain, result)
        return _differences(c, numbers, factors, c.b.f32(-above))
    return None


def _differences(c: Context, numbers: Sequence[Reg], factors: Sequence[Reg], off: Reg) -> Later:
    """(number + off) * factor, where off * factor is exact."""

    def product(r: int) -> Reg:
        return c.b.apply("fma", numbers[r], factors[r], c.b.apply("fmul", factors[r], off))

    return Later(len(numbers), product)


def _shifted(
    c: Context, one: Value, scaled: Scaled, plain: Sequence[Reg], result: Value
) -> tuple[Sequence[Reg], Sequence[Reg]]:
    """The numbers of one factor for the registers of the result, and the other factor with their powers of two."""
    assert result.type.layout is not None
    match = matching(c.tile(one).layout, result.type.layout, len(result.type.shape), c.lanes)
    assert match is not None
    found = match
    numbers = Later(len(found), lambda r: scaled.numbers[found[r]])
    return numbers, Later(len(found), lambda r: c.b.apply("fmul", plain[r], c.b.f32(scaled.factors[found[r]])))


def _moderate(c: Context, value: Value) -> bool:
    """Whether the values are those of a type whose finite values are far from the ends of f32's range."""
    origin = c.tile(value).origin
    return origin is not None and isinstance(origin[0], Float) and origin[0].exponent <= 5


def lower_where(c: Context, result: Value, op: Where) -> None:
    columns = [aligned(c, v, result) for v in op.operands]
    c.define(result, Later(len(columns[0]), lambda r: c.b.apply("select", *(column[r] for column in columns))))

"""The trees of scalar index expressions: what a node is, its facts, and the order of terms.

Trees are immutable and compare by structure; only `Var` compares by identity. Each node carries what is known of its
value (`facts`, see `bounds.py`), worked out once from its children. Build expressions with the operators or with the
functions of `expr.py`, which fold; a node made directly is valid, but is not folded.
"""

import itertools
import operator
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import SupportsIndex, TypeAlias, cast

from .bounds import Facts, Kind, exactly, join, known, transfer

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
MAX_DEPTH = 128  # every walk over a tree is recursive and must fit in Python's stack
MAX_SIZE = 1 << 14  # nodes, shared ones counted each time: the cost of comparing or printing

_serials = itertools.count()


class ExprError(ValueError):
    """An index expression that has no value, leaves 64 bits, or is too large."""


class Operators:
    """Python's arithmetic on expressions. Comparisons are functions (`lt`, `eq`, …): `==` compares trees."""

    __slots__ = ()

    def __add__(self, other: "ExprLike") -> "Expr":
        return _build("add", self, other)

    def __radd__(self, other: int) -> "Expr":
        return _build("add", other, self)

    def __sub__(self, other: "ExprLike") -> "Expr":
        return _build("sub", self, other)

    def __rsub__(self, other: int) -> "Expr":
        return _build("sub", other, self)

    def __mul__(self, other: "ExprLike") -> "Expr":
        return _build("mul", self, other)

    def __rmul__(self, other: int) -> "Expr":
        return _build("mul", other, self)

    def __floordiv__(self, other: "ExprLike") -> "Expr":
        return _build("floordiv", self, other)

    def __rfloordiv__(self, other: int) -> "Expr":
        return _build("floordiv", other, self)

    def __mod__(self, other: "ExprLike") -> "Expr":
        return _build("mod", self, other)

    def __rmod__(self, other: int) -> "Expr":
        return _build("mod", other, self)

    def __and__(self, other: "ExprLike") -> "Expr":
        return _build("and", self, other)

    def __rand__(self, other: int) -> "Expr":
        return _build("and", other, self)

    def __or__(self, other: "ExprLike") -> "Expr":
        return _build("or", self, other)

    def __ror__(self, other: int) -> "Expr":
        return _build("or", other, self)

    def __xor__(self, other: "ExprLike") -> "Expr":
        return _build("xor", self, other)

    def __rxor__(self, other: int) -> "Expr":
        return _build("xor", other, self)

    def __lshift__(self, other: "ExprLike") -> "Expr":
        return _build("shl", self, other)

    def __rlshift__(self, other: int) -> "Expr":
        return _build("shl", other, self)

    def __rshift__(self, other: "ExprLike") -> "Expr":
        return _build("shr", self, other)

    def __rrshift__(self, other: int) -> "Expr":
        return _build("shr", other, self)

    def __neg__(self) -> "Expr":
        return _build("sub", 0, self)

    def __bool__(self) -> bool:
        raise ExprError(f"`{self}` has no truth value before it is evaluated; ask can_prove(…), or build select(…)")

    def __str__(self) -> str:
        from .expr_text import text  # late: printing knows the nodes, and the nodes know how to print

        return text(cast("Expr", self))


@dataclass(frozen=True, eq=False)
class Var(Operators):
    """A symbol for an unknown 64-bit integer in [low, high] (inclusive; None: open) that `multiple` divides.

    Two variables are the same only if they are the same object, whatever their names.
    """

    name: str
    low: int | None = None
    high: int | None = None
    multiple: int = 1
    facts: Facts = field(init=False, repr=False)
    serial: int = field(init=False, repr=False)  # tells variables of one name apart when terms are sorted

    def __post_init__(self) -> None:
        for end in (self.low, self.high):
            if end is not None:
                check_int64(end)
        if self.multiple < 1:
            raise ExprError(f"variable {self.name}: multiple must be at least 1, not {self.multiple}")
        if (
            self.low is not None
            and self.high is not None
            and -(-self.low // self.multiple) > self.high // self.multiple
        ):
            raise ExprError(f"variable {self.name}: no multiple of {self.multiple} in [{self.low}, {self.high}]")
        object.__setattr__(self, "facts", known(self.low, self.high, self.multiple))
        object.__setattr__(self, "serial", next(_serials))

    @property
    def size(self) -> int:
        return 1

    @property
    def depth(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Const(Operators):
    """A 64-bit signed integer."""

    value: int

    def __post_init__(self) -> None:
        check_int64(self.value)

    @property
    def facts(self) -> Facts:
        return exactly(self.value)

    @property
    def size(self) -> int:
        return 1

    @property
    def depth(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Binary(Operators):
    """`x kind y`. Comparisons give 0 or 1; `//` and `%` round down; a shift is by 0..63."""

    kind: Kind
    x: "Expr"
    y: "Expr"
    facts: Facts = field(init=False, repr=False, compare=False)
    size: int = field(init=False, repr=False, compare=False)
    depth: int = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", transfer(self.kind, self.x.facts, self.y.facts))
        _measure(self, self.x, self.y)
        object.__setattr__(self, "_hash", hash((self.kind, self.x, self.y)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> "tuple[type[Binary], tuple[Kind, Expr, Expr]]":
        return Binary, (self.kind, self.x, self.y)  # hashes of variables differ between processes


@dataclass(frozen=True, slots=True)
class Select(Operators):
    """`yes` where `condition` is not 0, else `no`; only the chosen one needs to have a value."""

    condition: "Expr"
    yes: "Expr"
    no: "Expr"
    facts: Facts = field(init=False, repr=False, compare=False)
    size: int = field(init=False, repr=False, compare=False)
    depth: int = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", join(self.yes.facts, self.no.facts))
        _measure(self, self.condition, self.yes, self.no)
        object.__setattr__(self, "_hash", hash((self.condition, self.yes, self.no)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> "tuple[type[Select], tuple[Expr, Expr, Expr]]":
        return Select, (self.condition, self.yes, self.no)


Expr: TypeAlias = Var | Const | Binary | Select
ExprLike: TypeAlias = Var | Const | Binary | Select | int


def _build(kind: Kind, x: "Operators | int", y: "Operators | int") -> Expr:
    from .expr_fold import binary  # late: folding makes nodes, and the operators of nodes fold

    return binary(kind, lift(cast("ExprLike", x)), lift(cast("ExprLike", y)))


def _measure(node: Binary | Select, *children: Expr) -> None:
    size, depth = 1 + sum(c.size for c in children), 1 + max(c.depth for c in children)
    if depth > MAX_DEPTH:
        raise ExprError(f"expression too deep: more than {MAX_DEPTH} operations inside each other")
    if size > MAX_SIZE:
        raise ExprError(f"expression too large: more than {MAX_SIZE} operations")
    object.__setattr__(node, "size", size)
    object.__setattr__(node, "depth", depth)


def check_int64(value: int) -> None:
    """Raise ExprError when `value` is not a 64-bit signed integer."""
    if not INT64_MIN <= value <= INT64_MAX:
        raise ExprError(f"{value} does not fit in a 64-bit signed integer")


def lift(value: ExprLike | SupportsIndex) -> Expr:
    """The expression itself, or the constant for an integer (NumPy's integers too)."""
    if isinstance(value, (Var, Const, Binary, Select)):
        return value
    try:
        return Const(int(operator.index(value)))
    except TypeError:
        raise TypeError(f"an index expression takes integers and expressions, not {type(value).__name__}") from None


def _rank(e: Expr) -> int:
    return (Var, Binary, Select, Const).index(type(e))


def _compare(a: Expr, b: Expr) -> int:
    """-1, 0 or 1: variables by name, then operations by kind and operands, constants last."""
    if a is b:
        return 0
    if isinstance(a, Binary) and isinstance(b, Binary):
        if a.kind != b.kind:
            return -1 if a.kind < b.kind else 1
        return _compare(a.x, b.x) or _compare(a.y, b.y)
    if isinstance(a, Select) and isinstance(b, Select):
        return _compare(a.condition, b.condition) or _compare(a.yes, b.yes) or _compare(a.no, b.no)
    if isinstance(a, Var) and isinstance(b, Var):
        return -1 if (a.name, a.serial) < (b.name, b.serial) else 1
    if isinstance(a, Const) and isinstance(b, Const):
        return (a.value > b.value) - (a.value < b.value)
    return -1 if _rank(a) < _rank(b) else 1


order = cmp_to_key(_compare)  # a sort key: sorted(terms, key=order)

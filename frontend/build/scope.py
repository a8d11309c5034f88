"""What a name or an expression can mean while a kernel is built, and which names are known where.

A tile is a `Value`, an integer that may change from call to call an `Expr`, an array or a shared tile a `Memory`. All
else is known when the kernel is compiled: numbers, texts, dtypes, layouts, storage, and tuples of such things.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias

from ...vm.diagnostic import NOWHERE, Note, Span
from ...vm.dtypes import Bool, Codebook, DType, Float, Int, dtype
from ...vm.expr import Binary, Const, Expr, Select, Var
from ...vm.ir import Array, Shared, Value
from ...vm.layout.relation import Layout
from ...vm.layout.storage import Packing, Tiled, default_planes
from ...vm.vocabulary import CONSTANTS, FUNCTIONS, KINDS, looks_like_dtype


@dataclass(frozen=True)
class Storage:
    """`tiled(...)` as it is written: storage whose planes may still depend on the dtype that is stored."""

    tile: Layout
    container: int = 32
    planes: tuple[int, ...] | None = None
    unit: int = 0
    vector: int = 1
    fields: tuple[int, ...] = ()

    def of(self, kind: DType) -> Tiled:
        """The storage of elements of this dtype."""
        default = () if self.fields else default_planes(kind.bits)
        planes = default if self.planes is None else self.planes
        return Tiled(self.tile, Packing(kind.bits, self.container, planes, self.unit, self.fields), self.vector)


@dataclass(frozen=True)
class Nothing:
    """What a call gives that is there for its effect only."""

    function: str


Entity: TypeAlias = (
    Value
    | Expr
    | float
    | bool
    | str
    | DType
    | Layout
    | Tiled
    | Storage
    | Array
    | Shared
    | Nothing
    | tuple["Entity", ...]
)

EXPRS = (Var, Const, Binary, Select)
DTYPES = (Int, Float, Codebook, Bool)


class Mistake(Exception):
    """The statement being built is wrong; `silent` if that follows from a mistake that was already reported."""

    def __init__(
        self, message: str, hint: str = "", span: Span = NOWHERE, notes: tuple[Note, ...] = (), silent: bool = False
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.span, self.notes, self.silent = message, hint, span, notes, silent


def describe(entity: Entity) -> str:
    """What an entity is, for messages: `f32[16, 64]`, `an integer`, `the array x`."""
    match entity:
        case Value():
            return str(entity.type) if entity.type.shape else f"a scalar {entity.type.dtype}"
        case bool():
            return "a truth value"
        case float():
            return "a number"
        case str():
            return "a text"
        case Int() | Float() | Codebook() | Bool():
            return f"the dtype {entity}"
        case Layout():
            return "a layout"
        case Tiled() | Storage():
            return "a storage layout"
        case Array():
            return f"the array {entity.name}"
        case Shared():
            return f"the shared tile {entity.name}"
        case Nothing():
            return f"nothing: `{entity.function}` gives no value"
        case tuple():
            return f"a tuple of {len(entity)}"
        case Const():
            return "an integer"
        case _:
            return "an integer that is known when the kernel runs"


@dataclass
class Scope:
    """The names that are known at one place.

    The names are kept in the order in which they were last bound. `gone` tells why a name that the text binds is not
    known here; `poisoned` names belong to statements that were refused.
    """

    names: dict[str, Entity] = field(default_factory=dict)
    gone: dict[str, tuple[str, Span]] = field(default_factory=dict)
    poisoned: set[str] = field(default_factory=set)

    def copy(self) -> Scope:
        return Scope(dict(self.names), dict(self.gone), set(self.poisoned))

    def bind(self, name: str, entity: Entity) -> None:
        self.names.pop(name, None)
        self.names[name] = entity
        self.gone.pop(name, None)
        self.poisoned.discard(name)

    def poison(self, names: Iterable[str]) -> None:
        for name in names:
            self.names.pop(name, None)
            self.poisoned.add(name)

    def lose(self, name: str, reason: str, span: Span) -> None:
        """The name is not known any more."""
        self.names.pop(name, None)
        self.gone[name] = (reason, span)

    def find(self, name: str, span: Span) -> Entity:
        """What the name means here; Mistake if nothing."""
        if name in self.names:
            return self.names[name]
        if name in self.poisoned:
            raise Mistake("", span=span, silent=True)
        if name in CONSTANTS:
            return float(name)
        if name in self.gone:
            reason, where = self.gone[name]
            hint = f"give `{name}` a value before, so that there is one on every way here"
            raise Mistake(f"`{name}` has no value here: {reason}", hint, span, (Note(f"`{name}` is set here", where),))
        try:
            return dtype(name)
        except ValueError as error:
            if looks_like_dtype(name):
                raise Mistake(str(error), "an element type is named like u3, f6e3m2, bf16 or nf4", span) from error
        if name in FUNCTIONS:
            raise Mistake(f"`{name}` is a function", f"call it: `{name}(...)`", span)
        if name in KINDS:
            raise Mistake(f"`{name}` says what a compile-time parameter is; it is no value", "use a value", span)
        near = get_close_matches(name, self.names, n=3)
        hint = f"did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else "give it a value before it is used"
        raise Mistake(f"`{name}` is not known", hint, span)

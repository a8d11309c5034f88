"""The syntax tree: what a `.bw` text says, before anything is known about names and types.

One frozen dataclass per form of the grammar. Every node has a `span`, its place in the text, which does not take part
in `==` and `hash`: two trees are equal when they say the same. Nodes made by code may leave the span out.
Sequences are tuples. The parser bounds the depth of a tree (`parse.MAX_DEPTH`), so recursion over one is safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Literal

from ..vm.diagnostic import NOWHERE, Span

UnaryOperator = Literal["-", "+", "~", "not"]
BinaryOperator = Literal["+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"]
AugmentedOperator = Literal["+", "-", "*", "/", "//", "%", "@", "&", "|", "^", "<<", ">>"]
CompareOperator = Literal["<", "<=", "==", "!=", ">", ">="]
LogicalOperator = Literal["and", "or"]


@dataclass(frozen=True)
class Node:
    """Anything that the text says and that has a place in it."""

    span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)


# Expressions


@dataclass(frozen=True)
class Name(Node):
    """A name: `BM`."""

    name: str


@dataclass(frozen=True)
class Number(Node):
    """A number that is not negative: `128`, `0xFF`, `1e-5`. An int fits 64 bits without sign; a float is finite.

    `text` is how it was spelt, so that a printer can keep `0x0F0F` as it is; empty when code made the node.
    `1` and `1.0` are different numbers.
    """

    value: int | float
    text: str = field(default="", compare=False, repr=False)
    floating: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "floating", isinstance(self.value, float))


@dataclass(frozen=True)
class Text(Node):
    """A string; `value` has its escapes resolved. Strings that touch (`"a" "b"`) are one."""

    value: str


@dataclass(frozen=True)
class Boolean(Node):
    """`True` or `False`."""

    value: bool


@dataclass(frozen=True)
class Tuple_(Node):
    """`(a, b)`, or `a, b` on the right of an assignment."""

    elements: tuple[Expression, ...]


@dataclass(frozen=True)
class List_(Node):
    """`[a, b]`."""

    elements: tuple[Expression, ...]


@dataclass(frozen=True)
class Attribute(Node):
    """`value.name`."""

    value: Expression
    name: str


@dataclass(frozen=True)
class Keyword(Node):
    """One `name=value` of a call."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Call(Node):
    """`function(arguments, keywords)`: positional ones first, no keyword twice."""

    function: Expression
    arguments: tuple[Expression, ...]
    keywords: tuple[Keyword, ...] = ()


@dataclass(frozen=True)
class Slice(Node):
    """`lower : upper : step` inside a subscript; a part left out is None."""

    lower: Expression | None
    upper: Expression | None
    step: Expression | None = None


@dataclass(frozen=True)
class Subscript(Node):
    """`value[indices]` with one or more indices."""

    value: Expression
    indices: tuple[Expression | Slice, ...]


@dataclass(frozen=True)
class Unary(Node):
    """`op operand`."""

    op: UnaryOperator
    operand: Expression


@dataclass(frozen=True)
class Binary(Node):
    """`left op right`."""

    op: BinaryOperator
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Compare(Node):
    """`left ops[0] rights[0] ops[1] rights[1] ...`, which means what it means in Python: all of the links hold."""

    left: Expression
    ops: tuple[CompareOperator, ...]
    rights: tuple[Expression, ...]


@dataclass(frozen=True)
class Logical(Node):
    """`values[0] op values[1] op ...` with one op, two or more values."""

    op: LogicalOperator
    values: tuple[Expression, ...]


@dataclass(frozen=True)
class Conditional(Node):
    """`then if test else orelse`."""

    test: Expression
    then: Expression
    orelse: Expression


Expression = (
    Name
    | Number
    | Text
    | Boolean
    | Tuple_
    | List_
    | Attribute
    | Call
    | Subscript
    | Unary
    | Binary
    | Compare
    | Logical
    | Conditional
)


# Statements


@dataclass(frozen=True)
class Assign(Node):
    """`a = value`, or `a, b = value` which takes a tuple apart."""

    targets: tuple[Name, ...]
    value: Expression


@dataclass(frozen=True)
class AugAssign(Node):
    """`target op= value`, which means `target = target op value`."""

    target: Name
    op: AugmentedOperator
    value: Expression


@dataclass(frozen=True)
class ExprStatement(Node):
    """An expression that is there for its effect: `store(y, [m0, n0], acc)`."""

    value: Expression


@dataclass(frozen=True)
class For(Node):
    """`for target in iterable:`. `header` is the place of everything up to the colon."""

    target: Name
    iterable: Expression
    body: tuple[Statement, ...]
    header: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class While(Node):
    """`while test:`. `header` is the place of everything up to the colon."""

    test: Expression
    body: tuple[Statement, ...]
    header: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class If(Node):
    """`if test:`, with `else:` when `orelse` is not empty. An `elif` is an `If` alone in `orelse`.

    `header` is the place of everything up to the colon, `else_span` that of the word `else` or `elif`.
    """

    test: Expression
    then: tuple[Statement, ...]
    orelse: tuple[Statement, ...] = ()
    header: Span = field(default=NOWHERE, compare=False, repr=False)
    else_span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Pass(Node):
    """`pass`: nothing."""


@dataclass(frozen=True)
class Return(Node):
    """`return`: the block is done. A kernel returns no value."""


@dataclass(frozen=True)
class Assert(Node):
    """`assert test, message`; the message may be left out."""

    test: Expression
    message: Expression | None = None


Statement = Assign | AugAssign | ExprStatement | For | While | If | Pass | Return | Assert


# Kernels


@dataclass(frozen=True)
class Param(Node):
    """`name: annotation = default`. Only compile-time parameters have a default."""

    name: str
    annotation: Expression
    default: Expression | None = None


@dataclass(frozen=True)
class Kernel(Node):
    """`def name(params, *, compile_params): body`. `docstring` is the string that begins the body, None without one.

    `decorators` belong to Python's `@jit` door; the language gives them no meaning. `header` is the place of everything
    from `def` to the colon, `docstring_span` that of the string.
    """

    name: str
    params: tuple[Param, ...]
    compile_params: tuple[Param, ...]
    body: tuple[Statement, ...]
    docstring: str | None = None
    decorators: tuple[Expression, ...] = ()
    header: Span = field(default=NOWHERE, compare=False, repr=False)
    docstring_span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Comment(Node):
    """`# ...`: `text` begins with the `#`. `alone` says that nothing else stands on its line."""

    text: str
    alone: bool


@dataclass(frozen=True)
class Module(Node):
    """A file: its kernels, the string it begins with, and its comments in order (comments do not take part in `==`)."""

    kernels: tuple[Kernel, ...]
    docstring: str | None = None
    comments: tuple[Comment, ...] = field(default=(), compare=False)
    docstring_span: Span = field(default=NOWHERE, compare=False, repr=False)


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below a node, in the order of its fields; comments are not among them."""
    for each in fields(node):
        value = getattr(node, each.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node) and not isinstance(item, Comment))


def walk(node: Node) -> Iterator[Node]:
    """A node and all nodes below it, parents before children, in the order of the fields. Does not recurse."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(list(children(current))))

"""Whether two programs say the same, whatever their tiles, variables and memories are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from .expr import Const, Expr, Var, substitute
from .ir import Array, Binding, Bound, For, If, Let, Op, Program, Shared, Statement, Value, While


def same(p: Program, q: Program) -> bool:
    """Structural equality up to the names of what the programs define; places in the text do not count."""
    return _Match().programs(p, q)


class _Match:
    """What of one program corresponds to what of the other."""

    def __init__(self) -> None:
        self.pairs: dict[object, object] = {}
        self.variables: dict[Var, Expr] = {}

    def programs(self, p: Program, q: Program) -> bool:
        if (p.name, p.docstring, p.lanes) != (q.name, q.docstring, q.lanes) or len(p.sizes) != len(q.sizes):
            return False
        scalars = [[x for x in each.parameters if isinstance(x, Var)] for each in (p, q)]
        if not self.defined([*scalars[0], *p.sizes], [*scalars[1], *q.sizes]):
            return False
        if len(p.parameters) != len(q.parameters):
            return False
        if not all(self.parameter(x, y) for x, y in zip(p.parameters, q.parameters, strict=True)):
            return False
        if not self.exprs(p.grid, q.grid) or not self.defined(p.blocks, q.blocks):
            return False
        return self.requirements(p, q) and self.statements(p.body, q.body)

    def requirements(self, p: Program, q: Program) -> bool:
        """Those that the facts of variables imply are not compared again."""
        mine = [substitute(e, self.variables) for e, _ in p.requirements]
        theirs = [substitute(e, {}) for e, _ in q.requirements]
        return [e for e in mine if not isinstance(e, Const)] == [e for e in theirs if not isinstance(e, Const)]

    def parameter(self, x: Array | Value | Var, y: Array | Value | Var) -> bool:
        if isinstance(x, Array) and isinstance(y, Array):
            self.pairs[x] = y
            return (x.dtype, x.storage) == (y.dtype, y.storage) and self.exprs(x.shape, y.shape)
        if isinstance(x, Var) or isinstance(y, Var):
            return self.pairs.get(x) is y
        return isinstance(x, Value) and isinstance(y, Value) and self.define(x, y)

    # Definitions and uses

    def defined(self, xs: Sequence[Binding], ys: Sequence[Binding]) -> bool:
        return len(xs) == len(ys) and all(self.define(x, y) for x, y in zip(xs, ys, strict=True))

    def define(self, x: Binding | None, y: Binding | None) -> bool:
        """Let x correspond to y, if they are of one kind."""
        if x is None or y is None:
            return x is y
        self.pairs[x] = y
        if isinstance(x, Var) and isinstance(y, Var):
            self.variables[x] = y
            return (x.low, x.high, x.multiple) == (y.low, y.high, y.multiple)
        return isinstance(x, Value) and isinstance(y, Value) and x.type == y.type

    def bound(self, x: Bound, y: Bound) -> bool:
        if isinstance(x, Value) or isinstance(y, Value):
            return self.pairs.get(x) is y
        return self.expr(x, y)

    def expr(self, x: Expr, y: Expr) -> bool:
        return substitute(x, self.variables) == substitute(y, {})

    def exprs(self, xs: Sequence[Expr], ys: Sequence[Expr]) -> bool:
        return len(xs) == len(ys) and all(self.expr(x, y) for x, y in zip(xs, ys, strict=True))

    # Statements

    def statements(self, xs: Sequence[Statement], ys: Sequence[Statement]) -> bool:
        return len(xs) == len(ys) and all(self.statement(x, y) for x, y in zip(xs, ys, strict=True))

    def statement(self, x: Statement, y: Statement) -> bool:
        match x, y:
            case Let(), Let():
                return self.op(x.op, y.op) and self.define(x.result, y.result)
            case For(), For():
                if (x.step, x.unroll, x.stages) != (y.step, y.unroll, y.stages):
                    return False
                if not self.exprs((x.start, x.stop), (y.start, y.stop)):
                    return False
                return self.entered(x, y) and self.define(x.var, y.var) and self.left(x, y)
            case While(), While():
                if not self.entered(x, y) or not self.statements(x.head, y.head):
                    return False
                return self.expr(x.condition, y.condition) and self.left(x, y)
            case If(), If():
                return self.branches(x, y)
        return False

    def entered(self, x: For | While, y: For | While) -> bool:
        if len(x.carried) != len(y.carried):
            return False
        pairs = list(zip(x.carried, y.carried, strict=True))
        return all(self.bound(c.before, d.before) for c, d in pairs) and all(
            self.define(c.inside, d.inside) for c, d in pairs
        )

    def left(self, x: For | While, y: For | While) -> bool:
        pairs = list(zip(x.carried, y.carried, strict=True))
        if not self.statements(x.body, y.body) or not all(self.bound(c.next, d.next) for c, d in pairs):
            return False
        return all(self.define(c.after, d.after) for c, d in pairs)

    def branches(self, x: If, y: If) -> bool:
        if not self.expr(x.condition, y.condition) or len(x.merged) != len(y.merged):
            return False
        if not (self.statements(x.then, y.then) and self.statements(x.orelse, y.orelse)):
            return False
        pairs = list(zip(x.merged, y.merged, strict=True))
        merged = all(self.bound(m.then, n.then) and self.bound(m.orelse, n.orelse) for m, n in pairs)
        return merged and all(self.define(m.after, n.after) for m, n in pairs)

    # Instructions

    def op(self, x: Op, y: Op) -> bool:
        if type(x) is not type(y):
            return False
        return all(self.part(getattr(x, f.name), getattr(y, f.name)) for f in fields(x))

    def part(self, x: object, y: object) -> bool:
        """One field of an instruction."""
        if isinstance(x, tuple) and isinstance(y, tuple):
            return len(x) == len(y) and all(self.part(a, b) for a, b in zip(x, y, strict=True))
        if isinstance(x, Shared) and isinstance(y, Shared):
            known = self.pairs.setdefault(x, y)
            return known is y and (x.dtype, x.shape) == (y.dtype, y.shape)
        if isinstance(x, Value | Array):
            return self.pairs.get(x) is y
        if isinstance(x, Expr) and isinstance(y, Expr):
            return self.expr(x, y)
        if isinstance(x, float) and isinstance(y, float):
            return x.hex() == y.hex()
        return x == y

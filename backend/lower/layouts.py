"""The layouts stage: every tile gets a layout, and conversions where two uses of a tile want it on different lanes.

First a walk backwards collects wishes: what the users of a value would like (a product wants its operands by its
accumulator, element-wise instructions pass on what they are asked).  Then a walk forwards decides: an instruction
follows its operands, else the wish, else the default distribution.  Where an operand is on other lanes than the
instruction asks for, a `Convert` goes before it; a mere renaming of registers needs none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import lcm
from typing import assert_never

from ...vm.diagnostic import NOWHERE
from ...vm.expr import Expr
from ...vm.ir import (
    Array,
    Binding,
    Bound,
    Carried,
    For,
    If,
    LayoutRule,
    Let,
    Merge,
    Op,
    Program,
    Statement,
    Value,
    While,
    walk,
)  # fmt: skip
from ...vm.layout.relation import Layout, LayoutError
from ...vm.layout.spread import cover, distribute, distribute_flat, same_lanes
from ...vm.ops import Binary, Cast, Convert, Dot, Fma, Load, Reshape, Transpose, Unary, View
from ..target import Target
from .matrix_layouts import matrix_layouts, terms_of
from .unsupported import Unsupported, UnsupportedLayout

Wishes = dict[Value, Layout]

MAX_LANES = 1024
"""The most lanes that a block has."""


def block_lanes(program: Program, target: Target) -> int:
    """The lanes of a block: what the program says, else what its explicit layouts need, else the target's vector."""
    if program.lanes is not None:
        return program.lanes
    lanes = lcm(*(p.storage.lanes for p in program.arrays if p.storage is not None))
    named = any(p.storage is not None for p in program.arrays)
    for s in walk(program.body):
        layout = getattr(s.op, "layout", None) if isinstance(s, Let) else None
        if isinstance(layout, Layout):
            named, lanes = True, lcm(lanes, layout.size("lane"))
        if lanes > MAX_LANES:
            raise UnsupportedLayout(
                f"the layouts and storage up to here need a block of {lanes} lanes; it has at most {MAX_LANES}",
                "choose numbers of lanes that divide one another",
                s.span or NOWHERE,
            )
    return lanes if named else target.lanes


def assign_layouts(program: Program, target: Target) -> Program:
    """The same program with a layout on every tile, and its number of lanes."""
    lanes = block_lanes(program, target)
    rules = _Rules(target, lanes, {})
    if target.warp:
        rules.find_natural(program)
    wishes: Wishes = {}
    _wish(program.body, rules, wishes)
    stage = _Forward(lanes, wishes, rules)
    for p in program.parameters:
        if isinstance(p, Value):
            stage.values[p] = replace_layout(p, distribute((), lanes))
    body = stage.block(program.body)
    parameters = tuple(stage.values[p] if isinstance(p, Value) else p for p in program.parameters)
    return replace(program, parameters=parameters, body=body, lanes=lanes)


def on_block(layout: Layout, lanes: int) -> Layout:
    """The layout on all lanes of the block; UnsupportedLayout if its own do not divide them."""
    if lanes % layout.size("lane"):
        raise UnsupportedLayout(
            f"the layout {layout} uses {layout.size('lane')} lanes, which do not divide the block's {lanes}",
            "choose layouts and storage whose numbers of lanes divide the block's, or another `lanes=` in grid(...)",
        )
    return cover(layout, lanes)


def replace_layout(value: Value, layout: Layout) -> Value:
    return Value(value.name, replace(value.type, layout=layout))


def _wish(body: tuple[Statement, ...], rules: _Rules, wishes: Wishes) -> None:
    def pass_on(source: Bound | Binding, target: Bound | Binding) -> None:
        if isinstance(source, Value) and isinstance(target, Value) and source in wishes:
            wishes.setdefault(target, wishes[source])

    for s in reversed(body):
        match s:
            case Let():
                asked = rules.natural.get(s.result) or wishes.get(s.result) if isinstance(s.result, Value) else None
                for value, layout in zip(s.op.operands, rules.asked(s.op, asked), strict=True):
                    if layout is not None:
                        wishes.setdefault(value, layout)
            case For() | While():
                for x in s.carried:
                    pass_on(x.after, x.next)
                _wish(s.body, rules, wishes)
                if isinstance(s, While):
                    _wish(s.head, rules, wishes)
                for x in s.carried:
                    pass_on(x.inside, x.before)
                    pass_on(x.after, x.before)
            case If():
                for m in s.merged:
                    pass_on(m.after, m.then)
                    pass_on(m.after, m.orelse)
                _wish(s.then, rules, wishes)
                _wish(s.orelse, rules, wishes)
            case _:
                assert_never(s)


@dataclass(frozen=True)
class _Rules:
    """What instructions ask of layouts on a target.

    `natural` are layouts that follow from how arrays are stored and from how warps multiply: nobody has to wish them.
    """

    target: Target
    lanes: int
    natural: dict[Value, Layout]
    factors: dict[tuple[Value, tuple[int, ...]], Layout] = field(default_factory=dict)

    def of(self, op: Op, result: Layout | None, have: tuple[Layout | None, ...]) -> LayoutRule:
        if isinstance(op, Dot):
            terms = terms_of(self.target, op.a.type.dtype, op.b.type.dtype)
            shape = (*op.a.type.shape, op.b.type.shape[1])
            found = matrix_layouts((shape[0], shape[2], shape[1]), terms, self.lanes, have[0]) if terms else None
            if found is not None:
                return LayoutRule(found.sums, (found.a, found.b, found.sums))
        return op.layouts(self.lanes, result, have)

    def asked(self, op: Op, result: Layout | None) -> tuple[Layout | None, ...]:
        """What the instruction wants of its operands if its result is to have a layout."""
        nothing = tuple(None for _ in op.operands)
        known = tuple(self.natural.get(v) for v in op.operands) if isinstance(op, Dot) else nothing
        try:
            return self.of(op, result, known).operands
        except LayoutError:  # that layout of the result cannot be seen through a reshape
            return nothing

    def find_natural(self, program: Program) -> None:
        """Follows them through what keeps elements where they are."""
        for s in walk(program.body):
            if isinstance(s, Let) and isinstance(s.result, Value):
                try:
                    layout = self._natural(s.op, s.result)
                    if layout is not None:
                        self.natural[s.result] = on_block(layout, self.lanes)
                except (LayoutError, Unsupported):  # which the stage itself reports, where it matters
                    continue

    def _natural_product(self, op: Dot) -> Layout | None:
        """Products with the same right factor have their rows at the same places, so that their sums meet."""
        if not terms_of(self.target, op.a.type.dtype, op.b.type.dtype):
            return None
        like = self.factors.get((op.b, op.a.type.shape))
        if op.a in self.natural:
            self.factors.setdefault((op.b, op.a.type.shape), self.natural[op.a])
        elif like is not None:
            self.natural[op.a] = like
        return self.of(op, None, (self.natural.get(op.a), None, None)).result

    def _natural(self, op: Op, result: Value) -> Layout | None:
        match op:
            case Load():
                of_tiles = isinstance(op.source, Array) and op.source.storage is not None
                return op.layouts(self.lanes, None, ()).result if of_tiles else None
            case Dot():
                return self._natural_product(op)
            case Cast() | Unary() | Transpose() | Reshape():
                known = tuple(self.natural.get(v) for v in op.operands)
                return op.layouts(self.lanes, None, known).result if None not in known else None
            case Binary() | Fma():
                whole = (v for v in op.operands if v.type.shape == result.type.shape)
                return next((self.natural[v] for v in whole if v in self.natural), None)
            case _:
                return None


class _Forward:
    def __init__(self, lanes: int, wishes: Wishes, rules: _Rules) -> None:
        self.lanes, self.wishes, self.rules = lanes, wishes, rules
        self.values: dict[Value, Value] = {}

    def block(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for s in body:
            try:
                self._statement(s, out)
            except Unsupported as refused:
                raise refused.at(s.span) from None
        return tuple(out)

    def _statement(self, s: Statement, out: list[Statement]) -> None:
        match s:
            case Let():
                self._let(s, out)
            case For():
                out.append(self._for(s, out))
            case While():
                out.append(self._while(s, out))
            case If():
                out.append(self._if(s))
            case _:
                assert_never(s)

    def _let(self, s: Let, out: list[Statement]) -> None:
        asked = self._explicit(s)
        op = replace(s.op, layout=None) if isinstance(s.op, View) else s.op  # bits are seen where they lie
        operands = tuple(self.values[v] for v in op.operands)
        rule = self._rule(op, s.result, tuple(v.type.layout for v in operands))
        moved = {
            old: self._moved(new, layout, out)
            for old, new, layout in zip(op.operands, operands, rule.operands, strict=True)
        }
        op = with_operands(op, moved)
        if not isinstance(s.result, Value):
            out.append(replace(s, op=op))
            return
        assert rule.result is not None
        value = replace_layout(s.result, on_block(rule.result, self.lanes))
        out.append(replace(s, result=value, op=op))
        if asked is not None and asked != value.type.layout:
            made, value = value, replace_layout(s.result, asked)
            out.append(Let(value, Convert(made, asked), s.span))
        self.values[s.result] = value

    def _explicit(self, s: Let) -> Layout | None:
        """The layout that the text gives the result, on the block's lanes."""
        asked = getattr(s.op, "layout", None)
        if asked is None or not isinstance(s.result, Value):
            return None
        return on_block(asked, self.lanes)

    def _rule(self, op: Op, result: Binding | None, have: tuple[Layout | None, ...]) -> LayoutRule:
        """What the instruction asks of its operands as they are; of its result too, if it has one."""
        try:
            rule = self.rules.of(op, None, have)
        except LayoutError:  # the operand's lanes cut across the rows of the shape that it is to be seen in
            (operand,), seen = op.operands, op.infer()
            assert seen is not None
            regular = distribute_flat(operand.type.shape, seen.shape, self.lanes)
            return replace(op.layouts(self.lanes, None, (regular,)), operands=(regular,))
        if not isinstance(result, Value) or rule.result is not None:
            return rule
        wish = self.wishes.get(result) or distribute(result.type.shape, self.lanes)
        rule = op.layouts(self.lanes, wish, have)
        return replace(rule, result=rule.result or wish)

    def _moved(self, value: Value, wanted: Layout | None, out: list[Statement]) -> Value:
        """The value on the lanes that are wanted."""
        have = value.type.layout
        assert have is not None
        if wanted is None or same_lanes(have, wanted := on_block(wanted, self.lanes)):
            return value
        moved = replace_layout(value, wanted)
        out.append(Let(moved, Convert(value, wanted)))
        return moved

    def _bound(self, x: Bound, layout: Layout | None, out: list[Statement]) -> Bound:
        if not isinstance(x, Value):
            return x
        value = self.values[x]
        if layout is None or value.type.layout == layout:
            return value
        moved = replace_layout(value, layout)
        out.append(Let(moved, Convert(value, layout)))
        return moved

    def _enter(self, carried: tuple[Carried, ...], out: list[Statement]) -> list[tuple[Bound, Binding]]:
        """(before, inside) of each carried value; inside has the layout that users wish for, else that of before."""
        entered: list[tuple[Bound, Binding]] = []
        for x in carried:
            if not isinstance(x.inside, Value):
                assert isinstance(x.before, Expr)
                entered.append((x.before, x.inside))
                continue
            assert isinstance(x.before, Value)
            have = self.values[x.before].type.layout
            layout = self.wishes.get(x.inside) or self.wishes.get(x.before) or have
            assert layout is not None
            layout = on_block(layout, self.lanes)
            self.values[x.inside] = replace_layout(x.inside, layout)
            entered.append((self._bound(x.before, layout, out), self.values[x.inside]))
        return entered

    def _leave(
        self, carried: tuple[Carried, ...], entered: list[tuple[Bound, Binding]], out: list[Statement]
    ) -> tuple[Carried, ...]:
        done = []
        for x, (before, inside) in zip(carried, entered, strict=True):
            layout = inside.type.layout if isinstance(inside, Value) else None
            after = x.after
            if isinstance(after, Value):
                assert layout is not None
                self.values[after] = after = replace_layout(after, layout)
            done.append(Carried(before, inside, self._bound(x.next, layout, out), after))
        return tuple(done)

    def _for(self, s: For, out: list[Statement]) -> For:
        entered = self._enter(s.carried, out)
        body = list(self.block(s.body))
        carried = self._leave(s.carried, entered, body)
        return replace(s, carried=carried, body=tuple(body))

    def _while(self, s: While, out: list[Statement]) -> While:
        entered = self._enter(s.carried, out)
        head = self.block(s.head)
        body = list(self.block(s.body))
        carried = self._leave(s.carried, entered, body)
        return replace(s, head=head, carried=carried, body=tuple(body))

    def _if(self, s: If) -> If:
        then, orelse = list(self.block(s.then)), list(self.block(s.orelse))
        merged = []
        for m in s.merged:
            after, layout = m.after, None
            if isinstance(after, Value):
                assert isinstance(m.then, Value)
                layout = self.values[m.then].type.layout
                assert layout is not None
                self.values[after] = after = replace_layout(after, layout)
            merged.append(Merge(self._bound(m.then, layout, then), self._bound(m.orelse, layout, orelse), after))
        return replace(s, then=tuple(then), orelse=tuple(orelse), merged=tuple(merged))


def with_operands(op: Op, new: dict[Value, Value]) -> Op:
    """The instruction with its operand values exchanged."""
    changed = {
        name: new[v] for name in op.__dataclass_fields__ if isinstance(v := getattr(op, name), Value) and v in new
    }
    return replace(op, **changed)

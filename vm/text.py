"""A program as text in the language itself: `build(parse(print_program(p)))` is `p` again, up to names.

Layouts stand in the text where an instruction names one; the layouts of other tiles are worked out from them. Where
values follow each other under one name (`acc = dot(a, b, acc)`), they share it if nothing else needs the older one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from .dtypes import DType
from .expr import Const, Expr, Var, lift, substitute
from .ir import Array, Binding, Bound, Carried, For, If, Let, Op, Program, Shared, Statement, Value, While, walk
from .text_header import header
from .text_inline import inline_order
from .text_names import Names, later_use, use_counts
from .text_op import is_compound, pieces

Pair = tuple[str, str]
"""A name and the text of what it is set to."""


def print_program(program: Program) -> str:
    """The text of a program, with all names distinct."""
    return _Printer(program).run()


class _Printer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = Names()
        self.uses = use_counts(program)
        self.lines: list[str] = []
        self.depth = 1
        self.inlined: dict[Value, str] = {}
        # The names bound at this place, in the order of their last binding, and the values made in this very block.
        self.bound: dict[str, None] = {}
        self.local: set[Binding] = set()

    def run(self) -> str:
        self.lines = header(self.program, self.names, self.expr)
        for memory in _shared(self.program):
            self._line(f"{self.names.give(memory)} = shared({self.names.dtype(memory.dtype)}, {list(memory.shape)})")
        body_starts = len(self.lines)
        for parameter in self.program.parameters:
            if isinstance(parameter, Value | Var):
                self.bound[self.names.of(parameter)] = None
        self._statements(self.program.body)
        if len(self.lines) == body_starts and not self.program.grid:
            self._line("pass")
        return "\n".join(self.lines) + "\n"

    # Pieces

    def expr(self, e: Expr) -> str:
        """An index expression, its variables under their printed names."""
        return str(substitute(e, self.names.variables))

    def _op(self, op: Op) -> str:
        found = []
        for piece in pieces(op):
            match piece:
                case str():
                    found.append(piece)
                case Value():
                    found.append(self.inlined[piece] if piece in self.inlined else self.names.of(piece))
                case Array() | Shared():
                    found.append(self.names.of(piece))
                case piece if isinstance(piece, DType):
                    found.append(self.names.dtype(piece))
                case _:
                    found.append(self._inline_expr(lift(piece)))
        return "".join(found)

    def _inline_expr(self, e: Expr) -> str:
        """An expression in which variables of a while's head are written in place."""
        text = self.expr(e)
        for marker, inner in self.names.markers.items():
            text = text.replace(marker, inner)
        return text

    def _bound(self, value: Bound) -> str:
        return self.names.of(value) if isinstance(value, Value) else self.expr(value)

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _bind(self, name: str) -> None:
        self.bound.pop(name, None)
        self.bound[name] = None

    # Statements

    def _statements(self, body: Sequence[Statement]) -> None:
        for statement in body:
            match statement:
                case Let(result, op):
                    self._let(result, op)
                case For():
                    self._for(statement)
                case While():
                    self._while(statement)
                case If():
                    self._if(statement)
                case _:
                    assert_never(statement)

    def _let(self, result: Binding | None, op: Op) -> None:
        text = self._op(op)
        if result is None:
            self._line(text)
            return
        name = self.names.give(result, op)
        self._line(f"{name} = {text}")
        self._bind(name)
        self.local.add(result)

    def _block(self, body: Sequence[Statement], inside: Sequence[Binding], tail: Callable[[], list[Pair]]) -> None:
        """A nested block: `inside` are the values that it begins with, `tail` says what it sets last."""
        bound, local = self.bound, self.local
        self.bound, self.local = dict(bound), set(inside)
        for value in inside:
            self._bind(self.names.of(value))
        self.depth += 1
        start = len(self.lines)
        self._statements(body)
        pairs = tail()
        if pairs:
            self._line(f"{', '.join(name for name, _ in pairs)} = {', '.join(value for _, value in pairs)}")
        if len(self.lines) == start:
            self._line("pass")
        self.depth -= 1
        self.bound, self.local = bound, local

    # Loops

    def _before(self, carried: Sequence[Carried]) -> None:
        """Name what a loop carries, and give each name its first value in that order."""
        shared = [self._shares(c) for c in carried]
        for c, shares in zip(carried, shared, strict=True):
            if shares:
                self.names.share(c.inside, c.before)
            else:
                self.names.give(c.inside)
        in_order, last = True, -1
        positions = {name: index for index, name in enumerate(self.bound)}
        for c, shares in zip(carried, shared, strict=True):
            name = self.names.of(c.inside)
            in_order = in_order and shares and positions[name] > last
            if in_order:
                last = positions[name]
                continue
            self._line(f"{name} = {self._bound(c.before)}")
            self._bind(name)

    def _shares(self, c: Carried) -> bool:
        """Whether the value in the loop can go by the name of the one before it, made here for it."""
        return isinstance(c.before, Value) and c.before in self.local and self.uses[c.before] == 1

    def _share_next(self, carried: Sequence[Carried], body: Sequence[Statement]) -> None:
        """Let the next value go by the name of the one inside where that is not needed any more."""
        for c in carried:
            if c.next is c.inside or isinstance(c.next, Const) or c.next in self.names:
                continue
            older = self._chain(c.inside, body)
            if any(other.next in older for other in carried) or not isinstance(c.next, Value):
                continue
            index = next((i for i, s in enumerate(body) if isinstance(s, Let) and s.result is c.next), None)
            if index is not None and not any(later_use(v, body[index + 1 :]) for v in older):
                self.names.share(c.next, c.inside)

    def _chain(self, inside: Binding, body: Sequence[Statement]) -> list[Binding]:
        """The values that will go by the name of `inside` as loops of the body hand it on."""
        chain = [inside]
        for statement in body:
            last = chain[-1]
            if isinstance(statement, For | While) and isinstance(last, Value) and self.uses[last] == 1:
                chain += [c.after for c in statement.carried if c.before is last]
        return chain

    def _body(self, carried: Sequence[Carried], body: Sequence[Statement], counter: Var | None) -> None:
        self._share_next(carried, body)
        inside = [c.inside for c in carried] + ([counter] if counter is not None else [])
        self._block(body, inside, lambda: self._steps(carried))

    def _steps(self, carried: Sequence[Carried]) -> list[Pair]:
        """What must be set at the end of a loop's body."""
        names = [(c, self.names.of(c.inside), self._bound(c.next)) for c in carried]
        return [(inside, text) for c, inside, text in names if c.next is c.inside or text != inside]

    def _after(self, carried: Sequence[Carried]) -> None:
        for c in carried:
            self.names.share(c.after, c.inside)
            self._bind(self.names.of(c.after))
            self.local.add(c.after)

    def _for(self, loop: For) -> None:
        self._before(loop.carried)
        counter = self.names.give(loop.var)
        bounds = [self.expr(loop.start)] if loop.step != 1 or loop.start != Const(0) else []
        bounds += [self.expr(loop.stop)]
        bounds += [str(loop.step)] if loop.step != 1 else []
        bounds += [f"unroll={loop.unroll}"] if loop.unroll != 1 else []
        bounds += [f"stages={loop.stages}"] if loop.stages != 1 else []
        self._line(f"for {counter} in range({', '.join(bounds)}):")
        self._body(loop.carried, loop.body, loop.var)
        self._after(loop.carried)

    def _while(self, loop: While) -> None:
        self._before(loop.carried)
        order = inline_order(loop.head, loop.condition)
        if order is None:
            raise ValueError("the condition of a while uses a value of its head twice: it has no text")
        for let in order:
            text = self._op(let.op)
            assert let.result is not None
            if isinstance(let.result, Value):
                self.inlined[let.result] = f"({text})" if is_compound(let.op) else text
            else:
                self.names.mark(let.result, text)
        self._line(f"while {self._inline_expr(loop.condition)}:")
        self._body(loop.carried, loop.body, None)
        self._after(loop.carried)

    # Branches

    def _if(self, branch: If) -> None:
        afters = [self.names.give(m.after) for m in branch.merged]
        if len(branch.merged) == 1:  # more of them would lose their order
            self._share_merged(branch)
        self._line(f"if {self.expr(branch.condition)}:")
        self._branch(branch.then, afters, [m.then for m in branch.merged])
        if branch.orelse or afters:
            self._line("else:")
            self._branch(branch.orelse, afters, [m.orelse for m in branch.merged])
        for name, merge in zip(afters, branch.merged, strict=True):
            self._bind(name)
            self.local.add(merge.after)

    def _share_merged(self, branch: If) -> None:
        """Let what a branch makes for the merge go by its name at once."""
        (merge,) = branch.merged
        for body, value in ((branch.then, merge.then), (branch.orelse, merge.orelse)):
            made = any(isinstance(s, Let) and s.result is value for s in body)
            if isinstance(value, Value) and made and value not in self.names:
                self.names.share(value, merge.after)

    def _branch(self, body: Sequence[Statement], afters: list[str], values: list[Bound]) -> None:
        def last() -> list[Pair]:
            pairs = [(name, self._bound(value)) for name, value in zip(afters, values, strict=True)]
            return [(name, text) for name, text in pairs if text != name]

        self._block(body, [], last)


def _shared(program: Program) -> list[Shared]:
    """The shared tiles, in the order of their first use."""
    found: dict[Shared, None] = {}
    for statement in walk(program.body):
        if isinstance(statement, Let):
            found.update((p, None) for p in pieces(statement.op) if isinstance(p, Shared))
    return list(found)

"""The grammar's raw tree to the syntax tree, with the rules that a grammar cannot say.

Those rules: what may be assigned to, the size and spelling of numbers, escapes in strings, the order of parameters and
arguments, names that are given twice, and the depth of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from lark import Token, Tree

from ..vm.diagnostic import NOWHERE, Diagnostic, Note, Problem, Problems, Source, Span
from . import syntax
from .blocks import token_span
from .literals import LiteralError, read_number, read_string
from .syntax import Expression, Statement

MAX_DEPTH = 200
"""How deep a tree may be: what works on a tree may recurse."""

Raw = Tree[Token]


def convert(tree: Raw, source: Source, comments: tuple[syntax.Comment, ...], problems: Problems) -> syntax.Module:
    """The module that a raw tree says. Mistakes go to `problems`; too deep a tree is refused at once."""
    _check_depth(tree, source)
    return _Converter(source, problems).module(tree, comments)


def _check_depth(tree: Raw, source: Source) -> None:
    level: list[Raw] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in parent.children if isinstance(child, Tree)]
        if not level:
            return
    hint = "give a part of it a name in a line of its own"
    message = f"this is nested or chained more than {MAX_DEPTH} levels deep"
    raise Diagnostic(Problem(message, hint, _tree_span(source, level[0])))


def _tree_span(source: Source, tree: Raw) -> Span:
    meta = tree.meta
    if meta.empty:
        return NOWHERE
    first = source.first_line - 1
    return Span(source, meta.line + first, meta.column, meta.end_line + first, meta.end_column)


class _Converter:
    def __init__(self, source: Source, problems: Problems) -> None:
        self.source = source
        self.problems = problems

    def span(self, raw: Raw | Token) -> Span:
        return token_span(self.source, raw) if isinstance(raw, Token) else _tree_span(self.source, raw)

    # Modules and kernels

    def module(self, tree: Raw, comments: tuple[syntax.Comment, ...]) -> syntax.Module:
        docstring: syntax.Text | None = None
        kernels: list[syntax.Kernel] = []
        for child in _trees(tree):
            if child.data == "kernel":
                kernels.append(self.kernel(child))
            elif docstring is None and not kernels:
                docstring = self.string(_trees(child)[0])
            else:
                hint = "write a comment, or put it inside the kernel"
                self.problems.add("a string between kernels says nothing", hint, self.span(child))
        start = Span(self.source, self.source.first_line, 1, self.source.first_line, 2)
        if not kernels and not self.problems:
            self.problems.add("there is no kernel in this text", "a kernel is written `def name(...):`", start)
        named = [(kernel.name, kernel.header) for kernel in kernels]
        self.no_repeats("kernel", named)
        documentation, place = (docstring.value, docstring.span) if docstring is not None else (None, NOWHERE)
        span = self.span(tree) if kernels else start
        return syntax.Module(tuple(kernels), documentation, comments, docstring_span=place, span=span)

    def kernel(self, tree: Raw) -> syntax.Kernel:
        *decorators, header, suite = _trees(tree)
        name, parameters = header.children
        params, compile_params = self.parameters(parameters if isinstance(parameters, Tree) else None)
        statements = _trees(suite)
        docstring: syntax.Text | None = None
        if statements and statements[0].data == "call_statement":
            first = statements[0].children[0]
            if isinstance(first, Tree) and first.data == "string":
                docstring = self.string(first)
                statements = statements[1:]
        body = tuple(self.statement(statement) for statement in statements)
        where = self.span(header)
        last = body[-1].span if body else self.span(suite)
        return syntax.Kernel(
            str(name),
            params,
            compile_params,
            body,
            docstring.value if docstring is not None else None,
            tuple(self.expression(decorator.children[0]) for decorator in decorators),
            header=where,
            docstring_span=docstring.span if docstring is not None else NOWHERE,
            span=self.span(tree).to(last),
        )

    def parameters(self, tree: Raw | None) -> tuple[tuple[syntax.Param, ...], tuple[syntax.Param, ...]]:
        runtime: list[syntax.Param] = []
        compiled: list[syntax.Param] = []
        divider: Raw | None = None
        for item in _trees(tree) if tree is not None else []:
            if item.data == "divider":
                if divider is not None:
                    self.problems.add("a second `*`", "one `*` begins the compile-time parameters", self.span(item))
                divider = item
                continue
            name, annotation, default = item.children
            value = self.expression(default) if default is not None else None
            param = syntax.Param(str(name), self.expression(annotation), value, span=self.span(item))
            (runtime if divider is None else compiled).append(param)
            if divider is None and value is not None:
                hint = "put it after `*`, or leave the default to the caller"
                self.problems.add("only compile-time parameters have a default", hint, value.span)
        if divider is not None and not compiled:
            self.problems.add("no compile-time parameter follows the `*`", "remove the `*`", self.span(divider))
        self.no_repeats("parameter", [(param.name, param.span) for param in runtime + compiled])
        return tuple(runtime), tuple(compiled)

    def no_repeats(self, what: str, named: Sequence[tuple[str, Span]]) -> None:
        """Each name once."""
        seen: dict[str, Span] = {}
        for name, span in named:
            if name in seen:
                notes = (Note("it is here first", seen[name]),)
                self.problems.add(f"the {what} `{name}` is given twice", "remove or rename one", span, notes)
            seen.setdefault(name, span)

    # Statements

    def suite(self, tree: Raw) -> tuple[Statement, ...]:
        return tuple(self.statement(child) for child in _trees(tree))

    def statement(self, tree: Raw) -> Statement:
        span = self.span(tree)
        parts = tree.children
        match tree.data:
            case "assign":
                return syntax.Assign(self.targets(parts[0]), self.expression(parts[1]), span=span)
            case "augmented":
                op = cast(syntax.AugmentedOperator, str(parts[1])[:-1])
                return syntax.AugAssign(self.target(parts[0]), op, self.expression(parts[2]), span=span)
            case "call_statement":
                return syntax.ExprStatement(self.expression(parts[0]), span=span)
            case "assert":
                message = self.expression(parts[1]) if parts[1] is not None else None
                return syntax.Assert(self.expression(parts[0]), message, span=span)
            case "pass":
                return syntax.Pass(span=span)
            case "return":
                return syntax.Return(span=span)
            case "while":
                body = self.suite(_tree(parts[2]))
                header = span.to(self.span(_token(parts[1])))
                return syntax.While(self.expression(parts[0]), body, header=header, span=span.to(body[-1].span))
            case "for":
                body = self.suite(_tree(parts[3]))
                target, iterable = self.target(parts[0]), self.expression(parts[1])
                header = span.to(self.span(_token(parts[2])))
                return syntax.For(target, iterable, body, header=header, span=span.to(body[-1].span))
            case "if":
                return self.branch(span, parts)
        raise AssertionError(f"the grammar has no statement {tree.data}")

    def branch(self, span: Span, parts: Sequence[Raw | Token]) -> syntax.If:
        """An `if`, or an `elif` and what follows it: its parts are the test, the colon, the block and the rest."""
        test, colon, then, orelse = parts
        body = self.suite(_tree(then))
        rest: tuple[Statement, ...] = ()
        where = NOWHERE
        if isinstance(orelse, Tree):
            where = self.span(orelse.children[0])
            if orelse.data == "else":
                rest = self.suite(_tree(orelse.children[1]))
            else:
                rest = (self.branch(self.span(orelse), orelse.children[1:]),)
        end = (rest or body)[-1].span
        header = span.to(self.span(_token(colon)))
        return syntax.If(self.expression(test), body, rest, header=header, else_span=where, span=span.to(end))

    def target(self, raw: Raw | Token) -> syntax.Name:
        """The one name that a statement sets."""
        names = self.targets(raw)
        if len(names) > 1:
            self.problems.add("one name is set here", "use one name", self.span(raw))
        return names[0]

    def targets(self, raw: Raw | Token) -> tuple[syntax.Name, ...]:
        """The names that a statement sets; a stand-in where something else is set."""
        value = self.expression(raw)
        values = value.elements if isinstance(value, syntax.Tuple_) and len(value.elements) > 1 else (value,)
        names = tuple(each for each in values if isinstance(each, syntax.Name))
        if len(names) == len(values):
            return names
        wrong = next(each for each in values if not isinstance(each, syntax.Name))
        hint = (
            "tiles are values: write elements with `store(...)`"
            if isinstance(wrong, syntax.Subscript)
            else "set a name"
        )
        self.problems.add("only names can be set", hint, wrong.span if wrong.span != NOWHERE else self.span(raw))
        return (*names, syntax.Name("_", span=wrong.span))

    # Expressions

    def expression(self, raw: Raw | Token | None) -> Expression:
        tree = _tree(raw)
        span = self.span(tree)
        parts = tree.children
        match tree.data:
            case "name":
                return syntax.Name(str(parts[0]), span=span)
            case "number":
                return self.number(_token(parts[0]), span)
            case "string":
                return self.string(tree)
            case "true" | "false":
                return syntax.Boolean(tree.data == "true", span=span)
            case "tuple":
                return syntax.Tuple_(self.expressions(parts), span=span)
            case "list":
                return syntax.List_(self.expressions(parts), span=span)
            case "attribute":
                return syntax.Attribute(self.expression(parts[0]), str(parts[1]), span=span)
            case "call":
                arguments, keywords = self.arguments(parts[1])
                return syntax.Call(self.expression(parts[0]), arguments, keywords, span=span)
            case "subscript":
                indices = tuple(self.index(index) for index in _trees(_tree(parts[1])))
                return syntax.Subscript(self.expression(parts[0]), indices, span=span)
            case _:
                return self.operation(tree, span)

    def operation(self, tree: Raw, span: Span) -> Expression:
        parts = tree.children
        match tree.data:
            case "unary":
                return syntax.Unary(cast(syntax.UnaryOperator, str(parts[0])), self.expression(parts[1]), span=span)
            case "not":
                return syntax.Unary("not", self.expression(parts[0]), span=span)
            case "binary":
                op = cast(syntax.BinaryOperator, str(parts[1]))
                return syntax.Binary(op, self.expression(parts[0]), self.expression(parts[2]), span=span)
            case "compare":
                ops = tuple(cast(syntax.CompareOperator, str(op)) for op in parts[1::2])
                return syntax.Compare(self.expression(parts[0]), ops, self.expressions(parts[2::2]), span=span)
            case "and" | "or":
                return syntax.Logical("and" if tree.data == "and" else "or", self.expressions(parts), span=span)
            case "conditional":
                then, test, orelse = self.expressions(parts)
                return syntax.Conditional(test, then, orelse, span=span)
        raise AssertionError(f"the grammar has no expression {tree.data}")

    def expressions(self, raws: Sequence[Raw | Token | None]) -> tuple[Expression, ...]:
        return tuple(self.expression(raw) for raw in raws if raw is not None)

    def arguments(self, raw: Raw | Token | None) -> tuple[tuple[Expression, ...], tuple[syntax.Keyword, ...]]:
        positional: list[Expression] = []
        keywords: list[syntax.Keyword] = []
        for item in _trees(raw) if isinstance(raw, Tree) else []:
            if item.data == "keyword":
                name, value = item.children
                keywords.append(syntax.Keyword(str(name), self.expression(value), span=self.span(item)))
                continue
            positional.append(self.expression(item))
            if keywords:
                hint = "put it in front of the named arguments"
                self.problems.add("an argument without a name follows one with a name", hint, self.span(item))
        self.no_repeats("argument", [(keyword.name, keyword.span) for keyword in keywords])
        return tuple(positional), tuple(keywords)

    def index(self, tree: Raw) -> Expression | syntax.Slice:
        if tree.data != "slice":
            return self.expression(tree)
        lower, upper, step = (self.expression(part) if part is not None else None for part in tree.children)
        return syntax.Slice(lower, upper, step, span=self.span(tree))

    def number(self, token: Token, span: Span) -> syntax.Number:
        try:
            return syntax.Number(read_number(token), str(token), span=span)
        except LiteralError as error:
            self.problems.add(error.message, error.hint, span)
            return syntax.Number(0, span=span)

    def string(self, tree: Raw) -> syntax.Text:
        value = ""
        for token in tree.children:
            try:
                value += read_string(_token(token))
            except LiteralError as error:
                self.problems.add(error.message, error.hint, self.span(token))
        return syntax.Text(value, span=self.span(tree))


def _trees(tree: Raw) -> list[Raw]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _tree(raw: Raw | Token | None) -> Raw:
    assert isinstance(raw, Tree), "the grammar puts a tree here"
    return raw


def _token(raw: Raw | Token) -> Token:
    assert isinstance(raw, Token), "the grammar puts a token here"
    return raw

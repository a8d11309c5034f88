"""The printer behind `bitwright fmt`: a syntax tree to its one canonical text, comments included.

`parse(format_module(m)) == m`, and formatting twice changes nothing. Blank lines are kept, one at a time; two stand
between kernels. A comment stays at the end of its line or on a line of its own; one inside the brackets of a statement
moves above the statement, since the brackets may be joined into one line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import assert_never

from ..vm.diagnostic import NOWHERE, Span
from .format_expression import INDENT, WIDTH, write, write_bare, write_lines
from .literals import write_documentation
from .syntax import (
    Assert,
    Assign,
    AugAssign,
    Comment,
    ExprStatement,
    For,
    If,
    Kernel,
    Module,
    Param,
    Pass,
    Return,
    Statement,
    Tuple_,
    While,
)


def format_module(module: Module) -> str:
    """The canonical text of a module. The comments of a tree that was parsed are put where they were.

    >>> from bitwright.frontend.parse import parse
    >>> print(format_module(parse("def f( x:f32[N] ) :   # why\\n  y=(x)\\n")), end="")
    def f(x: f32[N]):  # why
        y = x
    """
    return _Printer(module.comments).module(module)


class _Printer:
    """The lines so far, and the comments that still wait for their place."""

    def __init__(self, comments: Sequence[Comment]) -> None:
        self.comments = deque(comments)
        self.out: list[str] = []
        self.last_line: float = inf  # the line of the text that was printed last; inf where no blank line may follow

    def module(self, module: Module) -> str:
        if module.docstring is not None:
            self.documentation(module.docstring, module.docstring_span, 0)
        starts = [(kernel.decorators[0].span if kernel.decorators else kernel.header).line for kernel in module.kernels]
        for number, kernel in enumerate(module.kernels):
            if number or module.docstring is not None:
                self.gap(2 if number else 1)
            self.comments_before(starts[number], 0)
            self.kernel(kernel, [*starts, inf][number + 1])
        if self.comments:
            if module.kernels:
                self.gap(2)
            self.comments_before(inf, 0)
        return "\n".join(self.out) + "\n" if self.out else ""

    # Lines and comments

    def gap(self, blanks: int) -> None:
        """That many blank lines, whatever stood in the text."""
        self.out += [""] * blanks
        self.last_line = inf

    def put(self, lines: Sequence[str], indentation: int, place: Span) -> None:
        """Print lines that come from `place`, after the blank line that stood above it, if one did."""
        if self.last_line + 1 < place.line:
            self.out.append("")
        self.out += [" " * indentation + line for line in lines]
        self.last_line = place.end_line

    def comments_before(self, line: float, indentation: int, right_of: int = 0) -> None:
        """Print the comments above a line, as far as they begin to the right of a column."""
        while self.comments and self.comments[0].span.line < line and self.comments[0].span.column > right_of:
            comment = self.comments.popleft()
            self.put([comment.text], indentation, comment.span)

    def comment_at_end(self, line: int) -> None:
        """Put the comment at the end of a line of the text at the end of the line that was printed last."""
        if self.comments and self.comments[0].span.line == line and not self.comments[0].alone:
            self.out[-1] += "  " + self.comments.popleft().text

    def put_with_comments(self, lines: Sequence[str], indentation: int, place: Span) -> None:
        """Print a statement or a header with the comments above, inside and behind it."""
        self.comments_before(place.line, indentation)
        if self.comments and self.comments[0].span.line < place.end_line:
            self.put([], indentation, place)  # the blank line above the statement, now above its comments
            self.last_line = inf
            self.comments_before(place.end_line, indentation)
            self.last_line = inf
        self.put(lines, indentation, place)
        self.comment_at_end(place.end_line)

    def documentation(self, text: str, place: Span, indentation: int) -> None:
        self.put_with_comments([write_documentation(text)], indentation, place)

    # Kernels

    def kernel(self, kernel: Kernel, end: float) -> None:
        """A kernel; the next one begins at line `end`."""
        for decorator in kernel.decorators:
            self.put_with_comments([f"@{write(decorator)}"], 0, decorator.span)
            self.last_line = inf
        header = kernel.header
        flat = f"def {kernel.name}({', '.join(_parameters(kernel))}):"
        inside = self.comments and header.line <= self.comments[0].span.line < header.end_line
        if len(flat) <= WIDTH and not inside:
            self.put([flat], 0, header)
        else:
            self.long_header(kernel)
        self.comment_at_end(header.end_line)
        self.last_line = inf
        if kernel.docstring is not None:
            self.documentation(kernel.docstring, kernel.docstring_span, INDENT)
        if kernel.body or kernel.docstring is None:
            self.block(kernel.body, INDENT, end)
        if header is not NOWHERE:
            self.comments_before(end, INDENT, right_of=header.column)

    def long_header(self, kernel: Kernel) -> None:
        """One parameter on each line, each with its comments."""
        self.put([f"def {kernel.name}("], 0, kernel.header)
        self.last_line = inf
        params = [*kernel.params, *kernel.compile_params]
        following = [param.span.line for param in params[1:]] + [0] * bool(params)
        for number, (param, next_line) in enumerate(zip(params, following, strict=True)):
            if number == len(kernel.params):
                self.out.append(" " * INDENT + "*,")
            self.comments_in_header(param.span.line)
            lines = write_lines(f"{param.name}: ", param.annotation, ",", INDENT)
            if param.default is not None:
                lines = write_lines(f"{param.name}: {write(param.annotation)} = ", param.default, ",", INDENT)
            self.comments_in_header(param.span.end_line)
            self.out += [" " * INDENT + line for line in lines]
            if next_line != param.span.end_line and param.span.end_line != kernel.header.end_line:
                self.comment_at_end(param.span.end_line)
        self.comments_in_header(kernel.header.end_line)
        self.out.append("):")

    def comments_in_header(self, line: int) -> None:
        while self.comments and self.comments[0].span.line < line:
            self.out.append(" " * INDENT + self.comments.popleft().text)

    # Statements

    def block(self, body: Sequence[Statement], indentation: int, end: float) -> None:
        """The statements of a block, `pass` for an empty one. What follows the block begins at line `end`."""
        ends = [following.span.line for following in body[1:]] + [end]
        for statement, next_line in zip(body or (Pass(),), ends, strict=True):
            self.statement(statement, indentation, next_line)

    def nested(self, body: Sequence[Statement], indentation: int, owner: Span, end: float) -> None:
        """The block below a header, and the comments at its end: those above line `end`, to the right of `owner`."""
        self.last_line = inf
        self.block(body, indentation + INDENT, end)
        if owner is not NOWHERE:
            self.comments_before(end, indentation + INDENT, right_of=owner.column)

    def statement(self, statement: Statement, indentation: int, end: float) -> None:
        match statement:
            case For() | While() | If():
                self.compound(statement, indentation, end)
            case _:
                self.put_with_comments(_simple(statement, indentation), indentation, statement.span)

    def compound(self, statement: For | While | If, indentation: int, end: float) -> None:
        span = statement.span
        match statement:
            case For(target, iterable, body, header):
                lines = write_lines(f"for {target.name} in ", iterable, ":", indentation)
                self.put_with_comments(lines, indentation, header)
                self.nested(body, indentation, span, end)
            case While(test, body, header):
                lines = write_lines("while ", test, ":", indentation)
                self.put_with_comments(lines, indentation, header)
                self.nested(body, indentation, span, end)
            case If():
                self.branch("if ", statement, indentation, end, span)
            case _:
                assert_never(statement)

    def branch(self, word: str, statement: If, indentation: int, end: float, owner: Span) -> None:
        """An `if` or `elif` and everything that hangs on it. `owner` is the place of the first `if`."""
        lines = write_lines(word, statement.test, ":", indentation)
        self.put_with_comments(lines, indentation, statement.header)
        where = statement.else_span
        self.nested(statement.then, indentation, owner, where.line if statement.orelse else end)
        match statement.orelse:
            case ():
                return
            case (If() as inner,):
                self.branch("elif ", inner, indentation, end, owner)
            case orelse:
                self.put_with_comments(["else:"], indentation, where)
                self.nested(orelse, indentation, owner, end)


def _simple(statement: Assign | AugAssign | ExprStatement | Pass | Return | Assert, indentation: int) -> list[str]:
    """The lines of a statement that has no block."""
    match statement:
        case Assign(targets, value):
            start = ", ".join(target.name for target in targets) + " = "
            if isinstance(value, Tuple_) and len(targets) > 1:
                flat = start + write_bare(value)
                return [flat] if indentation + len(flat) <= WIDTH else write_lines(start, value, "", indentation)
            return write_lines(start, value, "", indentation)
        case AugAssign(target, op, value):
            return write_lines(f"{target.name} {op}= ", value, "", indentation)
        case ExprStatement(value):
            return write_lines("", value, "", indentation)
        case Pass():
            return ["pass"]
        case Return():
            return ["return"]
        case Assert(test, None):
            return write_lines("assert ", test, "", indentation)
        case Assert(test, message) if message is not None:
            flat = f"assert {write(test)}, {write(message)}"
            if indentation + len(flat) <= WIDTH:
                return [flat]
            lines = write_lines("assert ", test, ", ", indentation)
            return [*lines[:-1], *write_lines(lines[-1], message, "", indentation)]
    raise AssertionError(f"no statement {statement}")


def _parameters(kernel: Kernel) -> list[str]:
    """The parts between the brackets of a kernel's header."""
    compiled = [_parameter(param) for param in kernel.compile_params]
    return [_parameter(param) for param in kernel.params] + (["*", *compiled] if compiled else [])


def _parameter(param: Param) -> str:
    default = "" if param.default is None else f" = {write(param.default)}"
    return f"{param.name}: {write(param.annotation)}{default}"

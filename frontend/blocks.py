"""Lines to tokens, indentation to blocks.

Lark's own `Indenter` keeps its state in the shared grammar and knows no place for its errors. This one is made anew for
each text, starts at the text's own indentation (a method in a class is indented too), and notes problems with their
places.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources

from lark import Lark, Token

from ..vm.diagnostic import Problems, Source, Span
from .scan import Scanned, refuse_size

MAX_BLOCKS = 32
"""How deep blocks may be nested."""

MAX_TOKENS = 200_000


@cache
def grammar() -> Lark:
    """The grammar, built once in a process (about 0.1 s)."""
    text = resources.files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="basic", propagate_positions=True, maybe_placeholders=True)


def tokens(source: Source, scanned: Scanned, problems: Problems) -> list[Token]:
    """All tokens of a text, with the blocks marked by `_INDENT` and `_DEDENT`."""
    lexing = grammar().parse_interactive(scanned.text.rstrip(" \n") + "\n")
    found: list[Token] = []
    stream = lexing.lexer_thread.lex(lexing.parser_state)  # type: ignore[no-untyped-call]  # Lark does not say its types
    for token in stream:
        found.append(token)
        if len(found) > MAX_TOKENS:
            refuse_size(source, f"more than {MAX_TOKENS:,} words and signs", f"{MAX_TOKENS:,}")
    return list(_Blocks(source, scanned.indentation, problems).mark(found))


def token_span(source: Source, token: Token) -> Span:
    """The place of a token in the user's file."""
    first = source.first_line - 1
    line, column = token.line or 1, token.column or 1
    if token.type == "_NEWLINE":
        return Span(source, line + first, column, line + first, column + 1)
    return Span(source, line + first, column, (token.end_line or line) + first, token.end_column or column + 1)


class _Blocks:
    """The open blocks of one text: their indentations, outermost first."""

    def __init__(self, source: Source, base: int, problems: Problems) -> None:
        self.source = source
        self.levels = [base]
        self.problems = problems

    def mark(self, found: list[Token]) -> Iterator[Token]:
        """The tokens with blocks marked; line ends inside brackets are left out."""
        brackets = 0
        for index, token in enumerate(found):
            if token.type != "_NEWLINE":
                brackets += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
                yield token
            elif brackets <= 0:
                yield token
                if index + 1 < len(found):
                    yield from self._next_line(token, found[index + 1])
        for _ in self.levels[1:]:
            yield Token.new_borrow_pos("_DEDENT", "", found[-1])

    def _next_line(self, newline: Token, first: Token) -> Iterator[Token]:
        """Compare the indentation of the line that begins with `first` with the open blocks."""
        indentation = len(newline.rpartition("\n")[2])
        if indentation > self.levels[-1]:
            self.levels.append(indentation)
            yield Token.new_borrow_pos("_INDENT", "", first)
            if len(self.levels) - 1 > MAX_BLOCKS:
                self._wrong(first, f"blocks are nested more than {MAX_BLOCKS} deep", "split the kernel")
            return
        while len(self.levels) > 1 and indentation < self.levels[-1]:
            self.levels.pop()
            yield Token.new_borrow_pos("_DEDENT", "", first)
        if indentation != self.levels[-1]:
            hint = "line it up with the block that it belongs to"
            self._wrong(first, "the indentation of this line matches no block around it", hint)

    def _wrong(self, token: Token, message: str, hint: str) -> None:
        self.problems.add(message, hint, token_span(self.source, token))

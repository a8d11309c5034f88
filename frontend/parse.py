"""Text to syntax tree.

`parse` reads a whole text, `parse_function` the source of one Python function. Both raise one `Diagnostic` that shows
every mistake that was found: after a mistake the parser goes on with the next statement. Nothing is ever executed, and
any text, however strange, is read or refused within seconds.
"""

from __future__ import annotations

import re

from lark import Token, Tree, UnexpectedToken

from ..vm.diagnostic import Diagnostic, Problem, Problems, Source
from .blocks import grammar, token_span, tokens
from .convert import convert
from .explain import forbidden, unexpected
from .scan import MAX_CHARACTERS, MAX_PROBLEMS, Scanned, refuse_size, scan
from .syntax import Kernel, Module

_HEADS = ("DEF", "IF", "ELIF", "ELSE", "FOR", "WHILE")
_STATEMENT_ENDS = ("_NEWLINE", "_INDENT", "_DEDENT")


def parse(text: str, name: str = "<string>", first_line: int = 1) -> Module:
    """The syntax tree of a text. `name` is what messages call it; its first line counts as number `first_line`.

    Raises Diagnostic when the text is not in the language.

    >>> parse("def f(x: f32[N]):\\n    pass\\n").kernels[0].name
    'f'
    """
    source = Source(name, _plain(text, name, first_line), first_line)
    problems = Problems()
    return _parse(source, scan(source, problems), problems)


def parse_function(text: str, name: str = "<string>", first_line: int = 1) -> Kernel:
    """The syntax tree of one Python function, as `inspect.getsource` gives it: perhaps indented, perhaps decorated.

    Decorators are Python's own affair and are left out, so they may be any Python. Places in messages are places in the
    user's file `name`, whose line `first_line` is the first line of `text`.
    """
    plain = _plain(text, name, first_line)
    source = Source(name, plain, first_line)
    head = re.search(r"^[ ]*(?:async[ ]+)?def\b", plain, re.MULTILINE)
    skipped = head.start() if head else 0
    problems = Problems()
    looked_at = scan(Source(name, re.sub(r"[^\n]", "", plain[:skipped]) + plain[skipped:], first_line), problems)
    module = _parse(source, looked_at, problems)
    if len(module.kernels) != 1:
        message = f"this text holds {len(module.kernels)} kernels where one function was expected"
        raise Diagnostic(Problem(message, "give the source of one function", module.kernels[-1].header))
    return module.kernels[0]


def _plain(text: str, name: str, first_line: int) -> str:
    """The text with plain line ends and without a byte order mark."""
    if len(text) > 2 * MAX_CHARACTERS:
        refuse_size(Source(name, "", first_line), f"{len(text):,} characters", f"{MAX_CHARACTERS:,}")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _parse(source: Source, looked_at: Scanned, problems: Problems) -> Module:
    tree = _Reader(source, tokens(source, looked_at, problems), problems).run()
    # A tree from a text with mistakes may hold stand-ins for what was wrong; it is looked at for more mistakes only.
    module = convert(tree, source, looked_at.comments, problems) if tree is not None else None
    problems.raise_if_any()
    assert module is not None
    return module


class _Reader:
    """Feeds tokens to the grammar; on a mistake, puts a stand-in for the statement and goes on with the next."""

    def __init__(self, source: Source, found: list[Token], problems: Problems) -> None:
        self.source = source
        self.tokens = found
        self.problems = problems
        self.parser = grammar().parse_interactive("")
        self.depth = 0
        self.before = self.earlier = self._stacks()
        self.skipped_ends: set[int] = set()

    def run(self) -> Tree[Token] | None:
        """The tree, or None when a mistake at the end of the text left none."""
        index = 0
        while index < len(self.tokens):
            if len(self.problems) >= MAX_PROBLEMS:
                return None
            index = index + 1 if index in self.skipped_ends else self._statement(index)
        try:
            last = self.tokens[-1] if self.tokens else None
            tree: Tree[Token] = self.parser.feed_eof(last)  # type: ignore[no-untyped-call]  # Lark does not say its types
        except UnexpectedToken:
            self._missing_block(len(self.tokens))
            return None
        return tree

    def _new_dimension(self, index: int) -> bool:
        """Whether the token is the None of `t[:, None]`: alone between brackets and commas."""
        around = [t.type for t in self.tokens[max(0, index - 1) : index + 2 : 2]]
        alone = len(around) == 2 and around[0] in ("LSQB", "COMMA") and around[1] in ("COMMA", "RSQB")
        return self.tokens[index] == "None" and alone

    def _statement(self, start: int) -> int:
        """Read the tokens from `start` to the end of a statement, or one mark of a block; where the next one begins."""
        self.earlier, self.before = self.before, self._stacks()
        index = start
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.type == "NAME" and not self._new_dimension(index) and (wrong := forbidden(token)):
                return self._recover(start, index, *wrong)
            try:
                self.parser.feed_token(token)
            except UnexpectedToken:
                return self._mistake(start, index)
            index += 1
            if token.type in _STATEMENT_ENDS:
                self.depth += (token.type == "_INDENT") - (token.type == "_DEDENT")
                break
        return index

    def _mistake(self, start: int, index: int) -> int:
        """The grammar refused token `index`: report it, and return where to go on."""
        if index == start and "_INDENT" in self._accepted():
            self._missing_block(index)
            self._set_stacks(self.earlier)
            self._stand_in(index - 1, [("PASS", "pass"), ("_NEWLINE", "\n")])
            self.before = self._stacks()
            return index
        message, hint = unexpected(self.tokens, start, index, self._accepted(), self._brackets(start, index))
        if self.tokens[index].type != "_INDENT":
            return self._recover(start, index, message, hint)
        self.problems.add(message, hint, token_span(self.source, self.tokens[index]))
        end = self._end_of_block(index)
        if self.depth == 0:
            return end + 1
        self.skipped_ends.add(end)
        return index + 1

    def _missing_block(self, index: int) -> None:
        header_end = token_span(self.source, self.tokens[index - 1])
        hint = "indent the block below it by 4 spaces; an empty block is `pass`"
        self.problems.add("a line that ends in `:` needs an indented block", hint, header_end)

    def _recover(self, start: int, index: int, message: str, hint: str) -> int:
        """Report token `index` of the statement at `start`, put a stand-in for the statement, go on behind it."""
        self.problems.add(message, hint, token_span(self.source, self.tokens[index]))
        self._set_stacks(self.before)
        end = index
        while end < len(self.tokens) and self.tokens[end].type != "_NEWLINE":
            if self.tokens[end].type == "_DEDENT":  # the mark itself was refused
                return end + 1
            end += 1
        has_block = start < end < len(self.tokens) - 1 and self.tokens[end + 1].type == "_INDENT"
        if has_block and (self.tokens[end - 1].type == "COLON" or self.tokens[start].type in _HEADS):
            self._stand_in_header(start)
            return end
        if self.depth > 0:
            self._stand_in(start, [("PASS", "pass"), ("_NEWLINE", "\n")])
        return end + 1

    def _stand_in_header(self, start: int) -> None:
        """Stand in for a header that was refused, so that its block is read all the same."""
        first = self.tokens[start].type
        if self.depth == 0:
            words = [("DEF", "def"), ("NAME", f"_{start}"), ("LPAR", "("), ("RPAR", ")"), ("COLON", ":")]
        elif first == "ELIF" and "ELIF" in self._accepted():
            words = [("ELIF", "elif"), ("TRUE", "True"), ("COLON", ":")]
        elif first in ("IF", "ELIF", "ELSE"):
            words = [("IF", "if"), ("TRUE", "True"), ("COLON", ":")]
        else:
            words = [("WHILE", "while"), ("TRUE", "True"), ("COLON", ":")]
        self._stand_in(start, words)

    def _stand_in(self, place: int, words: list[tuple[str, str]]) -> None:
        """Feed words that are not in the text; nothing where the grammar does not take them all."""
        before = self._stacks()
        try:
            for kind, word in words:
                self.parser.feed_token(Token.new_borrow_pos(kind, word, self.tokens[place]))
        except UnexpectedToken:
            self._set_stacks(before)

    def _brackets(self, start: int, index: int) -> list[str]:
        """The brackets open at token `index`; `call(` and `index[` are those that follow a value."""
        brackets: list[str] = []
        for place in range(start, index):
            kind = self.tokens[place].type
            after_value = place > start and self.tokens[place - 1].type in ("NAME", "RPAR", "RSQB")
            if kind == "LPAR":
                is_header = place > start + 1 and self.tokens[place - 2].type == "DEF"
                brackets.append("def(" if is_header else "call(" if after_value else "(")
            elif kind == "LSQB":
                brackets.append("index[" if after_value else "[")
            elif kind in ("RPAR", "RSQB"):
                brackets.pop()
        return brackets

    def _end_of_block(self, index: int) -> int:
        """The place of the `_DEDENT` that belongs to the `_INDENT` at `index`."""
        depth = 0
        while True:
            depth += (self.tokens[index].type == "_INDENT") - (self.tokens[index].type == "_DEDENT")
            if depth == 0:
                return index
            index += 1

    def _accepted(self) -> set[str]:
        """The kinds of token that could come next."""
        accepted: set[str] = self.parser.accepts()  # type: ignore[no-untyped-call]  # Lark does not say its types
        return accepted

    def _stacks(self) -> tuple[list[object], list[object]]:
        state = self.parser.parser_state
        return list(state.state_stack), list(state.value_stack)

    def _set_stacks(self, stacks: tuple[list[object], list[object]]) -> None:
        state = self.parser.parser_state
        state.state_stack, state.value_stack = list(stacks[0]), list(stacks[1])

"""A first look at a text, before the grammar sees it: its signs, strings, brackets and comments.

The look takes time in proportion to the text and does not recurse, so it is also the guard: what is too large, nested
too deep or not text at all is refused here. A kernel in which this look finds a mistake is blanked out, and the
others still reach the grammar, so that mistakes in several kernels are reported together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..vm.diagnostic import Diagnostic, Note, Problem, Problems, Source, Span
from .syntax import Comment

MAX_CHARACTERS = 1_000_000
MAX_LINES = 20_000
MAX_PROBLEMS = 100
"""After this many mistakes the rest of a text is not looked at."""

MAX_BRACKETS = 64
"""How deep brackets may be nested."""

_LEXEME = re.compile(
    r"""
    (?P<string>  \"{3}(?:[^"\\]++|\\.|"(?!""))*+\"{3} | '{3}(?:[^'\\]++|\\.|'(?!''))*+'{3} )
  | (?P<endless> \"{3} | '{3} )
  | (?P<line_string> "(?:[^"\\\n]++|\\[^\n])*+" | '(?:[^'\\\n]++|\\[^\n])*+' )
  | (?P<quote>   ["'] )
  | (?P<comment> \#[^\n]*+ )
  | (?P<newline> \n )
  | (?P<open>    [(\[] )
  | (?P<close>   [)\]] )
  | (?P<plain>   (?: [A-Za-z0-9_+\-*/%@&|^~<>=.,] | !=)++ | [ ]++ | : )
  | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)

# A line that cannot continue an expression. Inside brackets it proves that a bracket was left open above it.
_STATEMENT_LINE = re.compile(
    r"[ ]*(?:(?:def|return|assert|pass|while|elif|import|class)\b|(?:else|(?:for|if)\b[^\n]*):[ ]*(?:\#[^\n]*)?$)",
    re.MULTILINE,
)
_FIRST_LINE = re.compile(r"^([ ]*)[^\s#]", re.MULTILINE)
_PAIRS = {")": "(", "]": "["}

_ADVICE = {
    "\t": ("a tab", "indent and separate with spaces (4 for each level)"),
    ";": ("`;`", "write one statement on each line"),
    "\\": ("`\\`", "to go on in the next line, put the expression into brackets"),
    "{": ("`{`", "there are no dictionaries, sets or f-strings; lists are written `[a, b]`"),
    "}": ("`}`", "there are no dictionaries, sets or f-strings; lists are written `[a, b]`"),
    "!": ("`!`", "`not` negates a condition, `!=` compares"),
    "?": ("`?`", "a choice is written `a if condition else b`"),
    "\x00": ("a NUL byte", "this is no text file; give the path of a `.bw` file"),
    "“": ("`“`", 'use the plain quote `"`'),
    "”": ("`”`", 'use the plain quote `"`'),
    "‘": ("`‘`", "use the plain quote `'`"),
    "’": ("`’`", "use the plain quote `'`"),
    "−": ("`−` (U+2212)", "use the plain minus `-`"),
    "–": ("`–` (U+2013)", "use the plain minus `-`"),
    "×": ("`×`", "multiply with `*`"),
    "·": ("`·`", "multiply with `*`"),
    "÷": ("`÷`", "divide with `/` or `//`"),
    "≤": ("`≤`", "write `<=`"),
    "≥": ("`≥`", "write `>=`"),
    "≠": ("`≠`", "write `!=`"),
}


@dataclass(frozen=True)
class Scanned:
    """What the first look yields: the text for the grammar (same lines and columns), its base indentation, comments."""

    text: str
    indentation: int
    comments: tuple[Comment, ...]


def scan(source: Source, problems: Problems) -> Scanned:
    """Look through a source whose line ends are `\\n`. Mistakes go to `problems`; too large a text raises at once."""
    if len(source.text) > MAX_CHARACTERS:
        refuse_size(source, f"{len(source.text):,} characters", f"{MAX_CHARACTERS:,}")
    if len(source.lines) > MAX_LINES:
        refuse_size(source, f"{len(source.lines):,} lines", f"{MAX_LINES:,} lines")
    return _Scanner(source, problems).run()


def refuse_size(source: Source, found: str, allowed: str) -> None:
    """Raise the Diagnostic for a text that is too large to be a program."""
    here = Span(source, source.first_line, 1, source.first_line, 2)
    raise Diagnostic(Problem(f"this text has {found}; at most {allowed} are read", "split it into several files", here))


class _Scanner:
    """The state of one look: where the line began, which brackets are open, where the current kernel began."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self.source = source
        self.text = source.text
        self.problems = problems
        first = _FIRST_LINE.search(self.text)
        self.base = len(first.group(1)) if first else 0
        self.line = 1
        self.line_start = 0
        self.open: list[tuple[str, Span]] = []
        self.comments: list[Comment] = []
        self.chunk_start = 0
        self.chunk_is_bad = False
        self.kept: list[str] = []
        self.head = re.compile(rf"[ ]{{{self.base}}}(?:def\b|@)")
        self.after_decorator = False
        self.strange_line = 0

    def run(self) -> Scanned:
        self._start_line(0)
        place = 0
        while place < len(self.text) and len(self.problems) < MAX_PROBLEMS:
            match = _LEXEME.match(self.text, place)
            assert match is not None, "the last alternative takes any sign"
            kind = match.lastgroup
            place = match.end()
            if kind == "newline":
                self.line += 1
                self.line_start = place
                self._start_line(place)
            elif kind is not None and kind != "plain":
                place = self._lexeme(kind, match)
        self._close_open_brackets()
        self._finish_chunk(len(self.text))
        return Scanned("".join(self.kept), self.base, tuple(self.comments))

    def _span(self, start: int, end: int) -> Span:
        line = self.source.first_line + self.line - 1
        column = start - self.line_start + 1
        return Span(self.source, line, column, line, column + end - start)

    def _wrong(self, message: str, hint: str, span: Span, notes: tuple[Note, ...] = ()) -> None:
        self.problems.add(message, hint, span, notes)
        self.chunk_is_bad = True

    def _lexeme(self, kind: str, match: re.Match[str]) -> int:
        """Look at one lexeme; where to go on. After some mistakes the rest of a line, or of the text, means nothing."""
        start, end, text = match.start(), match.end(), match.group()
        if kind in ("string", "line_string"):
            self._string(start, end, text)
        elif kind == "endless":
            hint = f"close the string with {text}"
            self._wrong("this string is never closed", hint, self._span(start, end))
            self.open.clear()
            return len(self.text)
        elif kind == "quote":
            line_end = self.text.find("\n", start) % (len(self.text) + 1)
            hint = f"close it with {text} on the same line; a text of several lines stands in {text * 3}"
            self._wrong("this string is not closed on its line", hint, self._span(start, line_end))
            self.open.clear()
            return line_end
        elif kind == "comment":
            alone = not self.text[self.line_start : start].strip(" ")
            self.comments.append(Comment(text.rstrip(), alone, span=self._span(start, end)))
        elif kind == "open":
            if not self._open(text, self._span(start, end)):
                return len(self.text)
        elif kind == "close":
            self._close(text, self._span(start, end))
        else:
            self._other(text, self._span(start, end))
            if text == "\x00":
                return len(self.text)
        return end

    def _start_line(self, start: int) -> None:
        """A new line: it may prove that a bracket was left open, and it may begin a kernel."""
        if self.open and _STATEMENT_LINE.match(self.text, start):
            self._close_open_brackets()
        if not self.open and self.head.match(self.text, start):
            # Decorators and their `def` are one kernel.
            if not self.after_decorator:
                self._finish_chunk(start)
            self.after_decorator = self.text.startswith("@", start + self.base)

    def _finish_chunk(self, end: int) -> None:
        chunk = self.text[self.chunk_start : end]
        self.kept.append(re.sub(r"[^\n]+", "", chunk) if self.chunk_is_bad else chunk)
        self.chunk_start, self.chunk_is_bad = end, False

    def _string(self, start: int, end: int, text: str) -> None:
        prefix = re.search(r"[A-Za-z0-9_]*$", self.text[max(self.line_start, start - 8) : start])
        assert prefix is not None
        if word := prefix.group():
            what = "f-strings" if "f" in word.lower() else f"strings with the prefix `{word}`"
            span = self._span(start - len(word), start)
            self._wrong(f"there are no {what}", "write a plain string, or a space in front of it", span)
        newlines = text.count("\n")
        if newlines:
            self.line += newlines
            self.line_start = start + text.rfind("\n") + 1

    def _open(self, text: str, span: Span) -> bool:
        """A bracket opens; False when too many are open."""
        self.open.append((text, span))
        if len(self.open) <= MAX_BRACKETS:
            return True
        if len({where.line for _, where in self.open}) > MAX_BRACKETS // 2:
            # Nobody nests over so many lines: the first bracket was forgotten.
            del self.open[1:]
            self._close_open_brackets()
            return False
        hint = "give the inner part a name in a line of its own"
        self._wrong(f"brackets are nested more than {MAX_BRACKETS} deep", hint, span)
        self.open.clear()
        return False

    def _close(self, text: str, span: Span) -> None:
        if not self.open:
            self._wrong(f"`{text}` closes nothing", "remove it, or open the bracket before it", span)
            return
        opener, where = self.open.pop()
        if _PAIRS[text] != opener:
            notes = (Note("the bracket was opened here", where),)
            self._wrong(
                f"`{text}` does not close `{opener}`", "close brackets in the order they were opened", span, notes
            )

    def _close_open_brackets(self) -> None:
        if self.open:
            opener, where = self.open[-1]
            closer = ")" if opener == "(" else "]"
            self._wrong(f"`{opener}` is never closed", f"add the missing `{closer}`", where)
            self.open.clear()

    def _other(self, text: str, span: Span) -> None:
        """A sign that the language does not have; the first one of a line speaks for the others."""
        if self.strange_line == span.line:
            return
        self.strange_line = span.line
        shown = f"`{text}`" if text.isprintable() else f"the character U+{ord(text):04X}"
        hint = "names are made of the letters a-z and A-Z, digits and `_`" if text.isalpha() else "remove it"
        name, advice = _ADVICE.get(text, (shown, hint))
        self._wrong(f"{name} is not part of the language", advice, span)

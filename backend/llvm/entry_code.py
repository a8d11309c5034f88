"""Text for one entry under construction: instructions, checks that leave the function, and constant strings."""

from __future__ import annotations

from typing import Literal

from ...vm.expr import Expr, Var
from .index import IndexCode

__all__ = ["EntryCode", "ErrorKind", "literal"]

ErrorKind = Literal["TypeError", "ValueError", "RuntimeError"]


def literal(text: str) -> str:
    """A message as it stands in a format string: % doubled."""
    return text.replace("%", "%%")


class EntryCode:
    """Instructions of one function, in order, with the blocks that raise its errors kept apart until the end.

    `env` holds the value of every size that is known so far.
    """

    def __init__(self, symbol: str) -> None:
        self.env: dict[Var, str] = {}
        self._symbol = symbol
        self._index = IndexCode(self.env, "e")
        self._lines: list[str] = []
        self._cold: list[str] = []
        self._strings: dict[str, str] = {}
        self._count = 0

    def add(self, text: str) -> str:
        """Append an instruction that has a value; its name."""
        name = f"%v{self._fresh()}"
        self._lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Append an instruction without a value, or a label."""
        self._lines.append(text if text.endswith(":") else f"  {text}")

    def expr(self, e: Expr) -> str:
        """The i64 value of a size expression."""
        value = self._index.value(e)
        self._lines += self._index.lines
        self._index.lines.clear()
        return value

    def field(self, base: str, struct: str, index: int, kind: str) -> str:
        """Load a field of a structure."""
        at = self.add(f"getelementptr {struct}, ptr {base}, i32 0, i32 {index}")
        return self.add(f"load {kind}, ptr {at}")

    def require(self, condition: str, kind: ErrorKind, message: str, *values: str) -> None:
        """Go on only where the i1 holds, else raise. `message` is a format with a %lld for each of up to two values."""
        number = self._fresh()
        self.do(f"br i1 {condition}, label %ok{number}, label %bad{number}")
        self.do(f"ok{number}:")
        a, b = (*values, "0", "0")[:2]
        text = self._string(message)
        self._cold += [
            f"bad{number}:",
            f"  %raised{number} = call i32 @bw.raise(ptr @bw.{kind}, ptr {text}, i64 {a}, i64 {b})",
            f"  ret i32 %raised{number}",
        ]

    def strings(self) -> str:
        """The constants of all messages."""
        return "".join(f"{name} = private constant {text}\n" for text, name in self._strings.items())

    def body(self) -> str:
        """All instructions; the blocks that raise come last."""
        return "\n".join(self._lines + self._cold) + "\n"

    def _fresh(self) -> int:
        self._count += 1
        return self._count

    def _string(self, text: str) -> str:
        data = text.encode() + b"\0"
        printable = "".join(chr(c) if 32 <= c < 127 and chr(c) not in '"\\' else f"\\{c:02x}" for c in data)
        constant = f'[{len(data)} x i8] c"{printable}"'
        return self._strings.setdefault(constant, f"@{self._symbol}.text{len(self._strings)}")

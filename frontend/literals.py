"""What a number or a string in the text means, and how a string is spelt.

Numbers are Python's. Strings have a subset of Python's escapes, the ones that need no table and have one meaning:
`\\\\ \\' \\" \\n \\r \\t \\0 \\xhh \\uhhhh \\Uhhhhhhhh`.
"""

from __future__ import annotations

import math
import re

MAX_INTEGER = 2**64 - 1

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|0(?![0-9])|.)", re.DOTALL)
_MEANINGS = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t", "0": "\0"}
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class LiteralError(ValueError):
    """A number or a string that means nothing."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


def read_number(text: str) -> int | float:
    """The value of a number: an int for `12`, `0x0F`, `0b1`, a float for `1.5`, `1e-5`. LiteralError if it has none."""
    based = text[:2].lower() in ("0x", "0b", "0o")
    floating = not based and any(sign in text for sign in ".eE")
    try:
        if floating:
            value: int | float = float(text)
        elif len(text.replace("_", "")) > 100:
            value = MAX_INTEGER + 1  # however it is spelt; Python refuses to convert very long ones
        else:
            value = int(text, 0)
    except ValueError:
        hint = "numbers look like 128, 0xFF, 0b101, 1_000, 1.5 or 1e-5, without leading zeros"
        raise LiteralError("this is not a number", hint) from None
    if floating and math.isinf(value):
        raise LiteralError("this number is too large", "the largest is about 1.8e308")
    if not floating and value > MAX_INTEGER:
        raise LiteralError("this integer does not fit 64 bits", "the largest is 2**64 - 1")
    return value


def read_string(text: str) -> str:
    """The value of a string with its quotes. LiteralError when an escape is not known."""
    width = 3 if text[:3] in ('"""', "'''") else 1
    return _ESCAPE.sub(_meaning, text[width:-width])


def _meaning(match: re.Match[str]) -> str:
    escape = match.group(1)
    if escape in _MEANINGS:
        return "\0" if escape == "0" and match.end() - match.start() == 2 and _octal(match) else _MEANINGS[escape]
    if escape[0] in "xuU" and len(escape) > 1:
        code = int(escape[1:], 16)
        if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
            return chr(code)
    shown = escape if escape.isprintable() else "end of line"
    raise LiteralError(f"the escape `\\{shown}` has no meaning", "a backslash itself is written `\\\\`")


def _octal(match: re.Match[str]) -> bool:
    """Refuse `\\012`: the digits after the zero would belong to the escape in Python."""
    if match.string[match.end() : match.end() + 1].isdigit():
        raise LiteralError("there are no octal escapes", "write `\\xhh` with two hexadecimal digits")
    return True


def write_string(value: str) -> str:
    """A string in double quotes on one line that `read_string` turns into `value`."""
    return '"' + "".join(_ESCAPES.get(sign) or ('\\"' if sign == '"' else _safe(sign)) for sign in value) + '"'


def write_documentation(value: str) -> str:
    """A string in triple quotes, with its line ends as they are, that `read_string` turns into `value`."""
    body = "".join("\\\\" if sign == "\\" else sign if sign == "\n" else _safe(sign) for sign in value)
    body = body.replace('"""', '\\"\\"\\"')
    if (len(value) - len(value.rstrip('"'))) % 3:  # else the last quote has its backslash already
        body = body[:-1] + '\\"'
    return f'"""{body}"""'


def _safe(sign: str) -> str:
    """A sign as it is when it can be printed, otherwise its escape."""
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

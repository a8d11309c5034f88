"""Why the grammar did not accept a word, in the words of someone who writes kernels."""

from __future__ import annotations

from lark import Token

from .blocks import grammar

FORBIDDEN_WORDS = {
    "import": "a kernel uses the language's own functions only; pass everything else as a parameter",
    "from": "a kernel uses the language's own functions only; pass everything else as a parameter",
    "class": "a file holds kernels only: `def name(...):`",
    "try": "nothing is thrown inside a kernel; check with `assert` or `if`",
    "except": "nothing is thrown inside a kernel; check with `assert` or `if`",
    "finally": "nothing is thrown inside a kernel; check with `assert` or `if`",
    "raise": 'stop a kernel with `assert condition, "message"`',
    "with": "write the calls one after the other, for example `lock(x)` and `release(x)`",
    "lambda": "write the expression where it is used",
    "yield": "a kernel returns nothing; `store` its results",
    "async": "every kernel is plain `def`",
    "await": "copies are awaited by `wait(...)`",
    "global": "pass values as parameters",
    "nonlocal": "pass values as parameters",
    "del": "values that are not used any more cost nothing",
    "is": "compare with `==`",
    "None": "leave the argument out",
    "break": "give the loop its whole condition: `while condition:`",
    "continue": "put the rest of the body under an `if`",
}

_EXPRESSION_STARTS = {"NAME", "NUMBER", "STRING", "LONG_STRING", "TRUE", "FALSE", "LPAR", "LSQB", "NOT"}
_SPELLING = {"_NEWLINE": "the end of the line", "_INDENT": "an indented block", "_DEDENT": "the end of the block",
             "$END": "the end of the text", "NAME": "a name"}  # fmt: skip

_LOOK = "look for a missing operator, comma or bracket in front of it"
_FORMS = {
    "FOR": "a loop is written `for name in range(...):`",
    "WHILE": "a loop is written `while condition:`",
    "IF": "a choice is written `if condition:`",
    "ELIF": "a further choice is written `elif condition:`",
    "DEF": "a kernel is written `def name(x: f16[M, K], *, G: int = 128):`",
    "ASSERT": 'a check is written `assert condition, "message"`',
}


def forbidden(word: str) -> tuple[str, str] | None:
    """The message and the hint for a word of Python that kernels do not have; None for any other word."""
    hint = FORBIDDEN_WORDS.get(word)
    return None if hint is None else (f"bitwright kernels have no `{word}`", hint)


def unexpected(found: list[Token], start: int, index: int, expected: set[str], brackets: list[str]) -> tuple[str, str]:
    """The message and the hint for token `index` of the statement at `start`; the grammar takes only the `expected`.

    `brackets` holds the brackets that are open around the token, innermost last. One that opens the arguments of a call
    is written `call(`, the parameters of a kernel `def(`, a subscript `index[`.
    """
    token = found[index]
    before = found[index - 1] if index else None
    special = _special(token, before, brackets, found[index + 1] if index + 1 < len(found) else None)
    if special is not None:
        return special
    message = f"{_show(token)} was not expected here"
    if "$END" in expected:
        return message, "only kernels, `def name(...):`, begin at the left margin; indent what belongs to one"
    return message, _wanted(expected) or _FORMS.get(found[start].type, _LOOK)


def _special(token: Token, before: Token | None, brackets: list[str], after: Token | None) -> tuple[str, str] | None:
    """Mistakes that people make often, or that Python would accept."""
    kind, text = token.type, str(token)
    previous = before.type if before is not None else ""
    inside = brackets[-1] if brackets else ""
    match kind:
        case "_INDENT":
            return (
                "this line is indented for no reason",
                "only a line that ends in `:` is followed by an indented block",
            )
        case "COLON" if inside == "call(":
            return (
                "a range `a : b` can stand in a subscript only",
                "write it as a subscript, `grid[M : BM, N : BN]`, or as tuples, `grid((M, BM), (N, BN))`",
            )
        case "COLON" if not brackets and previous == "NAME":
            return "variables are not annotated", "write `name = value`; the type follows from the value"
        case "EQUAL" if inside:
            return "`=` names an argument of a call; it does not assign here", "compare with `==`"
        case "EQUAL":
            return "only one `=` can stand in a statement", "assign in two statements, or compare with `==`"
        case "FOR" if inside:
            return "there are no comprehensions", "write the elements, or a `for` statement"
        case "IN" | "NOT" if previous not in ("EQUAL", "LPAR", "COMMA"):
            return f"there is no operator `{text}` here", "compare with `==` and join the parts with `or`"
        case "DEF":
            return "a kernel cannot stand inside another", "begin `def` at the left margin"
        case "STAR" | "DOUBLE_STAR" if inside == "call(":
            return "arguments cannot be unpacked with `*`", "write each argument"
        case "DOUBLE_STAR" | "SLASH" if inside:
            return (
                f"`{text}` was not expected here",
                "parameters are `name: type`; a single `*` begins compile-time ones",
            )
        case "MINUS" if after is not None and after.type == "MORETHAN":
            return "a kernel returns nothing", "remove `-> ...`; `store` the results into a parameter"
        case _ if previous == "RETURN":
            return "a kernel returns no value", "`store` the results into a parameter"
        case "NAME" if previous == "NUMBER":
            return f"a number cannot be followed by `{text}`", "put an operator or a space between them"
    return None


def _show(token: Token) -> str:
    if token.type in _SPELLING and token.type != "NAME":
        return _SPELLING[token.type]
    text = str(token)
    return f"`{text}`" if len(text) <= 40 and "\n" not in text else "this text"


def _wanted(expected: set[str]) -> str:
    """What could have stood there instead; empty where too much could."""
    spelling = dict(_SPELLING)
    for terminal in grammar().terminals:
        if terminal.pattern.type == "str":
            spelling[terminal.name] = f"`{terminal.pattern.value}`"
    names = set(expected)
    wanted = []
    if _EXPRESSION_STARTS - {"NOT"} <= names:
        wanted.append("an expression")
        names -= _EXPRESSION_STARTS | {"PLUS", "MINUS", "TILDE"}
    wanted += sorted(spelling[name] for name in names if name in spelling)
    return "expected " + " or ".join(wanted) if 0 < len(wanted) <= 4 else ""

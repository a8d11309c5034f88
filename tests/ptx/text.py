"""PTX text as data: the parameters, variables and instructions of the one kernel in a module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Address", "Instruction", "Module", "Name", "Number", "Operand", "PtxError", "Vector", "parse"]


class PtxError(ValueError):
    """Text that the emulator does not know, or a program that does what no correct program does."""


@dataclass(frozen=True)
class Name:
    """A register, or the name of a variable, whose value is its address."""

    text: str
    negated: bool = False


@dataclass(frozen=True)
class Number:
    """An integer; of a float the bits, `floating` of them."""

    value: int
    floating: int = 0


@dataclass(frozen=True)
class Vector:
    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Address:
    base: Name | None
    offset: int


Operand = Name | Number | Vector | Address


@dataclass(frozen=True)
class Instruction:
    """`guard` is a predicate; `words` are the opcode and its modifiers."""

    text: str
    guard: Name | None
    words: tuple[str, ...]
    operands: tuple[Operand, ...]

    @property
    def name(self) -> str:
        return self.words[0]


@dataclass
class Module:
    """Registers have their bits (1: a predicate), variables their space, alignment, size and bytes."""

    parameters: list[str] = field(default_factory=list)
    registers: dict[str, int] = field(default_factory=dict)
    variables: dict[str, tuple[str, int, int, bytes]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    code: list[Instruction] = field(default_factory=list)


_ENTRY = re.compile(r"(?:\.(?:visible|weak)\s+)?\.entry\s+(\w+)\s*\(([^)]*)\)[^{]*\{")
_VARIABLE = re.compile(
    r"(?:\.(?:extern|visible|weak)\s+)*\.(global|shared|const|local)\s+(?:\.align\s+(\d+)\s+)?\.([bufs])(\d+)\s+"
    r"([\w$]+)\s*(?:\[(\d*)\])?\s*(?:=\s*(.*))?$",
    re.DOTALL,
)
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.*)$", re.DOTALL)
_LABEL = re.compile(r"\s*([$\w]+):")
_INSTRUCTION = re.compile(r"(?:@(!?)([\w%$]+)\s+)?([a-z][\w.:]*)\s*(.*)$", re.DOTALL)
_PIECE = re.compile(r"\s*(\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|[^,{\[(]+)\s*(?:,|$)")
_ADDRESS = re.compile(r"\[\s*([%$A-Za-z_][\w$]*)?\s*(?:\+?\s*(-?\d+))?\s*\]")


def parse(text: str) -> Module:
    """The module; PtxError where there is anything but variables and one kernel."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    found = _ENTRY.search(text)
    if found is None:
        raise PtxError("there is no kernel")
    module = Module()
    for line in re.split(r";", re.sub(r"\.(version|target|address_size)[^\n]*", "", text[: found.start()])):
        _variable(module, line.strip())
    module.parameters = re.findall(r"\.param\s+[^,]*?([\w$]+)\s*(?:,|$)", found.group(2))
    _body(module, text[found.end() :])
    return module


def _body(module: Module, text: str) -> None:
    scopes: list[dict[str, str]] = [{}]
    count = 0
    for statement in _statements(text):
        if statement == "{":
            count += 1
            scopes.append(dict(scopes[-1]))
        elif statement == "}":
            scopes.pop()
        elif statement.endswith(":"):
            module.labels[statement[:-1]] = len(module.code)
        elif found := _REGISTERS.match(statement):
            _declare(module, scopes[-1], found.group(1), found.group(2), f"@{count}" if len(scopes) > 1 else "")
        elif statement.startswith("."):
            if not statement.startswith((".pragma", ".loc ", ".param")):
                _variable(module, statement)
        else:
            module.code.append(_instruction(statement, scopes[-1]))


def _statements(text: str) -> Iterator[str]:
    """Labels (with their colon), instructions and declarations without their semicolon, and braces of scopes."""
    at, depth = 0, 1
    while depth:
        while text[at].isspace():
            at += 1
        if text[at] in "{}":
            depth += 1 if text[at] == "{" else -1
            if depth:
                yield text[at]
            at += 1
        elif label := _LABEL.match(text, at):
            yield label.group(1) + ":"
            at = label.end()
        else:
            end = text.index(";", at)
            if text[at:end].strip():
                yield text[at:end].strip()
            at = end + 1


def _declare(module: Module, scope: dict[str, str], kind: str, names: str, suffix: str) -> None:
    bits = 1 if kind == "pred" else int(re.sub(r"\D", "", kind))
    for name in names.split(","):
        if counted := re.match(r"\s*([%\w$]+)<(\d+)>", name):
            module.registers |= {f"{counted.group(1)}{n}": bits for n in range(int(counted.group(2)))}
        else:
            scope[name.strip()] = name.strip() + suffix
            module.registers[name.strip() + suffix] = bits


def _variable(module: Module, text: str) -> None:
    if not text or text.startswith(".extern .func") or text.startswith(")"):
        return
    found = _VARIABLE.match(text)
    if found is None:
        raise PtxError(f"what is {text!r}?")
    space, align, kind, bits, name, count, values = found.groups()
    size = int(bits) // 8
    total = size if count is None else size * int(count or 0)
    data = b""
    if values is not None:
        numbers = [int(v, 0) & (1 << 8 * size) - 1 for v in re.findall(r"-?\w+", values)]
        assert kind in "bus", text
        data = b"".join(v.to_bytes(size, "little") for v in numbers)
    module.variables[name] = (space, int(align or size), total, data.ljust(total, b"\0"))


def _instruction(text: str, scope: dict[str, str]) -> Instruction:
    found = _INSTRUCTION.match(text)
    if found is None:
        raise PtxError(f"what is {text!r}?")
    negated, guard, opcode, rest = found.groups()
    words = tuple(opcode.replace("::", "__").split("."))
    operands = tuple(_operand(piece, scope) for piece in _pieces(rest))
    return Instruction(text, Name(scope.get(guard, guard), bool(negated)) if guard else None, words, operands)


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while at < len(text.rstrip()):
        found = _PIECE.match(text, at)
        if found is None:
            raise PtxError(f"what is {text!r}?")
        yield found.group(1).strip()
        at = found.end()


def _operand(text: str, scope: dict[str, str]) -> Operand:
    if text[0] in "{(":
        return Vector(tuple(_operand(piece, scope) for piece in _pieces(text[1:-1])))
    if text[0] == "[":
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise PtxError(f"what is the address {text!r}?")
        base, offset = found.groups()
        return Address(Name(scope.get(base, base)) if base else None, int(offset or 0))
    if found := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
        return Number(int(found.group(1), 16), 32)
    if found := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", text):
        return Number(int(found.group(1), 16), 64)
    if found := re.fullmatch(r"(-?)(0[xX][0-9a-fA-F]+|\d+)U?", text):
        return Number(int(found.group(2), 16 if "x" in text.lower() else 10) * (-1 if found.group(1) else 1))
    if "|" in text:  # two results: the second is whether there was a lane to take from
        return Vector(tuple(_operand(piece.strip(), scope) for piece in text.split("|")))
    negated = text.startswith("!")
    name = text.lstrip("!")
    return Name(scope.get(name, name), negated)

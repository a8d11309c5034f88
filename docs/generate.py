"""Writes the pages and pictures that say what the code says: instructions, functions, lane IR, layouts.

python docs/generate.py          # after a change to a docstring; tests/test_docs.py fails until it is done
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path
from types import MappingProxyType, ModuleType

import bitwright
from bitwright.backend.lane import ir as lane
from bitwright.frontend.build.functions import FUNCTIONS
from bitwright.vm import ops
from bitwright.vm.ir import Op
from bitwright.vm.layout.draw import svg
from bitwright.vm.layout.packing import WORD, Packing, default_planes
from bitwright.vm.layout.text import layout
from bitwright.vm.ops import debug, elementwise, matmul, memory, random, reduction, sync, tile

FOLDER = Path(__file__).parent
NOTICE = "<!-- Written by docs/generate.py from the source: change the docstrings there, then run it. -->"

LAYOUTS = {
    "rows": "spatial(4, 1) * local(1, 4)",
    "columns": "spatial(1, 4) * local(4, 1)",
    "mma": "spatial(8, 4) * local(1, 2)",
    "interleaved": "local(2, 1) * spatial(4, 4) * local(1, 2)",
    "copies": "replicate(2) * spatial(2, 4)",
}

PACKINGS = {
    "u3": (Packing(3, 8, default_planes(3)), 16),
    "u5": (Packing(5, 8, default_planes(5)), 16),
    "dense3": (Packing.dense(3), 16),
}


# Docstrings


def sentences(documented: object) -> str:
    """A docstring as Markdown: sentences joined again, lists as they are, tables and examples in fences."""
    parts: list[str] = []
    for part in (inspect.getdoc(documented) or "").split("\n\n"):
        if part.lstrip().startswith("*"):
            parts.append(part)
        elif not verbatim(part):
            parts.append(" ".join(part.split()))
        elif parts and parts[-1].endswith("```"):
            parts[-1] = f"{parts[-1].removesuffix('```')}\n{part}\n```"
        else:
            parts.append(f"```text\n{part}\n```")
    return "\n\n".join(parts)


def verbatim(part: str) -> bool:
    """Whether a paragraph is a table or an example: columns set apart by spaces, or something that Python reads."""
    if re.search(r"^( |>>> |\S+(, \S+)*  )", part, re.MULTILINE) and not re.search(r"[.;:]  \S", part.split("\n")[0]):
        return True
    try:
        return bool(ast.parse(part).body)
    except SyntaxError:
        return False


class Bare(str):
    """Text that a signature shows as it is."""

    def __repr__(self) -> str:
        return str(self)


def signature(value: Callable[..., object]) -> str:
    """A function's parameters as the source has them."""
    found = inspect.signature(value)
    parameters = []
    for p in found.parameters.values():
        default = p.default
        if callable(default) and hasattr(default, "__name__") and default is not p.empty:
            default = Bare(default.__name__)
        elif isinstance(default, MappingProxyType):
            default = Bare(dict(default))
        parameters.append(p.replace(annotation=Bare(p.annotation), default=default))
    return str(found.replace(parameters=parameters, return_annotation=Bare(found.return_annotation)))


def field_list(described: type) -> str:
    """The fields of a dataclass as `name: type`, with defaults."""
    assert is_dataclass(described)
    parts = []
    for f in fields(described):
        default = "" if f.default.__class__.__name__ == "_MISSING_TYPE" else f" = {f.default!r}"
        parts.append(f"{f.name}: {f.type}{default}")
    return ", ".join(parts)


# Instructions


FAMILIES: tuple[tuple[str, ModuleType], ...] = (
    ("Memory", memory), ("Tiles", tile), ("Elementwise", elementwise), ("Reduction", reduction),
    ("Matrix product", matmul), ("Order", sync), ("Random bits", random), ("Finding out", debug),
)  # fmt: skip


def instructions() -> str:
    """The page of the tile IR's instruction set."""
    parts = [
        NOTICE,
        "# Instructions",
        "What a block can do, one entry for each instruction of the tile IR. Each is a frozen dataclass in `vm/ops/`;"
        " its fields are what its text form holds, and nothing else describes it. Values are tiles; `Expr`s"
        " are integers that are the same for the whole block. How they are written is in [functions](functions.md) and"
        " [the language](language.md).",
    ]
    for title, module in FAMILIES:
        parts += [f"## {title}", sentences(module)]
        for op in own_ops(module):
            parts.append(f"### {op.__name__}")
            parts.append(f"`{op.__name__}({field_list(op)})`")
            if not (op.__doc__ or "").startswith(f"{op.__name__}("):  # what a dataclass without one has
                parts.append(sentences(op))
            parts += kinds_of(module, op)
            parts += [] if op.effect == "none" else [f"Effect: {op.effect}."]
    return "\n\n".join(parts) + "\n"


def own_ops(module: ModuleType) -> Iterator[type[Op]]:
    """The instructions of a family, in the order of the source."""
    for name in (node.name for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)):
        if name in ops.__all__:
            yield getattr(module, name)


def kinds_of(module: ModuleType, op: type[Op]) -> list[str]:
    """What the field `kind` may be."""
    kinds = getattr(module, f"{op.__name__}Kind", None)
    return [] if kinds is None else ["Kinds: " + ", ".join(f"`{kind}`" for kind in kinds.__args__) + "."]


# Functions of the language

UNARY = frozenset(elementwise.UnaryKind.__args__)

# Functions that share a docstring with others, or whose meaning is not in one.
TOLD = {
    "assume": "`assume(K % 64 == 0)`: what every call must fulfil, see [the language](language.md#assumptions).",
    "sum": "`sum(x, dim=1, keepdim=False)`: adds up along a dimension, see [Reduce](instructions.md#reduce).",
    "any": "`any(x, dim=1)`: whether some element of a bool tile holds.",
    "all": "`all(x, dim=1)`: whether every element of a bool tile holds.",
    "max": "`max(a, b)` of two tiles or numbers; `max(x, dim=1)` along a dimension. NaN wins.",
    "min": "`min(a, b)` of two tiles or numbers; `min(x, dim=1)` along a dimension. NaN wins.",
    "zeros": "`zeros(f32, [BM, BN])`",
    "ones": "`ones(f32, [BM, BN])`",
}


def functions() -> str:
    """The page of everything that a kernel may call."""
    parts = [
        NOTICE,
        "# Functions",
        "Everything that a kernel may call. Arguments before the bar may be given by position or by name, those in"
        " brackets may be left out, and those after the bar are given by name.",
        "| function | arguments | |\n|---|---|---|\n" + "\n".join(map(function_row, sorted(FUNCTIONS))),
    ]
    return "\n\n".join(parts) + "\n"


def function_row(name: str) -> str:
    """One line of the table."""
    f = FUNCTIONS[name]
    plain = [*f.required, *(f"[{p}]" for p in f.optional), *(["..."] if f.rest else [])]
    arguments = ", ".join(plain) + (" \\| " + ", ".join(f"[{p}]" for p in f.named) if f.named else "")
    told = (TOLD.get(name) or told_by_source(name)).replace("|", "\\|")
    return f"| `{name}` | {arguments} | {told} |"


def told_by_source(name: str) -> str:
    """What the function's docstring says; where that is a call only, what its instruction says."""
    f = FUNCTIONS[name]
    run: Callable[..., object] = f.run.func if isinstance(f.run, partial) else f.run
    told = sentences(run).split("\n\n")[0]
    if name in UNARY:
        return f"`{name}(x)`: of each element, or of one number."
    op = getattr(ops, "".join(map(str.capitalize, name.split("_"))), None)
    if told.endswith("`") and op is not None:
        return f"{told}: [{op.__name__}](instructions.md#{op.__name__.lower()}). {sentences(op).split(chr(10))[0]}"
    return told


# Lane IR


@dataclass(frozen=True)
class Group:
    """Kinds that share a comment in the source."""

    comment: str
    names: tuple[str, ...]


def lane_ir() -> str:
    """The page of the lane IR."""
    parts = [NOTICE, "# Lane IR", sentences(lane), "## Arithmetic", kind_table(), "## Everything else"]
    operations = lane.Operation.__args__
    for described in operations:
        if described is lane.Apply:
            continue
        parts.append(f"**`{described.__name__}({field_list(described)})`**")
        if not (described.__doc__ or "").startswith(f"{described.__name__}("):
            parts.append(sentences(described))
    parts.append("## Control flow")
    for described in (lane.For, lane.While, lane.If, lane.Carried):
        parts.append(f"**`{described.__name__}({field_list(described)})`**")
        parts.append(sentences(described))
    return "\n\n".join(parts) + "\n"


def kind_groups() -> list[Group]:
    """The rows of KINDS with the comment that stands above them, or behind them."""
    source = inspect.getsource(lane)
    lines = source[source.index("KINDS: dict") : source.index("class Apply")].splitlines()
    groups: list[Group] = []
    above = ""
    for line in lines:
        code, _, comment = line.partition("  # ")
        if line.strip().startswith("# "):
            above = line.strip().removeprefix("# ")
            continue
        names = tuple(word for word in re.findall(r'"(\w+)"', code) if word in lane.KINDS)
        if names:
            groups.append(Group(comment or above, names))
    assert {name for g in groups for name in g.names} == set(lane.KINDS)
    return groups


def kind_table() -> str:
    """All kinds, one line for those with the same comment and operands."""
    rows: dict[tuple[str, str], list[str]] = {}
    for group in kind_groups():
        for name in group.names:
            kind = lane.KINDS[name]
            types = f", t: {' '.join(kind.types)}" if kind.types else ""
            rows.setdefault((f"{' '.join(kind.operands)} → {kind.result}{types}", group.comment), []).append(
                f"`{name}`"
            )
    body = "\n".join(f"| {' '.join(names)} | {kind} | {told} |" for (kind, told), names in rows.items())
    return f"| kinds | operands → result | |\n|---|---|---|\n{body}"


# The Python interface


def interface() -> str:
    """The page of the public names."""
    parts = [
        NOTICE,
        "# The Python interface",
        "Everything that `import bitwright as bw` gives. Arrays are NumPy's unless a name says more.",
    ]
    for group, names in public_groups().items():
        parts.append(f"## {group}")
        for name in names:
            parts += described(name, getattr(bitwright, name))
    return "\n\n".join(parts) + "\n"


def public_groups() -> dict[str, list[str]]:
    """The public names: functions, then classes, then errors."""
    groups: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": []}
    for name in sorted(bitwright.__all__, key=str.lower):
        value = getattr(bitwright, name)
        error = isinstance(value, type) and issubclass(value, Exception)
        if not isinstance(value, ModuleType):
            groups["Errors" if error else "Classes" if isinstance(value, type) else "Functions"].append(name)
    return groups


def described(name: str, value: object) -> list[str]:
    """A public name's heading and docstring; of a class also its own public methods and properties."""
    parts = [f"### {name}"]
    if not isinstance(value, type):
        assert callable(value)
        parts.append(f"`{name}{signature(value)}`")
    parts.append(sentences(value))
    if isinstance(value, type) and not issubclass(value, Exception):
        members = [member_line(value, m) for m in vars(value) if not m.startswith("_")]
        parts.append("\n".join(line for line in members if line))
    return [part for part in parts if part]


def member_line(owner: type, name: str) -> str:
    """One line of a class: a documented method or property."""
    value = inspect.getattr_static(owner, name)
    is_function = inspect.isfunction(value) or isinstance(value, staticmethod)
    if not (is_function or isinstance(value, (property, cached_property))) or not inspect.getdoc(getattr(owner, name)):
        return ""
    first = sentences(getattr(owner, name) if is_function else value).split("\n\n")[0]
    return f"* `.{name}{'(…)' if is_function else ''}` {' '.join(first.split())}"


# Pictures


def packing_picture(packing: Packing, regs: int, name: str) -> str:
    """One lane's words, bit 31 on the left: which bit of which register each field holds."""
    words, cell, left = packing.total_words(regs), 26, 92
    width, height = left + WORD * cell + 12, 46 + 40 * words
    title = f"{name}: {regs} elements of {packing.bits} bits in {words} words; a field is register[bits]"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="ui-monospace, monospace" font-size="12" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="18" text-anchor="start" fill="#222222">{escape(title)}</text>',
    ]
    for word in range(words):
        label = plane_of(packing, word, regs)
        parts.append(f'<text x="12" y="{54 + 40 * word}" text-anchor="start" fill="#666666">{label}</text>')
    for piece in packing.pieces(regs):
        x = left + (WORD - piece.shift - piece.width) * cell
        y, wide = 34 + 40 * piece.word, piece.width * cell
        bits = f"{piece.low}" if piece.width == 1 else f"{piece.low + piece.width - 1}:{piece.low}"
        text = f"{piece.reg}[{bits}]" if piece.width > 1 else f"{piece.reg}"
        fill = f"hsl({piece.reg * 137 % 360}, 60%, 82%)"
        parts.append(
            f'<rect x="{x + 1}" y="{y}" width="{wide - 2}" height="30" rx="4" fill="{fill}"/>'
            f'<text x="{x + wide / 2:g}" y="{y + 20}" font-size="11" fill="#222222">{text}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def plane_of(packing: Packing, word: int, regs: int) -> str:
    """The plane that a word belongs to."""
    if not packing.planes:
        return f"word {word}"
    first, low = 0, 0
    for plane, width in enumerate(packing.planes):
        count = packing.words(plane, regs)
        if word < first + count:
            return f"bit {low}" if width == 1 else f"bits {low + width - 1}:{low}"
        first, low = first + count, low + width
    raise ValueError(f"{packing} has no word {word}")


# All of it


def generated() -> dict[str, str]:
    """Every file that this script writes, by its path in this folder."""
    found = {
        "instructions.md": instructions(),
        "functions.md": functions(),
        "lane-ir.md": lane_ir(),
        "python.md": interface(),
    }
    for name, text in LAYOUTS.items():
        found[f"pictures/{name}.svg"] = svg(layout(text)) + "\n"
    for name, (packing, regs) in PACKINGS.items():
        found[f"pictures/{name}.svg"] = packing_picture(packing, regs, name) + "\n"
    return found


def main() -> None:
    for name, text in generated().items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()

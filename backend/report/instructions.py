"""What one line of assembly does: the kind of its work, and what it moves between registers and the stack.

Lines are as LLVM prints them with its comments on: x86 in AT&T's order (the destination last), and AArch64. LLVM's own
comments say which instructions save a register to the stack or bring it back; nothing else tells a saved register from
an array that lies there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["KINDS", "Instruction", "Kind", "read_instruction"]

Kind = Literal["load", "store", "spill", "logic", "permute", "convert", "multiply_add", "other", "scalar"]
"""What an instruction is for.

load          brings memory into vector registers, a value on every lane included
store         the other way
spill         saves a vector register to the stack or brings it back, and does nothing else
logic         shifts, masks, bitwise operations and choices by a mask
permute       moves elements: permutes, table look-ups, shuffles, packing, extracts and inserts
convert       changes the type or width of elements
multiply_add  fused multiply-adds and dot products, whatever they multiply
other         every other instruction on vectors
scalar        addresses, counters and branches: no vector register
"""
KINDS: tuple[Kind, ...] = get_args(Kind)

_LINE = re.compile(r"\s+([a-z][\w.]*)\s*(.*)")
_COMMENT = {"x86": re.compile(r"\s*#"), "arm": re.compile(r"\s*(?://|;)")}
_VECTOR = {"x86": re.compile(r"%([xyz])mm(\d+)"), "arm": re.compile(r"\b([vzqdshb])(\d+)\b")}
_BYTES = {"x": 16, "y": 32, "z": 64, "v": 16, "q": 16, "d": 8, "s": 4, "h": 2, "b": 1}

_X86: tuple[tuple[Kind, str], ...] = (
    ("multiply_add", r"fn?m(add|sub)|p?dp[bw]|pmaddwd|pmaddubsw"),
    ("convert", r"cvt|pmov[sz]x|pmovs?(us)?(db|dw|wb|qd|qw|qb)$"),
    ("logic", r"ps[lr][la]|pand|por|pxor|pternlog|(and|andn|or|xor)p[sd]|pro[lr]|psh[lr]d|p?blend|gf2p8|pmultishift"),
    (
        "permute",
        r"p?perm|pshuf|shuf|p?unpck|punpck|palignr|valign|align|p?insert|pinsr|p?extract|pextr|pack|p?expand|p?compress"
        r"|p?broadcast|mov[ds][hl]?dup|movddup|movhlps|movlhps",
    ),
)
_ARM: tuple[tuple[Kind, str], ...] = (
    ("multiply_add", r"f?ml[as]|fn?m(add|sub)|[us]ml[as]l|(us|su|[us])dot|bfdot|bfm|[us]s?mmla"),
    ("convert", r"[us]cvtf|b?fcvt|u?s?q?xtu?n|[us]?shll|[us]xtl|r?shrn|bfcvt"),
    ("logic", r"[us]?shl|[us]shr|[us]sra|s[lr]i$|and|orr|orn|eor|bic|bi[ft]$|bsl|mvn|not$|[us]shr"),
    ("permute", r"tb[lx]|zip|uzp|trn|ext$|dup|ins$|rev|mov$|umov|smov"),
)
_X86_MOVE = re.compile(r"mov(u|a|nt)?(p[sd]|dq)|mov[dq]$|movs[sd]$|p?maskmov|lddqu")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    name           the mnemonic
    kind           its kind
    registers      the numbers of the vector registers that it names
    loads          bytes that it brings from memory into vectors, other than saved registers and constants
    multiplies     products that it adds up, all lanes together
    saves, reloads vector registers that it saves to the stack, or takes from there (as an operand, too)
    """

    name: str
    kind: Kind
    registers: frozenset[int]
    loads: int
    multiplies: int
    saves: int
    reloads: int


def read_instruction(line: str, arm: bool) -> Instruction | None:
    """The instruction on a line; None for labels, directives, comments and empty lines."""
    found = _LINE.match(line)
    if found is None:
        return None
    name, rest = found.groups()
    parts = _COMMENT["arm" if arm else "x86"].split(rest, maxsplit=1)
    operands, comment = parts[0].strip(), parts[1] if len(parts) > 1 else ""
    vectors = _VECTOR["arm" if arm else "x86"].findall(operands)
    registers = frozenset(int(number) for _, number in vectors)
    width = max((_BYTES[letter] for letter, _ in vectors), default=0)
    count = len(vectors) if arm else 1
    saved = count if vectors and comment.endswith("Spill") else 0
    reloaded = count if vectors and comment.endswith("Reload") else 0
    kind = _kind(name, operands, bool(vectors), arm)
    if kind in ("load", "store") and (saved or reloaded):
        kind = "spill"
    from_memory = bool(vectors) and not saved and not reloaded and kind != "store" and _reads(kind, operands, arm)
    loads = width * (count if arm and kind == "load" else 1) // _growth(name) if from_memory else 0
    multiplies = width // _product_bytes(name) if kind == "multiply_add" else 0
    return Instruction(name, kind, registers, loads, multiplies, saved, reloaded)


def _kind(name: str, operands: str, vector: bool, arm: bool) -> Kind:
    if not vector:
        return "scalar"
    if arm:
        if re.match(r"ld|st", name):
            return "load" if name.startswith("ld") else "store"
        return _first(name, _ARM)
    plain = name.removeprefix("v")
    if _X86_MOVE.match(plain):
        return "store" if operands.endswith(")") or re.search(r"\)\s*\{%k\d\}$", operands) else _moved(operands)
    if plain.startswith(("pbroadcast", "broadcast")):
        return "load" if "(" in operands else "permute"
    return _first(plain, _X86)


def _moved(operands: str) -> Kind:
    return "load" if "(" in operands else "other"


def _first(name: str, rows: tuple[tuple[Kind, str], ...]) -> Kind:
    return next((kind for kind, pattern in rows if re.match(pattern, name)), "other")


def _reads(kind: Kind, operands: str, arm: bool) -> bool:
    """Whether an operand is in memory, as a whole vector: no constant of the code, no element for all lanes."""
    if arm:
        return kind == "load" and ":lo12:.L" not in operands
    return "(" in operands and "(%rip)" not in operands and "{1to" not in operands


def _growth(name: str) -> int:
    """How many times wider than in memory the elements are in the register; as much as it takes for one element."""
    if re.search(r"broadcast|ld1r", name):
        return 1 << 30
    wider = {"bw": 2, "wd": 2, "dq": 2, "bd": 4, "wq": 4, "bq": 8}
    grown = re.match(r"v?pmov[sz]x(\w\w)", name)
    return wider[grown.group(1)] if grown else 2 if "cvtph2ps" in name else 1


def _product_bytes(name: str) -> int:
    """Bytes of vector register for each product that a multiply-add adds up.

    Of bytes in two steps (`pmaddubsw`, then `pmaddwd` by ones) each step counts for half.
    """
    plain = name.removeprefix("v")
    if re.match(r"pdpb|(us|su|[us])dot|[us]s?mmla", plain):
        return 1
    if re.match(r"dpbf|pdpw|pmadd|bf", plain):
        return 2
    return 4

"""What one instruction of a GPU does: the kind of its work, what it loads, and the products that it adds up."""

from __future__ import annotations

import re
from typing import Literal, get_args

from ..cuda.sass import SassInstruction

__all__ = ["GPU_KINDS", "GpuKind", "global_load_bits", "gpu_kind", "is_uniform", "products"]

GpuKind = Literal["memory", "tensor", "logic", "float", "integer", "convert", "move", "control", "other"]
"""What an instruction is for.

memory    loads and stores of every memory, constants included, and copies between memories
tensor    products of matrices
logic     shifts, masks, bitwise operations and permutes of bytes
float     arithmetic and comparisons of floats, two to a register or not
integer   arithmetic and comparisons of integers: addresses, counters, sums of bytes' products
convert   changes the type of a number
move      copies, choices, exchanges between lanes, special registers
control   branches, barriers, waits, and NOPs
other     what we do not know
"""
GPU_KINDS: tuple[GpuKind, ...] = get_args(GpuKind)

_NAMES: dict[GpuKind, str] = {
    "memory": r"LD[GSLC]?|LDCU|LDSM|LDGSTS|LDTM|ST[GSL]?|STSM|STTM|STAS|ATOM[GS]?|REDG?|CCTL|TMA\w+|BLK\w+",
    "tensor": r"[HIQODB]G?MMA|TC\w*MMA\w*",
    "logic": r"P?LOP3?|SHF|SH[LR]|PRMT|BMSK|BREV|FLO|POPC|SGXT|LOP32I",
    "float": r"[FD](ADD|MUL|FMA|SEL|SETP|SET|MNMX|CHK|SWZADD)\w*|MUFU|H(ADD|MUL|FMA|MNMX|SETP|SET)2\w*",
    "integer": r"I(ADD|MAD|MUL|SETP|SET|SCADD|ABS|MNMX|DP|NEG)\w*|LEA|VI\w+|VABS\w*|ISCADD",
    "convert": r"[FI]2[FI]\w*|FRND",
    "move": r"MOV\w*|SEL|SHFL|VOTE\w*|CS2R|S2U?R|R2UR|P2U?R|R2P|MATCH|REDUX|ELECT|R2B|B2R",
    "control": (
        r"BRA|BRX|JMP|JMX|BSSY|BSYNC|BREAK|BMOV|EXIT|RET|CALL|KILL|NOP|BAR|WARPSYNC|DEPBAR|LDGDEPBAR|LDTDEPBAR|MEMBAR"
        r"|ERRBAR|WARPGROUP\w*|ARRIVES|SYNCS|NANOSLEEP|YIELD|FENCE|PREEXIT|ACQBULK|SETMAXREG|CGABAR\w*"
    ),
}
_PATTERNS = [(kind, re.compile(names)) for kind, names in _NAMES.items()]
_SHAPES = {"16816": (16, 8, 16), "1688": (16, 8, 8), "16832": (16, 8, 32), "16864": (16, 8, 64), "8816": (8, 8, 16)}
_SHAPE = re.compile(r"(\d+)x(\d+)x(\d+)")
_WARP, _GROUP = 32, 128  # lanes that share a product of matrices: a warp, for the instructions of sm_90a four
_WIDTHS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128, "256": 256}


def is_uniform(i: SassInstruction) -> bool:
    """Whether it works once for a whole warp, on registers of their own.  Such ones take an issue slot all the same."""
    return i.name.startswith("U") or i.name in ("LDCU", "R2UR", "S2UR", "VOTEU")


def gpu_kind(i: SassInstruction) -> GpuKind:
    """The kind.  Some multiply-adds are no such thing: the compiler moves and shifts with them."""
    if i.name == "IMAD" and i.modifiers & {"MOV", "SHL"}:
        return "move" if "MOV" in i.modifiers else "logic"
    name = i.name[1:] if i.name.startswith("U") else i.name
    return next((kind for kind, pattern in _PATTERNS if pattern.fullmatch(name)), "other")


def global_load_bits(i: SassInstruction) -> int:
    """The bits that a lane loads from global memory, into registers or straight to shared memory; 0: none."""
    if i.name not in ("LDG", "LDGSTS"):
        return 0
    return next((_WIDTHS[word] for word in i.opcode.split(".")[1:] if word in _WIDTHS), 32)


def products(i: SassInstruction) -> float:
    """Products that the instruction adds up, for one of the lanes that take part in it."""
    if gpu_kind(i) == "tensor":
        found = _SHAPE.search(i.opcode)
        if found:
            m, n, k = map(int, found.groups())
        else:
            m, n, k = next((_SHAPES[word] for word in i.modifiers if word in _SHAPES), (0, 0, 0))
        return m * n * k / (_GROUP if found else _WARP)
    return {"IDP": 4.0, "FFMA": 1.0, "HFMA2": 2.0}.get(i.name, 0.0)

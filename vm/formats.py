"""What a quantised tensor's numbers mean: an element type, a group of elements, and the scale that they share.

A tensor `w[N, K]` is cut into groups of `group` consecutive elements along K (the last group of a row may be short).
Element k of a row stands for

    (decode(code[k]) - zero[g]) * scale[g] * second          zero "int" or "float" (absent: nothing is subtracted)
    decode(code[k]) * scale[g] + zero[g]                     zero "min"

with g = k // group. A format says how numbers are read back; how scales are *chosen* belongs to `frontend.quantize`.

Text form, which `Format.parse` reads and `str` writes:

    element ":" ("g" group | "row") ":" scale ["*" second] ["+" ("zero" | "fzero" | "min")]

    >>> Format.parse("u3:g128:f16+zero").bits_per_weight(4096)
    3.1484375
    >>> str(Format.parse("nvfp4")), Format.parse("f4e2m1:g32:e8m0").name
    ('f4e2m1:g16:f8e4m3fn*f32', 'mxfp4')
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from .dtypes import Bool, Codebook, DType, Float, Int, dtype

ZeroKind = Literal["int", "float", "min"]

SUFFIX_OF_ZERO: Mapping[ZeroKind, str] = {"int": "+zero", "float": "+fzero", "min": "+min"}

SCALE_TYPES = ("f32", "f16", "bf16", "e8m0", "f8e4m3fn", "ue4m3", "ue5m3", "ue6m2", "f8e5m2")


class FormatError(ValueError):
    """A tensor format that cannot exist, or text that does not describe one."""


@dataclass(frozen=True)
class Format:
    """How codes, scales and zero points of one tensor become numbers (the formulas stand above).

    element   type of one weight, 1 to 8 bits: integer, float or codebook
    group     elements along K that share one scale; None means a whole row (one scale per output channel)
    scale     float type in which scales are stored
    zero      None, or what the zero point is: "int" a code of the element type, "float" a real number in code units,
              "min" a real number in units of the weights
    second    type of one more scale for the whole tensor (only f32), or None
    """

    element: DType
    group: int | None
    scale: DType
    zero: ZeroKind | None = None
    second: DType | None = None

    def __post_init__(self) -> None:
        if isinstance(self.element, Bool) or self.element.bits > 8:
            raise FormatError(f"{self.element} cannot be the element of a tensor format: take a type of 1 to 8 bits")
        if self.group is not None and self.group < 1:
            raise FormatError(f"a group must hold at least one element, not {self.group}; use None for whole rows")
        if not isinstance(self.scale, Float) or self.scale.name not in SCALE_TYPES:
            raise FormatError(f"{self.scale} cannot store scales: take one of {', '.join(SCALE_TYPES)}")
        if self.zero == "int" and not isinstance(self.element, Int):
            raise FormatError(
                f"an integer zero point needs an integer element, not {self.element}: use 'min' or 'float'"
            )
        if self.zero not in (None, "int", "float", "min"):
            raise FormatError(f"zero must be None, 'int', 'float' or 'min', not {self.zero!r}")
        if self.second is not None and self.second.name != "f32":
            raise FormatError(f"a second-level scale is stored as f32, not {self.second}")
        if self.second is not None and self.zero in ("float", "min"):
            raise FormatError("a second-level scale goes with no zero point or an integer one only")

    @staticmethod
    def parse(text: str, codebooks: Mapping[str, Codebook] | None = None) -> Format:
        """The format that `text` names or spells. `codebooks` gives meaning to element names of the user's own."""
        name = text.strip().lower()
        if name in NAMED_FORMATS:
            return NAMED_FORMATS[name]
        return _parse(text.strip(), codebooks or {})

    def __str__(self) -> str:
        group = "row" if self.group is None else f"g{self.group}"
        second = "" if self.second is None else f"*{self.second.name}"
        zero = "" if self.zero is None else SUFFIX_OF_ZERO[self.zero]
        return f"{self.element.name}:{group}:{self.scale.name}{second}{zero}"

    @property
    def name(self) -> str:
        """The short name ("mxfp4") where the format has one, else its text."""
        return next((name for name, known in NAMED_FORMATS.items() if known == self), str(self))

    @property
    def zero_dtype(self) -> DType | None:
        """Type in which zero points are stored: the element's own for "int"; for real numbers the scale's type when it
        is f16, bf16 or f32, else f32. None without zero points."""
        if self.zero is None or self.zero == "int":
            return self.element if self.zero else None
        return self.scale if self.scale.name in ("f16", "bf16", "f32") else dtype("f32")

    def groups(self, k: int) -> int:
        """Number of scales in a row of `k` elements."""
        return 1 if self.group is None else -(-k // self.group)

    def group_length(self, k: int) -> int:
        """Elements of a full group in a row of `k` elements."""
        return k if self.group is None else self.group

    def bits_per_weight(self, k: int) -> float:
        """Stored bits per element in rows of `k` elements: code, and its share of scale and zero point. (The one
        second-level scale of a tensor is not counted.)"""
        zero = self.zero_dtype
        side = self.scale_bits + (0 if zero is None else zero.bits)
        return self.element.bits + self.groups(k) * side / k

    @property
    def scale_bits(self) -> int:
        """Bits that one scale takes in memory: whole bytes (7-bit ue4m3 lies in a byte)."""
        return self.scale.code_dtype.itemsize * 8


_TEXT = re.compile(
    r"(?P<element>[^:*+]+):(?P<group>g\d+|row):(?P<scale>[^:*+]+)(\*(?P<second>[^:*+]+))?(?P<zero>\+\w+)?"
)


def _parse(text: str, codebooks: Mapping[str, Codebook]) -> Format:
    match = _TEXT.fullmatch(text)
    zero_of_suffix: dict[str | None, ZeroKind | None] = {suffix: kind for kind, suffix in SUFFIX_OF_ZERO.items()}
    zero_of_suffix[None] = None
    if match is None or match["zero"] not in zero_of_suffix:
        near = get_close_matches(text.lower(), NAMED_FORMATS, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise FormatError(
            f"{text!r} is not a tensor format. {hint}Write element:g<group>:scale, for example 'u3:g128:f16+zero', "
            f"'i4:row:f32' or 'f4e2m1:g16:f8e4m3fn*f32', or one of the names {', '.join(NAMED_FORMATS)}."
        )
    element = codebooks.get(match["element"]) or dtype(match["element"])
    second = dtype(match["second"]) if match["second"] else None
    group = None if match["group"] == "row" else int(match["group"][1:])
    return Format(element, group, dtype(match["scale"]), zero_of_suffix[match["zero"]], second)


def _named() -> dict[str, Format]:
    """The block formats that have names. Microscaling: OCP MX 1.0 (2023); mxint8 keeps the element's factor 2^-6 in
    the stored scale, so its codes are plain integers. GGUF: ggml's block types with plain scales."""
    text = {
        "mxfp4": "f4e2m1:g32:e8m0",
        "mxfp6_e3m2": "f6e3m2:g32:e8m0",
        "mxfp6_e2m3": "f6e2m3:g32:e8m0",
        "mxfp8_e4m3": "f8e4m3fn:g32:e8m0",
        "mxfp8_e5m2": "f8e5m2:g32:e8m0",
        "mxint8": "i8:g32:e8m0",
        "nvfp4": "f4e2m1:g16:f8e4m3fn*f32",
        "nvint4": "i4:g16:f8e4m3fn*f32",
        "q4_0": "i4:g32:f16",
        "q4_1": "u4:g32:f16+min",
        "q5_0": "i5:g32:f16",
        "q5_1": "u5:g32:f16+min",
        "q8_0": "i8:g32:f16",
        "iq4_nl": "iq4nl:g32:f16",
        "tq2_0": "ternary:g256:f16",
    }
    return {name: _parse(spelled, {}) for name, spelled in text.items()}


NAMED_FORMATS: Mapping[str, Format] = MappingProxyType(_named())

"""Whole numbers from magnitudes, by every rounding mode; powers of two."""

from __future__ import annotations

from typing import Literal, assert_never

from ...vm.dtypes import Rounding
from ..lane.build import Builder
from ..lane.ir import Reg


def round_magnitude(b: Builder, x: Reg, negative: Reg, rounding: Rounding, random: Reg | None) -> Reg:
    """A magnitude below 2^31, as f32, to an integer i32; `negative` is the sign of the number that it is taken from.

    "stochastic" goes up if floor(rest * 2^32) + random carries out of 32 bits.
    """
    if rounding == "rne":
        return b.apply("fptoui", b.apply("rint", x))
    if rounding == "rtz":
        return b.apply("fptoui", x)
    down = b.apply("floor", x)
    rest = b.apply("fsub", x, down)
    match rounding:
        case "rna":
            up = b.apply("fle", b.f32(0.5), rest)
        case "rup" | "rdn":
            up = inexact_up(b, b.apply("flt", b.f32(0.0), rest), negative, rounding)
        case "stochastic":
            assert random is not None, "the type rule of casts asks for random bits"
            part = b.apply("fptoui", b.apply("fmul", rest, b.f32(2.0**32)))
            up = b.apply("ult", b.apply("add", part, random), part)
        case _:
            assert_never(rounding)
    return b.apply("add", b.apply("fptoui", down), b.apply("select", up, b.i32(1), b.i32(0)))


def inexact_up(b: Builder, inexact: Reg, negative: Reg, rounding: Literal["rtz", "rup", "rdn"]) -> Reg:
    """Whether a directed mode takes a magnitude that is not on the grid away from zero."""
    if rounding == "rtz":
        return b.constant("i1", 0)
    away = negative if rounding == "rdn" else b.apply("xor", negative, b.constant("i1", 1))
    return b.apply("and", inexact, away)


def scale(b: Builder, x: Reg, power: int) -> Reg:
    """x * 2^power; exact if the result is an f32 (the way there leads towards it without leaving the range)."""
    while power:
        step = max(-126, min(127, power))
        x = b.apply("fmul", x, b.f32(2.0**step))
        power -= step
    return x

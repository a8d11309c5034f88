"""Functions of the language that report what a program does, and what may be assumed of it."""

from __future__ import annotations

from ...vm import ops
from .calls import Arguments
from .scope import Entity, Mistake


def show(a: Arguments) -> Entity:
    """`print("label", x)` or `print(x)`: the tile on standard output, from each block."""
    if "x" not in a:
        if isinstance(a.any("label"), str):
            raise Mistake("print needs something to show", 'write print("label", x)', a.span)
        a.b.effect(ops.Print("", a.tile("label")), a.span)
    else:
        a.b.effect(ops.Print(a.text("label"), a.tile("x")), a.span)
    return a.nothing()


def misplaced_assume(a: Arguments) -> Entity:
    """`assume(…)` is read with the parameters, so it has no meaning further down."""
    raise Mistake("`assume` comes after other statements", "put it at the top of the kernel", a.span)

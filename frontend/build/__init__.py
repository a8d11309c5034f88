"""Syntax tree to tile IR: checks every name, type and shape, and reports all mistakes at once.

>>> from bitwright.frontend.parse import parse
>>> text = '''
... def double(x: f32[N], y: f32[N], *, B: int = tune(64, 128)):
...     n0 = grid((N, B))
...     store(y, [n0], load(x, [n0], [B]) * 2)
... '''
>>> program = build(parse(text).kernels[0], {"B": 32})
>>> len(program.body), str(program.grid[0])
(4, 'ceildiv(N, 32)')
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...vm.ir import Program
from .. import syntax
from .block import Builder, TooLarge
from .parameters import ParameterValue, defaults, tunables
from .signature import Signature, read_signature
from .statements import build_body

__all__ = ["ParameterValue", "build", "defaults", "tunables"]

_NONE: Mapping[str, int] = MappingProxyType({})


def build(
    kernel: syntax.Kernel, parameters: Mapping[str, ParameterValue], multiples: Mapping[str, int] = _NONE
) -> Program:
    """The program of a kernel whose compile-time parameters have these values (others take their defaults).

    `parameters` may also fix a size: K=4096 makes K a constant. `multiples` are facts that hold at every call: K=64
    says that 64 divides K. Raises Diagnostic with every mistake that was found.
    """
    b = Builder()
    signature = Signature()
    try:
        signature = read_signature(kernel, parameters, multiples, b)
        build_body(signature.body, b, True)
    except TooLarge as error:
        b.report(error.mistake)
    b.problems.raise_if_any()
    grid = b.grid
    return Program(
        kernel.name,
        tuple(signature.parameters),
        tuple(signature.sizes),
        grid.counts if grid else (),
        grid.blocks if grid else (),
        tuple(b.blocks[0]),
        grid.lanes if grid else None,
        signature.requirements,
        kernel.docstring or "",
    )

"""Runs one kernel's text through the interpreter, the simulated lanes and native code, and compares what they write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from bitwright.backend.lane.ir import For, Function, If, Let, Read, Statement, While, Write
from bitwright.backend.llvm.build import load
from bitwright.backend.llvm.entry import make_function
from bitwright.backend.llvm.pool import parallel_address
from bitwright.backend.pipeline import compile_program
from bitwright.backend.simulated import simulate_on
from bitwright.backend.target import target
from bitwright.frontend.build import build
from bitwright.frontend.parse import parse
from bitwright.vm.call_arguments import Argument, bind, is_buffer
from bitwright.vm.dtypes import Float
from bitwright.vm.expr import evaluate
from bitwright.vm.interpret import interpret
from bitwright.vm.ir import Program

Written = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Case:
    """A kernel's text and the arguments of one call.

    `near` bounds the error of floats, per array: a number for each element, or one for all; 0: equal.
    """

    text: str
    arguments: tuple[Argument, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    divisible: Mapping[str, int] = field(default_factory=dict)
    near: Mapping[str, NDArray[np.float64] | float] = field(default_factory=dict)

    def program(self) -> Program:
        return build(parse(self.text).kernels[0], {}, self.divisible)

    def copies(self) -> list[Argument]:
        return [_unaligned(a) if isinstance(a, np.ndarray) else a for a in self.arguments]

    def promised(self) -> int:
        """The largest alignment that a launch checks for some array, in bytes."""
        arrays = self.program().arrays
        return max(1 if is_buffer(a) else max(1, a.dtype.bits // 8) for a in arrays)


def _unaligned(x: NDArray[np.generic]) -> NDArray[np.generic]:
    """A copy at an address that is a multiple of its element's size, and of no more."""
    raw = np.empty(x.nbytes + 128, np.uint8)
    first = -raw.ctypes.data % 64 + x.itemsize
    placed = raw[first : first + x.nbytes].view(x.dtype).reshape(x.shape)
    placed[...] = x
    return placed


def lowered(case: Case, name: str = "cpu") -> Function:
    function = compile_program(case.program(), target(name), until="lower").function
    assert function is not None
    return function


def written(case: Case, program: Program, arguments: list[Argument]) -> Written:
    """The numbers that each array holds now."""
    call = bind(program, tuple(arguments), case.sizes, set())
    return {a.name: a.dtype.decode(x.codes) for a, x in call.arrays.items()}


def interpreted(case: Case) -> Written:
    program, given = case.program(), case.copies()
    interpret(program, *given, sizes=case.sizes, show=lambda text: None)
    return written(case, program, given)


def simulated(case: Case, name: str = "cpu") -> Written:
    program, given = case.program(), case.copies()
    call = bind(program, tuple(given), case.sizes, set())
    slots = [*given, *(call.scalars[v] for v in program.sizes)]
    function = lowered(case, name)
    _promises_hold(function.body, case.promised())
    simulate_on(target(name), function, slots, prod(evaluate(n, call.scalars) for n in program.grid))
    return written(case, program, given)


def _promises_hold(body: tuple[Statement, ...], most: int) -> None:
    """No access of global memory relies on more alignment than a launch checks, which the simulator would not see."""
    for s in body:
        match s:
            case Let(_, (Read() | Write()) as op) if op.space == "global":
                assert op.align <= most, f"{op} relies on {op.align} bytes, arrays are aligned to {most}"
            case For():
                _promises_hold(s.body, most)
            case While():
                _promises_hold((*s.head, *s.body), most)
            case If():
                _promises_hold((*s.then, *s.orelse), most)
            case _:
                pass


def native(case: Case, name: str = "cpu") -> Written:
    program, given = case.program(), case.copies()
    compiled = compile_program(program, target(name))
    run = make_function(load(compiled.code, {"bw_parallel": parallel_address()}))
    run(*given, *(case.sizes[v.name] for v in compiled.signature.explicit))
    return written(case, program, given)


def agree(case: Case, *, machine: bool = False, targets: tuple[str, ...] = ("cpu",)) -> Written:
    """Checks the simulated lanes, and native code if `machine`, against the interpreter; gives what it wrote."""
    right = interpreted(case)
    for name in targets:
        _same(case, simulated(case, name), right, f"simulated for {name}")
        if machine:
            _same(case, native(case, name), right, f"native for {name}")
    return right


def _same(case: Case, found: Written, right: Written, who: str) -> None:
    kinds = {a.name: a.dtype for a in case.program().arrays}
    for name, values in right.items():
        got, near = found[name], case.near.get(name, 0.0)
        same = (got == values) | ((got != got) & (values != values))
        if isinstance(kinds[name], Float):
            with np.errstate(invalid="ignore"):
                same |= np.abs(got.astype(np.float64) - values) <= near
        where = np.argwhere(~same)
        first = [f"{name}{[int(i) for i in at]} is {got[tuple(at)]}, not {values[tuple(at)]}" for at in where[:4]]
        assert not len(where), f"{who}: {len(where)} of {values.size} differ: {'; '.join(first)}\n{case.text}"

"""What one pass of a program's loops is to do: the weights they read, and the products they add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from ...vm.call_arguments import is_buffer
from ...vm.ir import Array, Binding, For, If, Let, Op, Program, Statement, While, walk
from ...vm.ops import Dot, Full, Load

__all__ = ["Work", "work_of"]


@dataclass(frozen=True)
class Work:
    """What the statements of one loop do in one iteration, those of loops within it apart.

    weights      elements that are read from packed arrays
    weight_bits  the bits that they take up in memory, padding included
    loads        bytes of the packed weights that are read; where there are none, of the largest tile
    products     products that are added up, those with one constant (sums, that is) apart
    factors      elements of the right-hand sides of these products
    """

    weights: int = 0
    weight_bits: float = 0.0
    loads: float = 0.0
    products: int = 0
    factors: int = 0


def work_of(program: Program) -> tuple[Work, ...]:
    """The work of the kernel outside of its loops, then that of each loop in program order."""
    lets = [s for s in walk(program.body) if isinstance(s, Let)]
    constants = {s.result for s in lets if isinstance(s.op, Full)}
    return tuple(_work(body, constants) for body in _bodies(program.body))


def _bodies(body: tuple[Statement, ...]) -> Iterator[tuple[Statement, ...]]:
    yield body
    for s in _own(body):
        match s:
            case For():
                yield from _bodies(s.body)
            case While():
                yield from _bodies((*s.head, *s.body))
            case _:
                pass


def _own(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """The statements of a body and of its branches, but of no loop."""
    for s in body:
        yield s
        if isinstance(s, If):
            yield from _own((*s.then, *s.orelse))


def _work(body: tuple[Statement, ...], constants: set[Binding | None]) -> Work:
    weights, weight_bits, largest, products, factors = 0, 0.0, 0.0, 0, 0
    ops: list[Op] = [s.op for s in _own(body) if isinstance(s, Let)]
    for op in ops:
        if isinstance(op, Load) and isinstance(op.source, Array) and is_buffer(op.source):
            weights, weight_bits = weights + prod(op.shape), weight_bits + prod(op.shape) * _stored_bits(op.source)
        elif isinstance(op, Load):
            largest = max(largest, prod(op.shape) * op.source.dtype.bits / 8)
        elif isinstance(op, Dot) and op.a not in constants:
            rows, depth = op.a.type.shape
            columns = op.b.type.shape[1]
            products, factors = products + rows * depth * columns, factors + depth * columns
    return Work(weights, weight_bits, weight_bits / 8 or largest, products, factors)


def _stored_bits(array: Array) -> float:
    """What an element takes up in memory."""
    if array.storage is None:
        return float(array.dtype.bits)
    return array.storage.tile_bytes * 8 / (array.storage.lanes * array.storage.regs)

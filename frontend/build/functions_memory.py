"""Functions of the language that move tiles between registers and memory, and that order memory accesses."""

from __future__ import annotations

from ...vm import ops
from ...vm.dtypes import Codebook, Float
from ...vm.expr import Const
from ...vm.ir import Shared
from .block import MAX_ELEMENTS, MAX_RANK
from .calls import Arguments
from .scope import Entity, Mistake
from .values import fit_layout, literal


def _touch(a: Arguments) -> None:
    """Memory is used here: no grid may follow."""
    a.b.touched = a.b.touched or a.span


def load(a: Arguments) -> Entity:
    """`load(x, [m0, k0], [BM, BK], other=0, layout="…")`"""
    _touch(a)
    source, at, shape = a.memory("source"), a.indices("at"), a.shape("shape")
    layout = fit_layout(a.layout("layout"), shape, a.b, a.where("layout"))
    return a.b.emit(ops.Load(source, at, shape, _other(a, source.dtype), layout), a.span)


def _other(a: Arguments, kind: Entity) -> float:
    if "other" not in a:
        return 0.0
    given = a.any("other")
    if not isinstance(given, bool | float | Const):
        message = f"{a.what('other')} must be a number that is known when the kernel is compiled"
        raise Mistake(message, "load with other=0 and replace it with where(…)", a.where("other"))
    if isinstance(kind, Float | Codebook) or isinstance(given, bool | Const):
        return float(literal(given, a.memory("source").dtype, a.where("other")))
    raise Mistake(f"{given} stands for elements of {kind}", "write an integer", a.where("other"))


def store(a: Arguments) -> Entity:
    """`store(x, [m0, n0], tile)`"""
    _touch(a)
    target, at, value = a.memory("target"), a.indices("at"), a.tile("value")
    a.b.effect(ops.Store(target, at, value), a.span)
    return a.nothing()


def shared(a: Arguments) -> Entity:
    """`shared(f16, [BM, BK])`: memory of the block; what it holds at first is not defined."""
    kind, shape = a.dtype("dtype"), a.shape("shape")
    elements = 1
    for n in shape:
        elements *= n
    if elements > MAX_ELEMENTS or len(shape) > MAX_RANK:
        message = f"a shared tile of shape {list(shape)} is too large"
        raise Mistake(message, f"at most {MAX_ELEMENTS:,} elements and {MAX_RANK} dimensions", a.where("shape"))
    name = a.b.targets[0] if len(a.b.targets) == 1 else "tile"
    return Shared(name, kind, shape)


def copy_async(a: Arguments) -> Entity:
    """`copy_async(x, [m0, k0], tile, [0, 0], [BM, BK])`"""
    _touch(a)
    target = a.memory("target")
    if not isinstance(target, Shared):
        raise Mistake(f"{a.what('target')} must be a shared tile", "make one: shared(dtype, [..])", a.where("target"))
    op = ops.CopyAsync(a.array("source"), a.indices("at"), target, a.indices("to"), a.shape("shape"))
    a.b.effect(op, a.span)
    return a.nothing()


def prefetch(a: Arguments) -> Entity:
    """`prefetch(x, [m0, k0], [BM, BK])`"""
    _touch(a)
    a.b.effect(ops.Prefetch(a.array("source"), a.indices("at"), a.shape("shape")), a.span)
    return a.nothing()


def commit(a: Arguments) -> Entity:
    """`commit()`"""
    _touch(a)
    a.b.effect(ops.Commit(), a.span)
    return a.nothing()


def wait(a: Arguments) -> Entity:
    """`wait(pending)`"""
    _touch(a)
    a.b.effect(ops.Wait(a.constant("pending")), a.span)
    return a.nothing()


def barrier(a: Arguments) -> Entity:
    """`barrier()`"""
    _touch(a)
    a.b.effect(ops.Barrier(), a.span)
    return a.nothing()


def lock(a: Arguments) -> Entity:
    """`lock(a, [i])`"""
    _touch(a)
    a.b.effect(ops.Lock(a.array("array"), a.indices("at")), a.span)
    return a.nothing()


def release(a: Arguments) -> Entity:
    """`release(a, [i])`"""
    _touch(a)
    a.b.effect(ops.Release(a.array("array"), a.indices("at")), a.span)
    return a.nothing()

"""The threads that kernels run on: one pool per process, handing out work in about a microsecond.

A kernel's entry calls ``bw_parallel(body, args, blocks)``, native code whose address is `parallel_address()`. It splits
the blocks 0..blocks into one contiguous range per thread and calls ``body(args, begin, end)`` for each; the calling
thread takes the first range, so that one block, or one thread, costs no hand-over at all. A call made while the pool is
busy (by another Python thread, or by a kernel) runs its blocks by itself. `pool_ir.py` says how it works inside.

Threads are as many as the processors that this process may use (see `processors.py`), or $BITWRIGHT_NUM_THREADS, or
what `set_threads` was told. They are made when first needed, sleep in between, and never keep a process from ending.
After a fork the child makes its own.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable

import llvmlite.binding as llvm

from ..cache import Cache, default_cache
from ..exclusive import exclusive
from ..target import Target, target
from .build import Library, assemble, load
from .pool_ir import MAX_THREADS, Waiting, pool_ir
from .processors import processors

__all__ = ["PoolError", "checked_threads", "compile_pool", "parallel_address", "set_threads", "threads"]


class PoolError(ValueError):
    """A number of threads that makes no sense."""


def parallel_address() -> int:
    """Where ``void bw_parallel(ptr body, ptr args, i64 blocks)`` lies; the first call makes the pool ready."""
    return _pool().address("bw_parallel")


def threads() -> int:
    """How many threads a kernel uses at most, with the calling one; PoolError if $BITWRIGHT_NUM_THREADS is wrong."""
    return _state.count if _state.count is not None else _usual_threads()


def set_threads(count: int) -> None:
    """Use at most that many threads (1 to 256) in this process, from the next call on; PoolError when out of range.

    It wins over $BITWRIGHT_NUM_THREADS. Threads that exist already sleep when they are not used.
    """
    _state.set(checked_threads(count))


def checked_threads(count: int) -> int:
    """The number, if so many threads are possible; else PoolError."""
    if not 1 <= count <= MAX_THREADS:
        raise PoolError(f"{count} threads were asked for; a number from 1 to {MAX_THREADS} is possible")
    return count


def compile_pool(machine: Target, waiting: Waiting, cache: Cache) -> Library:
    """The pool's code, loaded: from the cache, or compiled (which takes a tenth of a second)."""
    text = pool_ir(machine.triple, waiting)
    key = cache.key("pool", text, machine.feature_string)
    code = cache.get(key)
    if code is None:
        code = assemble(text, machine)
        cache.put(key, code)
    return load(code)


def _usual_threads() -> int:
    text = os.environ.get("BITWRIGHT_NUM_THREADS", "").strip()
    if text:
        if not text.isdecimal() or not 1 <= int(text) <= MAX_THREADS:
            raise PoolError(f"BITWRIGHT_NUM_THREADS is {text!r}; set it to a number from 1 to {MAX_THREADS}")
        return int(text)
    return min(processors(), MAX_THREADS)


class _State:
    """How many threads kernels shall use, None before it was decided; and how to tell the pool, once there is one."""

    def __init__(self) -> None:
        self.count: int | None = None
        self.tell: Callable[[int], None] | None = None

    @exclusive
    def set(self, count: int) -> None:
        self.count = count
        if self.tell is not None:
            self.tell(count)


_state = _State()


def _waiting() -> Waiting:
    if sys.platform.startswith("linux") and llvm.get_process_triple().startswith(("x86_64", "aarch64")):
        return "futex"
    return "none" if sys.platform == "win32" else "poll"


@exclusive
@functools.cache
def _pool() -> Library:
    count = threads()
    library = compile_pool(target("cpu:baseline"), _waiting(), default_cache())
    number = ctypes.CFUNCTYPE(None, ctypes.c_int32)
    limit, crowded = (number(library.address(name)) for name in ("bw_pool_limit", "bw_pool_crowded"))
    forked = ctypes.CFUNCTYPE(None)(library.address("bw_pool_forked"))
    library.address("bw_parallel")
    library.keep_forever()  # its threads outlive every Python object

    def tell(count: int) -> None:
        crowded(count > processors())
        limit(count)

    _state.tell = tell
    _state.set(count)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)
    return library

"""Work that one thread does at a time, and that no fork may cut in two: compiling, loading, starting the threads.

A child process has only the thread that forked. Had another one been inside the compiler, its locks would stay taken
in the child for ever, and the child's first kernel would never come. So a fork waits until the compiler is free.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, Self, TypeVar, overload

import llvmlite.binding as llvm

__all__ = ["exclusive", "once"]

_lock = threading.RLock()


def _before_fork() -> None:
    """Wait for the compiler, then for LLVM: what a thread compiled may be thrown away at any time, by its collector."""
    _lock.acquire()
    llvm.ffi.lib._lock.__enter__()  # llvmlite's own, around every call of LLVM


def _after_fork() -> None:
    llvm.ffi.lib._lock.__exit__(None, None, None)
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)

P = ParamSpec("P")
T = TypeVar("T")


def exclusive(function: Callable[P, T]) -> Callable[P, T]:
    """The function, called by one thread at a time; it may call others of this kind."""

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with _lock:
            return function(*args, **kwargs)

    return alone


class once(functools.cached_property[T]):
    """A property that is computed when it is first read, by one thread, and then kept in the instance.

    Its base class has a lock of its own in Python 3.11, which a fork may leave taken, and none at all later.
    """

    @overload
    def __get__(self, instance: None, owner: type[object] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[object] | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type[object] | None = None) -> Self | T:
        if instance is None:
            return self
        assert self.attrname is not None
        kept = vars(instance)
        with _lock:
            if self.attrname not in kept:
                kept[self.attrname] = self.func(instance)
        value: T = kept[self.attrname]
        return value

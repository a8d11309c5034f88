"""The words of the language that no value may be named after, for the printer and for the builder.

The functions themselves are in `frontend/build/functions.py`; a test keeps the two in step.
"""

from __future__ import annotations

import re
from keyword import iskeyword

from .dtypes import DTypeError, dtype

FUNCTIONS = frozenset((
    "abs", "all", "any", "arange", "assume", "barrier", "cast", "ceil", "ceildiv", "codebook", "commit", "convert",
    "copy_async", "cos", "dot", "exp", "exp2", "expand", "floor", "fma", "full", "grid", "iota", "item", "load",
    "lock", "log", "log2", "max", "min", "ones", "prefetch", "print", "random", "range", "release", "reshape", "round",
    "rsqrt", "shared", "sigmoid", "sin", "sqrt", "store", "sum", "tanh", "tiled", "transpose", "tune", "view", "wait",
    "where", "zeros",
))  # fmt: skip
"""The functions that a kernel may call."""

CONSTANTS = frozenset({"inf", "nan"})
"""Names of numbers."""

KINDS = frozenset({"bool", "dtype", "float", "int", "layout", "str"})
"""What the annotation of a parameter that is no array may be, besides the dtypes."""

_DTYPE_LIKE = re.compile(r"(u?f|i|u)\d+(e\d+m\d+\w*)?|bf16|e\d+m\d+|ue\d+m\d+")


def is_dtype(name: str) -> bool:
    """Whether the name means an element type."""
    try:
        dtype(name)
    except DTypeError:
        return False
    return True


def looks_like_dtype(name: str) -> bool:
    """Whether someone who writes this name probably means an element type."""
    return _DTYPE_LIKE.fullmatch(name) is not None


def reserved(name: str) -> bool:
    """Whether no value may have this name."""
    return name in FUNCTIONS or name in CONSTANTS or name in KINDS or iskeyword(name) or is_dtype(name)

"""The instruction set: a closed union, so that the type checker knows when a match forgets one."""

from .debug import Assert, DebugOp, Print
from .elementwise import Binary, Cast, ElementwiseOp, Fma, Unary, Where
from .matmul import Dot, MatmulOp
from .memory import Commit, CopyAsync, Load, MemoryOp, Prefetch, Store, Wait
from .random import Random, RandomOp
from .reduction import Reduce, ReductionOp
from .sync import Barrier, Lock, Release, SyncOp
from .tile import Convert, Expand, Full, Iota, Item, Reshape, Scalar, TileOp, Transpose, View

Instruction = MemoryOp | TileOp | ElementwiseOp | ReductionOp | MatmulOp | SyncOp | RandomOp | DebugOp

__all__ = [
    "Assert", "Barrier", "Binary", "Cast", "Commit", "Convert", "CopyAsync", "Dot", "Expand", "Fma", "Full",
    "Instruction", "Iota", "Item", "Load", "Lock", "Prefetch", "Print", "Random", "Reduce", "Release", "Reshape",
    "Scalar", "Store", "Transpose", "Unary", "View", "Wait", "Where",
]  # fmt: skip

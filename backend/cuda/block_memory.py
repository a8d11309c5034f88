"""The shared memory of a block: the program's own, and after it what its text needs besides.

All of it is dynamic, so that `bytes` is what a launch asks for, what a block is limited in, and what a report tells.
The kibibyte that CUDA itself takes for each block is not in it, nor in what `architectures.py` allows a block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..lane.ir import Exchange, First, Function, Lookup, LookupBytes, lets
from ..target import Target
from .architectures import ARCHITECTURES, WARP

__all__ = ["BlockMemory", "block_bytes", "block_memory", "check_block", "table_bytes", "words_of"]

_ALIGN = 16
_SHARED_WORDS = 1024  # a longer table stays in global memory
_COPIED = (64, 128, 256)

Words = tuple[int, ...]


@dataclass(frozen=True)
class BlockMemory:
    """Where things are, in bytes from the beginning.

    tables   constant tables by their words
    copied   the table that has a copy of each word for each lane of a warp, and where they are; one of a kernel has
    scratch  8 bytes by which one lane tells the others a value
    bytes    all, the program's own first
    """

    tables: dict[Words, int] = field(default_factory=dict)
    copied: tuple[Words, int] | None = None
    scratch: int | None = None
    bytes: int = 0


def table_bytes(words: int) -> int:
    """What a look-up table of so many words takes up in shared memory, if it is the first of its kernel."""
    if words in _COPIED:
        return 4 * words * WARP
    return 4 * words if 2 < words <= _SHARED_WORDS else 0


def words_of(table: Iterable[int]) -> Words:
    """Four entries of a table of bytes in each word."""
    entries = bytes(v & 0xFF for v in table)
    return tuple(int.from_bytes(entries[k : k + 4], "little") for k in range(0, len(entries), 4))


def block_bytes(function: Function) -> int:
    """Of shared memory, for one block on a GPU."""
    return block_memory(function).bytes


def block_memory(function: Function) -> BlockMemory:
    """The places of everything that the function's text keeps in shared memory."""
    tables: dict[Words, None] = {}
    copied: Words | None = None
    told = False
    for op in (s.op for s in lets(function.body)):
        match op:
            case Lookup():
                words = tuple(v & 0xFFFFFFFF for v in op.table)
                if len(words) in _COPIED and copied in (None, words) and len(set(words)) > 1:
                    copied = words
                elif 2 < len(words) <= _SHARED_WORDS and len(set(words)) > 1:
                    tables[words] = None
            case LookupBytes() if len(op.table) > 16:
                tables[words_of(op.table)] = None
            case Exchange():
                told = True
            case First() if not op.x.uniform and function.lanes > WARP:
                told = True
    return _placed(function.shared, list(tables), copied, told)


def _placed(own: int, tables: list[Words], copied: Words | None, told: bool) -> BlockMemory:
    end = own

    def place(size: int) -> int:
        nonlocal end
        first = -(-end // _ALIGN) * _ALIGN
        end = first + size
        return first

    copies = None if copied is None else (copied, place(4 * len(copied) * WARP))
    places = {words: place(4 * len(words)) for words in tables}
    scratch = place(8) if told else None
    return BlockMemory(places, copies, scratch, end)


def check_block(function: Function, target: Target) -> None:
    """ValueError where no block of the target's GPU has room for the function."""
    needed, most = block_bytes(function), ARCHITECTURES[target.cpu].shared_bytes
    if needed > most:
        tables = needed - function.shared
        besides = f" ({tables} of them for look-up tables)" if tables else ""
        raise ValueError(
            f"a block of {function.name} takes {needed} bytes of shared memory{besides}, but one of {target.cpu} has "
            f"{most} at most: choose smaller tiles or fewer stages"
        )

"""What a simulated kernel did: operations, bytes, and how its accesses met shared memory's banks and DRAM's sectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...vm.layout.swizzle import bank_conflicts
from .ir import Apply, Atom, Function, Let, Operation, Space
from .text import Printer

__all__ = ["Facts", "Site", "Tally"]

SECTOR = 32  # bytes that memory moves at least
_WIDEST = 16  # bytes that a lane accesses at once
_REMEMBERED = 4096


@dataclass(frozen=True)
class Site:
    """One statement that accesses memory, as a GPU's warps do it.

    times    accesses of a warp
    extra    further passes that shared memory's banks take
    sectors  pieces of 32 bytes of global memory that are touched
    needed   the fewest that could hold the bytes
    """

    statement: str
    space: Space
    times: int
    extra: int
    sectors: int
    needed: int


@dataclass(frozen=True)
class Facts:
    """What all blocks of a simulated kernel did.

    operations  how often each ran, by name: all lanes of a block at once count once
    read        bytes that lanes read, by space; a uniform access counts once
    written     bytes that lanes wrote
    sites       accesses to memory in the order in which they were met; of GPUs only
    """

    operations: Mapping[str, int]
    read: Mapping[Space, int]
    written: Mapping[Space, int]
    sites: tuple[Site, ...]

    @property
    def conflicts(self) -> int:
        """Extra passes of shared memory, all together."""
        return sum(site.extra for site in self.sites)

    @property
    def sectors(self) -> int:
        """Sectors of global memory that were touched."""
        return sum(site.sectors for site in self.sites)

    @property
    def needed(self) -> int:
        """Sectors that the same bytes would fill."""
        return sum(site.needed for site in self.sites)

    def __str__(self) -> str:
        lines = ["operations: " + ", ".join(f"{n} {name}" for name, n in self.operations.items())]
        for space in ("global", "shared"):
            lines.append(f"{space} memory: {self.read[space]} bytes read, {self.written[space]} written")
        if self.sites:
            lines.append(f"{'accesses':>9} {'conflicts':>9} {'sectors':>9} {'needed':>9}")
        for site in self.sites:
            shown = (str(site.extra), "", "") if site.space == "shared" else ("", str(site.sectors), str(site.needed))
            lines.append(f"{site.times:>9} " + " ".join(f"{x:>9}" for x in shown) + f"  {site.statement}")
        return "\n".join(lines)


@dataclass
class _Count:
    times: int = 0
    extra: int = 0
    sectors: int = 0
    needed: int = 0


class Tally:
    """Counts while a function runs; `warp` None: of lanes in step, whose accesses are not looked at more closely."""

    def __init__(self, warp: int | None) -> None:
        self._warp = warp
        self._operations: Counter[str] = Counter()
        self._bytes: dict[tuple[Space, bool], int] = {}
        self._sites: dict[tuple[Let, Space], _Count] = {}
        self._known: dict[tuple[Space, int, bytes], _Count] = {}

    def operation(self, op: Operation) -> None:
        name = op.kind if isinstance(op, Apply) else op.name if isinstance(op, Atom) else _words(type(op).__name__)
        self._operations[name] += 1

    def access(self, let: Let, space: Space, write: bool, address: NDArray[np.int64], who: NDArray[np.int64] | None,
               size: int, align: int) -> None:  # fmt: skip
        """Lanes `who` access `size` bytes each, at addresses that are multiples of `align`."""
        key = (space, write)
        self._bytes[key] = self._bytes.get(key, 0) + address.size * size
        if self._warp is None or who is None or not address.size:
            return
        width = min(_WIDEST, align & -align, size & -size)
        site = self._sites.setdefault((let, space), _Count())
        for piece in range(0, size, width):
            found = self._look(space, address + piece, who, width)
            site.times += found.times
            site.extra += found.extra
            site.sectors += found.sectors
            site.needed += found.needed

    def _look(self, space: Space, address: NDArray[np.int64], who: NDArray[np.int64], width: int) -> _Count:
        """One access of each warp.  What counts repeats every 128 bytes of addresses, and is remembered."""
        near = address - (address.min() & -128)
        key = (space, width, near.tobytes() + who.tobytes())
        if key not in self._known:
            if len(self._known) == _REMEMBERED:
                self._known.clear()
            self._known[key] = self._measure(space, near, who, width)
        return self._known[key]

    def _measure(self, space: Space, address: NDArray[np.int64], who: NDArray[np.int64], width: int) -> _Count:
        assert self._warp is not None
        together = min(self._warp, 128 // width)  # lanes that shared memory serves at once
        count = _Count()
        for warp in np.unique(who // self._warp):
            mine = who // self._warp == warp
            held, lanes = address[mine], who[mine]
            count.times += 1
            if space == "shared":
                phases = lanes // together
                count.extra += sum(bank_conflicts(held[phases == p], width) for p in np.unique(phases))
            else:
                count.sectors += np.unique(held // SECTOR).size
                count.needed += -(-np.unique(held).size * width // SECTOR)
        return count

    def facts(self, function: Function) -> Facts:
        """All that was counted; statements are spelled as `render` spells the function."""
        printer = Printer()
        if self._sites:
            printer.function(function)
        sites = tuple(
            Site(printer.let(let), space, c.times, c.extra, c.sectors, c.needed)
            for (let, space), c in self._sites.items()
        )
        return Facts(dict(self._operations.most_common()), self._moved(False), self._moved(True), sites)

    def _moved(self, write: bool) -> dict[Space, int]:
        return {"global": self._bytes.get(("global", write), 0), "shared": self._bytes.get(("shared", write), 0)}


@cache
def _words(name: str) -> str:
    """CopyAsync as "copy async"."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()

"""The lane IR: what one lane of a block executes, on 32-bit words, f32, 64-bit addresses and predicates.

A lane is a CUDA thread, or one 32-bit element of a CPU's vector registers.  Loops and branches are uniform.  On a CPU
all lanes of a block run in lock step; on a GPU those of a warp (32) do, and a `Barrier` orders the others.  A register
is `uniform` when every lane is known to hold the same value; a CPU holds it once, in a scalar register.

The operations are closed: `Apply` names a row of `KINDS` (arithmetic, one result, no effect); every other operation
is a dataclass of its own below.  Each has a NumPy meaning in `simulate.py`, and the printers know nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Type = Literal["i1", "i32", "i64", "f32"]
Space = Literal["global", "shared"]


@dataclass(frozen=True, eq=False)
class Reg:
    """One virtual register, assigned once."""

    type: Type
    uniform: bool


@dataclass(frozen=True)
class Kind:
    """A row of arithmetic: operand types ("t" stands for one of `types`), result type."""

    name: str
    operands: tuple[str, ...]
    result: str
    types: tuple[Type, ...] = ()


_INT: tuple[Type, ...] = ("i32", "i64")
_ANY: tuple[Type, ...] = ("i1", "i32", "i64", "f32")

KINDS: dict[str, Kind] = {
    k.name: k
    for k in (
        # integers wrap; shifts take an amount below the width; division truncates, and gives 0 for a zero divisor
        *(Kind(n, ("t", "t"), "t", _INT) for n in ("add", "sub", "mul", "sdiv", "srem", "udiv", "urem")),
        *(Kind(n, ("t", "t"), "t", _INT) for n in ("smin", "smax", "umin", "umax", "shl", "lshr", "ashr")),
        *(Kind(n, ("t", "t"), "t", ("i1", "i32", "i64")) for n in ("and", "or", "xor")),
        *(Kind(n, ("t", "t"), "i1", _INT) for n in ("eq", "ne", "slt", "sle", "ult", "ule")),
        Kind("mulhi", ("i32", "i32"), "i32"),  # the high word of the unsigned product
        Kind("choose", ("i32", "i32", "i32"), "i32"),  # bits of the second where the first has ones, else of the third
        # f32 rounds to nearest even and keeps subnormals; min and max propagate NaN
        *(Kind(n, ("f32", "f32"), "f32") for n in ("fadd", "fsub", "fmul", "fdiv", "fmin", "fmax")),
        Kind("fma", ("f32", "f32", "f32"), "f32"),
        *(Kind(n, ("f32",), "f32") for n in ("fneg", "fabs", "sqrt", "floor", "ceil", "rint")),
        *(Kind(n, ("f32",), "f32") for n in ("exp", "exp2", "log", "log2", "sin", "cos", "tanh")),  # within 4 ulp
        *(Kind(n, ("f32", "f32"), "i1") for n in ("feq", "fne", "flt", "fle")),  # false on NaN, but fne
        # conversions: to integers truncating, saturating, NaN to 0; to floats to nearest even
        Kind("sitofp", ("t",), "f32", _INT),
        Kind("uitofp", ("t",), "f32", _INT),
        Kind("fptosi", ("f32",), "i32"),
        Kind("fptoui", ("f32",), "i32"),
        Kind("fptosl", ("f32",), "i64"),
        Kind("sext", ("i32",), "i64"),
        Kind("zext", ("i32",), "i64"),
        Kind("trunc", ("i64",), "i32"),
        Kind("bits", ("f32",), "i32"),
        Kind("float", ("i32",), "f32"),
        Kind("f16tof32", ("i32",), "f32"),  # the low half of the word
        Kind("f32tof16", ("f32",), "i32"),  # zero-extended, to nearest even, overflow to infinity
        Kind("select", ("i1", "t", "t"), "t", _ANY),
    )
}


@dataclass(frozen=True)
class Apply:
    kind: str
    operands: tuple[Reg, ...]


@dataclass(frozen=True)
class Constant:
    """One value (uniform), or one for each lane.

    i1 as 0 and 1, i32 and i64 as two's-complement or unsigned integers, f32 as numbers.
    """

    type: Type
    values: tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True)
class Slot:
    """Argument slot `index` of the launch, as i64 (uniform): an address, an integer, a size, or the bits of an f64."""

    index: int


@dataclass(frozen=True)
class FloatSlot:
    """Argument slot `index`, which holds an f64, as f32 (uniform)."""

    index: int


@dataclass(frozen=True)
class Block:
    """The linear index of this block in the grid, as i64 (uniform)."""


@dataclass(frozen=True)
class SharedAddress:
    """The address (i64, uniform) of byte `offset` of the block's shared memory."""

    offset: int


@dataclass(frozen=True)
class Read:
    """`count` consecutive fields of `bits` at byte address base + offset.

    Fields of 8, 16 and 32 bits come as one i32 each, zero-extended; of 64 bits as i64.

    `base` is a uniform i64, `offset` an i32 (sign-extended) or i64, in bytes; the address is
    a multiple of `align` bytes.
    Lanes whose `mask` is 0 touch no memory and get 0.
    """

    base: Reg
    offset: Reg
    bits: int
    count: int = 1
    mask: Reg | None = None
    align: int = 1
    space: Space = "global"


@dataclass(frozen=True)
class Write:
    """Stores the low `bits` of each value to consecutive fields at base + offset, from lanes whose `mask` is not 0.

    A uniform write (every operand uniform) stores once.
    """

    base: Reg
    offset: Reg
    bits: int
    values: tuple[Reg, ...]
    mask: Reg | None = None
    align: int = 1
    space: Space = "global"


@dataclass(frozen=True)
class Prefetch:
    """A hint that the cache line at base + offset is read: soon (`level` 1), or in a while (2); never faults."""

    base: Reg
    offset: Reg
    level: Literal[1, 2]


@dataclass(frozen=True)
class Shuffle:
    """Lane l gets the value that lane `lane[l]` holds in `sources[source[l]]`."""

    sources: tuple[Reg, ...]
    source: tuple[int, ...]
    lane: tuple[int, ...]


@dataclass(frozen=True)
class First:
    """Lane 0's value, as a uniform register."""

    x: Reg


@dataclass(frozen=True)
class Vote:
    """Whether `x` (i1) holds in any lane, or in all, as a uniform i1."""

    kind: Literal["any", "all"]
    x: Reg


@dataclass(frozen=True)
class Lookup:
    """The entry of a constant table (32-bit words, a power of two of them) at `index` modulo its length, as i32."""

    table: tuple[int, ...]
    index: Reg


@dataclass(frozen=True)
class LookupBytes:
    """Each of the word's four bytes replaced by the table's entry at that byte modulo the table's length.

    The table holds 16, 32, 64, 128 or 256 bytes.
    """

    table: tuple[int, ...]
    word: Reg


@dataclass(frozen=True)
class PickBytes:
    """Byte k of the word is byte `order[k]` of the eight bytes of x and then y; where that is -1, it is 0."""

    x: Reg
    y: Reg
    order: tuple[int, int, int, int]


@dataclass(frozen=True)
class Atom:
    """A hardware instruction, by its row in `atoms.py` (its NumPy meaning, its targets and its cost stand there).

    One with several results, or none, is collective: the 32 lanes of a warp give and take each other's operands.
    """

    name: str
    operands: tuple[Reg, ...]


@dataclass(frozen=True)
class ReadMatrix:
    """`count` (1, 2 or 4) matrices of 8 rows of 16 bytes each from shared memory, an i32 of each for every lane.

    In each warp, lane 8i + r has the address base + offset, a multiple of 16, of row r of matrix i.  Lane l gets the
    l % 4th word of row l // 4; transposed, with 16-bit elements, those of rows 2 (l % 4) and the next in column l // 4.
    """

    base: Reg
    offset: Reg
    count: int
    transposed: bool = False


@dataclass(frozen=True)
class CopyAsync:
    """Starts to copy `size` (4, 8 or 16) bytes per lane from global memory, base + offset, to shared memory, to + at.

    Both are multiples of `size`.  From lanes whose `mask` is 0 zeros are copied.  What is written may be read by the
    lane itself after a `WaitCopies` that covers the copy, and by other lanes after a `Barrier` after that.
    """

    base: Reg
    offset: Reg
    to: Reg
    at: Reg
    size: int
    mask: Reg | None = None


@dataclass(frozen=True)
class Commit:
    """Closes the group of the copies that each lane started since the last one."""


@dataclass(frozen=True)
class WaitCopies:
    """Each lane waits until at most `pending` of its groups of copies are under way."""

    pending: int


@dataclass(frozen=True)
class Barrier:
    """All lanes of the block have come here; what any of them did to shared memory before, all see after it."""


@dataclass(frozen=True)
class Exchange:
    """Atomically: if the i32 at address base + offset equals `expected`, it becomes `new`.

    Gives the old value.  All uniform.
    """

    base: Reg
    offset: Reg
    expected: Reg
    new: Reg


@dataclass(frozen=True)
class Fence:
    """A barrier, after which other blocks see no store unless they see all that this block stored before it."""


@dataclass(frozen=True)
class Fail:
    """If `condition` (uniform i1) holds, the launch reports failure number `code` (1..); the block goes on."""

    condition: Reg
    code: int


@dataclass(frozen=True)
class Show:
    """Prints `text` and then, if there is one, the value of register `x` in lane `lane`."""

    text: str
    x: Reg | None = None
    lane: int = 0


Operation = (
    Apply | Constant | Slot | FloatSlot | Block | SharedAddress | Read | Write | Prefetch | Shuffle | First | Vote
    | Lookup | LookupBytes | PickBytes | Atom | ReadMatrix | CopyAsync | Commit | WaitCopies | Barrier | Exchange
    | Fence | Fail | Show
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Let:
    results: tuple[Reg, ...]
    op: Operation


@dataclass(frozen=True, eq=False)
class Carried:
    """`before` enters the loop, `inside` names the value in the body, `next` leaves the body, `after` the loop."""

    before: Reg
    inside: Reg
    next: Reg
    after: Reg


@dataclass(frozen=True, eq=False)
class For:
    """`for var in range(start, stop, step)`, all i64 and uniform, step > 0."""

    var: Reg
    start: Reg
    stop: Reg
    step: Reg
    carried: tuple[Carried, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False)
class While:
    """Runs `head`, then, if `condition` (uniform i1, defined by head or before) holds, `body`, and again.

    `head` sees the `inside` registers, and so does what follows the loop through `after`.
    """

    head: tuple[Statement, ...]
    condition: Reg
    carried: tuple[Carried, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False)
class Merge:
    then: Reg
    orelse: Reg
    after: Reg


@dataclass(frozen=True, eq=False)
class If:
    """`condition` is a uniform i1."""

    condition: Reg
    then: tuple[Statement, ...]
    orelse: tuple[Statement, ...]
    merged: tuple[Merge, ...]


Statement = Let | For | While | If


@dataclass(frozen=True, eq=False)
class Function:
    """One kernel for a block of `lanes` lanes, with `slots` argument slots and `shared` bytes of shared memory."""

    name: str
    lanes: int
    slots: int
    shared: int
    body: tuple[Statement, ...]
    failures: tuple[str, ...] = ()


def lets(body: Iterable[Statement]) -> Iterator[Let]:
    """Every operation of a body, those of loops and branches among them, in the order of the text."""
    for s in body:
        match s:
            case Let():
                yield s
            case For():
                yield from lets(s.body)
            case While():
                yield from lets((*s.head, *s.body))
            case If():
                yield from lets((*s.then, *s.orelse))

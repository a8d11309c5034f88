"""Reads and writes as PTX loads and stores: the widest vectors that the alignment allows, under a predicate.

They are assembly so that an address is one of global or of shared memory for certain, a masked access is no branch, and
vectors stay whole.  A shared address is one of the shared window, 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from ..lane.ir import CopyAsync, Prefetch, Read, ReadMatrix, Reg, Write
from .atom_row import Row
from .code import Code

__all__ = ["assembly", "copy_async", "prefetch", "read", "read_matrix", "write"]

_WIDEST = 16
_STREAMED = ".L1::no_allocate.L2::128B"
LETTERS = {"i1": "r", "i32": "r", "i64": "l", "f32": "f"}


def assembly(
    code: Code, text: str, results: Sequence[str], operands: Sequence[str], mask: str = "", memory: bool = True
) -> None:
    """One statement; `results` and `operands` are written with their constraints.

    With a `mask` (an expression, bool) the instruction is done only where it holds: results are what they were before.
    """
    inputs = list(operands)
    if mask:
        inputs.append(f'"r"((u32){mask})')
        place = len(results) + len(operands)
        text = f"{{ .reg .pred on; setp.ne.u32 on, %{place}, 0; @on {text} }}"
    clobber = ' : "memory"' if memory else ""
    code.line(f'asm volatile("{text}" : {", ".join(results)} : {", ".join(inputs)}{clobber});'.replace("  :", " :"))


def _address(code: Code, base: Reg, offset: Reg, space: str) -> tuple[str, int]:
    """The address with its constraint, and the number of bytes that the access adds to it."""
    start, more = code.get(base), code.get(offset)
    if space == "shared":
        narrow = f"(u32){more}" if offset.type == "i64" else more
        return f'"r"((u32){start}{"" if code.number(offset) == 0 else f" + {narrow}"})', 0
    if code.number(offset) == 0:
        return f'"l"({start})', 0
    if offset.type == "i32":
        more = f"(u64){more}" if code.not_negative(offset) else f"(u64)(i64)(i32){more}"
    pointer, number = code.pointer(base, offset, more)
    return f'"l"({pointer})', number


def _place(operand: int, number: int) -> str:
    """The memory at the address that an operand of the instruction is, and so many bytes on."""
    return f"[%{operand}{f' + {number}' if number else ''}]"


def _pieces(size: int, align: int) -> list[tuple[int, int]]:
    """(start, size) of the accesses that make up `size` bytes: each aligned to its own size."""
    out, at = [], 0
    while at < size:
        piece = min(_WIDEST, gcd(align, at) if at else align & -align)
        while piece > size - at:
            piece //= 2
        out.append((at, piece))
        at += piece
    return out


def _instruction(name: str, size: int) -> str:
    """.u8 to .v4.u32, after the name."""
    words = size // 4
    return f"{name}.{f'v{words}.' if words > 1 else ''}u{min(8 * size, 32)}"


def _group(first: int, count: int) -> str:
    names = ", ".join(f"%{first + k}" for k in range(count))
    return f"{{{names}}}" if count > 1 else names


def read(code: Code, op: Read, results: Sequence[Reg], read_only: bool) -> None:
    """Defines the result registers.  `read_only`: nothing in the kernel writes there."""
    size = op.bits // 8
    mask = "" if op.mask is None else code.get(op.mask)
    address, number = _address(code, op.base, op.offset, op.space)
    whole = op.bits == 32 and op.align % 4 == 0
    found: list[tuple[int, int, str]] = []  # begin, size, variable
    for start, piece in _pieces(op.count * size, op.align):
        words = max(1, piece // 4)
        names = [code.declare(results[start // 4 + k], "0u" if mask else "") if whole else code.fresh("q")
                 for k in range(words)]  # fmt: skip
        if not whole:
            code.line(f"u32 {', '.join(f'{n} = 0u' if mask else n for n in names)};")
        hints = _STREAMED if read_only and piece == _WIDEST and not op.offset.uniform else ""
        space = f"global{'.nc' if read_only else ''}{hints}" if op.space == "global" else "shared"
        text = f"{_instruction(f'ld.{space}', piece)} {_group(0, words)}, {_place(words, number + start)};"
        outputs = [f'"{"+" if mask else "="}r"({n})' for n in names]
        assembly(code, text, outputs, [address], mask, memory=not read_only)
        found += [(start + 4 * k, min(piece, 4), n) for k, n in enumerate(names)]
    if not whole:
        for k, result in enumerate(results):
            code.define(result, _field(found, k * size, size))


def _field(found: Sequence[tuple[int, int, str]], begin: int, size: int) -> str:
    """`size` bytes from byte `begin` on, zero-extended, put together of loaded words and parts of words."""
    if size == 8:
        return f"(u64){_field(found, begin + 4, 4)} << 32 | {_field(found, begin, 4)}"
    parts = []
    for start, length, name in found:
        if start < begin + size and begin < start + length:
            inside = begin - start
            text = f"{name} >> {8 * inside}" if inside > 0 else name
            if size < length - max(inside, 0):
                text = f"({text}) & {hex((1 << 8 * size) - 1)}u"
            parts.append(f"({text}) << {-8 * inside}" if inside < 0 else text)
    return parts[0] if len(parts) == 1 else f"({' | '.join(f'({p})' for p in parts)})"


def write(code: Code, op: Write) -> None:
    """Stores; of a write whose operands are all uniform one lane does it."""
    size = op.bits // 8
    regs = (op.base, op.offset, *op.values, *([op.mask] if op.mask is not None else []))
    masks = [code.get(op.mask)] if op.mask is not None else []
    if all(r.uniform for r in regs):
        masks.append("(lane == 0u)")
    mask = masks[0] if len(masks) == 1 else f"({' & '.join(masks)})" if masks else ""
    address, number = _address(code, op.base, op.offset, op.space)
    for start, piece in _pieces(len(op.values) * size, op.align):
        words = [f'"r"({_stored(code, op.values, size, start + k, min(piece, 4))})' for k in range(0, piece, 4)]
        text = f"{_instruction(f'st.{op.space}', piece)} {_place(0, number + start)}, {_group(1, len(words))};"
        assembly(code, text, [], [address, *words], mask)


def _stored(code: Code, values: Sequence[Reg], size: int, begin: int, length: int) -> str:
    """The word of which `length` bytes from byte `begin` on are stored: parts of one value, or of several."""
    parts = []
    for index in range(begin // size, -(-(begin + length) // size)):
        value, inside = values[index], begin - index * size
        if value.type == "i64":
            text = f"(u32)({code.get(value)} >> {8 * inside})" if inside else f"(u32){code.get(value)}"
        else:
            text = f"{code.word(value)} >> {8 * inside}" if inside > 0 else code.word(value)
        if size < length:
            text = f"({text} & {hex((1 << 8 * size) - 1)}u)"
            text = f"{text} << {-8 * inside}" if inside < 0 else text
        parts.append(text)
    return parts[0] if len(parts) == 1 else " | ".join(f"({p})" for p in parts)


def prefetch(code: Code, op: Prefetch) -> None:
    address, number = _address(code, op.base, op.offset, "global")
    assembly(code, f"prefetch.global.L{op.level} {_place(0, number)};", [], [address], memory=False)


def copy_async(code: Code, op: CopyAsync) -> None:
    """cp.async; where the mask is off it reads 0 bytes and fills the rest with zeros."""
    through = "cg.shared.global.L2::128B" if op.size == _WIDEST else "ca.shared.global"
    to, _ = _address(code, op.to, op.at, "shared")
    address, number = _address(code, op.base, op.offset, "global")
    operands = [to, address]
    size = str(op.size)
    if op.mask is not None:
        operands.append(f'"r"({code.get(op.mask)} ? {op.size}u : 0u)')
        size = f"{size}, %2"
    assembly(code, f"cp.async.{through} [%0], {_place(1, number)}, {size};", [], operands)


def read_matrix(code: Code, op: ReadMatrix, results: Sequence[Reg]) -> None:
    names = [code.declare(r) for r in results]
    turned = ".trans" if op.transposed else ""
    group = f"{{{', '.join(f'%{k}' for k in range(op.count))}}}"
    text = f"ldmatrix.sync.aligned.m8n8.x{op.count}{turned}.shared.b16 {group}, [%{op.count}];"
    assembly(code, text, [f'"=r"({n})' for n in names], [_address(code, op.base, op.offset, "shared")[0]])


def atom(code: Code, row: Row, operands: Sequence[Reg], results: Sequence[Reg]) -> None:
    """A row of the table of instructions.  One that a warp does together must stay where all its lanes come by."""
    names = [code.declare(r) for r in results]
    if row.in_place:  # the last operands are where the results will be
        for name, operand in zip(names, operands[len(operands) - len(names) :], strict=True):
            code.line(f"{name} = {code.get(operand)};")
        operands = operands[: len(operands) - len(names)]
    how = "+" if row.in_place else "="
    outputs = ", ".join(f'"{how}{LETTERS[r.type]}"({n})' for r, n in zip(results, names, strict=True))
    inputs = ", ".join(f'"{LETTERS[o.type]}"({code.get(o)})' for o in operands)
    effect = any(o.type == "i64" for o in operands) or not results
    clobber = ' : "memory"' if effect else ""
    volatile = "asm volatile" if row.collective or effect else "asm"
    code.line(f'{volatile}("{row.ptx}" : {outputs} : {inputs}{clobber});')

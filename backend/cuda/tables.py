"""Look-ups in constant tables, and bytes picked from words.

Issue slots for one look-up, at one for each warp's instruction (a read of shared memory keeps the multiprocessor's one
load unit busy for as long as four instructions keep its four schedulers, twice that if lanes meet in a bank):

* 2 words: a choice, 2 slots.  More: a copy in shared memory, 2 slots (mask, read).  Up to 32 words lie in as many
  banks, so that no two lanes meet.  Of 64 to 256 words one table of a kernel has copies for each lane of a warp, each
  in a bank of its own (8 to 32 KiB); without these, 32 lanes that look for any of 256 words take about 3.5 turns.
* bytes, four at a time: 16 entries 9 slots (their numbers as nibbles: mask, shift and or, permute; two permutes, and a
  choice by each number's top bit: shift, permute, choice), more entries 4 reads of shared memory, 11 slots.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..lane.ir import Lookup, LookupBytes, PickBytes, Reg
from .block_memory import words_of
from .code import Code
from .lane_values import number_text

__all__ = ["lookup", "lookup_bytes", "pick_bytes"]


def lookup(code: Code, op: Lookup, result: Reg) -> None:
    table = tuple(v & 0xFFFFFFFF for v in op.table)
    index = code.get(op.index)
    if len(set(table)) == 1:
        code.define(result, number_text(table[0]))
    elif len(table) == 2:
        code.define(result, f"({index} & 1u) != 0u ? {number_text(table[1])} : {number_text(table[0])}")
    elif code.is_copied(table):
        code.function("own_bank", _OWN_BANK)
        place = f"({index} << 7 & {(len(table) - 1) << 7}u) | own_bank()"
        code.define(result, f"{code.function('shared_word', _WORD)}(copies + ({place}))")
    elif table in code.kept.tables:
        place = f"{code.table(table)} + (({index} & {len(table) - 1}u) << 2)"
        code.define(result, f"{code.function('shared_word', _WORD)}({place})")
    else:
        code.define(result, f"__ldg(&{code.memory(table)}[{index} & {len(table) - 1}u])")


# An address of 32 bits is added up by the read itself.  What is read never changes, so that reads may move.
_WORD = """static __device__ __forceinline__ u32 shared_word(u32 at) {
  u32 x;
  asm("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(at));
  return x;
}"""

_BYTE = """static __device__ __forceinline__ u32 shared_byte(u32 at) {
  u32 x;
  asm("ld.shared.u8 %0, [%1];" : "=r"(x) : "r"(at));
  return x;
}"""

# The number within the warp, from the register that holds it: as a part of threadIdx.x it would be masked at every use.
_OWN_BANK = """static __device__ __forceinline__ u32 own_bank() {
  u32 x;
  asm("mov.u32 %0, %%laneid;" : "=r"(x));
  return x << 2;
}"""

_NIBBLES = """static __device__ __forceinline__ u32 nibbles(u32 x) {
  const u32 low = x & 0x07070707u;
  return __byte_perm(low | (low >> 4), 0u, 0x4420u);
}"""

_SPREAD = """static __device__ __forceinline__ u32 spread_bit3(u32 x) {
  u32 y;
  asm("prmt.b32 %0, %1, 0, 0xBA98;" : "=r"(y) : "r"(x << 4));
  return y;
}"""


def lookup_bytes(code: Code, op: LookupBytes, result: Reg) -> None:
    word, table = code.get(op.word), list(op.table)
    words = [number_text(w) for w in words_of(table)]
    if len(table) == 16:
        code.function("nibbles", _NIBBLES)
        code.function("spread_bit3", _SPREAD)
        place, high = code.keep("u32", f"nibbles({word})"), code.keep("u32", f"spread_bit3({word})")
        low = f"__byte_perm({words[0]}, {words[1]}, {place})"
        rest = f"__byte_perm({words[2]}, {words[3]}, {place})"
        code.define(result, f"({high} & {rest}) | (~{high} & {low})")
        return
    code.function("shared_byte", _BYTE)
    held = code.table(words_of(table))
    parts = []
    for k in range(4):
        byte = f"({word} >> {8 * k} & {len(table) - 1}u)"
        parts.append(f"shared_byte({held} + {byte}){f' << {8 * k}' if k else ''}")
    code.define(result, " | ".join(parts))


def pick_bytes(code: Code, op: PickBytes, result: Reg) -> None:
    """One permute; where a byte is 0 and the others come from both words, one more instruction."""
    x, y = code.get(op.x), code.get(op.y)
    used = [n for n in op.order if n >= 0]
    if -1 not in op.order:
        code.define(result, f"__byte_perm({x}, {y}, {_selector(op.order)})")
    elif all(n < 4 for n in used):
        code.define(result, f"__byte_perm({x}, 0u, {_selector([4 if n < 0 else n for n in op.order])})")
    elif all(n >= 4 for n in used):
        code.define(result, f"__byte_perm(0u, {y}, {_selector([0 if n < 0 else n for n in op.order])})")
    else:
        kept = sum(0xFF << 8 * k for k, n in enumerate(op.order) if n >= 0)
        picked = f"__byte_perm({x}, {y}, {_selector([max(n, 0) for n in op.order])})"
        code.define(result, f"{picked} & {number_text(kept)}")


def _selector(order: Sequence[int]) -> str:
    return f"0x{sum(n << 4 * k for k, n in enumerate(order)):04x}u"

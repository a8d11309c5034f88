"""Values that go from lane to lane: shuffles within a warp, and what all lanes of a block agree on."""

from __future__ import annotations

from collections.abc import Sequence

from ..lane.ir import Exchange, First, Reg, Shuffle, Vote
from .architectures import WARP
from .code import TYPES, Code

__all__ = ["exchange", "first", "shuffle", "vote"]


def shuffle(code: Code, op: Shuffle, result: Reg) -> None:
    """As many shuffles as any one lane is asked for different registers.

    In each turn a lane offers one of the registers that it is asked for, and takes from the lane that it wants a value
    of; the value of the turn in which that lane offered the right register is its own.
    """
    lanes = code.lanes
    assert all(k // WARP == frm // WARP for k, frm in enumerate(op.lane)), "lanes shuffle within their warp"
    asked: list[list[int]] = [[] for _ in range(lanes)]
    for source, lane in sorted(zip(op.source, op.lane, strict=True)):
        if source not in asked[lane]:
            asked[lane].append(source)
    turns = max(map(len, asked))
    turn_of = [asked[lane].index(source) for source, lane in zip(op.source, op.lane, strict=True)]
    narrow = op.sources[0].type == "i1"
    names = [code.word(s) if narrow else code.get(s) for s in op.sources]
    found = []
    for turn in range(turns):
        offers = [own[min(turn, len(own) - 1)] if own else None for own in asked]
        usual = next(o for o in offers if o is not None)
        value = _chosen(code, names, [usual if o is None else o for o in offers])
        takers = [k for k in range(lanes) if turn_of[k] == turn]
        found.append(_moved(code, value, op.lane, takers))
    if turns > 1:  # every lane takes part in every shuffle, whichever it chooses
        found = [code.keep("u32" if narrow else TYPES[result.type], text) for text in found]
    value = _chosen(code, found, turn_of)
    code.define(result, f"({value}) != 0u" if narrow else value)


def _chosen(code: Code, names: Sequence[str], which: Sequence[int]) -> str:
    """`names[which[lane]]`: a chain of choices, the most frequent last."""
    kinds = sorted(set(which), key=lambda k: (which.count(k), k))
    text = names[kinds[-1]]
    for kind in reversed(kinds[:-1]):
        text = f"({code.lanes_where([w == kind for w in which]).text} ? {names[kind]} : {text})"
    return text


def _moved(code: Code, value: str, lane: Sequence[int], takers: Sequence[int]) -> str:
    """The value as each taker finds it in the lane it takes from."""
    distances = {k ^ lane[k] for k in takers}
    if distances == {0}:
        return value
    if len(distances) == 1:
        return f"__shfl_xor_sync({code.everyone()}, {value}, {distances.pop()})"
    return f"__shfl_sync({code.everyone()}, {value}, {code.words([k % WARP for k in lane])})"


def first(code: Code, op: First, result: Reg) -> None:
    """Lane 0's value: a shuffle in a block of one warp, else by way of shared memory."""
    if op.x.uniform:
        code.alias(result, code.get(op.x))
        return
    if code.lanes <= WARP:
        value = code.word(op.x) if op.x.type == "i1" else code.get(op.x)
        test = " != 0u" if op.x.type == "i1" else ""
        code.define(result, f"__shfl_sync({code.everyone()}, {value}, 0){test}")
        return
    with code.block("if (lane == 0u)"):
        code.line(f"scratch = {code.get(op.x) if op.x.type == 'i64' else code.word(op.x)};")
    _told(code, result)


def _told(code: Code, result: Reg) -> None:
    """Every lane reads what one has written for all; afterwards it may be written again."""
    code.line("__syncthreads();")
    text = {"i1": "scratch != 0ull", "i32": "(u32)scratch", "i64": "scratch", "f32": "__uint_as_float((u32)scratch)"}
    code.define(result, text[result.type])
    code.line("__syncthreads();")


def vote(code: Code, op: Vote, result: Reg) -> None:
    if op.x.uniform:
        code.alias(result, code.get(op.x))
    elif code.lanes <= WARP:
        code.define(result, f"__{op.kind}_sync({code.everyone()}, {code.get(op.x)}) != 0")
    else:
        code.define(result, f"__syncthreads_{'or' if op.kind == 'any' else 'and'}({code.get(op.x)}) != 0")


def exchange(code: Code, op: Exchange, result: Reg) -> None:
    """Lane 0 does it for the block and tells the others."""
    address = f"(u32*)({code.get(op.base)} + (u64)(i64)(i32){code.get(op.offset)})"
    if op.offset.type == "i64":
        address = f"(u32*)({code.get(op.base)} + {code.get(op.offset)})"
    with code.block("if (lane == 0u)"):
        code.line(f"scratch = atomicCAS({address}, {code.get(op.expected)}, {code.get(op.new)});")
    _told(code, result)

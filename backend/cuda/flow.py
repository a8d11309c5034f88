"""Basic blocks and loops of a kernel's machine code."""

from __future__ import annotations

from dataclasses import dataclass

from .sass import SassInstruction

__all__ = ["SassBlock", "SassLoop", "basic_blocks", "loops"]

_JUMPS = ("BRA", "JMP", "BSYNC")
_CALLS = ("CALL",)  # also used to go on far away
_LEAVES = ("EXIT", "RET", "BRX", "JMX", "KILL")


@dataclass(frozen=True)
class SassBlock:
    """Instructions that run one after the other; the blocks that may follow, by their places in the list."""

    instructions: tuple[SassInstruction, ...]
    next: tuple[int, ...]


@dataclass(frozen=True)
class SassLoop:
    """The instructions of a loop that belong to no loop within it, and how many loops are around it."""

    instructions: tuple[SassInstruction, ...]
    depth: int


def basic_blocks(instructions: tuple[SassInstruction, ...]) -> tuple[SassBlock, ...]:
    """The kernel's blocks in the order of addresses; the first one is where it starts."""
    if not instructions:
        return ()
    targets = _targets(instructions)
    starts = {instructions[0].address, *(t for found in targets.values() for t in found)}
    ends = {i.address for i in instructions if i.name in (*_JUMPS, *_CALLS, *_LEAVES)}
    parts: list[list[SassInstruction]] = [[]]
    for i in instructions:
        if parts[-1] and (i.address in starts or parts[-1][-1].address in ends):
            parts.append([])
        parts[-1].append(i)
    place = {part[0].address: index for index, part in enumerate(parts)}
    return tuple(SassBlock(tuple(part), _after(part[-1], n, place, targets)) for n, part in enumerate(parts))


def _targets(instructions: tuple[SassInstruction, ...]) -> dict[int, tuple[int, ...]]:
    """Where each jump goes.  A BSYNC goes where the BSSY before it, of the same barrier, said that threads meet."""
    meeting: dict[str, int] = {}
    found: dict[int, tuple[int, ...]] = {}
    for i in instructions:
        if i.name == "BSSY" and i.target is not None:
            meeting[i.operands[0]] = i.target
        elif i.name == "BSYNC" and i.operands[0] in meeting:
            found[i.address] = (meeting[i.operands[0]],)
        elif i.name in (*_JUMPS, *_CALLS) and i.target is not None:
            found[i.address] = (i.target,)
    return found


def _after(
    last: SassInstruction, n: int, place: dict[int, int], targets: dict[int, tuple[int, ...]]
) -> tuple[int, ...]:
    """The blocks that may follow block n, which ends in `last`.  An operand `UP0` of a branch is a guard, too."""
    jumps = last.name in _JUMPS and last.address in targets
    guarded = bool(last.guard) or (jumps and len(last.operands) > 1 and last.name != "BSYNC")
    falls = [] if (jumps or last.name in _LEAVES) and not guarded else [n + 1]
    going = [place[t] for t in targets.get(last.address, ()) if t in place]
    return tuple(dict.fromkeys(t for t in (*falls, *going) if t < len(place)))


def loops(blocks: tuple[SassBlock, ...]) -> tuple[SassLoop, ...]:
    """The natural loops, outer ones before those within them.

    A loop is a block that some later one goes back to although every way there leads through it, and all blocks from
    which that later one is reached without going through the first.
    """
    dominators = _dominators(blocks)
    reached = _reached(blocks)
    before: list[set[int]] = [set() for _ in blocks]
    for n, block in enumerate(blocks):
        for t in block.next:
            before[t].add(n)
    bodies: dict[int, set[int]] = {}
    for n, block in enumerate(blocks):
        for head in block.next:
            if n in reached and head in dominators[n]:
                bodies.setdefault(head, {head}).update(_reaching(n, head, before))
    ordered = sorted(bodies.items(), key=lambda found: (-len(found[1]), found[0]))
    made = []
    for head, body in ordered:
        inner = set().union(*(other for h, other in ordered if h != head and other < body))
        own = tuple(i for n in sorted(body - inner) for i in blocks[n].instructions)
        made.append(SassLoop(own, sum(body < other for _, other in ordered)))
    return tuple(made)


def _reaching(end: int, head: int, before: list[set[int]]) -> set[int]:
    """The blocks from which `end` is reached without going through `head`."""
    found, waiting = {head, end}, [end] if end != head else []
    while waiting:
        new = before[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _reached(blocks: tuple[SassBlock, ...]) -> set[int]:
    """The blocks that the first one leads to, and itself."""
    found, waiting = {0}, [0]
    while waiting and blocks:
        new = set(blocks[waiting.pop()].next) - found
        found |= new
        waiting += new
    return found


def _dominators(blocks: tuple[SassBlock, ...]) -> list[set[int]]:
    """For each block those that every way to it from the first one leads through, itself included."""
    everything = set(range(len(blocks)))
    found = [{0}] + [set(everything) for _ in blocks[1:]] if blocks else []
    changed = True
    while changed:
        changed = False
        for n, block in enumerate(blocks):
            for t in block.next:
                new = (found[t] & found[n]) | {t}
                if t and new != found[t]:
                    found[t], changed = new, True
    return found

"""Lesson 5: one kernel at every stage: the language, the lanes, LLVM's text, machine code, and what it costs.

python examples/05_look_inside.py
"""

from __future__ import annotations

from pathlib import Path

import bitwright as bw
from bitwright.backend.report import describe

FILE = Path(__file__).parent / "kernels" / "matvec.bw"
STAGES = {
    "tile": "what a block computes: the text of the language, with every name given and every size known",
    "lane": "what one lane does, on 32-bit words; registers %u hold the same on every lane. A table makes f32 of codes",
    "llvm": "the same for LLVM, a lane being an element of a vector; the table is a permute of two registers",
    "asm": "machine code",
}


EXCERPTS = {"tile": ("def ", 22), "lane": ("lookup", 8), "llvm": ("permi", 8), "asm": ("vperm", 8)}
"""Of each stage the first line that is printed, by a word in it, and how many follow it."""


def excerpt(text: str, first: str, lines: int) -> str:
    """Some lines from the second one that holds a word: in LLVM's text the first is a declaration."""
    whole = text.splitlines()
    found = [i for i, line in enumerate(whole) if first in line] or [0]
    start = found[min(1, len(found) - 1)]
    return "\n".join(line[:120] for line in whole[start : start + lines])


def main() -> None:
    # A processor by name, so that this lesson prints the same on every x86-64 machine.
    target = "cpu:x86-64-v4" if "x86_64" in bw.target("cpu").triple else "cpu"
    kernel = bw.compile(FILE, target=target, W="u5", K=4096, N=4096)
    for stage, meaning in STAGES.items():
        text = kernel.source(stage)
        count = len(text.splitlines())
        print(f"--- {stage}: {meaning} ({count} lines)\n")
        print(f"{excerpt(text, *EXCERPTS[stage])}\n")
    print(f"--- what it costs on {target}\n")
    print(describe(kernel.report()))


if __name__ == "__main__":
    main()

"""Counts what a weight costs in the machine code of GPUs, for the tables of gpu.md and performance.md.

python docs/slots.py          # needs NVRTC, no GPU, and about two minutes; tests/test_docs.py holds some of the figures
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import bitwright as bw

FOLDER = Path(__file__).parent
GPU = "cuda:sm_90a"
SIZE, GROUP = 8192, 128  # of the weights, and of their groups
ELEMENTS = ("u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "i4", "i6", "i8", "f4e2m1", "f6e3m2", "f8e4m3fn",
            "nf4")  # fmt: skip
IN_BYTES = ("u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "i4", "i6", "i8")
IN_FP8 = ("u1", "u2", "u3", "u4", "i4", "f4e2m1", "f6e3m2", "f8e4m3fn")

OTHERS = {
    "u1": "humming 2.8", "u2": "humming 2.7, Tilus 4.7", "u3": "humming 3.4", "u4": "humming 2.7, Tilus 3.2",
    "u6": "humming 3.2, Tilus 6.7", "i6": "Tilus 8.5", "f6e3m2": "humming 4.2, Tilus 10",
}  # fmt: skip
"""Of the main loops of other projects' kernels, counted when they were disassembled."""

Mode = Literal["f16", "bf16", "int8", "f8e4m3fn"]

LANES = 32  # of a warp, which one slot issues an instruction for
SCHEDULERS = 132 * 4 * 1.755e9  # slots in a second: multiprocessors, schedulers of each, clock
READ = 4.0e12  # bytes of memory in a second
TENSOR = 790e12 / 2  # products of 16-bit floats in a second
"""Of an H200: NVIDIA's figures for the first, and what others have measured for the other two."""


def figures(element: str, mode: Mode, m: int = 1) -> dict[str, int | float]:
    """The report of the kernel that `linear` runs for m rows."""
    kernel = bw.linear_kernel(element, GROUP, m, mode, GPU, zero_point=False, n=SIZE, k=SIZE)
    return kernel.report()


def slots(element: str, mode: Mode) -> str:
    return f"{figures(element, mode)['issue_slots_per_weight']:.2f}"


def slot_row(element: str) -> str:
    found = [slots(element, "f16"), slots(element, "bf16")]
    found.append(slots(element, "int8") if element in IN_BYTES else "")
    found.append(slots(element, "f8e4m3fn") if element in IN_FP8 else "")
    return f"| {element} | {' | '.join(found)} | {OTHERS.get(element, '')} |"


def slot_table() -> str:
    head = "| weights | x in f16 | bf16 | int8 | fp8 | others, f16 |"
    return "\n".join([head, "|---|---|---|---|---|---|", *map(slot_row, ELEMENTS)])


def decode_table() -> str:
    """One row of x, in microseconds: what issuing takes, and what the bytes of weights and scales take."""
    rows = []
    for element in ELEMENTS[:8]:
        found = figures(element, "f16")
        issue = found["issue_slots_per_weight"] * SIZE**2 / LANES / SCHEDULERS * 1e6
        memory = (found["bytes_per_weight"] + 2 / GROUP) * SIZE**2 / READ * 1e6
        rows.append(f"| {element} | {issue:.1f} | {memory:.1f} | {'memory' if memory > issue else 'issue'} |")
    return "\n".join(["| weights | slots, µs | bytes, µs | bound by |", "|---|---|---|---|", *rows])


def prefill_table(m: int = 4096) -> str:
    """Many rows, in microseconds: what issuing takes, and what the tensor cores take."""
    rows = []
    for element in ("u3", "u4", "u8"):
        found = figures(element, "f16", m)
        times = found["main.multiply_adds"] // found["main.weights"]  # rows of x that share a decoded weight
        issue = found["issue_slots_per_weight"] * SIZE**2 * (m / times) / LANES / SCHEDULERS * 1e6
        tensor = m * SIZE**2 / TENSOR * 1e6
        bound = "tensor cores" if tensor > issue else "issue"
        rows.append(f"| {element} | {times} | {issue:,.0f} | {tensor:,.0f} | {bound} |")
    head = "| weights | rows for each decoding | slots, µs | tensor cores, µs | bound by |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def put(page: str, name: str, table: str) -> None:
    """Writes a table to its place: between a comment with its name and the next empty line."""
    path = FOLDER / page
    text = path.read_text(encoding="utf-8")
    mark = f"<!-- {name} -->\n"
    new, count = re.subn(re.escape(mark) + r"\n*(\|.*\n)*\n*", lambda _: f"{mark}\n{table}\n\n", text)
    assert count == 1, f"{page} has no {mark}"
    path.write_text(new, encoding="utf-8")


def main() -> None:
    put("gpu.md", "slots", slot_table())
    put("performance.md", "decode", decode_table())
    put("performance.md", "prefill", prefill_table())


if __name__ == "__main__":
    main()

"""How many instructions the main loops of `linear` may take: per 64 weights, for processors by name.

A compiler makes the same code for one processor everywhere, so these are no measurements, and they do not vary.
`python -m bitwright.tests.instruction_bounds` prints the tables anew, with what there is today and 5 % more.

Where decoding and multiplying are two loops (many rows), both count, each for 64 of the weights that it handles once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil

import bitwright as bw
from bitwright.backend.report import report
from bitwright.frontend.library.prepared import Activations

Case = tuple[str, Activations, int]  # target, activations, rows of x

ALL = (1, 2, 3, 4, 5, 6, 7, 8)
SOME = (3, 4, 8)
CASES: dict[Case, tuple[int, ...]] = {
    **{("cpu:znver4", mode, 1): ALL for mode in ("int8", "bf16", "f32")},
    **{("cpu:x86-64-v3", mode, 1): ALL for mode in ("int8", "f32")},
    **{("cpu:znver4", mode, rows): SOME for rows in (4, 64) for mode in ("int8", "bf16", "f32")},
    **{("cpu:x86-64-v3", mode, rows): SOME for rows in (4, 64) for mode in ("int8", "f32")},
    ("cpu:neoverse-v1", "int8", 1): SOME,
}
"""The widths (of unsigned integers, groups of 128) that are counted in each case.

x86-64-v3 has no instruction for bf16, and takes f32 kernels for it.
"""


# fmt: off
INSTRUCTIONS: dict[Case, tuple[float, ...]] = {
    ("cpu:znver4", "int8", 1): (3.71, 3.88, 6.11, 4.14, 6.37, 6.5, 8.73, 3.61),
    ("cpu:znver4", "bf16", 1): (15.53, 15.69, 13.23, 15.95, 12.93, 13.06, 18.31, 17.53),
    ("cpu:znver4", "f32", 1): (13.98, 14.15, 17.43, 14.41, 18.74, 18.87, 22.58, 15.98),
    ("cpu:x86-64-v3", "int8", 1): (11.49, 11.75, 21.73, 12.08, 20.68, 21, 29.21, 18.77),
    ("cpu:x86-64-v3", "f32", 1): (27.83, 27.96, 40.17, 35.64, 43.65, 44.5, 53.42, 30.91),
    ("cpu:znver4", "int8", 4): (10.24, 8.27, 7.75),
    ("cpu:znver4", "bf16", 4): (22.61, 24.02, 25.76),
    ("cpu:znver4", "f32", 4): (34.49, 30.45, 32.06),
    ("cpu:znver4", "int8", 64): (12.64, 8.27, 7.75),
    ("cpu:znver4", "bf16", 64): (25.76, 31.28, 33.18),
    ("cpu:znver4", "f32", 64): (52.41, 49.35, 51.72),
    ("cpu:x86-64-v3", "int8", 4): (31.31, 20.94, 33.08),
    ("cpu:x86-64-v3", "f32", 4): (61.1, 52.57, 50.73),
    ("cpu:x86-64-v3", "int8", 64): (45.35, 39.38, 39.77),
    ("cpu:x86-64-v3", "f32", 64): (86.5, 85.65, 83.28),
    ("cpu:neoverse-v1", "int8", 1): (25.86, 13.13, 10.5),
}
STACK_TRAFFIC: dict[Case, tuple[float, ...]] = {
    ("cpu:znver4", "int8", 1): (0, 0, 0, 0, 0, 0, 0, 0),
    ("cpu:znver4", "bf16", 1): (0, 0, 0.56, 0, 0, 0, 1.91, 0),
    ("cpu:znver4", "f32", 1): (0, 0, 0, 0, 0, 0, 1.22, 0),
    ("cpu:x86-64-v3", "int8", 1): (0, 0.14, 3.48, 0.14, 3.02, 3.02, 6.57, 0),
    ("cpu:x86-64-v3", "f32", 1): (0, 0, 6.5, 0, 6.3, 7.35, 6.96, 0),
    ("cpu:znver4", "int8", 4): (0, 0, 0),
    ("cpu:znver4", "bf16", 4): (2.3, 0, 0),
    ("cpu:znver4", "f32", 4): (1.45, 0, 0),
    ("cpu:znver4", "int8", 64): (0, 0, 0),
    ("cpu:znver4", "bf16", 64): (0, 2.3, 2.7),
    ("cpu:znver4", "f32", 64): (0, 0, 0.86),
    ("cpu:x86-64-v3", "int8", 4): (8.54, 3.55, 5.45),
    ("cpu:x86-64-v3", "f32", 4): (14.38, 6.5, 7.95),
    ("cpu:x86-64-v3", "int8", 64): (3.15, 3.42, 5.39),
    ("cpu:x86-64-v3", "f32", 64): (1.19, 1.32, 3.68),
    ("cpu:neoverse-v1", "int8", 1): (0, 0, 0),
}
# fmt: on


@lru_cache(maxsize=256)
def counted(case: Case, bits: int) -> dict[str, int | float]:
    """The report of the kernel."""
    target, mode, rows = case
    kernel = bw.linear_kernel(f"u{bits}", m=rows, activations=mode, target=target, n=256, k=1024)
    return report(kernel.compiled, b"")


def instructions(case: Case, bits: int) -> float:
    """In 64 weights' share of the loops."""
    return 64 * counted(case, bits)["instructions_per_weight"]


def stack_traffic(case: Case, bits: int) -> float:
    """Vector registers that go to the stack or come from there, in 64 weights' share of the loops."""
    figures = counted(case, bits)
    loops = [name.partition(".")[0] for name in figures if name.endswith(".weights")]
    return sum(64 * (figures[f"{x}.spills"] + figures[f"{x}.reloads"]) / figures[f"{x}.weights"] for x in loops)


def tables() -> Iterator[str]:
    """Both tables as they stand in this file."""
    for name, count in (("INSTRUCTIONS", instructions), ("STACK_TRAFFIC", stack_traffic)):
        yield f"{name}: dict[Case, tuple[float, ...]] = {{"
        for case, widths in CASES.items():
            bounds = [ceil(count(case, bits) * 105) / 100 for bits in widths]
            target, mode, rows = case
            yield f'    ("{target}", "{mode}", {rows}): ({", ".join(f"{b:g}" for b in bounds)}),'
        yield "}"


if __name__ == "__main__":
    print("\n".join(tables()))

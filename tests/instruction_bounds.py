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
    ("cpu:znver4", "int8", 1): (3.71, 3.88, 6.3, 4.34, 6.96, 7.09, 9.32, 3.94),
    ("cpu:znver4", "bf16", 1): (15.53, 15.69, 12.87, 16.15, 13.52, 13.65, 16.94, 18.12),
    ("cpu:znver4", "f32", 1): (13.98, 14.15, 17.59, 14.57, 19.3, 19.43, 21.66, 16.54),
    ("cpu:x86-64-v3", "int8", 1): (11.49, 11.62, 18.84, 11.95, 19.17, 19.3, 26.65, 19.17),
    ("cpu:x86-64-v3", "f32", 1): (27.83, 29.6, 40.17, 38.07, 42.79, 42.27, 53.03, 34.52),
    ("cpu:znver4", "int8", 4): (10.64, 8.67, 8.93),
    ("cpu:znver4", "bf16", 4): (23.5, 24.42, 26.78),
    ("cpu:znver4", "f32", 4): (34.39, 30.72, 33.08),
    ("cpu:znver4", "int8", 64): (12.8, 8.67, 8.93),
    ("cpu:znver4", "bf16", 64): (25.93, 29.54, 30.98),
    ("cpu:znver4", "f32", 64): (40.13, 49.88, 50.93),
    ("cpu:x86-64-v3", "int8", 4): (29.6, 21.14, 32.95),
    ("cpu:x86-64-v3", "f32", 4): (60.71, 52.11, 50.01),
    ("cpu:x86-64-v3", "int8", 64): (45.35, 39.51, 37.8),
    ("cpu:x86-64-v3", "f32", 64): (86.56, 85.71, 84.14),
    ("cpu:neoverse-v1", "int8", 1): (25.86, 13.13, 10.5),
}
STACK_TRAFFIC: dict[Case, tuple[float, ...]] = {
    ("cpu:znver4", "int8", 1): (0, 0, 0, 0, 0, 0, 0, 0),
    ("cpu:znver4", "bf16", 1): (0, 0, 0, 0, 0, 0, 0, 0),
    ("cpu:znver4", "f32", 1): (0, 0, 0, 0, 0, 0, 0, 0),
    ("cpu:x86-64-v3", "int8", 1): (0, 0, 1.32, 0, 0.27, 0.27, 1.32, 0),
    ("cpu:x86-64-v3", "f32", 1): (0, 1.05, 6.63, 1.51, 4.73, 5.12, 8.93, 1.32),
    ("cpu:znver4", "int8", 4): (0, 0, 0),
    ("cpu:znver4", "bf16", 4): (1.65, 0, 0),
    ("cpu:znver4", "f32", 4): (0.79, 0, 0),
    ("cpu:znver4", "int8", 64): (0, 0, 0),
    ("cpu:znver4", "bf16", 64): (0, 0.53, 0),
    ("cpu:znver4", "f32", 64): (0, 0, 0),
    ("cpu:x86-64-v3", "int8", 4): (8.67, 3.81, 4.07),
    ("cpu:x86-64-v3", "f32", 4): (14.57, 5.78, 5.91),
    ("cpu:x86-64-v3", "int8", 64): (3.15, 4.08, 3.94),
    ("cpu:x86-64-v3", "f32", 64): (1.19, 1.32, 2.89),
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

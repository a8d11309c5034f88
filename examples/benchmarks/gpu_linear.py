"""How fast `linear` is on a GPU, beside PyTorch and the peers that are installed. One run gives all figures.

    python examples/benchmarks/gpu_linear.py --rows 1,16 --shapes 8192x8192 --formats u1,u2,u4 --json out.json

Every product is checked against float64 first. Then each contender's products, over copies of the weights that together
are more than three times the GPU's second-level cache, are recorded into one CUDA graph, and contenders take turns: the
median replay counts. The bandwidth that figures are compared with is that of copying, measured in the same run.
Without a GPU it says what it would measure, and no figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from gpu_contenders import CONTENDERS, Contender, Product

from bitwright.backend.cuda.present import present_architecture
from bitwright.frontend.bench.problem import Problem, format_of, make_weights

SHAPES = "8192x8192,28672x8192,8192x28672,4096x4096,10944x7392"
FORMATS = "u1,u2,u3,u4,u6,u8,f6e3m2,f4e2m1"
LEAST_CALLS = 8  # in a graph
ROUNDS = 20  # replays of each graph, in turns


@dataclass(frozen=True)
class Row:
    """One contender's figure; `error` is relative to the largest number of the result."""

    format: str
    n: int
    k: int
    m: int
    contender: str
    microseconds: float
    gigabytes_per_second: float
    of_copying: float
    error: float


def main(arguments: list[str] | None = None) -> list[Row]:
    given = _parser().parse_args(arguments)
    cases = [
        (f, *map(int, s.split("x")), int(m))
        for s in given.shapes.split(",") for f in given.formats.split(",") for m in given.rows.split(",")
    ]  # fmt: skip
    if present_architecture() is None or not _torch_has_cuda():
        _say_what_is_missing(cases)
        return []
    bandwidth = copying_bandwidth()
    Console().print(f"copying: {bandwidth / 1e9:.0f} GB/s read and written")
    rows: list[Row] = []
    for name, n, k, m in cases:
        rows += measure(name, n, k, m, given.group, bandwidth)
    Console().print(_table(rows))
    if given.json:
        Path(given.json).write_text(json.dumps({"copying": bandwidth, "rows": [asdict(r) for r in rows]}, indent=1))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=SHAPES, help="NxK, with commas between")
    parser.add_argument("--formats", default=FORMATS, help="of the weights: u3, f6e3m2, mxfp4 ...")
    parser.add_argument("--rows", default="1,8,16,64", help="numbers of rows of x")
    parser.add_argument("--group", type=int, default=128, help="weights that share a scale")
    parser.add_argument("--json", help="a file for the figures")
    return parser


def _torch_has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _say_what_is_missing(cases: list[tuple[str, int, int, int]]) -> None:
    """What would be measured, and with what; no figures."""
    what = "There is no GPU here" if present_architecture() is None else "PyTorch with CUDA is not installed"
    print(f"{what}: nothing is measured. On a machine with both, this measures {len(cases)} products:")
    for name, n, k, m in cases:
        print(f"  {name:8} weights [{n}, {k}], {m} rows of x")
    for contender in CONTENDERS:
        print(f"  {contender.name}: {'installed' if contender.installed else 'not installed'}")


def measure(name: str, n: int, k: int, m: int, group: int, bandwidth: float) -> list[Row]:
    """Every contender that takes the weights and computes the product; one that does not is named."""
    import torch

    weights = make_weights(format_of(name, group), n, k, cold=0)
    numbers = np.random.default_rng(m).standard_normal((m, k)).astype(np.float16)
    x = torch.from_numpy(numbers).cuda()
    exact = Problem(numbers.astype(np.float32), numbers.astype(np.float64) @ weights.values.T)
    ready: list[tuple[Contender, int, float, Callable[[], float]]] = []
    for contender in CONTENDERS:
        if not contender.installed or not contender.takes(weights):
            continue
        try:
            nbytes = contender.nbytes(weights)
            products = contender.make(weights, copies(nbytes))
            error = exact.error(torch.as_tensor(products[0](x)).float().cpu().numpy())
            if not error <= contender.limit(weights):
                raise ValueError(f"a wrong product: its relative error is {error:.2g}")
            ready.append((contender, nbytes, error, recorded(products, x)))
        except Exception as failure:  # a peer that does not work must not end the measurement of the others
            print(f"{contender.name}, {name} [{n}, {k}], M = {m}: left out: {failure}", file=sys.stderr)
    times: list[list[float]] = [[] for _ in ready]
    for turn in range(ROUNDS):
        order = range(len(ready)) if turn % 2 else reversed(range(len(ready)))
        for index in order:
            times[index].append(ready[index][3]())
    found = zip(ready, (median(t) for t in times), strict=True)
    return [
        Row(name, n, k, m, c.name, 1e6 * seconds, nbytes / seconds / 1e9, nbytes / seconds / bandwidth, error)
        for (c, nbytes, error, _), seconds in found
    ]


def copies(nbytes: int) -> int:
    """How many copies of weights of that many bytes are more than three times the GPU's second-level cache."""
    import torch

    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return max(LEAST_CALLS, -(-3 * cache // nbytes) + 1)


def recorded(products: list[Product], x: object) -> Callable[[], float]:
    """A function that replays one graph of all products, and gives the seconds of one of them."""
    import torch

    warm = torch.cuda.Stream()
    with torch.cuda.stream(warm):
        for product in products:
            product(x)
    warm.synchronize()
    graph = torch.cuda.CUDAGraph()
    kept = []
    with torch.cuda.graph(graph):
        for product in products:
            kept.append(product(x))
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def replay() -> float:
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3 / len(kept)

    replay()
    return replay


def copying_bandwidth() -> float:
    """Bytes read and written a second by a copy of 2 GiB."""
    import torch

    source = torch.zeros(1 << 31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return 2 * source.numel() / median(times)


def _table(rows: list[Row]) -> Table:
    table = Table("weights", "N x K", "M", "contender", "µs", "GB/s", "of copying", "error")
    for r in rows:
        table.add_row(
            r.format, f"{r.n} x {r.k}", str(r.m), r.contender, f"{r.microseconds:.1f}",
            f"{r.gigabytes_per_second:.0f}", f"{r.of_copying:.0%}", f"{r.error:.1e}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()

"""Which library kernel runs a quantised linear on a GPU, and with which parameters: by model, without measuring."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Literal

from ...backend.cuda.architectures import ARCHITECTURES, WARP
from ...backend.cuda.block_memory import table_bytes
from ...backend.cuda.present import multiprocessors
from ...backend.lower.casts import PAIRED
from ...backend.lower.progression import progression
from ...backend.target import Target
from ...vm.dtypes import Codebook, DType, dtype
from ..build import ParameterValue
from ..kernel import Kernel, KernelSource
from .plan import library
from .plan_decode import LEAST_STEPS, DecodeWork, sharers, x_bytes
from .plan_prefill import PrefillCut, PrefillWork
from .prepared import LinearError, Prepared

__all__ = ["GpuSchedule", "cuda_kernel", "plan_cuda", "prefill_cuts", "schedules_cuda", "sums_kernel"]

Form = Literal["decode", "prefill"]

_FEW_ROWS = 32  # up to these, weights are read once and x is in shared memory
_ROWS = (8, 16, 32)
_MANY_ROWS = 128  # for products of halves by four warps, in blocks of the most lanes
_HALF = 2  # bytes
_MOST_LANES = 256  # of a block: of so many, each may have all the registers that it can address
_SMALL_TILE, _SUMS_ROWS, _COLUMNS = 2 << 10, 16, 32  # up to so many bytes, rows and columns a warp takes two at a time
_ONCE = 0.1  # by how much, as a power, tiles taken together are worth more time: instructions that serve all of them
_TILES = 2048  # of weights that a large GPU takes at once: enough are under way then to fill its memory
_STAGES = 4
_MORE = 4096  # bytes of a block's shared memory, for what is small


@dataclass(frozen=True)
class GpuSchedule:
    """How the work of one call is cut.

    form     "decode" or "prefill"
    rows     of x in a block
    splits   blocks that share the terms of a sum; 1 for "decode"
    stages   steps of K that are in shared memory or under way
    tiles    times as many columns as a block needs; for "prefill" times as many lanes, too
    share    steps of K that a block takes, of tile after tile of columns; 0 for "prefill"
    chunk    those of them whose x is in shared memory at a time; 0 for "prefill"
    """

    form: Form
    rows: int
    splits: int = 1
    stages: int = _STAGES
    tiles: int = 1
    share: int = 0
    chunk: int = 0


def plan_cuda(p: Prepared, m: int, target: Target) -> GpuSchedule:
    """The schedule for m rows, by model."""
    return schedules_cuda(p, m, target)[0]


def schedules_cuda(p: Prepared, m: int, target: Target) -> tuple[GpuSchedule, ...]:
    """Every schedule worth a measurement for m rows; the planner's own is the first."""
    if m > _FEW_ROWS:
        found = [
            GpuSchedule("prefill", cut.rows, cut.splits, stages=stages, tiles=cut.tiles)
            for cut in prefill_cuts(_work(p, m, target), lanes(p)) for stages in (3, 2, 4)
        ]  # fmt: skip
    else:
        rows = next(r for r in _ROWS if m <= r)
        works = {tiles: _decode_work(p, rows, tiles, target) for tiles in _tiles_of_warps(p, rows)}
        found = [
            GpuSchedule("decode", rows, stages=stages, tiles=tiles, share=cut.share, chunk=cut.chunk)
            for tiles in sorted(works, key=lambda tiles: works[tiles].least / tiles**_ONCE)
            for cut in works[tiles].best() for stages in (_STAGES, 3, 2)
        ]  # fmt: skip
    fits = tuple(s for s in dict.fromkeys(found) if shared_bytes(p, s) <= ARCHITECTURES[target.cpu].shared_bytes)
    if not fits:
        raise LinearError(f"no kernel for groups of {p.shape.group} weights fits the shared memory of {target.name}")
    return fits


def splits_of(steps: int, tiles: int) -> list[int]:
    """In how many shares to cut sums of so many steps of K, if there are `tiles` at each: the likeliest first."""
    splits = _cuts(steps)
    first = next((s for s in splits if s * tiles >= _TILES), splits[-1])
    return sorted(splits, key=lambda s: (abs(splits.index(s) - splits.index(first)), s))[:5]


def _tiles_of_warps(p: Prepared, rows: int) -> tuple[int, ...]:
    """How many tiles a warp may take at a time: what it does for all of x it does once for them.

    Not where a table takes the memory that blocks would need, nor where a code 0 that is not 0 may be beyond the last
    column: such are not copied ahead.
    """
    count = p.shape.columns // width(p)
    small = p.storage.tile_bytes <= _SMALL_TILE and rows <= _SUMS_ROWS and p.storage.tile_shape[1] <= _COLUMNS
    whole = count % 2 == 0 or not isinstance(p.element, Codebook)
    return (1, 2) if small and whole and count > 1 and not _table_bytes(p.element) else (1,)


def _decode_work(p: Prepared, rows: int, tiles: int, target: Target) -> DecodeWork:
    """`tiles`: that a warp takes at a time."""
    count, packed = -(-p.shape.columns // (tiles * width(p))), tiles * p.storage.tile_bytes * (lanes(p) // WARP)
    gpu, more = ARCHITECTURES[target.cpu], _table_bytes(p.element) + _MORE
    processors = multiprocessors(target.cpu)
    return DecodeWork(rows, count, steps_of(p), p.shape.run, packed, lanes(p), tiles, more, gpu, processors)


def _work(p: Prepared, m: int, target: Target) -> PrefillWork:
    steps, blocks = p.shape.depth // p.shape.run, p.shape.columns // width(p)
    packed = p.storage.tile_bytes * (lanes(p) // WARP)
    return PrefillWork(m, blocks, width(p), steps, p.shape.run, packed, target.has("wgmma"))


def prefill_cuts(work: PrefillWork, lanes: int) -> list[PrefillCut]:
    """The likeliest of blocks of 64 rows or more, then those of 32; `lanes`: of a block of the least width."""
    tiles = [t for t in (1, 2) if t <= work.columns and t * lanes <= _MOST_LANES]

    def cuts(rows: int) -> list[PrefillCut]:
        return [PrefillCut(rows, t, s) for t in tiles for s in _cuts(work.steps)]

    many = cuts(_MANY_ROWS) if work.groups and work.element == _HALF else []
    most = [cut for cut in many if cut.tiles * lanes == _MOST_LANES]
    return work.best(most + cuts(64), 5) + work.best(cuts(32), 3)


def _cuts(steps: int) -> list[int]:
    """Numbers of equal shares of so many steps, each of enough."""
    return [s for s in range(1, steps + 1) if steps % s == 0 and (s == 1 or steps // s >= LEAST_STEPS)]


def width(p: Prepared) -> int:
    """Columns of a block."""
    return int(p.scales.shape[2])


def written_together(p: Prepared) -> int:
    """Columns of y that a lane writes at once: its sums are of four neighbours, and rows of y begin at as many."""
    return gcd(p.shape.n, 4)


def lanes(p: Prepared) -> int:
    return width(p) // p.storage.tile_shape[1] * WARP


def shared_bytes(p: Prepared, s: GpuSchedule) -> int:
    """Of a block, about: x with a little room after each row, the ring of weights, and the table of a codebook."""
    weights = s.tiles * p.storage.tile_bytes * (lanes(p) // WARP)
    x = x_bytes(s.rows, max(s.chunk, 1) * p.shape.run)  # for "prefill", of each stage
    more = _table_bytes(p.element) + _MORE
    return (x + s.stages * weights if s.form == "decode" else s.stages * (x + weights)) + more


def _table_bytes(element: DType) -> int:
    """Codes of a codebook are looked up, in pairs if they are short."""
    if not isinstance(element, Codebook) or progression(element) is not None:
        return 0
    return table_bytes(1 << element.bits * (2 if element.bits <= PAIRED else 1))


def steps_of(p: Prepared) -> int:
    """Of K, for few rows: beyond x's columns there is nothing to do."""
    return -(-p.shape.k // p.shape.run)


def shares_of(p: Prepared, s: GpuSchedule) -> int:
    """The most blocks that have a part of one sum."""
    return sharers(steps_of(p), s.share) if s.form == "decode" else s.splits


def cuda_kernel(p: Prepared, s: GpuSchedule, product: str, out: DType, bias: bool, target: Target) -> Kernel:
    """The kernel of this schedule for activations of the type `product` (f16 or bf16); kept with the tensor."""
    key = (product, out.name, s, bias, target)
    if key not in p.kernels:
        p.kernels[key] = _kernel(p, s, product, out, bias, target)
    return p.kernels[key]


def sums_kernel(p: Prepared, product: str, target: Target) -> Kernel | None:
    """The kernel that sums x over groups for "prefill"; None where nothing has a zero point."""
    if p.zero_mode == "none":
        return None
    key = ("group_sums", product, target)
    if key not in p.kernels:
        shape = p.shape
        parameters: dict[str, ParameterValue] = {
            "D": dtype(product), "G": shape.group, "P": shape.run, "KG": shape.depth // shape.group, "KX": shape.k,
        }  # fmt: skip
        source = KernelSource(library("linear_cuda.bw"), "linear_cuda.bw", "group_sums")
        p.kernels[key] = Kernel(source, target, parameters)
    return p.kernels[key]


def _kernel(p: Prepared, s: GpuSchedule, product: str, out: DType, bias: bool, target: Target) -> Kernel:
    shape = p.shape
    parameters: dict[str, ParameterValue] = {
        "W": p.element, "L": p.storage, "D": dtype(product), "Y": out, "S": p.scale_type, "Z": p.zero_type,
        "G": shape.group, "ZERO": p.zero_mode, "BIAS": bias, "BM": s.rows, "BN": width(p), "BK": shape.run,
        "K": shape.depth, "KX": shape.k, "KG": shape.depth // shape.group, "ST": s.stages,
    }  # fmt: skip
    if p.zero_mode != "none":
        parameters["ZG"] = shape.depth // shape.group
    parameters["WT"] = s.tiles
    if s.form == "decode":
        unroll = s.stages if s.chunk >= s.stages else 1
        parameters |= {"U": s.share, "CS": s.chunk, "UN": unroll, "LANES": lanes(p)}
    else:
        parameters |= {"KC": shape.depth // s.splits, "SP": s.splits, "LANES": lanes(p) * s.tiles}
    source = KernelSource(library("linear_cuda.bw"), "linear_cuda.bw", f"linear_{s.form}")
    return Kernel(
        source, target, parameters, {"N": written_together(p), "T": gcd(p.shape.columns // width(p), s.tiles)}
    )

"""Which kernel of bytes runs a quantised linear on a GPU, and with which parameters: by model, without measuring."""

from __future__ import annotations

from dataclasses import dataclass

from ...backend.cuda.architectures import ARCHITECTURES
from ...backend.target import Target
from ...vm.dtypes import DType, dtype
from ..build import ParameterValue
from ..kernel import Kernel, KernelSource
from .bytes_cuda import Bytes, values_of
from .plan import library
from .plan_cuda import lanes, prefill_cuts, splits_of, width, written_together
from .plan_prefill import PrefillCut, PrefillWork
from .prepared import LinearError, Prepared

__all__ = ["ByteSchedule", "bytes_kernel", "plan_bytes", "quantize_kernel", "schedules_bytes"]

_ROWS = (8, 16, 32)  # up to these, weights are read once
_STAGES = 4
_LARGEST = {"int8": 127, "f8e4m3fn": 448}
_TYPES = {"int8": "i8", "f8e4m3fn": "f8e4m3fn"}


@dataclass(frozen=True)
class ByteSchedule:
    """How the work of one call is cut.

    rows     of x in a block
    splits   blocks that share the terms of a sum
    stages   steps of K that are in shared memory or under way
    tiles    times as many columns as a block needs, and lanes
    """

    rows: int
    splits: int = 1
    stages: int = _STAGES
    tiles: int = 1


def plan_bytes(p: Prepared, m: int, target: Target) -> ByteSchedule:
    """The schedule for m rows, by model."""
    return schedules_bytes(p, m, target)[0]


def schedules_bytes(p: Prepared, m: int, target: Target) -> tuple[ByteSchedule, ...]:
    """Every schedule worth a measurement for m rows; the planner's own is the first."""
    rows = next((r for r in _ROWS if m <= r), None)
    steps = p.shape.depth // p.shape.part
    if rows is None:
        cuts = prefill_cuts(_work(p, m, target), lanes(p))
    else:
        cuts = [PrefillCut(rows, 1, s) for s in splits_of(steps, p.shape.columns // p.storage.tile_shape[1])]
    found = [ByteSchedule(c.rows, c.splits, stages, c.tiles) for c in cuts for stages in (_STAGES, 3, 2)]
    fits = tuple(s for s in found if shared_bytes(p, s) <= ARCHITECTURES[target.cpu].shared_bytes)
    if not fits:
        raise LinearError(f"no kernel for groups of {p.shape.group} weights fits the shared memory of {target.name}")
    return fits


def _work(p: Prepared, m: int, target: Target) -> PrefillWork:
    shape = p.shape
    steps, blocks = shape.depth // shape.part, shape.columns // width(p)
    return PrefillWork(m, blocks, width(p), steps, shape.part, _packed(p), target.has("wgmma"), element=1)


def _packed(p: Prepared) -> int:
    """Bytes of weights of a block of the least width, in one step."""
    return p.storage.tile_bytes * (width(p) // p.storage.tile_shape[1])


def shared_bytes(p: Prepared, s: ByteSchedule) -> int:
    """Of a block, about: the ring of weights and of x with a little room after each row."""
    return s.stages * (s.tiles * _packed(p) + s.rows * (p.shape.part + 16)) + 4096


def bytes_kernel(p: Prepared, s: ByteSchedule, kind: Bytes, out: DType, bias: bool, target: Target) -> Kernel:
    """`linear_bytes` of this schedule; kept with the tensor."""
    key = (kind, out.name, s, bias, target)
    if key not in p.kernels:
        p.kernels[key] = _kernel(p, s, kind, out, bias, target)
    return p.kernels[key]


def quantize_kernel(p: Prepared, source: str, kind: Bytes, target: Target) -> Kernel:
    """The kernel that makes x, of the type `source`, what `linear_bytes` takes; kept with the tensor."""
    key = ("quantize_rows", source, kind, target)
    if key not in p.kernels:
        shape = p.shape
        parameters: dict[str, ParameterValue] = {
            "D": dtype(source), "Q": dtype(_TYPES[kind]), "A": shape.part, "LARGEST": _LARGEST[kind], "KX": shape.k,
            "P": shape.depth // shape.part,
        }  # fmt: skip
        p.kernels[key] = Kernel(_source("quantize_rows"), target, parameters)
    return p.kernels[key]


def _source(name: str) -> KernelSource:
    return KernelSource(library("bytes_cuda.bw"), "bytes_cuda.bw", name)


def _kernel(p: Prepared, s: ByteSchedule, kind: Bytes, out: DType, bias: bool, target: Target) -> Kernel:
    shape = p.shape
    depth = shape.depth // s.splits
    parameters: dict[str, ParameterValue] = {
        "W": p.element, "L": p.storage, "X": dtype(_TYPES[kind]), "V": values_of(p.element, kind), "Y": out,
        "S": p.scale_type, "Z": p.zero_type, "G": shape.group, "A": shape.part, "SHIFT": p.shift,
        "ZERO": p.zero_mode, "BIAS": bias, "BM": s.rows, "BN": width(p), "K": shape.depth,
        "KG": shape.depth // shape.group, "KC": depth, "SP": s.splits, "LANES": lanes(p) * s.tiles,
        "WT": s.tiles, "ST": s.stages, "UN": s.stages if depth // shape.part >= s.stages and s.rows <= 16 else 1,
    }  # fmt: skip
    if p.zero_mode != "none":
        parameters["ZG"] = shape.depth // shape.group
    return Kernel(_source("linear_bytes"), target, parameters, {"N": written_together(p)})

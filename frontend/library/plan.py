"""Which library kernel runs a quantised linear, and with which parameters: a choice by model, without measuring.

Kernels differ in the activations (f32, bf16 or bytes) and in how weights are decoded: in registers, each time that a
few rows of x pass over them ("direct"), or once into a panel in the cache that many rows share ("panel").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from ...backend.atoms import has_instruction
from ...backend.llvm.feature_names import is_arm
from ...backend.llvm.pool import threads
from ...backend.target import Target
from ...vm.dtypes import dtype
from ...vm.layout.storage import default_planes
from ..build import ParameterValue
from ..kernel import Kernel, KernelSource
from .exact import fits_bf16
from .prepared import Activations, LinearError, Prepared, Shape, padded, prepare

__all__ = [
    "Activations", "LinearError", "Prepared", "Schedule", "Shape", "padded", "plan", "prepare", "prepared_kernel",
    "product", "schedules",
]  # fmt: skip

Product = Literal["f32", "bf16", "int8"]
Form = Literal["direct", "panel"]

TABLE_BITS = 6  # widest codes that few permutes look up
MOST_AHEAD = 8  # storage tiles
BYTES: dict[Product, int] = {"f32": 4, "bf16": 2, "int8": 1}  # of a weight in a panel
DEEP_BYTES = 512 << 10  # half of a second-level cache

# Measured on Zen 5 (docs/performance.md); all are choices of speed alone.
BYTES_AHEAD = 4 << 10  # of weights in flight: more does not help
MOST_ROWS = 6  # the sums of 6 rows x 4 vectors leave 8 registers of 32
ONE_PASS: dict[Product, int] = {"f32": 5, "bf16": 5, "int8": 6}  # rows that are faster in one pass than in two
PASS_ROWS = 4  # of each pass, where there are several
SHALLOW_BYTES: dict[Product, int] = {"f32": 16 << 10, "bf16": 16 << 10, "int8": 32 << 10}  # in a first-level cache
# Over codes of one, two or three pieces, that cost as much as a panel.
PASSES: dict[Product, tuple[int, ...]] = {"f32": (8, 4, 4), "bf16": (3, 1, 1), "int8": (16, 6, 5)}
PANEL_ROWS = (4, 3)
FEW_ROWS = 2  # in any form, where 16 registers hold all
FEW_PASSES = (4, 2, 1)
MANY_ROWS: dict[Product, int] = {"f32": 128, "bf16": 128, "int8": 512}  # for which a deep panel is better
SHARES = (512, 128, 32)  # rows that one panel serves: fewer, where columns alone do not keep all threads busy


@dataclass(frozen=True)
class Schedule:
    """How the work of one call is cut.

    form   "direct" or "panel"
    rows   of x that are multiplied with each decoded weight: their sums are in registers
    ahead  storage tiles of weights that are in flight: 1 fetches nothing before it is used
    depth  of a panel, in rows of K; 0 for "direct"
    share  rows of x that one block serves with its panel; 0 for "direct"
    next   whether a "direct" kernel fetches the next column tile of weights meanwhile; a panel's always does
    """

    form: Form
    rows: int
    ahead: int = MOST_AHEAD
    depth: int = 0
    share: int = 0
    next: bool = False

    def padded_rows(self, m: int) -> int:
        """Rows that a call for m rows computes."""
        return -(-m // self.rows) * self.rows


@lru_cache(maxsize=16)
def library(name: str) -> str:
    """The text of a library file."""
    return (files("bitwright.frontend.library") / name).read_text(encoding="utf-8")


def product(p: Prepared, activations: Activations, form: Form, target: Target) -> Product:
    """What the kernel multiplies.

    bf16 numbers only where every weight is one, so that weights are never rounded; where an instruction multiplies
    them; and, in "direct", where a table gives them, since wider codes are decoded to f32 sooner.  Else rounded
    activations go into f32 products.
    """
    if activations == "int8":
        return "int8"
    wide = target.has("avx512vbmi") or (target.has("avx512f") and p.element.bits <= TABLE_BITS)
    soon = form == "panel" or wide  # where permutes are wide, of bytes or of words
    pairs = has_instruction(target, "dp2a_bf16") and soon and fits_bf16(p.element)
    return "bf16" if activations == "bf16" and pairs else "f32"


def plan(p: Prepared, activations: Activations, m: int, target: Target) -> Schedule:
    """The schedule for m rows, by model.

    To decode weights once for a panel, write it and read it again costs as much as to decode them a few times in
    registers: the fewer, the more pieces a code is put together from.
    """
    kind = product(p, activations, "direct", target)
    many = many_registers(target)
    passes = 1 if m <= (ONE_PASS[kind] if many else FEW_ROWS) else -(-m // (PASS_ROWS if many else FEW_ROWS))
    pieces, columns = len(default_planes(p.element.bits)), p.storage.tile_shape[1]
    again = p.shape.depth * columns * p.element.bits // 8 <= DEEP_BYTES  # the next pass finds them in that cache
    if passes == 1 or (again and passes <= (PASSES[kind] if many else FEW_PASSES)[pieces - 1]):
        # A group of one storage tile is multiplied without a loop, which the choice of what to fetch would cut in two.
        fetched = passes > 1 and p.shape.part > p.shape.run
        near = fetched and kind == "int8"  # hints for what is in a cache already would fill half the loop
        return Schedule("direct", -(-m // passes), 1 if near else _ahead(p), next=fetched)
    rows = min(PANEL_ROWS if many else (FEW_ROWS,), key=lambda r: -(-m // r) * r)
    made = product(p, activations, "panel", target)
    depth = _depth(p, made, m >= MANY_ROWS[made])
    blocks = p.shape.columns // columns
    share = next((s for s in SHARES if blocks * -(-m // s) >= 2 * threads()), SHARES[-1])
    return Schedule("panel", rows, depth=depth, share=-(-share // rows) * rows)


def _ahead(p: Prepared) -> int:
    """How many storage tiles are in flight: a power of two, as schedules have it."""
    tiles = min(MOST_AHEAD, max(1, BYTES_AHEAD // p.storage.tile_bytes))
    return 1 << tiles.bit_length() - 1


def many_registers(target: Target) -> bool:
    """Whether there are 32 vector registers, and not 16."""
    return target.has("avx512f") or is_arm(target.triple)


def schedules(p: Prepared, activations: Activations, m: int, target: Target) -> tuple[Schedule, ...]:
    """Every schedule worth a measurement for m rows; the planner's own is the first."""
    found = [plan(p, activations, m, target)]
    kind = product(p, activations, "panel", target)
    for rows in range(1, min(m, MOST_ROWS) + 1):
        for passes_on in (False, True) if rows < m else (False,):
            found += [Schedule("direct", rows, ahead, next=passes_on) for ahead in (1, 2, 4, MOST_AHEAD)]
        for share in SHARES:
            for deep in (False, True):
                found.append(Schedule("panel", rows, MOST_AHEAD, _depth(p, kind, deep), -(-share // rows) * rows))
    return tuple(dict.fromkeys(found))


def _depth(p: Prepared, kind: Product, deep: bool) -> int:
    """Rows of K in one panel: the most that fit the cache, of those that divide the padded K.

    A shallow panel stays in the first-level cache, a deep one in the second, and its sums are in memory less often.
    A sum of f32 products goes over the whole depth, so that a shallow panel is also more exact.
    """
    s, columns = p.shape, p.storage.tile_shape[1]
    step = {"f32": s.part, "bf16": s.group, "int8": s.part}[kind]
    room = DEEP_BYTES if deep and kind != "f32" else SHALLOW_BYTES[kind]
    most = max(step, room // (columns * BYTES[kind]))
    return max(d for d in range(step, s.depth + 1, step) if s.depth % d == 0 and d <= most)


def prepared_kernel(p: Prepared, activations: Activations, schedule: Schedule, bias: bool, target: Target) -> Kernel:
    """The kernel of this schedule."""
    kind = product(p, activations, schedule.form, target)
    key = (kind, schedule, bias, target)
    if key not in p.kernels:
        p.kernels[key] = _kernel(p, kind, schedule, bias, target)
    return p.kernels[key]


def _kernel(p: Prepared, kind: Product, schedule: Schedule, bias: bool, target: Target) -> Kernel:
    """K is a constant of the kernel (offsets of rows are then part of an instruction); N is not, so that layers of one
    depth share a kernel.
    """
    s, columns = p.shape, p.storage.tile_shape[1]
    parameters: dict[str, ParameterValue] = {
        "W": p.element, "L": p.storage, "S": p.scale_type, "Z": p.zero_type, "G": s.group, "ZERO": p.zero_mode,
        "BIAS": bias, "BM": schedule.rows, "BN": columns, "BK": s.run, "K": s.depth, "KG": s.depth // s.group,
        "AHEAD": schedule.ahead,
    }  # fmt: skip
    if p.zero_mode != "none":
        parameters["ZG"] = s.depth // s.group
    if kind == "int8":
        parameters |= {"A": s.part, "SHIFT": p.shift}
    if schedule.form == "panel":
        parameters |= {"R": schedule.share, "KC": schedule.depth}
        if kind == "int8" and p.differences_are_bytes:
            parameters |= {"ZERO": "byte", "SHIFT": p.shift + 128}
        source = KernelSource(library("panel.bw"), "panel.bw", f"panel_{kind}")
    elif kind == "int8":
        parameters["NEXT"] = schedule.next
        source = KernelSource(library("linear.bw"), "linear.bw", "linear_int8")
    else:
        parameters |= {"D": dtype(kind), "NEXT": schedule.next}
        source = KernelSource(library("linear.bw"), "linear.bw", "linear_float")
    return Kernel(source, target, parameters, {"M": schedule.rows})


@lru_cache(maxsize=64)
def activation_kernel(name: str, target: Target, **parameters: ParameterValue) -> Kernel:
    """A kernel of activations.bw."""
    return Kernel(KernelSource(library("activations.bw"), "activations.bw", name), target, parameters)

"""`linear`: x @ w.T + bias with a quantised weight, on the CPU."""

from __future__ import annotations

from math import gcd
from typing import Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ..backend.target import Target
from ..backend.target import target as find_target
from ..vm.dtypes import DType
from .kernel import Kernel
from .library.plan import Schedule, activation_kernel, plan, prepared_kernel, product
from .library.prepared import COLUMNS_PER_LANE, LONGEST_PART, Activations, LinearError, Prepared, prepare
from .quantize import quantize
from .rows import Floats, as_floats, as_rows
from .tensor import QTensor
from .tune.dispatch import tuned

__all__ = ["LinearError", "linear", "linear_kernel", "run"]

Array = TypeVar("Array")  # a NumPy array or a torch tensor: what x is, y is too
Inputs = tuple[NDArray[np.generic], ...]

MODES: tuple[Activations, ...] = get_args(Activations)


def linear(
    x: Array, q: QTensor, bias: object = None, activations: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto"
) -> Array:
    """y[M, N] = x[M, K] @ q[N, K].T + bias[N]; `x` may have any leading sizes, and y then has them too.

    `x` is a NumPy array or a torch CPU tensor of f32, f16, bf16 or f64, and y is of the same kind and dtype.  The work
    is done in f32 whatever x is (f64 is rounded to f32 first), with weights that are exactly those of `q.dequantize()`.

    With T = the sum of |x[k]| (|code[k]| + |zero|) |scale| over k (for "min" zero points of |x[k]| (|code[k] scale| +
    |zero|)) plus |bias|, y is off by no more than (K + 16) 2^-24 T and, for each mode:

    * "f32" takes x as it is: nothing more.
    * "bf16" and "f16" round each x to the nearest number of that type first: 2^-8 or 2^-11 times T more.  In f16,
      |x| above 65504 becomes infinite.
    * "int8" rounds x, for each row and group (or equal part of a group) of at most 128 columns, to 8-bit integers: each
      x is off by 1.0001 max|x| / 254 of its part, or by 1e-36 if that is more.  Only for element types whose values are
      integers times a power of two and fit a byte.
    * "auto" is "f32": the result never depends on a rounding that was not asked for.

    Raises LinearError when shapes, dtypes or the mode do not fit.
    """
    if not isinstance(q, QTensor):
        raise LinearError(f"the weight is a {type(q).__name__}: give a QTensor, as quantize(w, 'u4') makes it")
    mode: Activations = "f32" if activations == "auto" else activations
    if mode not in MODES:
        raise LinearError(f'activations={activations!r}: choose "auto", "f32", "bf16", "f16" or "int8"')
    rows, back = as_rows(x, q.shape[1])
    offsets = None if bias is None else as_floats(bias, "bias")
    if offsets is not None and offsets.shape != q.shape[:1]:
        raise LinearError(
            f"bias has shape {list(offsets.shape)}, but the weight has N = {q.shape[0]} rows: "
            f"give a bias of shape [{q.shape[0]}]"
        )
    here = find_target("cpu")
    schedule = tuned(q.format, mode, rows.shape[0], *q.shape)
    return cast(Array, back(run(prepare(q, mode, here), mode, rows, offsets, here, schedule)))


def run(
    p: Prepared, mode: Activations, x: Floats, bias: Floats | None, here: Target, schedule: Schedule | None = None
) -> Floats:
    """x @ w.T + bias for contiguous f32 arrays, by the planner's schedule unless another is given."""
    m = x.shape[0]
    if not m:
        return np.empty((0, p.shape.n), np.float32)
    chosen = plan(p, mode, m, here) if schedule is None else schedule
    rows = chosen.padded_rows(m)
    if (rows, p.shape.depth) != x.shape:
        x = np.pad(x, ((0, rows - m), (0, p.shape.depth - p.shape.k)))
    offsets = np.zeros(0, np.float32) if bias is None else bias
    kernel = prepared_kernel(p, mode, chosen, bias is not None, here)
    y = np.empty((rows, p.shape.n), np.float32)
    kernel.function(*_inputs(p, mode, chosen, x, here), p.weights, p.scales, p.zeros, offsets, y)
    return y[:m]


def linear_kernel(
    element: str | DType, group: int = 128, m: int = 1, activations: Activations = "f32",
    target: str = "cpu", zero_point: bool | None = None, n: int = 4096, k: int = 4096,
) -> Kernel:  # fmt: skip
    """The kernel that `linear` runs for `m` rows and weights [n, k] of this element type.

    To look at (`.source("asm")`, `.report()`) or to call by hand; its arguments are those of `library/linear.bw`, or
    for many rows of `library/panel.bw`.  It serves any n of the same width of tile: narrow up to the target's lanes,
    wide above.
    """
    if m < 1:
        raise LinearError(f"m={m}: a kernel takes at least one row")
    where = find_target(target)
    few = min(n, where.lanes * COLUMNS_PER_LANE)
    weights = np.random.default_rng(0).standard_normal((few, k), np.float32)
    q = quantize(weights, element, group=group, zero_point=zero_point)
    p = prepare(q, activations, where)
    return prepared_kernel(p, activations, plan(p, activations, m, where), False, where)


def _inputs(p: Prepared, mode: Activations, schedule: Schedule, x: Floats, here: Target) -> Inputs:
    """What a kernel of this mode and schedule takes of x."""
    if mode == "int8":
        return _quantised(p, x, here)
    kind = product(p, mode, schedule.form, here)
    if mode == "bf16":
        codes, total = np.empty(x.shape, np.uint16), _side(p, x)
        activation_kernel("round_rows", here, **_pieces(p)).function(x, codes, total)
        if kind == "bf16":
            return codes, total
        x = (codes.astype(np.uint32) << 16).view(np.float32)
    elif mode == "f16":
        with np.errstate(over="ignore"):
            x = x.astype(np.float16).astype(np.float32)
    return (x,) if schedule.form == "panel" else (x, _sums(p, x, here))


def _side(p: Prepared, x: Floats) -> Floats:
    """Room for one number for each row and group."""
    return np.empty((x.shape[0], p.shape.depth // p.shape.group), np.float32)


def _pieces(p: Prepared) -> dict[str, int]:
    return {"G": p.shape.group, "T": gcd(p.shape.group, LONGEST_PART)}


def _sums(p: Prepared, x: Floats, here: Target) -> Floats:
    total = _side(p, x)
    if p.zero_mode != "none":
        activation_kernel("group_sums", here, **_pieces(p)).function(x, total)
    return total


def _quantised(p: Prepared, x: Floats, here: Target) -> Inputs:
    q = np.empty(x.shape, np.int8)
    step, total = (np.empty((x.shape[0], p.shape.depth // p.shape.part), np.float32) for _ in range(2))
    activation_kernel("quantize_rows", here, A=p.shape.part).function(x, q, step, total)
    return q, step, total

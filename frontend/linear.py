"""`linear`: x @ w.T + bias with a quantised weight, where x lies."""

from __future__ import annotations

from typing import Literal, TypeVar, cast, get_args

import numpy as np

from ..backend.target import Target
from ..backend.target import target as find_target
from ..vm.dtypes import DType
from .gpu_arrays import on_gpu
from .kernel import Kernel
from .library.plan import Schedule, plan, prepared_kernel
from .library.prepared import COLUMNS_PER_LANE, Activations, LinearError, Prepared, prepare
from .linear_gpu import linear_gpu, linear_gpu_kernel
from .quantize import quantize
from .route import route
from .rows import Floats, as_floats, as_rows
from .tensor import QTensor
from .tune.dispatch import tuned

__all__ = ["LinearError", "linear", "linear_kernel", "run"]

Array = TypeVar("Array")  # a NumPy array or a torch tensor: what x is, y is too

MODES: tuple[Activations, ...] = get_args(Activations)
NO_BIAS = np.zeros(0, np.float32)


def linear(
    x: Array, q: QTensor, bias: object = None,
    activations: Literal["auto", "f32", "bf16", "f16", "int8", "f8e4m3fn"] = "auto",
) -> Array:  # fmt: skip
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

    x may also be a torch CUDA tensor or a CuPy array, of f32, f16 or bf16: y is then computed on that GPU, on the
    caller's stream, and may be recorded into a CUDA graph (call once before).  Products are of 16-bit floats, exact,
    with sums in f32; x of 16 bits is taken as it is, f32 as three numbers of bf16 ("auto", "f32") or rounded.  In bf16
    |x| of 2^64 and more is infinite.  "int8" rounds as on a CPU, for groups of multiples of 32.  There is one more mode
    there: "f8e4m3fn" makes the largest |x| of such a part 448 and rounds to f8e4m3fn, so that each x is off by |x| / 16
    or 2^-19 of that largest; for element types whose values are f8e4m3fn.

    Raises LinearError when shapes, dtypes or the mode do not fit.
    """
    if not isinstance(q, QTensor):
        raise LinearError(f"the weight is a {type(q).__name__}: give a QTensor, as quantize(w, 'u4') makes it")
    if activations not in (*MODES, "auto", "f8e4m3fn"):
        raise LinearError(f'activations={activations!r}: choose "auto", "f32", "bf16", "f16" or "int8"')
    if on_gpu(x):
        return cast(Array, linear_gpu(x, q, bias, activations))
    if activations == "f8e4m3fn":
        raise LinearError('activations="f8e4m3fn" is for GPUs: on a CPU choose "auto", "f32", "bf16", "f16" or "int8"')
    mode: Activations = "f32" if activations == "auto" else activations
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
    way = route(p, mode, m, bias is not None, here, schedule)
    if (way.rows, p.shape.depth) != x.shape:
        x = _padded(x, way.rows, p.shape.depth)
    y = np.empty((way.rows, p.shape.n), np.float32)
    way.kernel(*way.inputs(x), p.weights, p.scales, p.zeros, NO_BIAS if bias is None else bias, y)
    return y if way.rows == m else y[:m]


def _padded(x: Floats, rows: int, depth: int) -> Floats:
    """x with rows and columns of zeros after its own."""
    out = np.zeros((rows, depth), np.float32)
    out[: x.shape[0], : x.shape[1]] = x
    return out


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
    if where.kind == "cuda":
        return linear_gpu_kernel(element, group, m, activations, where, zero_point, n, k)
    few = min(n, where.lanes * COLUMNS_PER_LANE)
    weights = np.random.default_rng(0).standard_normal((few, k), np.float32)
    q = quantize(weights, element, group=group, zero_point=zero_point)
    p = prepare(q, activations, where).planned_for(n)
    return prepared_kernel(p, activations, plan(p, activations, m, where), False, where)

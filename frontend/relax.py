"""The bridge to TVM's Relax: our kernels as functions that a Relax module calls, and its linears exchanged for ours.

Needs Apache TVM (`pip install "bitwright[tvm]"`), which is imported when the first function here is called.

    bw.relax.register(kernel, "my.kernel")               # R.call_dps_packed("my.kernel", args, out_ty=...)
    module = bw.relax.lower_linears(module, {"w1": q1})   # R.matmul(x, R.permute_dims(w1)) -> our quantised linear
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from .kernel import Kernel
from .library.plan import Activations
from .linear import linear
from .tensor import QTensor

if TYPE_CHECKING:
    import tvm
    import tvm_ffi


class RelaxError(ValueError):
    """Something that cannot be handed to TVM; the message says why."""


@cache
def _tvm() -> ModuleType:
    """Apache TVM.  Importing it replaces `sys.excepthook`, which is put back."""
    hook = sys.excepthook
    try:
        return importlib.import_module("tvm")
    except ImportError as error:
        raise RelaxError('Apache TVM is not installed: pip install "bitwright[tvm]"') from error
    finally:
        sys.excepthook = hook


def register(kernel: Kernel | tvm_ffi.Function | Callable[..., None], name: str, override: bool = False) -> None:
    """Makes a kernel a global packed function of TVM, under `name`.

    `R.call_dps_packed(name, (x, w), out_ty=...)` then calls it with its inputs, and the output last: the kernel's own
    order of arguments must be so.  A name that is taken is an error unless `override`.
    """
    tvm = _tvm()
    if not override and tvm.get_global_func(name, allow_missing=True) is not None:
        raise RelaxError(f"TVM has a function {name!r} already: choose another name, or pass override=True")
    function = kernel.function if isinstance(kernel, Kernel) else kernel
    tvm.register_global_func(name, function, override=override)


def register_linear(
    q: QTensor, name: str, bias: object = None, activations: Activations = "f32", override: bool = False
) -> str:
    """Registers `f(x[M, K], y[M, N])`, both f32, that writes `bw.linear(x, q, bias)` into y, and gives back its name.

    The weight lives as long as the function is registered.
    """

    def function(x: tvm.runtime.Tensor, y: tvm.runtime.Tensor) -> None:
        target = np.from_dlpack(y)
        target[...] = cast(NDArray[np.float32], linear(np.from_dlpack(x), q, bias, activations))

    register(function, name, override)
    return name


def lower_linears(
    module: tvm.IRModule,
    weights: Mapping[str, QTensor],
    activations: Activations = "f32",
    prefix: str = "bitwright.linear",
) -> tvm.IRModule:
    """The module with each `matmul(x, permute_dims(w))` whose `w` is a parameter named in `weights` run by our kernels.

    The parameters stay in the signature (their values are no longer read).  RelaxError for a name that no function of
    the module has as a parameter, or whose shape is not the quantised tensor's.
    """
    _tvm()
    relax = importlib.import_module("tvm.relax")
    patterns = importlib.import_module("tvm.relax.dpl")
    found: set[str] = set()
    result = module.clone()
    for variable, function in module.functions.items():
        if not isinstance(function, relax.Function):
            continue
        for parameter in function.params:
            q = weights.get(parameter.name)
            if q is None:
                continue
            found.add(parameter.name)
            _check_shape(parameter, q)
            label = f"{prefix}.{q.digest[:16]}.{activations}"
            register_linear(q, label, activations=activations, override=True)
            function = _exchange(relax, patterns, function, parameter, label)
        result.update_func(variable, function)
    missing = sorted(set(weights) - found)
    if missing:
        raise RelaxError(
            f"no function of the module has a parameter {', '.join(missing)}: name weights as the module does"
        )
    return result


def _check_shape(parameter: tvm.relax.Var, q: QTensor) -> None:
    shape = tuple(int(n) for n in parameter.ty.shape)
    if shape != q.shape:
        raise RelaxError(f"{parameter.name} is {list(shape)} in the module, its quantised tensor is {list(q.shape)}")


def _exchange(
    relax: ModuleType, patterns: ModuleType, function: tvm.relax.Function, weight: tvm.relax.Var, label: str
) -> tvm.relax.Function:
    """Calls our function `label` wherever x is multiplied by the transposed weight."""
    x = patterns.wildcard()
    turned = patterns.is_op("relax.permute_dims")(patterns.wildcard())
    product = patterns.is_op("relax.matmul")(x, turned)

    def rewrite(call: tvm.relax.Call, matched: Mapping[object, tvm.relax.Expr]) -> tvm.relax.Expr:
        axes = matched[turned].attrs.axes
        plain = axes is None or [int(a) for a in axes] == [1, 0]
        if not plain or not matched[turned].args[0].same_as(weight):
            return call
        return relax.op.call_dps_packed(label, relax.Tuple([matched[x]]), out_ty=call.ty)

    return patterns.rewrite_call(product, rewrite, function)

"""OpenVINO: a MatMul whose weights are codes, which its CPU plugin keeps packed and decodes as it multiplies.

The plugin knows the product by its pattern: Constant of codes, Convert, Subtract of zero points, Multiply by scales,
all in f16, then Reshape to [N, K], Convert and MatMul. Whether it was known shows in the compiled model: the layer that
multiplies takes the codes themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....vm.bits import pack
from ....vm.dtypes import Int
from ...library.plan import Activations
from ..problem import Loaded, Problem, Weights
from ..timing import Contender, Facts

if TYPE_CHECKING:
    import openvino

TYPES = ("u2", "u4", "u8", "i4", "i8", "nf4")
"""Element types whose codes OpenVINO has in the same order as we do."""

PRODUCTS_PER_MODEL = 8
"""Products in one run of a model: its start hardly counts, and a median of them still means something."""


class NotPacked(RuntimeError):
    """The compiled model holds the weights as wider numbers than their codes."""


@dataclass(frozen=True)
class Mode:
    """Settings of the plugin: what activations are rounded to, the type of products that are not of bytes, and whether
    a model is compiled for each number of rows.

    A fixed number of rows is the faster way at many rows. It takes half a minute, so only int8, which is the fastest
    mode, gets it.
    """

    activations: Activations
    precision: str
    fixed: bool


MODES = (Mode("int8", "f32", True), Mode("bf16", "bf16", False), Mode("f32", "f32", False))


def load_openvino(weights: Weights, threads: int) -> Iterator[Loaded]:
    """One contender for each mode that this processor has."""
    import openvino

    q = weights.q
    group, k = q.format.group, q.shape[1]
    plain = q.format.zero in (None, "int") and q.format.second is None
    in_f16 = np.array_equal(q.scale_values, q.scale_values.astype(np.float16))
    if q.format.element.name not in TYPES or not plain or not in_f16 or group is None or k % group:
        return
    core = openvino.Core()
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    # Weights of a table are multiplied as f32 even if bytes are asked for.
    able = {"int8": isinstance(q.format.element, Int), "bf16": has_bf16, "f32": True}
    for mode in MODES:
        if able[mode.activations]:
            yield _load(core, weights, mode, threads)


def _load(core: openvino.Core, weights: Weights, mode: Mode, threads: int) -> Loaded:
    q, parts = weights.q, _Parts.of(weights)
    name = q.format.element.name
    facts = Facts("openvino", name, q.format.element.bits, mode.activations, parts.nbytes)
    firsts = range(0, weights.copies(facts.nbytes), PRODUCTS_PER_MODEL)
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": mode.precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": q.format.group if mode.activations == "int8" else 0,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }

    def compiled(rows: int) -> list[openvino.CompiledModel]:
        return [_compile(core, parts, first, rows, settings) for first in firsts]

    shared = None if mode.fixed else compiled(-1)

    def start(problem: Problem) -> Contender:
        models = compiled(problem.x.shape[0]) if shared is None else shared
        return _contender(models, facts, problem)

    return Loaded(facts, start)


def _contender(models: list[openvino.CompiledModel], facts: Facts, problem: Problem) -> Contender:
    import openvino

    requests = [model.create_infer_request() for model in models]
    x = openvino.Tensor(problem.x, shared_memory=True)
    errors: list[float] = []
    for index, request in enumerate(requests):
        request.set_input_tensor(x)
        request.infer()
        for output in range(PRODUCTS_PER_MODEL):
            # The columns are turned as the rows of the weights are.
            turned = np.roll(request.get_output_tensor(output).data, -(index * PRODUCTS_PER_MODEL + output), axis=1)
            errors.append(problem.checked(facts, turned))
    turn = count()
    return Contender(facts, max(errors), PRODUCTS_PER_MODEL, lambda: requests[next(turn) % len(requests)].infer())


@dataclass(frozen=True, eq=False)
class _Parts:
    """The tensor's parts by row: codes [N, groups, group], zero points [N, groups, 1] or None, and scales likewise."""

    kind: str
    bits: int
    codes: npt.NDArray[np.uint8]
    zeros: npt.NDArray[np.uint8] | None
    scales: npt.NDArray[np.float16]

    @staticmethod
    def of(weights: Weights) -> _Parts:
        q = weights.q
        n, k = q.shape
        groups = q.format.groups(k)
        zeros = None if q.zeros is None else q.zeros.astype(np.uint8).reshape(n, groups, 1)
        scales = q.scale_values.astype(np.float16).reshape(n, groups, 1)
        codes = q.codes.reshape(n, groups, -1)
        return _Parts(q.format.element.name, q.format.element.bits, codes, zeros, scales)

    @property
    def nbytes(self) -> int:
        zeros = 0 if self.zeros is None else -(-self.zeros.size * self.bits // 8)
        return self.codes.size * self.bits // 8 + zeros + self.scales.nbytes

    def turned(self, copy: int) -> _Parts:
        """The rows turned further for each copy, so that no two are alike and the library cannot share them."""
        zeros = None if self.zeros is None else np.roll(self.zeros, copy, axis=0)
        return _Parts(
            self.kind, self.bits, np.roll(self.codes, copy, axis=0), zeros, np.roll(self.scales, copy, axis=0)
        )


def _compile(
    core: openvino.Core, parts: _Parts, first: int, rows: int, settings: dict[str, object]
) -> openvino.CompiledModel:
    import openvino
    from openvino import opset15 as op

    n, groups, group = parts.codes.shape
    x = op.parameter([rows, groups * group], openvino.Type.f32, name="x")
    results = []
    for copy in range(first, first + PRODUCTS_PER_MODEL):
        own = parts.turned(copy)
        w = op.convert(_constant(own.codes, own), "f16")
        if own.zeros is not None:
            w = op.subtract(w, op.convert(_constant(own.zeros, own), "f16"))
        w = op.multiply(w, op.constant(own.scales))
        w = op.convert(op.reshape(w, op.constant(np.array([n, groups * group])), False), "f32")
        results.append(op.result(op.matmul(x, w, False, True)))
    compiled = core.compile_model(openvino.Model(results, [x]), "CPU", settings)
    _check_packed(compiled, parts.kind)
    return compiled


def _constant(codes: npt.NDArray[np.uint8], parts: _Parts) -> openvino.Node:
    import openvino
    from openvino import opset15 as op

    packed = pack(codes.reshape(-1), parts.bits)
    kind = getattr(openvino.Type, parts.kind)
    return op.constant(openvino.Tensor(packed, openvino.Shape(list(codes.shape)), kind), shared_memory=False)


def _check_packed(compiled: openvino.CompiledModel, kind: str) -> None:
    """Every layer that multiplies says that it takes the codes' own type: the plugin has not decoded them ahead."""
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    found = [
        info["runtimePrecision"].astype(str) for info in layers if info["layerType"].astype(str) == "FullyConnected"
    ]
    if found != [kind] * PRODUCTS_PER_MODEL:
        raise NotPacked(f"its compiled model multiplies {found or 'by other layers'}, not {kind} weights")

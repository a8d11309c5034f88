"""ONNX Runtime: MatMulNBits, the product of integers of 2, 4 and 8 bits with scales by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....vm.dtypes import Int
from ..problem import Loaded, Problem, Weights
from ..timing import Contender, Facts
from .onnx_model import Node, model

if TYPE_CHECKING:
    import onnxruntime

BITS = (2, 4, 8)
"""Widths that MatMulNBits has."""

PRODUCTS_PER_SESSION = 8
"""Products in one run of a session: its start hardly counts, and a median of them still means something."""

_INT8 = 4  # MatMulNBits' accuracy_level: activations may be rounded to int8


def load_onnx(weights: Weights, threads: int) -> Iterator[Loaded]:
    """The product of the same codes, scales and zero points, with activations rounded to int8.

    Sessions of several nodes, each node with a copy of the weights: one call runs a session.
    """
    if not _fits(weights):
        return
    arrays = _arrays(weights)
    nbytes = sum(array.nbytes for array in arrays.values())
    element = weights.q.format.element
    facts = Facts("onnxruntime", f"u{element.bits}", element.bits, "int8", nbytes)
    sessions = [
        _session(weights, arrays, first, threads) for first in range(0, weights.copies(nbytes), PRODUCTS_PER_SESSION)
    ]

    def start(problem: Problem) -> Contender:
        runs = [_Run.bind(session, problem.x, weights.q.shape[0]) for session in sessions]
        firsts = range(0, len(runs) * PRODUCTS_PER_SESSION, PRODUCTS_PER_SESSION)
        errors = [error for first, run in zip(firsts, runs, strict=True) for error in run.errors(problem, facts, first)]
        turn = count()
        return Contender(facts, max(errors), PRODUCTS_PER_SESSION, lambda: runs[next(turn) % len(runs)]())

    yield Loaded(facts, start)


def _fits(weights: Weights) -> bool:
    format, k = weights.q.format, weights.q.shape[1]
    element, group = format.element, format.group
    if not isinstance(element, Int) or element.bits not in BITS or format.second is not None:
        return False
    if format.zero != (None if element.signed else "int"):
        return False
    return group is not None and group >= 16 and group & (group - 1) == 0 and k % group == 0


@dataclass(frozen=True, eq=False)
class _Run:
    """A session whose input and results are bound to memory, so that a call copies nothing."""

    session: onnxruntime.InferenceSession
    binding: onnxruntime.IOBinding
    results: list[onnxruntime.OrtValue]

    @staticmethod
    def bind(session: onnxruntime.InferenceSession, x: npt.NDArray[np.float32], n: int) -> _Run:
        import onnxruntime

        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        outputs = session.get_outputs()
        results = [onnxruntime.OrtValue.ortvalue_from_shape_and_type((x.shape[0], n), np.float32) for _ in outputs]
        for output, result in zip(outputs, results, strict=True):
            binding.bind_ortvalue_output(output.name, result)
        return _Run(session, binding, results)

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def errors(self, problem: Problem, facts: Facts, first: int) -> list[float]:
        """The errors of every product, whose columns are turned as the rows of its weights."""
        self()
        turned = (np.roll(y.numpy(), -copy, axis=1) for copy, y in enumerate(self.results, first))
        return [problem.checked(facts, y) for y in turned]


def _session(
    weights: Weights, arrays: dict[str, npt.NDArray[np.generic]], first: int, threads: int
) -> onnxruntime.InferenceSession:
    import onnxruntime

    q = weights.q
    n, k = q.shape
    assert q.format.group is not None
    attributes = {
        "K": k, "N": n, "bits": q.format.element.bits, "block_size": q.format.group, "accuracy_level": _INT8
    }  # fmt: skip
    nodes: list[Node] = []
    constants: dict[str, npt.NDArray[np.generic]] = {}
    for copy in range(first, first + PRODUCTS_PER_SESSION):
        # Each copy has its rows turned further, so that no two are alike and the runtime cannot share them.
        constants |= {f"{name}{copy}": np.roll(array, copy, axis=0) for name, array in arrays.items()}
        inputs = ["x", *(f"{name}{copy}" for name in arrays)]
        nodes.append(Node("MatMulNBits", inputs, [f"y{copy}"], attributes, "com.microsoft"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # idle sessions leave the processors alone
    outputs = {node.outputs[0]: ("M", n) for node in nodes}
    content = model(nodes, constants, {"x": ("M", k)}, outputs)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _arrays(weights: Weights) -> dict[str, npt.NDArray[np.generic]]:
    """The tensor's parts as MatMulNBits takes them: unsigned codes by block, scales in f32, zero points packed along
    the row. Without zero points it takes the middle code as zero, which signed codes become by turning their sign.
    """
    q = weights.q
    n, k = q.shape
    group, bits = q.format.group, q.format.element.bits
    assert group is not None
    blocks = q.packed.reshape(n, k // group, group * bits // 8)
    if q.zeros is None:
        signs = sum(1 << (bits * place + bits - 1) for place in range(8 // bits))
        return {"w": blocks ^ np.uint8(signs), "scale": q.scale_values}
    zeros = q.zeros.astype(np.uint8)
    per_byte = 8 // bits
    zeros = np.pad(zeros, ((0, 0), (0, -zeros.shape[1] % per_byte)))
    fields = zeros.reshape(n, -1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * bits)
    return {"w": blocks, "scale": q.scale_values, "zero": np.bitwise_or.reduce(fields, axis=2).astype(np.uint8)}

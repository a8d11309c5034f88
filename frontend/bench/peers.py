"""The same product by other libraries, as far as they are installed, with the settings that suit them best."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from ...backend.buffers import aligned_empty
from .onnx_model import Node, model
from .problem import Problem, WrongResult
from .timing import Contender

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnxruntime
    import torch

_T = TypeVar("_T", bound=np.generic)

ONNX_BITS = (2, 4, 8)
"""Widths that MatMulNBits has."""

PRODUCTS_PER_SESSION = 8
"""Products in one run of a session: its start hardly counts, and a median of them still means something."""

_INT8 = 4  # MatMulNBits' accuracy_level: activations may be rounded to int8


def plain_peers(problem: Problem, threads: int) -> Iterator[Contender]:
    """Products with the weights as f32 (NumPy, torch) and bf16 (torch)."""
    w = problem.q.dequantize()
    yield _numpy(problem, w)
    if importlib.util.find_spec("torch") is not None:
        yield _torch(problem, w, threads, "f32")
        yield _torch(problem, w, threads, "bf16")


def packed_peers(problem: Problem, threads: int) -> Iterator[Contender]:
    """Products with the same codes, scales and zero points: ONNX Runtime's MatMulNBits at 2, 4 and 8 bits."""
    fits = problem.q.format.element.bits in ONNX_BITS and _group_fits(problem)
    if fits and importlib.util.find_spec("onnxruntime") is not None:
        try:
            yield _onnx(problem, threads)
        except WrongResult:
            raise
        except Exception as error:  # its errors have no common class
            warnings.warn(f"onnxruntime is left out: {error}", stacklevel=2)


def _copy(array: npt.NDArray[_T]) -> npt.NDArray[_T]:
    """The same array elsewhere, on huge pages."""
    copy: npt.NDArray[_T] = aligned_empty(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _numpy(problem: Problem, w: npt.NDArray[np.float32]) -> Contender:
    copies = [_copy(w) for _ in range(problem.copies(w.nbytes))]
    error = problem.checked("numpy f32", problem.x @ copies[-1].T, "f32")
    turn = count()
    return Contender("numpy f32", None, w.nbytes, error, 1, lambda: problem.x @ copies[next(turn) % len(copies)].T)


def _torch(problem: Problem, w: npt.NDArray[np.float32], threads: int, kind: str) -> Contender:
    import torch

    torch.set_num_threads(threads)
    bf16 = kind == "bf16"
    stored = torch.from_numpy(w).to(torch.bfloat16).view(torch.uint16).numpy() if bf16 else w
    arrays = [torch.from_numpy(_copy(stored)) for _ in range(problem.copies(stored.nbytes))]
    weights: list[torch.Tensor] = [array.view(torch.bfloat16) if bf16 else array for array in arrays]
    x = torch.from_numpy(problem.x).to(weights[0].dtype)
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.nn.functional.linear
    name = f"torch {kind}"
    with torch.inference_mode():
        error = problem.checked(name, product(x, weights[-1]).to(torch.float32).numpy(), kind)
    turn = count()

    def call() -> object:
        with torch.inference_mode():
            return product(x, weights[next(turn) % len(weights)])

    return Contender(name, None, stored.nbytes, error, 1, call)


def _group_fits(problem: Problem) -> bool:
    group, k = problem.q.format.group, problem.q.shape[1]
    return group is not None and group >= 16 and group & (group - 1) == 0 and k % group == 0


def _onnx(problem: Problem, threads: int) -> Contender:
    """Sessions of several nodes, each node with a copy of the weights: one call runs a session."""
    arrays = _onnx_weights(problem)
    nbytes = sum(array.nbytes for array in arrays.values())
    sessions = [
        _session(problem, arrays, first, threads) for first in range(0, problem.copies(nbytes), PRODUCTS_PER_SESSION)
    ]
    errors = [error for session in sessions for error in session.errors(problem)]
    turn = count()
    bits = problem.q.format.element.bits
    return Contender(
        "onnxruntime int8", bits, nbytes, max(errors), PRODUCTS_PER_SESSION,
        lambda: sessions[next(turn) % len(sessions)].run(),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Session:
    """A session whose input and results are bound to memory, so that a run copies nothing."""

    session: onnxruntime.InferenceSession
    binding: onnxruntime.IOBinding
    results: list[onnxruntime.OrtValue]
    first: int

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def errors(self, problem: Problem) -> list[float]:
        """The errors of every product, whose columns are turned as the rows of its weights."""
        self.run()
        turned = (np.roll(y.numpy(), -copy, axis=1) for copy, y in enumerate(self.results, self.first))
        return [problem.checked("onnxruntime", y, "int8") for y in turned]


def _session(problem: Problem, arrays: dict[str, npt.NDArray[np.generic]], first: int, threads: int) -> _Session:
    import onnxruntime

    q, (m, k) = problem.q, problem.x.shape
    n, bits, group = q.shape[0], q.format.element.bits, q.format.group
    assert group is not None
    attributes = {"K": k, "N": n, "bits": bits, "block_size": group, "accuracy_level": _INT8}
    nodes: list[Node] = []
    weights: dict[str, npt.NDArray[np.generic]] = {}
    for copy in range(first, first + PRODUCTS_PER_SESSION):
        # Each copy has its rows turned further, so that no two are alike and the runtime cannot share them.
        weights |= {f"{name}{copy}": np.roll(array, copy, axis=0) for name, array in arrays.items()}
        inputs = ["x", *(f"{name}{copy}" for name in arrays)]
        nodes.append(Node("MatMulNBits", inputs, [f"y{copy}"], attributes, "com.microsoft"))
    names = [node.outputs[0] for node in nodes]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # idle sessions leave the processors alone
    content = model(nodes, weights, {"x": (m, k)}, dict.fromkeys(names, (m, n)))
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", problem.x)
    results = [onnxruntime.OrtValue.ortvalue_from_shape_and_type((m, n), np.float32) for _ in names]
    for name, result in zip(names, results, strict=True):
        binding.bind_ortvalue_output(name, result)
    return _Session(session, binding, results, first)


def _onnx_weights(problem: Problem) -> dict[str, npt.NDArray[np.generic]]:
    """The tensor's parts as MatMulNBits takes them: codes by block, scales in f32, zero points packed along the row."""
    q = problem.q
    n, k = q.shape
    group, bits = q.format.group, q.format.element.bits
    assert group is not None
    assert q.zeros is not None
    zeros = q.zeros.astype(np.uint8)
    per_byte = 8 // bits
    zeros = np.pad(zeros, ((0, 0), (0, -zeros.shape[1] % per_byte)))
    fields = zeros.reshape(n, -1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * bits)
    return {
        "w": q.packed.reshape(n, k // group, group * bits // 8),
        "scale": q.scale_values,
        "zero": np.bitwise_or.reduce(fields, axis=2).astype(np.uint8),
    }

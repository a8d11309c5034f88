"""torch: the weights as f32 and bf16."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Literal

from ....backend.buffers import aligned_copy
from ..problem import Loaded, Problem, Weights
from ..timing import Contender, Facts

if TYPE_CHECKING:
    import torch


def load_torch_dense(weights: Weights, threads: int) -> Iterator[Loaded]:
    """`torch.nn.functional.linear` with activations of the type of the weights."""
    import torch

    torch.set_num_threads(threads)
    yield _load(weights, "f32")
    yield _load(weights, "bf16")


def _load(weights: Weights, kind: Literal["f32", "bf16"]) -> Loaded:
    import torch

    type_ = torch.float32 if kind == "f32" else torch.bfloat16
    # bf16 arrays pass through NumPy, which has no such type, as 16-bit integers.
    stored = torch.from_numpy(weights.q.dequantize()).to(type_).view(torch.int32 if kind == "f32" else torch.int16)
    nbytes = stored.nbytes
    copies = [torch.from_numpy(aligned_copy(stored.numpy())).view(type_) for _ in range(weights.copies(nbytes))]
    facts = Facts("torch", kind, 32 if kind == "f32" else 16, kind, nbytes)

    def start(problem: Problem) -> Contender:
        x = torch.from_numpy(problem.x).to(type_)
        turn = count()

        def call() -> torch.Tensor:
            with torch.inference_mode():
                return torch.nn.functional.linear(x, copies[next(turn) % len(copies)])

        return Contender(facts, problem.checked(facts, call().to(torch.float32).numpy()), 1, call)

    return Loaded(facts, start)

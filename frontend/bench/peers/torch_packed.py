"""torch: its products of 4- and 8-bit weights on a CPU.

Four bits keep the tensor's own groups, scales and zero points. Eight bits have one scale for a whole row, so that the
weights are rounded again, and the product is checked against the rounded ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....backend.buffers import aligned_copy
from ....vm.dtypes import Int
from ..problem import Loaded, Problem, Weights, against
from ..timing import Contender, Facts

if TYPE_CHECKING:
    import torch

GROUPS = (32, 64, 128, 256)
"""Group lengths that the 4-bit product has."""


def load_torch_packed(weights: Weights, threads: int) -> Iterator[Loaded]:
    """The products that fit the weights' type."""
    import torch

    torch.set_num_threads(threads)
    format = weights.q.format
    if not isinstance(format.element, Int) or format.zero not in (None, "int"):
        return
    if format.element.bits == 4 and format.group in GROUPS and weights.q.shape[1] % format.group == 0:
        yield _four_bits(weights)
    if format.element.bits == 8:
        codes, scales = _by_row(weights)
        values = codes.astype(np.float64) * scales[:, None]
        yield _eight_bits(weights, codes, scales, values)
        yield _dynamic(weights, codes, scales, values)


def _four_bits(weights: Weights) -> Loaded:
    """`_weight_int4pack_mm_for_cpu`: w = (code - 8) * scale + zero, in bf16 (other types are many times slower)."""
    import torch

    q = weights.q
    group, signed = q.format.group, isinstance(q.format.element, Int) and q.format.element.signed
    assert group is not None
    codes = (q.codes ^ 8 if signed else q.codes).astype(np.int32)
    scale = q.scale_values
    zero = np.zeros_like(scale) if q.zero_values is None else (8 - q.zero_values) * scale
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.from_numpy(codes), 1)
    sides = torch.from_numpy(np.ascontiguousarray(np.stack([scale.T, zero.T], axis=2))).to(torch.bfloat16)
    nbytes = packed.nbytes + sides.nbytes
    copies = [torch.from_numpy(aligned_copy(packed.numpy())) for _ in range(weights.copies(nbytes))]
    facts = Facts("torch int4pack", "int4", 4, "bf16", nbytes)

    def product(x: torch.Tensor, copy: int) -> torch.Tensor:
        y: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x, copies[copy], group, sides)
        return y

    return Loaded(facts, lambda problem: _contender(problem, facts, len(copies), torch.bfloat16, product))


def _eight_bits(
    weights: Weights, codes: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], values: npt.NDArray[np.float64]
) -> Loaded:
    """`_weight_int8pack_mm`: w = code * scale of the row, in bf16."""
    import torch

    nbytes = codes.nbytes + scales.nbytes // 2
    copies = [torch.from_numpy(aligned_copy(codes)) for _ in range(weights.copies(nbytes))]
    sides = torch.from_numpy(scales).to(torch.bfloat16)
    facts = Facts("torch int8pack", "int8 rows", 8, "bf16", nbytes)

    def product(x: torch.Tensor, copy: int) -> torch.Tensor:
        return torch._weight_int8pack_mm(x, copies[copy], sides)

    return Loaded(
        facts, lambda problem: _contender(against(problem.x, values), facts, len(copies), torch.bfloat16, product)
    )


def _dynamic(
    weights: Weights, codes: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], values: npt.NDArray[np.float64]
) -> Loaded:
    """`quantized.linear_dynamic`: activations rounded to 8 bits with one scale for all of x."""
    import torch

    n = codes.shape[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the whole family is on its way out of torch, and says so
        w = torch._make_per_channel_quantized_tensor(
            torch.from_numpy(codes), torch.from_numpy(scales).double(), torch.zeros(n, dtype=torch.int64), 0
        )
        packed = [torch.ops.quantized.linear_prepack(w, None) for _ in range(weights.copies(codes.nbytes))]
    facts = Facts("torch dynamic", "int8 rows", 8, "int8", codes.nbytes + scales.nbytes)

    def product(x: torch.Tensor, copy: int) -> torch.Tensor:
        y: torch.Tensor = torch.ops.quantized.linear_dynamic(x, packed[copy], False)
        return y

    return Loaded(
        facts, lambda problem: _contender(against(problem.x, values), facts, len(packed), torch.float32, product)
    )


def _by_row(weights: Weights) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Codes of 8 bits and a scale for each row, which the largest weight of the row sets."""
    import torch

    values = weights.values
    # Scales that bf16 holds: then both products multiply the same weights.
    scales = torch.from_numpy(np.abs(values).max(axis=1) / 127).to(torch.bfloat16).to(torch.float32).numpy()
    codes = np.clip(np.rint(values / scales[:, None]), -127, 127).astype(np.int8)
    return codes, scales


def _contender(
    problem: Problem,
    facts: Facts,
    copies: int,
    type_: torch.dtype,
    product: Callable[[torch.Tensor, int], torch.Tensor],
) -> Contender:
    import torch

    x = torch.from_numpy(problem.x).to(type_)
    turn = count()

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return product(x, next(turn) % copies)

    return Contender(facts, problem.checked(facts, call().to(torch.float32).numpy()), 1, call)

"""What is measured against each other on a GPU: this package's linear, PyTorch, and peers where they are installed.

A contender takes quantised weights and gives functions of x, one for each copy of the weights, all at other addresses.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field

import numpy as np

import bitwright as bw
from bitwright.frontend.bench.problem import Weights
from bitwright.vm.dtypes import Int

Product = Callable[[object], object]
"""x[M, K], a tensor of f16 on the GPU, to y[M, N]."""


@dataclass(frozen=True)
class Contender:
    """One way to compute x @ w.T.

    module   that it needs
    takes    whether it has kernels for these weights
    nbytes   that one product reads of the weights
    make     products of so many copies
    limit    of the error of the result, relative to its largest number: f16 rounds it, and some quantise on their own
    """

    name: str
    module: str
    takes: Callable[[Weights], bool]
    nbytes: Callable[[Weights], int]
    make: Callable[[Weights, int], list[Product]]
    limit: Callable[[Weights], float] = field(default=lambda w: 5e-3)

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


def bits_of(w: Weights) -> int:
    return w.q.format.element.bits


def _integers(w: Weights, *bits: int) -> bool:
    return isinstance(w.q.format.element, Int) and bits_of(w) in bits


def _ours(w: Weights, count: int) -> list[Product]:
    """Each copy is a tensor of its own, so that it is packed and laid down anew."""

    def product(q: bw.QTensor) -> Product:
        return lambda x: bw.linear(x, q)

    tensors = [bw.QTensor(w.q.shape, w.q.format, w.q.packed, w.q.scales, w.q.zeros, w.q.second) for _ in range(count)]
    return [product(q) for q in tensors]


def _torch(w: Weights, count: int) -> list[Product]:
    import torch

    whole = torch.from_numpy(w.values.astype(np.float16)).cuda()
    return [_dense(whole.clone()) for _ in range(count)]


def _dense(weight: object) -> Product:
    import torch

    return lambda x: torch.nn.functional.linear(x, weight)


def _gemlite(w: Weights, count: int) -> list[Product]:
    """GemLite's Triton kernels: codes, scales and zero points as they are, [N, K] and [N, G]."""
    import torch
    from gemlite.core import DType, GemLiteLinearTriton

    (n, k), zeros = w.q.shape, w.q.zero_values
    shift = 0 if zeros is not None else 1 << (bits_of(w) - 1)
    codes = torch.from_numpy(w.q.codes ^ np.uint8(shift)).cuda()  # signed codes as those of offset binary
    scales = torch.from_numpy(w.q.scale_values.astype(np.float16)).cuda()
    offsets = torch.full_like(scales, shift) if zeros is None else torch.from_numpy(zeros.astype(np.float16)).cuda()
    layer = GemLiteLinearTriton(
        W_nbits=bits_of(w), group_size=w.q.format.group or k, in_features=k, out_features=n,
        input_dtype=DType.FP16, output_dtype=DType.FP16,
    )  # fmt: skip
    layer.pack(codes, scales, offsets, bias=None)
    return [_layer(layer, copied=number > 0) for number in range(count)]


def _humming(w: Weights, count: int) -> list[Product]:
    """Humming quantises the numbers itself, without zero points, in groups of the same size."""
    import torch
    from humming.layer import HummingLayer

    element, (n, k) = w.q.format.element, w.q.shape
    name = f"int{element.bits}" if isinstance(element, Int) else f"float{element.bits}{element.name[2:]}"
    layer = HummingLayer(
        shape_n=n, shape_k=k, weight_config={"dtype": name, "group_size": w.q.format.group or k},
        torch_dtype=torch.float16,
    ).cuda()  # fmt: skip
    layer.load_from_unquantized(torch.from_numpy(w.values.astype(np.float16)).cuda())
    layer.transform()
    layer.prepare_default_kernel_configs()
    return [_layer(layer, copied=number > 0) for number in range(count)]


def _layer(layer: object, copied: bool) -> Product:
    """A layer of PyTorch's, or one like it with its tensors at other addresses."""
    import torch

    assert isinstance(layer, torch.nn.Module)
    if copied:
        other = copy(layer)
        for name in ("_parameters", "_buffers"):
            held = getattr(layer, name)
            setattr(other, name, {key: None if t is None else _clone(t) for key, t in held.items()})
        for key, value in vars(layer).items():
            if isinstance(value, torch.Tensor):
                setattr(other, key, value.clone())
        layer = other
    return layer


def _clone(tensor: object) -> object:
    import torch

    assert isinstance(tensor, torch.Tensor)
    moved = tensor.detach().clone()
    return torch.nn.Parameter(moved, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else moved


def _packed(w: Weights) -> int:
    return w.q.nbytes


def _halves(w: Weights) -> int:
    return 2 * w.q.shape[0] * w.q.shape[1]


CONTENDERS = (
    Contender("bitwright", "bitwright", lambda w: True, _packed, _ours),
    Contender("torch f16", "torch", lambda w: True, _halves, _torch),
    Contender("humming", "humming", lambda w: True, _packed, _humming, lambda w: 3 * 2.0 ** -bits_of(w)),
    Contender("gemlite (Triton)", "gemlite", lambda w: _integers(w, 1, 2, 4, 8), _packed, _gemlite),
)

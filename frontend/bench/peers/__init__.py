"""The same product by other libraries, as far as they are installed, with the settings that suit them best."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..problem import Loaded, Weights
from .ggml import load_ggml
from .numpy_blas import load_numpy
from .onnx import load_onnx
from .openvino import load_openvino
from .torch_dense import load_torch_dense
from .torch_packed import load_torch_packed

__all__ = ["DENSE", "PACKED", "PEER_BITS", "Peer", "load_peers"]

PEER_BITS = (2, 4, 8)
"""Widths of integers that several libraries have: others are compared with the next wider one of these too."""


@dataclass(frozen=True)
class Peer:
    """A library: the packages of which one must be installed, and what loads weights into it, for a number of threads.

    `load` gives nothing for weights that the library has no kernel for.
    """

    packages: tuple[str, ...]
    load: Callable[[Weights, int], Iterator[Loaded]]

    @property
    def installed(self) -> bool:
        """Whether Python finds one of the packages."""
        return any(importlib.util.find_spec(package) is not None for package in self.packages)


DENSE = (Peer(("numpy",), load_numpy), Peer(("torch",), load_torch_dense))
"""Libraries that multiply the weights as f32 and bf16."""

PACKED = (
    Peer(("onnxruntime",), load_onnx),
    Peer(("openvino",), load_openvino),
    Peer(("torch",), load_torch_packed),
    Peer(("llama_cpp", "libggml"), load_ggml),
)
"""Libraries that multiply codes."""


def load_peers(peers: tuple[Peer, ...], weights: Weights, threads: int) -> list[Loaded]:
    """The weights loaded into every installed library; one that fails is left out with a warning."""
    loaded: list[Loaded] = []
    for peer in peers:
        if not peer.installed:
            continue
        try:
            loaded += peer.load(weights, threads)
        except Exception as error:  # libraries' errors have no common class
            warnings.warn(f"{' or '.join(peer.packages)} is left out: {error}", stacklevel=2)
    return loaded

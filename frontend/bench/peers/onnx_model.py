"""A model of one kind of node, written as ONNX's protocol buffers byte by byte, since that package may be missing.

Field numbers are those of onnx.proto3. A message is a run of fields; a field is its number and wire type, then a varint
or a length and bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FLOAT, UINT8 = 1, 2
"""ONNX's numbers of element types."""


@dataclass(frozen=True)
class Node:
    """One operation: inputs and outputs by name, and integer attributes."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int]
    domain: str


def model(
    nodes: Sequence[Node],
    weights: Mapping[str, npt.NDArray[np.generic]],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
) -> bytes:
    """The model with these nodes; its inputs and outputs are f32 of these shapes, where a word stands for any size."""
    graph = b"".join(
        [
            *(_message(1, _node(node)) for node in nodes),
            _text(2, "graph"),
            *(_message(5, _tensor(name, value)) for name, value in weights.items()),
            *(_message(11, _value(name, shape)) for name, shape in inputs.items()),
            *(_message(12, _value(name, shape)) for name, shape in outputs.items()),
        ]
    )
    domains = {"": 21, **{node.domain: 1 for node in nodes if node.domain}}
    opsets = (_text(1, domain) + _number(2, version) for domain, version in domains.items())
    return _number(1, 10) + _message(7, graph) + b"".join(_message(8, opset) for opset in opsets)


def _node(node: Node) -> bytes:
    attributes = (_text(1, name) + _number(3, value) + _number(20, 2) for name, value in node.attributes.items())
    return b"".join(
        [
            *(_text(1, name) for name in node.inputs),
            *(_text(2, name) for name in node.outputs),
            _text(4, node.op),
            *(_message(5, attribute) for attribute in attributes),
            _text(7, node.domain),
        ]
    )


def _tensor(name: str, value: npt.NDArray[np.generic]) -> bytes:
    kinds = {"float32": FLOAT, "uint8": UINT8}
    sides = b"".join(_number(1, side) for side in value.shape)
    return sides + _number(2, kinds[value.dtype.name]) + _text(8, name) + _message(9, value.tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sides = b"".join(_message(1, _text(2, side) if isinstance(side, str) else _number(1, side)) for side in shape)
    return _text(1, name) + _message(2, _message(1, _number(1, FLOAT) + _message(2, sides)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())

"""Quantised tensors on disk: one safetensors file each, so that other tools can read the arrays too.

Arrays: "packed" (uint8 [N, bytes]), "scales" (codes [N, G]), "zeros" (packed bit stream of zero codes, or their codes
where they have 16 or 32 bits), "second" (float32 [1]); the last two only where the format has them. The metadata holds
one entry, "bitwright": a JSON object with

    version    1
    format     text of the format
    shape      [N, K]
    codebook   the element's values, when it is a codebook; else null
    digest     SHA-256 over all of it, so that damage is found wherever it is
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as read_arrays
from safetensors.numpy import save as write_arrays

from ...vm.bits import pack, unpack
from ...vm.dtypes import Codebook, codebook
from ...vm.formats import Format
from ..tensor import CodeArray, QTensor

VERSION = 1
KEY = "bitwright"

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


class QTensorFileError(ValueError):
    """A file that cannot be written, or that does not hold an intact quantised tensor."""


def save(tensor: QTensor, path: str | PathLike[str]) -> None:
    """Writes `tensor` to `path`, replacing what is there only once everything is on disk.

    `QTensorFileError` when the file cannot be written (full disk, missing folder, no permission): a file that was
    there before is then untouched.
    """
    element = tensor.format.element
    about = {
        "version": VERSION,
        "format": str(tensor.format),
        "shape": list(tensor.shape),
        "codebook": list(element.values) if isinstance(element, Codebook) else None,
        "digest": tensor.digest,
    }
    _write(Path(path), write_arrays(_arrays(tensor), metadata={KEY: json.dumps(about)}))


def load(path: str | PathLike[str]) -> QTensor:
    """The tensor that `save` wrote. `FileNotFoundError` for no file, `QTensorFileError` for a bad one."""
    where = Path(path)
    content = where.read_bytes()
    about = _metadata(where, content)
    try:
        arrays = read_arrays(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(where, str(error)) from error
    try:
        tensor = _tensor(about, arrays)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(where, f"{type(error).__name__}: {error}") from error
    if tensor.digest != about.get("digest"):
        raise _damaged(where, "its content does not match its checksum")
    return tensor


def _arrays(tensor: QTensor) -> dict[str, Array]:
    arrays: dict[str, Array] = {"packed": tensor.packed, "scales": tensor.scales}
    zero_type = tensor.format.zero_dtype
    if tensor.zeros is not None and zero_type is not None:
        narrow = zero_type.bits < 8
        arrays["zeros"] = pack(tensor.zeros.reshape(-1), zero_type.bits) if narrow else tensor.zeros
    if tensor.format.second is not None:
        arrays["second"] = np.array([tensor.second], np.float32)
    return arrays


def _tensor(about: Mapping[str, object], arrays: Mapping[str, Array]) -> QTensor:
    format = _format(about)
    shape = about["shape"]
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(side) is int and side > 0 for side in shape)):
        raise ValueError(f"the shape {shape!r} is not two positive integers")
    n, k = shape
    expected = {"packed", "scales"} | ({"zeros"} if format.zero else set()) | ({"second"} if format.second else set())
    if set(arrays) != expected:
        raise ValueError(f"it holds the arrays {sorted(arrays)}, and {format} needs {sorted(expected)}")
    zeros: CodeArray | None = None
    zero_type = format.zero_dtype
    if zero_type is not None:
        zeros = _codes(arrays["zeros"])
        if zero_type.bits < 8:
            sides = (n, format.groups(k))
            zeros = unpack(arrays["zeros"].astype(np.uint8, casting="no"), zero_type.bits, sides[0] * sides[1])
            zeros = zeros.reshape(sides)
    second = float(arrays["second"].astype(np.float32, casting="no").reshape(1)[0]) if format.second else 1.0
    return QTensor(
        (n, k), format, arrays["packed"].astype(np.uint8, casting="no"), _codes(arrays["scales"]), zeros, second
    )


def _codes(array: Array) -> CodeArray:
    if array.dtype == np.uint8:
        return array.astype(np.uint8)
    return array.astype(np.uint16) if array.dtype == np.uint16 else array.astype(np.uint32, casting="no")


def _format(about: Mapping[str, object]) -> Format:
    text, values = about["format"], about["codebook"]
    if not isinstance(text, str):
        raise ValueError("the format is not a text")
    if values is None:
        return Format.parse(text)
    if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
        raise ValueError("the codebook is not a list of numbers")
    name = text.partition(":")[0]
    return Format.parse(text, {name: codebook(values, name)})


def _metadata(path: Path, content: bytes) -> Mapping[str, object]:
    """The JSON object under our key in the file's header (8 bytes length, then JSON: the safetensors layout)."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise _damaged(path, f"it has {len(content)} bytes and ends inside its header")
    try:
        header = json.loads(content[8 : 8 + length])
        entry = header["__metadata__"][KEY]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise QTensorFileError(
            f"{path} is not a bitwright tensor: it has no readable {KEY!r} entry in a safetensors header. Files come "
            "from QTensor.save; for other checkpoints use bitwright's importers, then save."
        ) from error
    try:
        about = json.loads(entry)
        version = about["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"its {KEY!r} entry cannot be read") from error
    if version != VERSION:
        raise QTensorFileError(
            f"{path} has file version {version!r}, and this bitwright reads version {VERSION}: "
            "upgrade bitwright, or quantise and save the tensor again"
        )
    checked: Mapping[str, object] = about
    return checked


def _damaged(path: Path, what: str) -> QTensorFileError:
    return QTensorFileError(f"{path} is damaged: {what}. Copy or download it again, or quantise and save it again.")


def _write(path: Path, content: bytes) -> None:
    """All or nothing: a temporary file beside `path`, flushed to disk, then renamed over it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)  # still there only after a failure
    except OSError as error:
        raise QTensorFileError(
            f"cannot write {path} ({len(content)} bytes): {error.strerror or error}. A file that was there before is "
            "unchanged. Free space, or choose a folder that exists and that you may write to."
        ) from error

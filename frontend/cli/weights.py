"""A weight matrix read from a file of any of the kinds that checkpoints come in."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import CliError

Matrix = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_HEADER_LIMIT = 100 << 20  # the longest header that safetensors allows


def read_weights(path: Path, name: str | None) -> Matrix:
    """The matrix [N, K] in a .npy, .safetensors or .gguf file; `name` chooses among several tensors.

    A quantised tensor is read as the numbers that it stands for.
    """
    if not path.exists():
        raise CliError(f"there is no file {path}")
    match path.suffix:
        case ".npy":
            found = _npy(path, name)
        case ".safetensors":
            found = _safetensors(path, name)
        case ".gguf":
            found = _gguf(path, name)
        case suffix:
            raise CliError(f"{path}: a file is .npy, .safetensors or .gguf, not {suffix or 'without an ending'}")
    if found.ndim != 2 or not found.size:
        raise CliError(f"{path} has shape {list(found.shape)}; only a matrix [N, K] can be quantised")
    return found if found.dtype == np.float64 else found.astype(np.float32, copy=False)


def _npy(path: Path, name: str | None) -> npt.NDArray[np.floating]:
    if name is not None:
        raise CliError(f"--tensor {name}: a .npy file holds a single tensor; leave --tensor out")
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CliError(f"{path} is no NumPy file of numbers: {error}") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise CliError(f"{path} does not hold real numbers")
    return found


def _safetensors(path: Path, name: str | None) -> npt.NDArray[np.floating]:
    from safetensors import SafetensorError, safe_open

    from ..importers.safetensors import KEY, load

    try:
        with safe_open(path, framework="numpy") as file:
            if KEY in (file.metadata() or {}):
                return load(path).dequantize()
            sides = {key: len(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118  # no mapping
            chosen = _choose(path, name, sides)
            if file.get_slice(chosen).get_dtype() != "BF16":
                tensor: npt.NDArray[np.floating] = file.get_tensor(chosen)
                return tensor
    except SafetensorError as error:
        raise CliError(f"{path} is no readable safetensors file: {error}") from error
    return _bfloat16(path, chosen)


def _bfloat16(path: Path, name: str) -> npt.NDArray[np.float32]:
    """A bf16 tensor, read by the file's own table of contents, since NumPy has no such type.

    The file begins with the length of its header (64 bits), then the header, JSON.
    """
    import json

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(min(length, _HEADER_LIMIT)))[name]
        first, last = entry["data_offsets"]
        file.seek(8 + length + first)
        codes = np.frombuffer(file.read(last - first), "<u2")
    values: npt.NDArray[np.float32] = (codes.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(entry["shape"])


def _gguf(path: Path, name: str | None) -> npt.NDArray[np.float32]:
    from ..importers.gguf import list_tensors, load_tensor

    return load_tensor(path, _choose(path, name, {info.name: len(info.shape) for info in list_tensors(path)}))


def _choose(path: Path, name: str | None, sides: dict[str, int]) -> str:
    """The tensor that is meant: the one named, or the only matrix of the file."""
    matrices = [key for key, rank in sides.items() if rank == 2]
    if name is None:
        if len(matrices) == 1:
            return matrices[0]
        some = ", ".join(matrices[:8]) + (" ..." if len(matrices) > 8 else "")
        raise CliError(
            f"{path} holds {len(matrices)} matrices; choose one with --tensor" + (f": {some}" if some else "")
        )
    if name in sides:
        return name
    near = get_close_matches(name, sides, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(list(sides)[:8])}"
    raise CliError(f"{path} has no tensor {name!r}; {hint}")

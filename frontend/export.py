"""`export`: kernels to a folder from which they are called without the compiler."""

from __future__ import annotations

from pathlib import Path

from ..backend.artifact import ArtifactError, write_artifact
from .kernel import Kernel

__all__ = ["export"]


def export(folder: str | Path, *kernels: Kernel) -> None:
    """Writes an artifact: one kernel, compiled for one target or for several, which `load_artifact` calls.

    An artifact that stands in the folder is replaced; other files stay.
    """
    if not kernels:
        raise ArtifactError("an artifact holds a kernel for one target at least: export(folder, kernel)")
    names = [k.target.name for k in kernels]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ArtifactError(f"two kernels are for {twice[0]}: an artifact holds one for each target")
    write_artifact(Path(folder), [k.binary for k in kernels])

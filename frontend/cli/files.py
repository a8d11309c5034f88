"""Program files named on the command line: finding, reading and replacing them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import CliError

STANDARD = "-"
"""The name that stands for standard input and output."""


def program_files(names: Iterable[str]) -> Iterator[str]:
    """The files that names on the command line mean: a folder stands for every `.bw` file below it."""
    for name in names:
        if name == STANDARD or not Path(name).is_dir():
            yield name
            continue
        found = sorted(str(path) for path in Path(name).rglob("*.bw"))
        if not found:
            raise CliError(f"there is no .bw file in the folder {name}")
        yield from found


def read_program(name: str) -> str:
    """The text of a program file, or of standard input for `-`."""
    data = sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CliError(f"{name}:{line}: this file is not UTF-8 text: save it as UTF-8") from error


def shown_name(name: str) -> str:
    """What messages call the file."""
    return "<stdin>" if name == STANDARD else name


def replace_file(path: Path, data: bytes) -> None:
    """Put data into a file, all or nothing; the file keeps its permissions, and a link keeps leading to it."""
    real = path.resolve()
    handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if real.exists():
            shutil.copymode(real, temporary)
        else:
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    """The permissions that this process denies to new files; they can only be read by setting them."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

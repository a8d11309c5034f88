"""Compiled code kept on disk between processes.

    cache = default_cache()
    key = cache.key("kernel", text, target.feature_string)
    code = cache.get(key)
    if code is None:
        code = assemble(text, target)
        cache.put(key, code)

A key covers the parts given to it, the versions of the tools that make code, and the sources of this package, so an
entry never outlives what made it. An entry carries a checksum: one that is truncated or altered counts as missing
and is removed. Entries appear whole or not at all, so any number of processes may share a directory. The cache is a
convenience: where it cannot be written everything works without it, after one warning.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import platformdirs

__all__ = ["Cache", "CacheStats", "default_cache"]

_MAGIC = b"bitwright-cache-1\n"
_SUFFIX = ".bin"
_LIMIT = 512 << 20
_TMP_LIFE = 3600.0  # seconds after which a half-written file has no writer any more


@dataclass(frozen=True)
class CacheStats:
    """What a cache holds: entries, their bytes on disk, and the bytes it may hold."""

    directory: Path
    entries: int
    nbytes: int
    limit: int


@functools.cache
def default_cache() -> Cache:
    """The user's cache: in $BITWRIGHT_CACHE_DIR, or where the system keeps caches."""
    chosen = os.environ.get("BITWRIGHT_CACHE_DIR")
    return Cache(Path(chosen) if chosen else Path(platformdirs.user_cache_dir("bitwright", appauthor=False)))


class Cache:
    """A directory of entries, at most `limit` bytes; those used longest ago go first."""

    def __init__(self, directory: Path, limit: int = _LIMIT) -> None:
        self.directory = directory
        self.limit = limit
        self._written = limit  # bytes written since the size was last looked at: look at the first put
        self._warned = False

    def key(self, *parts: str | bytes) -> str:
        """The name of the entry for these parts, in this order, under these tools and sources."""
        digest = hashlib.sha256()
        for part in (*_toolchain(), *parts):
            data = part.encode() if isinstance(part, str) else part
            digest.update(b"s" if isinstance(part, str) else b"b")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()

    def get(self, key: str) -> bytes | None:
        """The bytes put under the key; None when there are none, or when they are damaged."""
        path = self._path(key)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        data = raw[len(_MAGIC) + 32 :]
        if raw != _sealed(key, data):
            _remove(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # its time says when it was last used
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep the bytes under the key, replacing what was there."""
        path = self._path(key)
        sealed = _sealed(key, data)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix="tmp-", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(sealed)
                os.replace(temporary, path)
            except BaseException:
                _remove(Path(temporary))
                raise
        except OSError as error:
            self._warn(error)
            return
        self._written += len(sealed)
        if self._written > self.limit // 16:
            self._written = 0
            self._prune()

    def stats(self) -> CacheStats:
        """What the directory holds now."""
        found = self._entries()
        return CacheStats(self.directory, len(found), sum(size for _, size, _ in found), self.limit)

    def clear(self) -> int:
        """Remove every entry; returns how many there were."""
        found = self._entries()
        for _, _, path in found:
            _remove(path)
        return len(found)

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / (key + _SUFFIX)

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of every entry. Files that are not entries are left alone."""
        found: list[tuple[float, int, Path]] = []
        now = time.time()
        for path in self.directory.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(OSError):  # another process may have removed it
                status = path.stat()
                if path.suffix == _SUFFIX:
                    found.append((status.st_mtime, status.st_size, path))
                elif path.name.startswith("tmp-") and now - status.st_mtime > _TMP_LIFE:
                    _remove(path)
        return found

    def _prune(self) -> None:
        """Bring the directory to three quarters of the limit if it is over it, so that this is seldom needed."""
        found = sorted(self._entries())
        total = sum(size for _, size, _ in found)
        if total <= self.limit:
            return
        for _, size, path in found:
            if total <= self.limit * 3 // 4:
                break
            _remove(path)
            total -= size

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"compiled code cannot be kept in {self.directory}: {error}. Kernels are compiled anew in every "
                "process; set BITWRIGHT_CACHE_DIR to a directory that can be written",
                stacklevel=3,
            )


def _sealed(key: str, data: bytes) -> bytes:
    """The contents of an entry's file. The checksum covers the key too: a file under a wrong name is no entry."""
    return _MAGIC + hashlib.sha256(key.encode() + b"\n" + data).digest() + data


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@functools.cache
def _toolchain() -> tuple[bytes | str, ...]:
    """What every entry depends on: the tools' versions, the kind of machine, and this package's sources."""
    tools = f"llvmlite {llvmlite.__version__}, LLVM {llvm.llvm_version_info}"
    return tools, f"{platform.system()} {platform.machine()}", _sources(Path(__file__).resolve().parent.parent)


def _sources(root: Path) -> bytes:
    """A digest of the compiler's sources: the package's own folders only, since a checkout holds more beside them."""
    digest = hashlib.sha256()
    paths = [path for folder in ("vm", "frontend", "backend") for path in (root / folder).rglob("*")]
    for path in sorted(path for path in paths if path.suffix in {".py", ".lark", ".bw"}):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode())
        digest.update(data)
    return digest.digest()

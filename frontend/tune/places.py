"""Where tuning keeps what outlives a process: sessions, the table of winners, the lock of the machine."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

__all__ = [
    "SessionError",
    "checked_name",
    "data_dir",
    "made_folder",
    "not_writable",
    "replace_text",
    "session_folder",
    "sessions_dir",
    "winners_file",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SessionError(ValueError):
    """A session cannot be begun, read or gone on with; the message says what to do."""


def data_dir() -> Path:
    """$BITWRIGHT_DATA_DIR, or where the system keeps the data of a user's programs."""
    chosen = os.environ.get("BITWRIGHT_DATA_DIR")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("bitwright", appauthor=False))


def sessions_dir() -> Path:
    """The folder of the sessions, one folder each."""
    return data_dir() / "sessions"


def winners_file() -> Path:
    """The table that `linear` asks."""
    return data_dir() / "winners.json"


def checked_name(name: str) -> str:
    """The name of a session, which is also that of its folder."""
    if not _NAME.fullmatch(name):
        raise SessionError(
            f"{name!r} is no name for a session: use up to 64 letters, digits, '.', '_' or '-', a letter or digit first"
        )
    return name


def session_folder(name: str | Path) -> Path:
    """The folder of a session: of that name among the user's, or at that path."""
    if isinstance(name, Path) or os.sep in name:
        path = Path(name)
        checked_name(path.name)
        return path
    return sessions_dir() / checked_name(name)


def made_folder(path: Path) -> Path:
    """The folder, made if it is not there. SessionError where nothing can be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(path, error) from error
    if not os.access(path, os.W_OK):
        raise not_writable(path, PermissionError("permission denied"))
    return path


def now() -> str:
    """The time, as people and programs read it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def not_writable(path: Path, error: Exception) -> SessionError:
    """What to say when something under this path cannot be written."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return SessionError(
        f"{path} cannot be written: {reason}. Make room or give permission there, or set BITWRIGHT_DATA_DIR to another "
        "folder; what was stored before is safe"
    )


def replace_text(path: Path, text: str, mode: int = 0o644) -> None:
    """The file with this text, all or nothing: it is on the disk before it has its name."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise not_writable(path.parent, error) from error

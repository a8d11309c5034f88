"""The machine's lock: who compiles or measures candidates has the machine to itself among all tuning sessions.

The system releases it when its holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

POLL = 0.01
"""Seconds between looks at a lock that another session holds."""


class LockError(ValueError):
    """The lock's file cannot be made."""


def lock_path() -> Path:
    """$BITWRIGHT_LOCK_FILE, else a file of this user in the system's temporary directory.

    Where several users tune on one machine, give them all one file that they may all write to.
    """
    chosen = os.environ.get("BITWRIGHT_LOCK_FILE")
    if chosen:
        return Path(chosen)
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"bitwright-measuring-{user}.lock"


class MachineLock:
    """The lock in that file.  Those who wait get it in turn: who has had it queues behind who waits."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = lock_path() if path is None else path
        self._turn = FileLock(self.path.with_name(self.path.name + ".turn"), mode=0o666, poll_interval=POLL)
        self._machine = FileLock(self.path, mode=0o666, poll_interval=POLL)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Waits for the machine, and has it as long as the context lasts.  LockError when the file cannot be made."""
        try:
            with self._turn:  # held while waiting, so that nobody can take the machine twice in a row meanwhile
                self._machine.acquire()
        except (OSError, NotImplementedError) as error:
            raise LockError(
                f"the file {self.path}, by which sessions take turns on this machine, cannot be locked: {error}; "
                "set BITWRIGHT_LOCK_FILE to a file that can be written"
            ) from error
        try:
            yield
        finally:
            self._machine.release()

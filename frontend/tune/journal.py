"""The file in which a session's results are kept: Optuna's journal, made safe against being killed while writing.

Optuna locks a journal with a second file, which a killed process leaves behind; here the kernel holds the lock, and
lets go of it when the process ends.  A record that was cut short was never reported as stored: the next writer removes
it.
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

__all__ = ["journal_backend"]

_BLOCK = 1 << 16


class _Guard(JournalFileOpenLock):
    """The right to append to the journal, whose last line is whole while one has it."""

    def __init__(self, journal: Path) -> None:  # not the base's, which only chooses its own kind of lock
        self._journal = journal
        self._lock = FileLock(journal.with_name(journal.name + ".lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        _drop_torn_line(self._journal)
        return True

    def release(self) -> None:
        self._lock.release()


def journal_backend(path: Path) -> JournalFileBackend:
    """The journal at this path, made if it is not there."""
    return JournalFileBackend(str(path), _Guard(path))


def _drop_torn_line(path: Path) -> None:
    """Cut the file after its last newline."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        whole = end
        while whole:
            start = max(0, whole - _BLOCK)
            file.seek(start)
            at = file.read(whole - start).rfind(b"\n")
            if at >= 0:
                whole = start + at + 1
                break
            whole = start
        if whole != end:
            file.truncate(whole)

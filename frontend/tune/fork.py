"""The session's side of the process that candidates' processes are forked from (see `server.py`)."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from .message import Reply, Request
from .trial import Job, Result

GRACE = 60.0
"""Seconds beyond a request's own limit after which the server itself is taken to hang."""

_PACKAGE = __name__.partition(".")[0]


class ForkServerError(RuntimeError):
    """The server does not start: the message holds what it said."""


class ForkServer:
    """Starts the server when it is first needed, and anew when it has ended; requests in flight are then answered."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._log: IO[bytes] | None = None
        self._open: dict[int, Request] = {}
        self._lost: list[int] = []
        self._said = ""
        self._count = 0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, job: Job, seconds: float, memory: int) -> int:
        """Asks for a job; the number of the request."""
        self._count += 1
        request = Request(self._count, job, seconds, memory)
        self._open[request.number] = request
        try:
            self._started().send_bytes(request.to_json().encode())
        except OSError:
            self._lose()
        return request.number

    def receive(self, seconds: float) -> Reply:
        """The next answer to any request.  When the server has died or hangs, that is the answer to all of them."""
        assert self._open, "nothing was asked"
        if not self._lost and self._connection is not None:
            late = f"no answer within {seconds + GRACE:g} seconds"
            with contextlib.suppress(EOFError, OSError, ValueError):
                late = late if not self._connection.poll(seconds + GRACE) else ""
                if not late:
                    reply = Reply.from_json(self._connection.recv_bytes().decode())
                    del self._open[reply.number]
                    return reply
            self._lose(late)
        number = self._lost.pop()
        del self._open[number]
        return Reply(number, Result("crashed", self._said or "the process that runs candidates has ended"))

    def close(self) -> None:
        """Ends the server, and with it everything that it runs."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._log is not None:
            self._log.close()
        self._process = self._connection = self._log = None
        self._open, self._lost = {}, []

    def _lose(self, why: str = "") -> None:
        """The server is gone, or must go: whatever it was asked has failed."""
        lost = list(self._open)
        said = why or self._tail()
        kept = dict(self._open)
        if self._process is not None:
            self._process.kill()
        self.close()
        self._open, self._lost, self._said = kept, lost, said

    def _tail(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-2000:]

    def _started(self) -> Connection:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the server
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bitwright.frontend.tune.server", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(_path())}, start_new_session=True,
            )  # fmt: skip
            theirs.close()
            self._connection = Connection(ours.detach())
        return self._connection


def _path() -> list[str]:
    """Where modules are found here, so that strategies are found there."""
    return [str(Path(entry or ".").resolve()) for entry in sys.path]

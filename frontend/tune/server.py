"""The process that candidates' processes are forked from: it has everything imported and the inputs in memory.

    python -m bitwright.frontend.tune.server FD

It runs no candidate's code itself, and so has no threads and nothing that could be damaged.  It ends when the other end
of its socket is closed, and its children with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import os
import resource
import selectors
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import IO

from .message import Reply, Request
from .trial import Result, chosen, data_of, posed, run_job

TAIL = 2000
"""Characters of what a process wrote before it died that are kept."""

GRACE = 1.0
"""Seconds that a process has to end after it has given its result."""

LARGEST_FILE = 256 << 20
"""Bytes that a candidate may write to a file, what it prints included."""

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl
_NO_MEMORY = ("out of memory", "bad_alloc", "cannot allocate memory", "memoryerror")


@dataclass(eq=False)
class Child:
    """A process at work on a request, with what it has said so far."""

    request: Request
    pid: int
    pipe: int
    log: IO[bytes]
    deadline: float
    said: bytearray = field(default_factory=bytearray)


class Server:
    """Takes requests from the session, and answers each once."""

    def __init__(self, session: Connection) -> None:
        self.session = session
        self.children: dict[int, Child] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(session.fileno(), selectors.EVENT_READ)

    def serve(self) -> None:
        """Until the session is gone."""
        try:
            while True:
                for key, _ in self.selector.select(self._patience()):
                    if key.fd == self.session.fileno():
                        self._begin(Request.from_json(self.session.recv_bytes().decode()))
                    else:
                        self._read(self.children[key.fd])
                for child in [c for c in self.children.values() if time.monotonic() >= c.deadline]:
                    self._end(child, Result("timeout", f"not done after {child.request.seconds:g} seconds"))
        except (EOFError, ConnectionError):
            pass
        finally:
            for child in self.children.values():
                _kill(child.pid)

    def _patience(self) -> float | None:
        deadlines = [c.deadline for c in self.children.values()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _begin(self, request: Request) -> None:
        """Makes ready what children share, then forks one; mistakes in the problem itself are answered at once."""
        job = request.job
        try:
            problem = posed(job.problem)
            problem.space()  # imports its strategies
            data = data_of(job.problem, job.seed) if job.do in ("prepare", "measure") else None
        except Exception as error:  # strategies and reference may be anybody's code
            self._answer(Reply(request.number, Result("failed", f"{type(error).__name__}: {error}"), problem=True))
            return
        if data is not None:
            for text in filter(None, (job.incumbent, job.candidate)):
                with contextlib.suppress(Exception):  # the candidate's own process will meet and report it
                    problem.warm(chosen(text), data)
        if job.do == "prepare":
            self._answer(Reply(request.number, Result("ok")))
            return
        child = self._fork(request)
        self.children[child.pipe] = child
        self.selector.register(child.pipe, selectors.EVENT_READ)

    def _fork(self, request: Request) -> Child:
        reading, writing = os.pipe()
        log = scratch()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self.session.close()
            _become_child(request, writing, log, parent)
        os.close(writing)
        return Child(request, pid, reading, log, time.monotonic() + request.seconds)

    def _read(self, child: Child) -> None:
        part = os.read(child.pipe, 1 << 16)
        if part:
            child.said += part
            return
        self._end(child, None)

    def _end(self, child: Child, result: Result | None) -> None:
        """The child is done, or has to be: its own result, or what its death tells."""
        status = None if result is not None else _wait(child.pid, GRACE)
        if status is None:
            _kill(child.pid)
        self.selector.unregister(child.pipe)
        os.close(child.pipe)
        del self.children[child.pipe]
        if result is None:
            result = _result_of(child, status)
        child.log.close()
        self._answer(Reply(child.request.number, result))

    def _answer(self, reply: Reply) -> None:
        self.session.send_bytes(reply.to_json().encode())


def scratch() -> IO[bytes]:
    """A file for what a candidate prints, in memory where the system has such files: a full disk is no matter then."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("bitwright-log"), "w+b")
    return tempfile.TemporaryFile()


def _become_child(request: Request, writing: int, log: IO[bytes], parent: int) -> None:
    """Never returns.  What the candidate prints goes into the log."""
    code = 1
    try:
        os.setpgid(0, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
                score.write("1000")  # when memory runs out all the same, this process goes first
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        faulthandler.enable(all_threads=False)
        limit_memory(request.memory)
        said = run_job(request.job).to_json().encode()
        while said:
            said = said[os.write(writing, said) :]
        code = 0
    finally:
        os._exit(code)


def limit_memory(nbytes: int) -> None:
    """Lets this process take so many bytes of address space more than it has, leave no core dump, and fill no disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lower(resource.RLIMIT_FSIZE, LARGEST_FILE)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # no Linux: there the limit would not be kept either
    lower(resource.RLIMIT_AS, now + nbytes)


def lower(what: int, limit: int) -> None:
    """The soft limit to this, or to the hard one if that is less."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _result_of(child: Child, status: int | None) -> Result:
    """What a process that ended by itself leaves: its result, or a crash."""
    if child.said:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return Result.from_json(child.said.decode())
    end = child.log.seek(0, os.SEEK_END)
    child.log.seek(max(0, end - TAIL))
    tail = child.log.read().decode(errors="replace").strip()
    code = None if status is None else os.waitstatus_to_exitcode(status)
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        message = f"its process was ended by {name}"
    else:
        message = f"its process ended without a result (exit code {code})"
    starved = code == -signal.SIGKILL or any(word in tail.lower() for word in _NO_MEMORY)
    message += ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
    return Result("out_of_memory" if starved else "crashed", f"{message}\n{tail}".strip())


def _wait(pid: int, seconds: float) -> int | None:
    """How the process ended; None if it does not within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what it may have started
            return status
        time.sleep(0.001)
    return None


def _kill(pid: int) -> None:
    """The process and all that it started."""
    for kill in (os.killpg, os.kill):  # it may not have made its group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _import_early() -> None:
    """What kernels need and what takes long to import: here once, and not in every child.

    tvm-ffi would import PyTorch too, for tensors that candidates do not see.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # makes `import torch` fail
    importlib.import_module("tvm_ffi")
    if hidden:
        del sys.modules["torch"]


if __name__ == "__main__":
    _import_early()
    Server(Connection(int(sys.argv[1]))).serve()

"""Results in a database that other machines share: PostgreSQL where it is installed, SQLite where it is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitwright.frontend.tune.places import SessionError
from bitwright.frontend.tune.session import Session
from bitwright.tests.made_up_host import MadeUp, problem


@dataclass
class Postgres:
    """A server of its own in a folder of its own; it does not run as root."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def user(self) -> str | None:
        return "postgres" if os.getuid() == 0 else None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    def create(self) -> None:
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        command = ["initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(command, user=self.user, cwd=self.folder, check=True, capture_output=True)

    def start(self) -> None:
        command = ["postgres", "-D", str(self.folder / "data"), "-k", str(self.folder), "-h", "", "-F"]
        log = self.folder / "log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, user=self.user, cwd=self.folder, stderr=file, stdout=file)
        end = time.monotonic() + 30
        while b"ready to accept" not in log.read_bytes():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)  # a fast end, which does not wait for clients
        self.process.wait(20)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres | None]:
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="bw"))
    found = Postgres(folder)
    try:
        found.create()
        found.start()
        yield found
    finally:
        if found.process is not None:
            found.stop()
        shutil.rmtree(folder)


@pytest.fixture
def url(server: Postgres | None, tmp_path: Path) -> str:
    return server.url if server is not None else f"sqlite:///{tmp_path}/studies.db"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path / "data"))


def facts(session: Session) -> list[tuple[str, str, float | None]]:
    return sorted((o.candidate.key, o.kind, o.score) for task in session.tasks() for o in task.outcomes)


def test_a_database_holds_what_a_file_holds(url: str) -> None:
    shared, own = Session("shared", url), Session("own")
    for session in (shared, own):
        list(session.tune(problem(), trials=25, host=MadeUp()))
    assert facts(Session("shared")) == facts(own)  # a session remembers its storage
    assert shared.tasks()[0].final == own.tasks()[0].final


def test_another_machine_goes_on_with_a_session(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    going = Session("moved", url).tune(problem(), trials=20, host=MadeUp())
    first = [next(going) for _ in range(5)]
    going.close()
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path / "elsewhere"))
    rest = list(Session("moved", url).resume(MadeUp()))
    assert len(first) + len(rest) == 20
    whole = Session("whole")
    list(whole.tune(problem(), trials=20, host=MadeUp()))
    assert facts(Session("moved")) == facts(whole)


TUNE = """
import sys
from bitwright.frontend.tune.session import Session
from bitwright.tests.made_up_host import MadeUp, problem
print(sum(1 for _ in Session(sys.argv[1], sys.argv[2]).tune(problem(), trials=20, host=MadeUp(key=sys.argv[1]))))
"""


def test_two_processes_write_at_once(url: str) -> None:
    names = ("left", "right")
    commands = [[sys.executable, "-c", TUNE, name, url] for name in names]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate()[0].strip() for process in processes]
    assert said == ["20", "20"]
    for name in names:
        (task,) = Session(name).tasks()
        assert task.device == name
        assert len({o.candidate.key for o in task.outcomes}) == 20


def test_a_server_that_goes_away_is_said_and_nothing_is_lost(server: Postgres | None) -> None:
    if server is None:
        with pytest.raises(SessionError, match="the session's storage does not answer"):
            next(Session("gone", "sqlite:////no/such/folder/x.db").tune(problem(), trials=1, host=MadeUp()))
        return
    session = Session("gone", server.url)
    going = session.tune(problem(), trials=20, host=MadeUp())
    for _ in range(7):
        next(going)
    server.stop()
    with pytest.raises(SessionError, match="the session's storage does not answer"):
        list(going)
    server.start()
    assert len(list(Session("gone").resume(MadeUp()))) == 13


def test_a_url_that_is_none() -> None:
    for url in ("nonsense", "mysql+nothing://x/y"):
        with pytest.raises(SessionError, match=r"storage does not answer: .*Is the URL right"):
            next(Session("bad", url).tune(problem(), trials=1, host=MadeUp()))

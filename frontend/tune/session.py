"""A tuning session: a name, a place on disk, and what has been tried under it.

    session = Session("llama8b")
    for result in session.tune("linear", ["1x4096x4096", "16x4096x14336"], weights="u3", trials=200):
        print(result.outcome.candidate, result.outcome.kind, result.outcome.seconds)

Stopped at any moment, by whatever, it goes on where it was: `for result in session.resume(): ...`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from .places import (
    SessionError,
    checked_name,
    made_folder,
    not_writable,
    replace_text,
    session_folder,
    sessions_dir,
    winners_file,
)
from .space import Json

if TYPE_CHECKING:
    from .outcome import Outcome
    from .pose import Options, Shape
    from .problem import Problem
    from .runners import Host, View
    from .search import Final, Result, Search
    from .store import Store
    from .table import Winner

__all__ = ["Session", "Task", "session_names"]

FILE = "session.json"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Task:
    """One problem of a session on one kind of device, and what is known of it.

    name               of its study
    device             key of the device's fingerprint; `device_name` is for people
    trials             how many are wanted
    outcomes           of the trials so far, oldest first
    final              how the search has ended; None while it goes on
    """

    name: str
    problem: Problem
    device: str
    device_name: str
    trials: int
    exhaustive: bool
    outcomes: tuple[Outcome, ...]
    final: Final | None

    @property
    def best(self) -> Outcome | None:
        from .search import best_of

        return best_of(self.outcomes)

    @property
    def default(self) -> Outcome | None:
        """The planner's own choice, which is tried first; None before it has been."""
        return self.outcomes[0] if self.outcomes else None


@dataclass(frozen=True)
class Session:
    """The session of a name (among the user's), or in the folder at a path.

    storage   an SQLAlchemy URL, such as postgresql+psycopg://user@host/base, for results that other machines share;
              else they are in the session's own folder.  A session remembers the storage that it began with.
    seed      of every random choice
    """

    name: str | Path
    storage: str | None = None
    seed: int = 0

    @property
    def folder(self) -> Path:
        return session_folder(self.name)

    @property
    def title(self) -> str:
        return checked_name(self.folder.name)

    @property
    def exists(self) -> bool:
        return (self.folder / FILE).exists()

    def tune(
        self, what: object, shapes: Sequence[Shape] = (), *, trials: int = 100, exhaustive: bool = False,
        host: Host | None = None, **options: Unpack[Options],
    ) -> Iterator[Result]:  # fmt: skip
        """Search for the fastest candidate of every problem; results come as they are known.

        `what` is "linear", the path of a program, a function under @jit, or a problem; `shapes` and `options` are those
        of `pose`.  Trials that are stored already count: the same call after an interruption goes on, and a call with
        more trials adds to what is there.
        """
        from .pose import pose

        return self.work([(p, trials, exhaustive) for p in pose(what, shapes, **options)], host)

    def resume(self, host: Host | None = None) -> Iterator[Result]:
        """Go on with everything that was begun, on this device; nothing comes when nothing is left to do."""
        begun: dict[str, tuple[Problem, int, bool]] = {}
        for task in self.tasks():
            _, trials, exhaustive = begun.get(task.problem.key, (task.problem, 0, False))
            begun[task.problem.key] = (task.problem, max(trials, task.trials), exhaustive or task.exhaustive)
        return self.work(list(begun.values()), host)

    def work(self, wanted: Sequence[tuple[Problem, int, bool]], host: Host | None = None) -> Iterator[Result]:
        """Search for every problem with as many trials as are wanted, or all there are; winners enter the table."""
        from .runners import Here, merged

        place = host or Here()
        with self.busy():
            lines: dict[str, list[Search]] = {}  # one for each device, beside each other
            for problem, trials, exhaustive in wanted:
                for view in place.views(problem):
                    search = self._search(problem, view, trials, exhaustive, place)
                    lines.setdefault(view.device.key, []).append(search)
            yield from merged([self._searched(searches) for searches in lines.values()])

    def _searched(self, searches: Sequence[Search]) -> Iterator[Result]:
        from .dispatch import forget
        from .table import Table

        for search in searches:
            yield from search.run()
            winner = self._winner(search.results.notes())
            if winner is not None:
                Table(winners_file()).put([winner])
                forget()

    def tasks(self) -> list[Task]:
        """Every problem of the session on every device that it was worked on, in the order in which they began."""
        if not self.exists and self.storage is None:
            raise SessionError(f"there is no session {self.title}: {_known_sessions()}")
        names = self._store.names()
        if not names and not self.exists:
            raise SessionError(f"there is no session {self.title} in that storage")
        return [self._task(name) for name in names]

    def winners(self) -> list[Winner]:
        """The winners of the searches that are done."""
        return [w for name in self._store.names() if (w := self._winner(self._store.notes(name))) is not None]

    @property
    def url(self) -> str | None:
        """Of the storage: the one that is given, or the one that the session began with."""
        if self.storage is not None or not self.exists:
            return self.storage
        return cast("str | None", self._facts()["storage"])

    def remove(self) -> None:
        """Remove the session: its folder, and its studies in a storage elsewhere."""
        if not self.exists:
            raise SessionError(f"there is no session {self.title}: {_known_sessions()}")
        with self.busy():
            if self.url is not None:
                self._store.delete(self._store.names())
            try:
                (self.folder / FILE).unlink(missing_ok=True)  # first: what is left without it is no session
                shutil.rmtree(self.folder)
            except OSError as error:
                raise not_writable(self.folder, error) from error

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The right to work on the session, which one process at a time has; its folder is made if need be."""
        try:
            import optuna  # noqa: F401  # that it is there is known before anything is begun
            from filelock import FileLock, Timeout
        except ImportError as error:
            raise SessionError(f"tuning needs {error.name}, not installed: pip install 'bitwright[tune]'") from error

        self._begin()
        lock = FileLock(self.folder / "session.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise SessionError(
                f"another process works on the session {self.title}: wait for it, or give this one another name"
            ) from None
        except OSError as error:
            raise not_writable(self.folder, error) from error
        try:
            yield
        finally:
            lock.release()

    def _begin(self) -> None:
        """Make the folder and the file that says what is in it."""
        if self.exists:
            known = self._facts()["storage"]
            if self.storage is not None and self.storage != known:
                raise SessionError(
                    f"the session {self.title} began with {known or 'a storage of its own'}: leave --storage out, or "
                    "begin one of another name"
                )
            return
        made_folder(self.folder)
        self._store.names()  # before the session remembers a storage that does not answer
        facts = {"bitwright_session": _VERSION, "storage": self.storage, "begun": datetime.now(UTC).isoformat()}
        replace_text(self.folder / FILE, json.dumps(facts, indent=1) + "\n", 0o600)  # the URL may hold a password

    def _facts(self) -> dict[str, Json]:
        path = self.folder / FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["bitwright_session"] == _VERSION and "storage" in facts:
                return cast("dict[str, Json]", facts)
        except (ValueError, KeyError, TypeError):
            pass
        raise SessionError(f"{path} does not describe a session of this version of bitwright: remove the session")

    @cached_property
    def _store(self) -> Store:
        from .store import open_store

        return open_store(self.title, self.folder, self.url)

    def _search(self, problem: Problem, view: View, trials: int, exhaustive: bool, host: Host) -> Search:
        """The search on one device, with its study, which says what it is about."""
        from .ranking import rank
        from .search import Search
        from .store import space_digest

        digest = sha256(problem.key.encode()).hexdigest()[:6] + space_digest(view.space)
        name = f"{problem.title} on {view.device.key} {digest}"
        about: dict[str, Json] = {
            "problem": problem.to_json(), "key": problem.key, "device": view.device.key,
            "device_name": view.device.name, "trials": trials, "exhaustive": exhaustive,
        }  # fmt: skip
        results = self._store.results(name, view.space, about)
        if results.notes()["trials"] != trials:
            results.note("trials", trials)
        factory = partial(host.runner, view)
        return Search(problem, view.default, results, trials, self.seed, factory, rank, exhaustive)

    def _task(self, name: str) -> Task:
        from .problem import problem_from_json
        from .search import Final

        notes = self._store.notes(name)
        final = notes.get("final")
        return Task(
            name=name,
            problem=problem_from_json(cast("Mapping[str, Json]", notes["problem"])),
            device=str(notes["device"]),
            device_name=str(notes["device_name"]),
            trials=cast(int, notes["trials"]),
            exhaustive=bool(notes["exhaustive"]),
            outcomes=tuple(self._store.outcomes(name)),
            final=Final.from_json(final) if isinstance(final, dict) else None,
        )

    def _winner(self, notes: Mapping[str, Json]) -> Winner | None:
        """The entry for the table; None while the search goes on, and where there was no default to gain on."""
        from .problem import problem_from_json
        from .search import Final
        from .table import Winner, problem_class

        row = notes.get("final")
        if not isinstance(row, dict):
            return None
        final, spec = Final.from_json(row), cast("dict[str, Json]", notes["problem"])
        return Winner(
            str(notes["device"]), problem_class(problem_from_json(spec)), final.candidate, str(row["compiler"]),
            final.seconds, final.default_seconds or final.seconds, self.title, str(row["when"]), spec,
        )  # fmt: skip


def session_names() -> list[str]:
    """The user's sessions, by name."""
    folder = sessions_dir()
    return sorted(path.parent.name for path in folder.glob(f"*/{FILE}")) if folder.is_dir() else []


def _known_sessions() -> str:
    names = session_names()
    return f"there are {', '.join(names)}" if names else "none has been begun; `bitwright tune linear --help` begins"

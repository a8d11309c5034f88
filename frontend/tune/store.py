"""What a session has found out, in a database of studies: one study for each problem, device and space.

Only finished trials are stored, each in one step.  So whatever happens to a session, its studies hold whole results,
and nothing has to be cleaned up before it goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import TrialState, create_trial

from .journal import journal_backend
from .outcome import Outcome
from .places import SessionError, made_folder, not_writable
from .space import Candidate, Json, Space

__all__ = ["JOURNAL", "Results", "Store", "distributions", "open_store", "parameters", "space_digest"]

JOURNAL = "study.journal"
WAIT = 60
"""Seconds for which a process waits for others that write to the same SQLite file."""

ATTEMPTS = 5
"""How often tables are made when others make them too."""


def space_digest(space: Space) -> str:
    """Spaces that differ in a choice differ in this; results of one make no study with results of the other."""
    text = [(b.strategy, [(p.name, p.choices) for p in b.parameters]) for b in space.branches]
    return sha256(json.dumps(text).encode()).hexdigest()[:8]


def parameters(candidate: Candidate, space: Space) -> dict[str, object]:
    """The candidate as Optuna's parameters: its strategy, where there are several, and its values."""
    if len(space.branches) == 1:
        return dict(candidate.values)
    return {"strategy": candidate.strategy} | {f"{candidate.strategy}.{name}": v for name, v in candidate.values}


def distributions(candidate: Candidate, space: Space) -> dict[str, BaseDistribution]:
    """The choices of every parameter of this candidate."""
    branch = space.branch(candidate.strategy)
    found: dict[str, BaseDistribution] = {}
    if len(space.branches) > 1:
        found["strategy"] = CategoricalDistribution([b.strategy for b in space.branches])
    prefix = "" if len(space.branches) == 1 else f"{candidate.strategy}."
    return found | {prefix + p.name: CategoricalDistribution(p.choices) for p in branch.parameters}


@dataclass(frozen=True, eq=False)
class Results:
    """The results of one problem on one kind of device, oldest first."""

    study: optuna.Study
    space: Space
    folder: Path

    def outcomes(self) -> list[Outcome]:
        """All of them, oldest first."""
        with _clear_errors(self.folder):
            return _outcomes(self.study)

    def add(self, outcome: Outcome) -> None:
        """Store a result, for good: it is on the disk when this returns."""
        state = {"ok": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(outcome.kind, TrialState.FAIL)
        trial = create_trial(
            state=state,
            value=None if outcome.score is None or not outcome.ok else outcome.score * 1e6,
            params=parameters(outcome.candidate, self.space),
            distributions=distributions(outcome.candidate, self.space),
            user_attrs={"outcome": outcome.to_json()},
        )
        trial.datetime_complete = datetime.now(UTC).astimezone().replace(tzinfo=None)  # as Optuna has it: local time
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=outcome.seconds_in_all)
        with _clear_errors(self.folder):
            self.study.add_trial(trial)

    def note(self, name: str, value: Json) -> None:
        """Keep a value with the study, in place of the one of that name."""
        with _clear_errors(self.folder):
            self.study.set_user_attr(name, value)

    def notes(self) -> Mapping[str, Json]:
        with _clear_errors(self.folder):
            return cast(Mapping[str, Json], self.study.user_attrs)


@dataclass(frozen=True, eq=False)
class Store:
    """The studies of a session, whose names begin with that of the session."""

    storage: BaseStorage
    session: str
    folder: Path

    def results(self, name: str, space: Space, notes: Mapping[str, Json]) -> Results:
        """The study of that name; a new one begins with these notes."""
        with _clear_errors(self.folder):
            study = optuna.create_study(
                study_name=f"{self.session}/{name}", storage=self.storage, direction="minimize", load_if_exists=True
            )
            for key, value in notes.items():
                if key not in study.user_attrs:
                    study.set_user_attr(key, value)
        return Results(study, space, self.folder)

    def names(self) -> list[str]:
        """The names of the session's studies, in the order in which they began."""
        with _clear_errors(self.folder):
            found = self.storage.get_all_studies()
        prefix = f"{self.session}/"
        return [s.study_name.removeprefix(prefix) for s in found if s.study_name.startswith(prefix)]

    def notes(self, name: str) -> Mapping[str, Json]:
        """What is noted with the study of that name."""
        with _clear_errors(self.folder):
            study = optuna.load_study(study_name=f"{self.session}/{name}", storage=self.storage)
            return cast(Mapping[str, Json], study.user_attrs)

    def outcomes(self, name: str) -> list[Outcome]:
        """The results in the study of that name, oldest first."""
        with _clear_errors(self.folder):
            study = optuna.load_study(study_name=f"{self.session}/{name}", storage=self.storage)
            return _outcomes(study)

    def delete(self, names: Sequence[str]) -> None:
        """Remove studies and all their results."""
        with _clear_errors(self.folder):
            for name in names:
                optuna.delete_study(study_name=f"{self.session}/{name}", storage=self.storage)


def open_store(session: str, folder: Path, url: str | None) -> Store:
    """The database at the URL (any that SQLAlchemy knows), or the journal in the session's folder."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _clear_errors(folder):
        if url is None:
            journal = folder / JOURNAL
            if not journal.exists():  # else it can be read where nothing can be written
                made_folder(folder)
            backend = journal_backend(journal)
            return Store(JournalStorage(backend), session, folder)
        options: dict[str, object]
        options = {"connect_args": {"timeout": WAIT}} if url.startswith("sqlite") else {"pool_pre_ping": True}
        return Store(_database(url, options), session, folder)


def _database(url: str, options: dict[str, object]) -> RDBStorage:
    """The database, with its tables, which another process may be making at this moment."""
    for attempt in range(ATTEMPTS):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except Exception as error:
            made = type(error).__name__ in ("IntegrityError", "ProgrammingError") or "already exists" in str(error)
            if attempt == ATTEMPTS - 1 or not made:
                raise
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def _outcomes(study: optuna.Study) -> list[Outcome]:
    trials = study.get_trials(deepcopy=False)
    return [Outcome.from_json(cast("Mapping[str, Json]", t.user_attrs["outcome"])) for t in trials]


@contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    """Say what is wrong with the storage in words of ours."""
    try:
        yield
    except SessionError:
        raise
    except OSError as error:
        raise not_writable(folder, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("builtins", "optuna", "sqlalchemy", "json"):
            raise
        if isinstance(error, ValueError) and type(error).__module__ in ("builtins", "json.decoder"):
            raise SessionError(
                f"{folder / JOURNAL} is damaged: {error}. Move it away, or remove the session"
            ) from error
        reason = str(error.__cause__ or error).splitlines()[0]
        raise SessionError(
            f"the session's storage does not answer: {reason}. Is the URL right, and has it room?"
        ) from error

"""A run's figures as JSON: what was asked for, and one object for each row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import cast

from .rows import Figures, Row
from .timing import Facts


class RecordError(ValueError):
    """Text that is no record of a run."""


def to_json(rows: Sequence[Row], settings: Mapping[str, int | float | str]) -> str:
    """The settings and the rows; a row that was wrong has no time and nothing that follows from it."""
    return json.dumps({**settings, "rows": [_record(row) for row in rows]}, indent=1)


def rows_of(text: str) -> list[Row]:
    """The rows of a record; RecordError when it is none."""
    try:
        found = json.loads(text)["rows"]
        return [_row(record) for record in found]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"this is no record of a run ({type(error).__name__}: {error}): `bitwright bench linear --json` makes one"
        ) from error


def _record(row: Row) -> dict[str, object]:
    figures = {} if row.figures is None else asdict(row.figures)
    return {**asdict(row.facts), "m": row.m, "n": row.n, "k": row.k, "error": row.error, **figures}


def _row(record: Mapping[str, object]) -> Row:
    facts = Facts(**{field.name: record[field.name] for field in fields(Facts)})  # type: ignore[arg-type]  # from a file
    figures = None
    if "microseconds" in record:
        figures = Figures(**{field.name: float(cast(float, record[field.name])) for field in fields(Figures)})
    m, n, k = (int(cast(int, record[name])) for name in ("m", "n", "k"))
    return Row(facts, m, n, k, float(cast(float, record["error"])), figures)

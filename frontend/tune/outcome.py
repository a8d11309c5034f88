"""What became of a candidate: how long it takes, or why it is out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, cast, get_args

from .space import Candidate, Json

Kind = Literal["ok", "wrong", "pruned", "failed", "crashed", "timeout", "out_of_memory"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class OutcomeError(ValueError):
    """A stored outcome that cannot be read."""


@dataclass(frozen=True)
class Outcome:
    """The end of one trial.

    kind       ok             correct, and timed
               wrong          its result is not the reference's, so it was not timed; kept for inspection
               pruned         never measured: a rule, the compiler's own diagnostic, or the cost model excludes it
               failed         an error was raised while it was compiled or run (a defect, ours or the strategy's)
               crashed        its process was ended by a signal
               timeout        it was not done in time, and was killed
               out_of_memory  it wanted more memory than a candidate may have
    times      seconds of timed calls, in order, on inputs that are not in the caches; each a mean where calls are short
    against    seconds of the incumbent's calls, made in turns with these; empty when there was no incumbent
    score      what a session minimises: median seconds, corrected by how the incumbent fared in the same minutes
               against its own score (so that a machine that is slower today does not make a candidate look worse);
               None unless ok
    early      timing was cut short, since the candidate was clearly behind
    error      largest error of the result, in units of what is allowed (above 1 is wrong); None if it was not checked
    message    what went wrong, for people
    figures    what the compiler reports of the code (`Kernel.report()`), `call.bytes` and `call.instructions` of one
               call, and `predicted_seconds` by the cost model
    code       digest of the machine code: candidates that agree in it are the same kernel
    seconds_to_compile, seconds_in_all    what the trial itself took
    when       seconds since 1970
    device     key of the device's fingerprint
    compiler   key of the compiler's version
    """

    candidate: Candidate
    kind: Kind
    times: tuple[float, ...] = ()
    against: tuple[float, ...] = ()
    score: float | None = None
    early: bool = False
    error: float | None = None
    message: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    code: str = ""
    seconds_to_compile: float = 0.0
    seconds_in_all: float = 0.0
    when: float = field(default_factory=time.time)
    device: str = ""
    compiler: str = ""

    @property
    def ok(self) -> bool:
        return self.kind == "ok"

    @property
    def seconds(self) -> float | None:
        """Median seconds of one call, as they were measured; None unless it was timed."""
        return median(self.times) if self.times else None

    @property
    def ratio(self) -> float | None:
        """Median seconds over the incumbent's in the same minutes; None without an incumbent."""
        return median(self.times) / median(self.against) if self.times and self.against else None

    def to_json(self) -> dict[str, Json]:
        plain: dict[str, Json] = {name: cast(Json, value) for name, value in vars(self).items()}
        return plain | {
            "candidate": self.candidate.to_json(),
            "times": list(self.times),
            "against": list(self.against),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, text: Mapping[str, Json]) -> Outcome:
        """The outcome that `to_json` wrote; OutcomeError for anything else."""
        try:
            if text["kind"] not in KINDS:
                raise ValueError(f"there is no kind {text['kind']!r}")
            known = {name: value for name, value in text.items() if name in cls.__dataclass_fields__}
            times, against = (tuple(map(float, cast(list[float], text[name]))) for name in ("times", "against"))
            candidate = Candidate.from_json(cast(dict[str, Json], text["candidate"]))
            plain = cast("dict[str, object]", known) | {"candidate": candidate, "times": times, "against": against}
            return cls(**plain)  # type: ignore[arg-type]  # the names are those of fields, their types as written
        except (KeyError, TypeError, ValueError) as error:
            raise OutcomeError(f"this is no outcome of a trial: {error}") from error

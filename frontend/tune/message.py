"""What a session and the process that runs its candidates say to each other: JSON texts."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .trial import Job, Result


@dataclass(frozen=True)
class Request:
    """A job, the seconds after which it is killed, and the bytes of memory that it may take."""

    number: int
    job: Job
    seconds: float
    memory: int

    def to_json(self) -> str:
        return json.dumps([self.number, self.job.to_json(), self.seconds, self.memory])

    @classmethod
    def from_json(cls, text: str) -> Request:
        number, job, seconds, memory = json.loads(text)
        return cls(number, Job.from_json(job), seconds, memory)


@dataclass(frozen=True)
class Reply:
    """The answer to the request of that number; `problem` when not the candidate but the problem itself has failed."""

    number: int
    result: Result
    problem: bool = False

    def to_json(self) -> str:
        return json.dumps([self.number, self.result.to_json(), self.problem])

    @classmethod
    def from_json(cls, text: str) -> Reply:
        number, result, problem = json.loads(text)
        return cls(number, Result.from_json(result), problem)

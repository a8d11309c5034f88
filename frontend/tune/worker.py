"""Compiling and measuring candidates, each in a process of its own, so that none can harm the session.

    with Executor(problem, history=outcomes) as executor:      # history: what is known already, when resuming
        for outcome in executor.run(candidates):               # compiled in parallel, then measured one by one
            store(outcome)

`executor.incumbent` is the best outcome so far, against which candidates are measured in turns; a better one takes its
place.  The first candidate of a session is `problem.default`.  Closing the executor, or the end of this process,
however it ends, ends its processes too.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_COLD = 160 << 20


@dataclass(frozen=True)
class Limits:
    """What a candidate may take, and how it is timed.

    compile_seconds, measure_seconds    after which it is killed
    memory         bytes of address space that it may take beyond what its process has at the start
    parallel       candidates that are compiled at the same time; None: one for each processor
    cold           bytes of copies of the inputs that rotate, so that none is in the caches
    timed_seconds  how long each contender is timed
    prune          leave out candidates that the cost model takes to be hopeless
    """

    compile_seconds: float = 60.0
    measure_seconds: float = 30.0
    memory: int = 8 << 30
    parallel: int | None = None
    cold: int = DEFAULT_COLD
    timed_seconds: float = 0.15
    prune: bool = True

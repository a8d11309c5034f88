"""Pictures of a session: how the best time fell, and which parameters decide it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from optuna.trial import TrialState, create_trial

from .outcome import Outcome
from .places import SessionError
from .space import Space
from .store import distributions, parameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .session import Task

__all__ = ["importances", "plot"]

ROW_INCHES = 2.8


def plot(tasks: Sequence[Task], path: Path) -> None:
    """Draw one row for each task: its history on the left, the importances of parameters on the right."""
    known = [task for task in tasks if task.best is not None]
    if not known:
        raise SessionError("there is nothing to draw yet: no candidate of this session has been timed")
    figure = Figure(figsize=(11, ROW_INCHES * len(known) + 0.4), layout="constrained")
    axes = figure.subplots(len(known), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), task in zip(axes, known, strict=True):
        _history(left, task)
        _importances(right, task)
    figure.savefig(path, dpi=120)


def _history(axes: Axes, task: Task) -> None:
    """Times in the order in which candidates were tried, and the best until then; what failed stands at the top."""
    times = [(i, o.score * 1e6) for i, o in enumerate(task.outcomes, 1) if o.ok and o.score is not None]
    axes.plot([i for i, _ in times], [t for _, t in times], ".", color="tab:blue", alpha=0.5, label="tried")
    least, best = float("inf"), []
    for _, t in times:
        least = min(least, t)
        best.append(least)
    axes.step([i for i, _ in times], best, where="post", color="tab:green", label="best so far")
    if task.default is not None and task.default.score is not None:
        axes.axhline(task.default.score * 1e6, color="gray", linestyle="--", linewidth=1, label="the planner's choice")
    failed = [i for i, o in enumerate(task.outcomes, 1) if not o.ok and o.kind != "pruned"]
    if failed:
        axes.plot(
            failed, [0.97] * len(failed), "x", color="tab:red", transform=axes.get_xaxis_transform(), label="failed"
        )
    axes.set_yscale("log")
    for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(task.problem.title, fontsize=9, loc="left")
    axes.set_xlabel("candidate")
    axes.set_ylabel("µs")
    axes.legend(fontsize=7, loc="upper right")


def _importances(axes: Axes, task: Task) -> None:
    """Of the parameters that have a choice."""
    found = importances(task.outcomes, task.problem.space())
    names = [name for name in found if found[name] > 0][::-1]
    axes.barh(names, [found[name] for name in names], color="tab:blue")
    axes.set_xlim(0, 1)
    axes.set_title("what decides the time", fontsize=9, loc="left")
    axes.tick_params(labelsize=8)


def importances(outcomes: Sequence[Outcome], space: Space) -> dict[str, float]:
    """How much each parameter decides whether a candidate is among the fastest, the largest first; they sum to 1.

    By PED-ANOVA (Watanabe et al., 2023). Empty where there are too few times, or nothing differs.
    """
    study = optuna.create_study()
    for o in outcomes:
        if o.ok and o.score is not None and space.refusal(o.candidate) is None:
            study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE,
                    value=o.score,
                    params=parameters(o.candidate, space),
                    distributions=distributions(o.candidate, space),
                )
            )
    if len({t.value for t in study.trials}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))

"""What is known of the trials of a search, whatever storage they lie in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from polyml.errors import UserError
from polyml.tuning.inner import Problem
from polyml.tuning.space import Space

FINISHED = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes
    ----------
    number : int
    state : {"complete", "pruned", "failed", "running", "waiting", "lost"}
        A lost trial was cut off from outside; its parameters are queued again.
    score : float
        Mean of ``scores``; NaN before the first fold.
    scores : tuple of float
        Inner score on each fold that was seen.
    params : dict
        The searched parameters.
    seconds : float
    defaults : bool
        Whether it took the model's own parameters.
    error : str
        Why it failed.
    """

    number: int
    state: str
    score: float = math.nan
    scores: tuple[float, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    seconds: float = math.nan
    defaults: bool = False
    error: str = ""


def state_of(trial: Any) -> str:
    """Name the state of an Optuna trial; the defaults may be complete without Optuna counting them."""
    if "score" in trial.user_attrs:
        return "complete"
    name = trial.state.name.lower()
    if name == "fail":
        return "failed" if "error" in trial.user_attrs else "lost"
    return str(name)


def read_trials(study: Any, space: Space) -> list[TrialRecord]:
    """Return the trials of a study in the order they were begun."""
    records = []
    for trial in study.get_trials(deepcopy=False):
        notes = trial.user_attrs
        defaults = bool(notes.get("defaults"))
        scores = tuple(math.nan if value is None else float(value) for value in notes.get("scores", ()))
        records.append(
            TrialRecord(
                number=trial.number,
                state=state_of(trial),
                score=mean_score(scores),
                scores=scores,
                params={**space.decode(trial.params), **(space.outside if defaults else {})},
                seconds=trial.duration.total_seconds() if trial.duration is not None else math.nan,
                defaults=defaults,
                error=str(notes.get("error", "")),
            )
        )
    return records


def mean_score(scores: Sequence[float]) -> float:
    """Return the mean of the scores that are defined; NaN without any."""
    known = [score for score in scores if not math.isnan(score)]
    return math.fsum(known) / len(known) if known else math.nan


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    problem : Problem
    trials : tuple of TrialRecord
    best : TrialRecord
        The complete trial with the highest score; the earliest of equal ones.
    defaults : TrialRecord or None
        The trial of the model's own parameters, where it is complete.
    """

    problem: Problem
    trials: tuple[TrialRecord, ...]
    best: TrialRecord
    defaults: TrialRecord | None

    @property
    def best_params(self) -> dict[str, Any]:
        """The fixed parameters and the best of the searched ones, for ``make_model``."""
        return {**self.problem.params, **self.best.params}

    def count(self, *states: str) -> int:
        """Count the trials in these states."""
        return sum(trial.state in states for trial in self.trials)

    def frame(self) -> pd.DataFrame:
        """Return a row a trial: number, state, score, the parameters, scores by fold, seconds, defaults, error."""
        names, folds = list(self.problem.space.ranges), len(self.problem.folds)
        rows = []
        for trial in self.trials:
            row: dict[str, Any] = {"trial": trial.number, "state": trial.state, "score": trial.score}
            row |= {name: trial.params.get(name) for name in names}
            row |= {f"score[{i}]": trial.scores[i] if i < len(trial.scores) else math.nan for i in range(folds)}
            rows.append(row | {"seconds": trial.seconds, "defaults": trial.defaults, "error": trial.error})
        return pd.DataFrame(rows)


def collect(study: Any, problem: Problem) -> SearchResult:
    """Sum up a study.

    Raises
    ------
    UserError
        No trial is complete.
    """
    trials = tuple(read_trials(study, problem.space))
    complete = [trial for trial in trials if trial.state == "complete" and not math.isnan(trial.score)]
    if not complete:
        raise no_success(trials, problem.key)
    best = max(complete, key=lambda trial: (trial.score, -trial.number))
    return SearchResult(problem, trials, best, next((trial for trial in complete if trial.defaults), None))


def no_success(trials: Sequence[TrialRecord], key: str) -> UserError:
    """Build the error for a search in which nothing worked."""
    failed = [trial for trial in trials if trial.state == "failed"]
    if not failed:
        return UserError("no trial is complete yet", where=f"tuning model '{key}'", fix="give it more time")
    return UserError(
        f"all {len(failed)} trials failed; the first: {failed[0].error}",
        where=f"tuning model '{key}'",
        fix="look at the fixed parameters and at the ranges of the search",
    )

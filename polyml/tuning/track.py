"""What a search tells the tracker: one parent run, one child run a trial.

The id of the parent run and the trials already reported stand in the study itself, so that a study that goes on, or is
shared by several processes, goes on in the same run and reports no trial twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from polyml.tuning.trials import FINISHED, SearchResult, TrialRecord, read_trials

if TYPE_CHECKING:
    from polyml.tracking import Tracker
    from polyml.tuning.inner import Problem

_RUN = "mlflow run"


class SearchTracking:
    """Report a study to a tracker.

    Parameters
    ----------
    tracker : Tracker
    study : optuna.Study
    problem : Problem
    """

    def __init__(self, tracker: Tracker, study: Any, problem: Problem) -> None:
        self.tracker, self.study, self.problem = tracker, study, problem
        self._run = ""

    @contextmanager
    def search(self, params: Mapping[str, Any], frame: pd.DataFrame, digest: str, source: str) -> Iterator[None]:
        """Open the parent run, the one the study has already if this store knows it."""
        known = self.study.user_attrs.get(_RUN) or None
        if known and not self.tracker.has_run(known):
            known = None
        tags = {"polyml.stage": "tune", "polyml.model": self.problem.key, "polyml.data_digest": digest}
        with self.tracker.parent_run(f"tune {self.problem.key}", params, tags, run_id=known) as run_id:
            self._run = run_id
            if run_id and run_id != known:
                self.study.set_user_attr(_RUN, run_id)
                self.tracker.log_dataset(frame, Path(source).stem, digest, source)
            self.log_finished()
            yield

    def log_finished(self) -> None:
        """Report every finished trial that has not been reported."""
        if not self._run:
            return
        reported = self.study.user_attrs
        for trial in read_trials(self.study, self.problem.space):
            if trial.state in FINISHED and self._mark(trial) not in reported:
                self._log(trial)

    def log_trial(self, number: int) -> None:
        """Report one trial that has just ended."""
        if self._run:
            trial = next(item for item in read_trials(self.study, self.problem.space) if item.number == number)
            if trial.state in FINISHED:
                self._log(trial)

    def _mark(self, trial: TrialRecord) -> str:
        return f"in {self._run}: {trial.number}"

    def _log(self, trial: TrialRecord) -> None:
        tags = {"polyml.model": self.problem.key, "polyml.trial_state": trial.state}
        if trial.defaults:
            tags["polyml.defaults"] = "true"
        with self.tracker.child_run(f"trial {trial.number}", {**self.problem.params, **trial.params}, tags):
            self.tracker.log_metrics({"inner_score": trial.score, "seconds": trial.seconds})
            for fold, score in enumerate(trial.scores):
                self.tracker.log_metrics({"folds/inner_score": score}, step=fold)
            if trial.state == "failed":
                self.tracker.mark_failed(trial.error)
        if trial.state == "complete":
            self.tracker.log_metrics({"trials/inner_score": trial.score}, step=trial.number)
        self.study.set_user_attr(self._mark(trial), 1)

    def finish(self, result: SearchResult, folder: Path, files: list[str]) -> None:
        """Add the best parameters, the table and the pictures to the parent run."""
        if not self._run:
            return
        metrics = {"best_inner_score": result.best.score, "trials": float(result.count(*FINISHED))}
        metrics |= {"pruned": float(result.count("pruned")), "failed": float(result.count("failed"))}
        if result.defaults is not None:
            metrics["defaults_inner_score"] = result.defaults.score
        self.tracker.log_metrics(metrics)
        self.tracker.set_tags({"polyml.best_trial": result.best.number, "polyml.best_params": str(result.best.params)})
        self.tracker.log_files([folder / name for name in files])
